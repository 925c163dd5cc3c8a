//! What is generated from the code and committed.

use kube::CustomResourceExt;

#[test]
fn generated_files_do_not_drift() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap_or_default();
    let crd = crate::crd().unwrap();
    assert!(
        read("crds/databaseinstances.yaml") == crd,
        "run `make generate`"
    );
    assert!(
        read("deploy/base/catalog.yaml") == crate::catalog().unwrap(),
        "run `make generate`"
    );
}

#[test]
fn every_field_of_the_spec_is_explained() {
    let crd = serde_json::to_value(api::DatabaseInstance::crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mut missing = Vec::new();
    unexplained(&schema["spec"], "spec", &mut missing);
    unexplained(&schema["status"], "status", &mut missing);
    assert!(missing.is_empty(), "without a description: {missing:?}");
}

fn unexplained(schema: &serde_json::Value, path: &str, missing: &mut Vec<String>) {
    if schema["description"].as_str().is_none_or(str::is_empty) && !path.ends_with("[]") {
        missing.push(path.to_owned());
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        unexplained(field, &format!("{path}.{name}"), missing);
    }
    if schema["items"].is_object() {
        unexplained(&schema["items"], &format!("{path}[]"), missing);
    }
}
