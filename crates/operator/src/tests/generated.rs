//! What is generated from the code and committed.

#[test]
fn generated_files_do_not_drift() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap_or_default();
    for crd in crate::crds() {
        let plural = crd.spec.names.plural;
        assert!(
            read(&format!("crds/{plural}.yaml")) == crate::crd(&plural).unwrap(),
            "run `make generate`"
        );
        assert!(
            read("crds/kustomization.yaml").contains(&format!("{plural}.yaml")),
            "crds/kustomization.yaml lacks {plural}.yaml"
        );
    }
    assert!(
        read("deploy/base/catalog.yaml") == crate::catalog().unwrap(),
        "run `make generate`"
    );
}

#[test]
fn every_field_is_explained() {
    for crd in crate::crds() {
        let crd = serde_json::to_value(crd).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        let mut missing = Vec::new();
        unexplained(&schema["spec"], "spec", &mut missing);
        unexplained(&schema["status"], "status", &mut missing);
        assert!(missing.is_empty(), "without a description: {missing:?}");
    }
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
