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
    assert!(
        read("docs/reference.md") == crate::reference().unwrap(),
        "run `make generate`"
    );
}

/// `kubectl apply -f` reads YAML 1.1, in which On is true.
#[test]
fn words_are_not_taken_for_truth_values() {
    for crd in crate::crds() {
        let text = crate::crd(&crd.spec.names.plural).unwrap();
        let bare = |line: &&str| {
            [" On", " Off", " Yes", " No"]
                .iter()
                .any(|w| line.ends_with(w))
        };
        let found = text
            .lines()
            .find(|line| bare(line) && !line.contains("message:"));
        assert_eq!(found, None, "{}", crd.spec.names.plural);
    }
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
