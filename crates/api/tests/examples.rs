//! Every example is a resource that this version understands, field by field.

use std::fs;

use api::DatabaseInstance;
use serde::Deserialize;
use serde_yaml::Value;

#[test]
fn every_example_is_understood_to_the_last_field() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut folders = vec![root.into()];
    let mut instances = 0;
    while let Some(folder) = folders.pop() {
        let folder: std::path::PathBuf = folder;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for document in serde_yaml::Deserializer::from_str(&text) {
                let value = Value::deserialize(document).unwrap();
                if value.get("kind").and_then(Value::as_str) != Some("DatabaseInstance") {
                    continue;
                }
                let instance: DatabaseInstance = serde_yaml::from_value(value.clone())
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                understood(
                    &value,
                    &serde_yaml::to_value(&instance).unwrap(),
                    &path.display().to_string(),
                );
                instances += 1;
            }
        }
    }
    assert!(instances >= 10, "only {instances} examples were found");
}

/// Every field that is written comes back: none was unknown.
fn understood(written: &Value, read: &Value, place: &str) {
    if let (Value::Mapping(written), Value::Mapping(read)) = (written, read) {
        for (key, value) in written {
            let place = format!("{place}: {key:?}");
            let read = read.get(key);
            assert!(read.is_some(), "{place} is not a field");
            read.into_iter()
                .for_each(|read| understood(value, read, &place));
        }
    }
}
