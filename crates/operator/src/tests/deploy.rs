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

/// All objects of a kustomization, resources of resources too.
fn applied(folder: &str) -> Vec<Value> {
    let kustomization = &documents(&format!("{folder}/kustomization.yaml"))[0];
    let resources: Vec<String> =
        serde_yaml::from_value(kustomization["resources"].clone()).unwrap();
    let mut objects = Vec::new();
    for resource in resources {
        let path = format!("{folder}/{resource}");
        objects.extend(match path.ends_with(".yaml") {
            true => documents(&path),
            false => applied(&path),
        });
    }
    objects
}

/// `kubectl delete -k` deletes all that `kubectl apply -k` applies. With a CRD go its objects and with a namespace all
/// that is in it, so there is no CRD, and no namespace but the operator's own.
#[test]
fn taking_the_operator_away_takes_no_data() {
    for folder in [".", "namespaced"] {
        let objects = applied(folder);
        assert!(objects.iter().any(|object| object["kind"] == "Deployment"));
        for object in objects {
            let name = &object["metadata"]["name"];
            assert!(
                object["kind"] != "CustomResourceDefinition",
                "{folder}: {name:?}"
            );
            assert!(
                object["kind"] != "Namespace" || name == "minidbaas-system",
                "{folder}: {name:?}"
            );
        }
    }
}

/// The policy that keeps the CRDs is there as long as they are, and stays when it is deleted along with them.
#[test]
fn what_keeps_the_crds_lies_with_them_and_does_not_let_go() {
    let objects = applied("../crds");
    for crd in crate::crds() {
        assert!(
            objects
                .iter()
                .any(|object| object["metadata"]["name"] == crd.metadata.name.as_deref().unwrap()),
            "{:?}",
            crd.metadata.name
        );
    }
    let kinds = [
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ];
    let held =
        |object: &&Value| object["metadata"]["finalizers"][0] == "minidbaas.dev/protects-data";
    for kind in kinds {
        assert!(
            objects
                .iter()
                .filter(held)
                .any(|object| object["kind"] == kind),
            "{kind}"
        );
    }
}

/// A policy that matched the status would refuse the operator's word; one without a binding is none.
#[test]
fn no_policy_looks_at_a_status_and_each_is_bound() {
    let objects = [applied("."), applied("../crds")].concat();
    let of = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
    let mut seen = 0;
    for policy in of("ValidatingAdmissionPolicy") {
        let name = &policy["metadata"]["name"];
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]
            .as_sequence()
            .unwrap()
        {
            for resource in rule["resources"].as_sequence().unwrap() {
                let resource = resource.as_str().unwrap();
                assert!(!resource.contains(['/', '*']), "{name:?}: {resource}");
            }
        }
        let denies = |binding: &&Value| binding["spec"]["validationActions"][0] == "Deny";
        let bound = of("ValidatingAdmissionPolicyBinding").filter(denies);
        assert_eq!(
            bound
                .filter(|binding| binding["spec"]["policyName"] == *name)
                .count(),
            1,
            "{name:?}"
        );
        seen += 1;
    }
    assert!(seen > 0);
}

/// Whoever may write a status speaks with the operator's voice.
#[test]
fn users_are_granted_our_kinds_and_never_their_status() {
    let roles = documents("base/user-roles.yaml");
    let grants = grants("base/user-roles.yaml");
    for crd in crate::crds() {
        for verb in [
            "get", "list", "watch", "create", "update", "patch", "delete",
        ] {
            let needed = (crd.spec.names.plural.clone(), verb.to_owned());
            assert!(grants.contains(&needed), "{needed:?}");
        }
    }
    for (resource, verb) in grants {
        assert!(
            !resource.contains(['/', '*']) && verb != "*",
            "{verb} {resource}"
        );
    }
    for role in roles {
        for rule in role["rules"].as_sequence().unwrap() {
            assert_eq!(
                rule["apiGroups"],
                serde_yaml::from_str::<Value>("[minidbaas.dev]").unwrap()
            );
        }
        let reads =
            role["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true";
        let writes = role["rules"].as_sequence().unwrap().iter().any(|rule| {
            rule["verbs"]
                .as_sequence()
                .unwrap()
                .contains(&Value::from("create"))
        });
        assert!(reads != writes, "{:?}", role["metadata"]["name"]);
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
