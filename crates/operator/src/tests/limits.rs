//! Every string, list and map of the CRDs has a limit, and every field that names an object takes nothing but names.

use serde_json::Value;

fn schemas() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for crd in crate::crds() {
        let plural = crd.spec.names.plural;
        let text = crate::crd(&plural).unwrap();
        let crd: Value = serde_yaml::from_str(&text).unwrap();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            found.push((plural.clone(), version["schema"]["openAPIV3Schema"].clone()));
        }
    }
    assert_eq!(found.len(), 4);
    found
}

/// What has no limit, at this place and below; `seen` counts what was looked at.
fn unlimited(schema: &Value, place: &str, found: &mut Vec<String>, seen: &mut usize) {
    *seen += 1;
    let mut need = |limit: &str| {
        if schema[limit].as_u64().is_none() {
            found.push(format!("{place}: no {limit}"));
        }
    };
    if schema["x-kubernetes-int-or-string"] == true {
        need("maxLength");
    }
    match schema["type"].as_str() {
        // An enum is its own limit. A date-time is not: the API server looks at its form, not at its length.
        Some("string") if schema["enum"].is_array() => {}
        Some("string") => need("maxLength"),
        Some("array") => need("maxItems"),
        Some("object") if schema["properties"].is_object() => {}
        Some("object") => need("maxProperties"),
        Some("integer" | "boolean") => {}
        None if schema["x-kubernetes-int-or-string"] == true => {}
        other => found.push(format!("{place}: type {other:?}, which can hold anything")),
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == true
        || schema["x-kubernetes-embedded-resource"] == true
        || schema["additionalProperties"] == true
        || schema["items"] == true
    {
        found.push(format!("{place}: can hold anything"));
    }
    if schema["additionalProperties"].is_object() {
        let rules = schema["x-kubernetes-validations"].to_string();
        if !rules.contains("self.all(key, key.size() <= ") {
            found.push(format!("{place}: no limit of keys"));
        }
        let place = format!("{place}[*]");
        unlimited(&schema["additionalProperties"], &place, found, seen);
    }
    if schema["items"].is_object() {
        unlimited(&schema["items"], &format!("{place}[]"), found, seen);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        unlimited(field, &format!("{place}.{name}"), found, seen);
    }
}

#[test]
fn every_string_list_and_map_has_a_limit() {
    let (mut found, mut seen) = (Vec::new(), 0);
    for (plural, schema) in schemas() {
        unlimited(&schema, &plural, &mut found, &mut seen);
    }
    assert!(seen > 400, "only {seen} fields were looked at");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The largest object that the API server takes, but for its metadata, which is pruned.
const LARGEST: u64 = 192 * 1024;

/// The most bytes that a value of this schema has; what an item or a number takes besides its text is rounded to 16.
fn largest(schema: &Value) -> u64 {
    let rules = schema["x-kubernetes-validations"].as_array();
    let said = rules.into_iter().flatten().find_map(|rule| {
        let said = rule["message"].as_str()?.strip_prefix("at most ")?;
        let number = said.strip_suffix(" bytes in all")?;
        let rule = rule["rule"].as_str()?;
        assert!(rule.ends_with(&format!(" <= {number}")), "{rule}");
        number.parse::<u64>().ok()
    });
    if let Some(most) = said {
        return most;
    }
    let limit = |name: &str| schema[name].as_u64().unwrap_or_default();
    let mut most = 16;
    if let Some(length) = schema["maxLength"].as_u64() {
        let pattern = schema["pattern"].as_str();
        let pattern = pattern.map(|pattern| regex::Regex::new(pattern).unwrap());
        let is_ascii = schema["format"] == "date-time"
            || pattern.is_some_and(|pattern| !pattern.is_match("ä") && !pattern.is_match("aäa"));
        most += length * if is_ascii { 1 } else { 4 };
    }
    let variable = [
        ("items", limit("maxItems"), 0),
        ("additionalProperties", limit("maxProperties"), 317 * 4),
    ];
    for (part, count, key) in variable {
        if schema[part].is_object() {
            most += count * (key + largest(&schema[part]));
        }
    }
    let fields = schema["properties"].as_object().into_iter().flatten();
    most + fields.map(|(_, field)| largest(field)).sum::<u64>()
}

/// Limits of strings and lists alone multiply to megabytes, of which a hundred fill the operator's memory.
#[test]
fn the_largest_object_is_small() {
    for (plural, schema) in schemas() {
        let most = ["spec", "status"].map(|part| largest(&schema["properties"][part]));
        let all: u64 = most.iter().sum();
        assert!(
            all <= LARGEST,
            "{plural}: {all} bytes, spec and status {most:?}"
        );
    }
}

/// Fields of a spec that name an object, with a name that each must take.
const NAMES: [(&str, &str, &str); 19] = [
    ("databaseinstances", "credentialsSecret.name", "my.secret"),
    ("databaseinstances", "storage.className", "fast.ssd"),
    ("databaseinstances", "scheduling.priorityClassName", "high"),
    ("databaseinstances", "backup.snapshotClassName", "csi.fast"),
    ("databaseinstances", "backup.allowedNamespaces", "*"),
    ("databaseinstances", "restoreFrom.backup.name", "shop-1.x"),
    (
        "databaseinstances",
        "restoreFrom.backup.namespace",
        "1-prod",
    ),
    ("databasebackups", "instance", "shop-1"),
    ("databasebackups", "snapshotClassName", "csi.fast"),
    ("databasebackups", "allowedNamespaces", "prod"),
    ("databasebackups", "allowedNamespaces", "*"),
    ("databaserestores", "backup.name", "shop-1"),
    ("databaserestores", "backup.namespace", "prod"),
    ("databaserestores", "instance", "shop-2"),
    (
        "databaserestores",
        "overrides.credentialsSecret.name",
        "mine",
    ),
    ("databaserestores", "overrides.storage.className", "fast"),
    ("haclusters", "credentialsSecret.name", "mine"),
    ("haclusters", "storage.className", "fast"),
    ("haclusters", "teamId", "dbaas"),
];

#[test]
fn what_names_an_object_takes_nothing_but_names() {
    let schemas = schemas();
    for (plural, path, good) in NAMES {
        let (_, schema) = schemas.iter().find(|(of, _)| of == plural).unwrap();
        let spec = &schema["properties"]["spec"];
        let mut field = path
            .split('.')
            .fold(spec, |field, name| &field["properties"][name]);
        if field["items"].is_object() {
            field = &field["items"];
        }
        let pattern = field["pattern"].as_str();
        let pattern = pattern.unwrap_or_else(|| panic!("{plural} {path} has no pattern"));
        let pattern = regex::Regex::new(pattern).unwrap();
        assert!(pattern.is_match(good), "{plural} {path}: {good} is refused");
        for bad in [
            "a b", "a?b#c", "../../x", "..", "a/b", "a%2fb", "Upper", "a,b=c", "", "-a", "ä", "a\n",
        ] {
            assert!(!pattern.is_match(bad), "{plural} {path} takes {bad:?}");
        }
    }
}

/// A field whose name sounds like that of an object is in the list above, or is known not to be one.
#[test]
fn no_field_that_names_an_object_is_forgotten() {
    // Of the operator's own Zalando user's Secret; of a resource claim, which an instance has none of.
    let others = [
        "claims",
        "affinity",
        "allowFrom",
        "topologySpreadConstraints",
        "resources",
    ];
    let mut sounding = Vec::new();
    fn walk(schema: &Value, path: &str, others: &[&str], sounding: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let place = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            let ends = ["name", "Name", "namespace", "Namespaces", "instance"];
            if field["type"] != "object" && ends.iter().any(|end| name.ends_with(end)) {
                sounding.push(place.clone());
            }
            if !others.contains(&name.as_str()) {
                walk(field, &place, others, sounding);
            }
        }
    }
    for (plural, schema) in schemas() {
        sounding.clear();
        walk(&schema["properties"]["spec"], "", &others, &mut sounding);
        for field in &sounding {
            let known = NAMES
                .iter()
                .any(|(of, path, _)| *of == plural && path == field);
            assert!(known || field == "username", "{plural}: {field}");
        }
    }
}

/// Whoever adds a field to a status says what a forged one does.
#[test]
fn each_field_of_a_status_is_among_those_that_were_looked_at() {
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security.md");
    let text = std::fs::read_to_string(text).unwrap();
    let start = text.find("## Every field of a status, forged").unwrap();
    let table = &text[start..];
    // The fields of a DatabaseRestore have one row together.
    let others = schemas()
        .into_iter()
        .filter(|(plural, _)| plural != "databaserestores");
    for (plural, schema) in others {
        let status = schema["properties"]["status"]["properties"].clone();
        for field in status.as_object().unwrap().keys() {
            assert!(table.contains(&format!("`{field}`")), "{plural}: {field}");
        }
    }
}
