//! How large a resource may be: every string, list and map of a CRD has a limit in the schema, so that no resource can
//! fill the memory of whoever keeps it. A field's own limit is at the field; what other projects' types and maps lack
//! is put here.

use serde_json::{Map, Value, json};

/// Most characters of a condition's message.
pub const MESSAGE: usize = 2000;
/// Most characters of a name of spec.parameters.
pub const PARAMETER_NAME: usize = 128;
/// Most bytes of a value of spec.parameters.
pub const PARAMETER_VALUE: usize = 2048;

/// Most characters of a label's or an annotation's name: 253 of the prefix, '/', and 63 of the name. No other name is
/// longer.
const NAME: usize = 317;
/// Most characters of a quantity.
const QUANTITY: usize = 64;
/// Most items of a list, and most entries of a map, unless something else is said.
const ITEMS: usize = 32;
/// Most terms, expressions, values and labels in all of a field whose lists hold lists.
const IN_ALL: usize = 256;
/// Fields whose lists hold lists: limits on each list alone would let megabytes pass.
const NESTED: [&str; 3] = ["affinity", "topologySpreadConstraints", "allowFrom"];

/// What a map, a list or a string may hold.
struct Limits {
    entries: usize,
    key: usize,
    characters: usize,
}

/// The limits of a field, by its name; `characters` are those of a string, and of each string of a list or map.
fn of(field: &str) -> Limits {
    let (entries, key, characters) = match field {
        "parameters" => (100, PARAMETER_NAME, PARAMETER_VALUE),
        "annotations" => (64, NAME, 2048),
        "message" => (ITEMS, NAME, MESSAGE),
        // Names of parameters; those that are taken away count, too.
        "pendingChanges" => (256, NAME, NAME),
        _ => (ITEMS, NAME, NAME),
    };
    Limits {
        entries,
        key,
        characters,
    }
}

/// Puts a limit wherever the schemas of a CustomResourceDefinition have none.
pub fn limit(crd: &mut Value) {
    let versions = crd["spec"]["versions"].as_array_mut();
    for version in versions.into_iter().flatten() {
        let fields = version["schema"]["openAPIV3Schema"]["properties"].as_object_mut();
        for (name, schema) in fields.into_iter().flatten() {
            if let Value::Object(schema) = schema {
                bound(name, schema);
            }
        }
    }
}

/// Puts a limit on a field and on whatever is below it.
fn bound(field: &str, schema: &mut Map<String, Value>) {
    let limits = of(field);
    if schema.contains_key("x-kubernetes-int-or-string") {
        at_most(schema, "maxLength", QUANTITY);
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") if !schema.contains_key("enum") => {
            at_most(schema, "maxLength", limits.characters);
        }
        Some("array") => at_most(schema, "maxItems", limits.entries),
        Some("object") if schema.contains_key("additionalProperties") => {
            at_most(schema, "maxProperties", limits.entries);
            let key = limits.key;
            let message = format!("a key has at most {key} characters");
            demand(
                schema,
                &format!("self.all(key, key.size() <= {key})"),
                &message,
            );
        }
        _ => {}
    }
    if NESTED.contains(&field)
        && let Some(count) = count(&Value::Object(schema.clone()), "self", 0)
    {
        let message = format!("at most {IN_ALL} terms, expressions, values and labels in all");
        demand(schema, &format!("{count} <= {IN_ALL}"), &message);
    }
    for part in ["items", "additionalProperties"] {
        if let Some(Value::Object(part)) = schema.get_mut(part) {
            // An item is not the field: of a list of lists each one is counted by the rule of the field.
            bound(if NESTED.contains(&field) { "" } else { field }, part);
        }
    }
    if let Some(Value::Object(fields)) = schema.get_mut("properties") {
        for (name, schema) in fields {
            if let Value::Object(schema) = schema {
                bound(name, schema);
            }
        }
    }
}

fn at_most(schema: &mut Map<String, Value>, limit: &str, number: usize) {
    schema.entry(limit).or_insert_with(|| json!(number));
}

/// Adds a rule.
fn demand(schema: &mut Map<String, Value>, rule: &str, message: &str) {
    let rules = schema
        .entry("x-kubernetes-validations")
        .or_insert_with(|| json!([]));
    if let Value::Array(rules) = rules {
        rules.push(json!({"rule": rule, "message": message}));
    }
}

/// A CEL expression for how many items and entries `value` has, at whatever depth; `None` if it can have none.
fn count(schema: &Value, value: &str, depth: usize) -> Option<String> {
    let mut counts = Vec::new();
    if schema["items"].is_object() {
        let item = format!("item{depth}");
        counts.push(format!("size({value})"));
        counts.extend(
            count(&schema["items"], &item, depth + 1)
                .map(|inner| format!("{value}.map({item}, {inner}).sum()")),
        );
    }
    if schema["additionalProperties"].is_object() {
        counts.push(format!("size({value})"));
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let field = format!("{value}.{name}");
        counts.extend(
            count(schema, &field, depth).map(|inner| format!("(has({field}) ? {inner} : 0)")),
        );
    }
    (!counts.is_empty()).then(|| counts.join(" + "))
}
