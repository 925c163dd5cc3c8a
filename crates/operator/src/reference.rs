//! `docs/reference.md`, from the schemas of our kinds: what `kubectl explain` tells, on one page.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

/// Fields of Kubernetes' own types; their parts are explained by Kubernetes.
const KUBERNETES: [&str; 7] = [
    "affinity",
    "conditions",
    "namespaceSelector",
    "podSelector",
    "resources",
    "tolerations",
    "topologySpreadConstraints",
];

const TOP: &str = "\
# All fields

Generated from the code by `make generate`; `kubectl explain --recursive dbi.spec` tells the same. Every string, list \
and map has a
limit, which is in the definitions in `crds/`. The reasons of conditions are in [conditions.md](conditions.md).
";

/// The page, of these definitions.
pub fn page(crds: &[Value]) -> Result<String> {
    let mut page = TOP.to_owned();
    for crd in crds {
        let names = &crd["spec"]["names"];
        let kind = names["kind"]
            .as_str()
            .context("a definition without a kind")?;
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let short = names["shortNames"].as_array().into_iter().flatten();
        let short: Vec<String> = short
            .filter_map(Value::as_str)
            .map(|name| format!("`{name}`"))
            .collect();
        writeln!(page, "\n## {kind}\n\n{}\n", text(schema))?;
        writeln!(page, "Short names: {}.", short.join(", "))?;
        for part in ["spec", "status"] {
            writeln!(
                page,
                "\n### {kind}: {part}\n\n| field | type | what it is |\n| --- | --- | --- |"
            )?;
            fields(&schema["properties"][part], part, &mut page)?;
        }
    }
    Ok(page)
}

/// A row for each field below a schema.
fn fields(schema: &Value, path: &str, page: &mut String) -> Result<()> {
    let required = schema["required"].as_array().into_iter().flatten();
    let required: Vec<&str> = required.filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let mut path = format!("{path}.{name}");
        let mut below = field;
        if field["items"].is_object() {
            path.push_str("[]");
            below = &field["items"];
        }
        let must = if required.contains(&name.as_str()) {
            " **Required.**"
        } else {
            ""
        };
        let (type_, explained) = (type_of(field), text(field));
        writeln!(page, "| `{path}` | {type_} | {explained}{must} |")?;
        if !KUBERNETES.contains(&name.as_str()) {
            fields(below, &path, page)?;
        }
    }
    Ok(())
}

/// What a field takes, in words.
fn type_of(field: &Value) -> String {
    if field["x-kubernetes-int-or-string"] == true {
        return "quantity".to_owned();
    }
    if let Some(words) = field["enum"].as_array() {
        let words = words.iter().filter_map(Value::as_str);
        let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    let type_ = field["type"].as_str().unwrap_or("any");
    let inner = |schema: &Value| type_of(schema);
    match type_ {
        "array" => format!("list of {}", inner(&field["items"])),
        "object" if field["additionalProperties"].is_object() => {
            format!("map to {}", inner(&field["additionalProperties"]))
        }
        "string" if field["format"] == "date-time" => "time".to_owned(),
        "integer" => match (field["minimum"].as_f64(), field["maximum"].as_f64()) {
            (Some(least), Some(most)) => format!("integer, {least} to {most}"),
            (Some(least), None) => format!("integer, {least} or more"),
            _ => "integer".to_owned(),
        },
        other => other.to_owned(),
    }
}

/// The description, as a cell of a table takes it.
fn text(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|").replace('<', "&lt;")
}
