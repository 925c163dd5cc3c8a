//! How large a resource may be: every string, list and map of a CRD has a limit in the schema, so that no resource can
//! fill the memory of whoever keeps it. A field's own limit is at the field; what other projects' types and maps lack
//! is put here.

use serde_json::{Map, Value, json};

/// Most bytes of a condition's message.
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
/// Most characters of a point in time: of its form the API server has an opinion, of its length none.
const TIME: usize = 64;
/// Most items of a list, and most entries of a map, unless something else is said.
const ITEMS: usize = 32;
/// What each item of a list and each entry of a map counts for besides its text.
const ITEM: usize = 16;
/// What repeats has no characters of more than a byte, but where people write what they like.
const ASCII: &str = "^[ -~]*$";

/// What a field may hold.
#[derive(Clone, Copy)]
struct Limits {
    /// A map, or a list.
    entries: usize,
    /// A name in a map, in characters.
    key: usize,
    /// A string, in characters; also each string of a list or map.
    characters: usize,
    /// The whole field, in bytes: lists of lists multiply, and limits on each alone would let megabytes pass.
    in_all: Option<usize>,
}

/// The limits of a field, by its name.
fn of(field: &str) -> Limits {
    let (entries, key, characters, in_all) = match field {
        "parameters" => (100, PARAMETER_NAME, PARAMETER_VALUE, Some(16_384)),
        "annotations" => (64, NAME, 2048, Some(16_384)),
        "affinity" | "topologySpreadConstraints" | "allowFrom" => (ITEMS, NAME, NAME, Some(8192)),
        "nodeSelector" | "tolerations" => (ITEMS, NAME, NAME, Some(4096)),
        "limits" | "requests" => (ITEMS, NAME, QUANTITY, Some(2048)),
        "claims" => (ITEMS, NAME, NAME, Some(1024)),
        "message" => (ITEMS, NAME, MESSAGE, Some(MESSAGE)),
        "conditions" => (16, NAME, NAME, None),
        // Names of parameters; those that are taken away count, too.
        "pendingChanges" => (256, NAME, PARAMETER_NAME, None),
        _ => (ITEMS, NAME, NAME, None),
    };
    Limits {
        entries,
        key,
        characters,
        in_all,
    }
}

/// Puts a limit wherever the schemas of a CustomResourceDefinition have none.
pub fn limit(crd: &mut Value) {
    let versions = crd["spec"]["versions"].as_array_mut();
    for version in versions.into_iter().flatten() {
        let fields = version["schema"]["openAPIV3Schema"]["properties"].as_object_mut();
        for (name, schema) in fields.into_iter().flatten() {
            if let Value::Object(schema) = schema {
                bound(name, of(name), schema, false);
            }
        }
    }
}

/// Puts a limit on a field and on whatever is below it; `repeats` below a list or a map.
fn bound(field: &str, limits: Limits, schema: &mut Map<String, Value>, repeats: bool) {
    let in_all = limits.in_all;
    if schema.contains_key("x-kubernetes-int-or-string") {
        at_most(schema, "maxLength", QUANTITY);
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") if !schema.contains_key("enum") => {
            let is_time = schema.get("format") == Some(&json!("date-time"));
            let most = if is_time { TIME } else { limits.characters };
            at_most(schema, "maxLength", most);
            if repeats && !is_time && !["message", "parameters", "annotations"].contains(&field) {
                schema.entry("pattern").or_insert_with(|| json!(ASCII));
            }
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
    if let Some(Value::Object(fields)) = schema.get_mut("properties") {
        for (name, schema) in fields {
            if let Value::Object(schema) = schema {
                bound(name, of(name), schema, repeats);
            }
        }
    }
    for part in ["items", "additionalProperties"] {
        if let Some(Value::Object(part)) = schema.get_mut(part) {
            // What is counted as a whole is not counted again.
            let limits = Limits {
                in_all: None,
                ..limits
            };
            bound(field, limits, part, true);
        }
    }
    if let Some(most) = in_all
        && let Some(bytes) = bytes(&Value::Object(schema.clone()), "self", 0)
    {
        let message = format!("at most {most} bytes in all");
        demand(schema, &format!("{bytes} <= {most}"), &message);
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

/// A CEL expression for how many bytes `value` has at most, at whatever depth; `None` if that is a small number anyway.
/// A name in a map counts four bytes a character: to look at its bytes would cost more than the API server allows.
fn bytes(schema: &Value, value: &str, depth: usize) -> Option<String> {
    if schema["x-kubernetes-int-or-string"] == true {
        return Some(QUANTITY.to_string());
    }
    if schema["type"] == "string" && !schema["enum"].is_array() {
        let is_ascii = schema["pattern"] == ASCII;
        let size = if is_ascii { "size" } else { "size(bytes" };
        return Some(format!(
            "{size}({value}){}",
            if is_ascii { "" } else { ")" }
        ));
    }
    let item = format!("item{depth}");
    if schema["items"].is_object() {
        let inner = bytes(&schema["items"], &item, depth + 1);
        let inner = inner.map_or_else(|| ITEM.to_string(), |inner| format!("{ITEM} + {inner}"));
        return Some(format!("{value}.map({item}, {inner}).sum()"));
    }
    if schema["additionalProperties"].is_object() {
        let inner = bytes(
            &schema["additionalProperties"],
            &format!("{value}[{item}]"),
            depth + 1,
        );
        let inner = inner.unwrap_or_else(|| ITEM.to_string());
        return Some(format!(
            "{value}.map({item}, {ITEM} + 4 * size({item}) + {inner}).sum()"
        ));
    }
    let fields = schema["properties"].as_object().into_iter().flatten();
    let fields = fields.filter_map(|(name, schema)| {
        let field = format!("{value}.{name}");
        let inner = bytes(schema, &field, depth)?;
        Some(format!("(has({field}) ? {inner} : 0)"))
    });
    let fields: Vec<_> = fields.collect();
    (!fields.is_empty()).then(|| fields.join(" + "))
}
