//! What `deploy/` grants: least privilege, the same in both scopes.

use serde::Deserialize;
use serde_yaml::Value;

fn documents(path: &str) -> Vec<Value> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");
    let text = std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

/// Pairs of a resource and a verb that the roles of a file grant.
fn grants(path: &str) -> Vec<(String, String)> {
    let words = |rule: &Value, key: &str| -> Vec<String> {
        serde_yaml::from_value(rule[key].clone()).unwrap_or_default()
    };
    let mut grants = Vec::new();
    for role in documents(path)
        .iter()
        .filter(|document| document["rules"].is_sequence())
    {
        for rule in role["rules"].as_sequence().unwrap() {
            assert!(
                !words(rule, "apiGroups").iter().any(|group| group == "*"),
                "{path}: a wildcard"
            );
            for resource in words(rule, "resources") {
                grants.extend(
                    words(rule, "verbs")
                        .into_iter()
                        .map(|verb| (resource.clone(), verb)),
                );
            }
        }
    }
    grants
}

#[test]
fn no_role_grants_more_than_is_used() {
    for path in [
        "base/operator.yaml",
        "cluster-wide/rbac.yaml",
        "cluster-wide/cross-namespace.yaml",
        "namespaced/rbac.yaml",
    ] {
        let grants = grants(path);
        assert!(!grants.is_empty(), "{path}");
        for (resource, verb) in grants {
            assert!(resource != "*" && verb != "*", "{path}: a wildcard");
            assert!(
                !resource.contains("exec") && !resource.contains("attach") && resource != "nodes",
                "{path}: {resource}"
            );
            assert!(
                !["roles", "clusterroles", "rolebindings", "serviceaccounts"]
                    .contains(&resource.as_str()),
                "{path}: {resource}"
            );
            assert!(
                ![
                    "update",
                    "deletecollection",
                    "escalate",
                    "bind",
                    "impersonate"
                ]
                .contains(&verb.as_str()),
                "{path}: {verb} {resource}"
            );
            let of_secrets =
                resource == "secrets" && !["get", "create", "patch"].contains(&verb.as_str());
            let of_data = resource == "persistentvolumeclaims" && verb == "delete";
            assert!(!of_secrets && !of_data, "{path}: {verb} {resource}");
        }
    }
}

#[test]
fn both_scopes_grant_the_same() {
    assert_eq!(
        grants("cluster-wide/rbac.yaml"),
        grants("namespaced/rbac.yaml")
    );
}

/// What users are asked to set in the Zalando operator is what the stories run with.
#[test]
fn the_zalando_operator_is_tested_as_users_are_asked_to_set_it() {
    let values = &documents("zalando/values.yaml")[0];
    let addon = documents("../e2e/cluster/addons/zalando/zalando.yaml");
    let tested = addon
        .iter()
        .find(|document| document["kind"] == "OperatorConfiguration")
        .unwrap();
    let sections = [
        ("configKubernetes", "kubernetes"),
        ("configTimeouts", "timeouts"),
        ("configTeamsApi", "teams_api"),
        ("configDebug", "debug"),
    ];
    assert_eq!(values.as_mapping().unwrap().len(), sections.len());
    for (section, of_resource) in sections {
        for (name, value) in values[section].as_mapping().unwrap() {
            let found = &tested["configuration"][of_resource][name];
            assert_eq!(found, value, "{section}.{name:?}");
        }
    }
}
