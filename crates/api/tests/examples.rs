//! Every example is a resource that this version understands, field by field.

use std::fs;

use api::{DatabaseBackup, DatabaseInstance, DatabaseRestore, HACluster};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

#[test]
fn every_example_is_understood_to_the_last_field() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut folders = vec![root.into()];
    let mut resources = 0;
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
                let read = match value.get("kind").and_then(Value::as_str) {
                    Some("DatabaseInstance") => read::<DatabaseInstance>(&value),
                    Some("DatabaseBackup") => read::<DatabaseBackup>(&value),
                    Some("DatabaseRestore") => read::<DatabaseRestore>(&value),
                    Some("HACluster") => read::<HACluster>(&value),
                    _ => continue,
                };
                let read = read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                understood(&value, &read, &path.display().to_string());
                resources += 1;
            }
        }
    }
    assert!(resources >= 17, "only {resources} examples were found");
}

/// The resource as this version reads it.
fn read<R: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, serde_yaml::Error> {
    serde_yaml::to_value(serde_yaml::from_value::<R>(value.clone())?)
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
