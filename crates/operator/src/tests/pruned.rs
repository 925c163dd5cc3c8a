//! What is kept in memory of our resources.

use std::pin::pin;

use api::DatabaseInstance;
use futures::StreamExt;
use kube::core::DeserializeGuard;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::server::{SILENCE, context, instance};
use crate::pruned::{prune, watch};

/// An instance with all that people and the API server write onto an object.
fn heavy() -> Value {
    let mut heavy = serde_json::to_value(instance()).unwrap();
    let long = "x".repeat(100_000);
    heavy["metadata"]["managedFields"] =
        json!([{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]);
    heavy["metadata"]["annotations"] = json!({
        "kubectl.kubernetes.io/last-applied-configuration": long, "minidbaas.dev/paused": "true",
            "minidbaas.dev/note": long,
    });
    for number in 0..40 {
        heavy["metadata"]["annotations"][format!("app.kubernetes.io/{number}")] = json!("x");
    }
    heavy["metadata"]["labels"] =
        json!({"minidbaas.dev/verifies": "b", "app.kubernetes.io/managed-by": "m", "team": "t"});
    for number in 0..1000 {
        heavy["metadata"]["labels"][format!("minidbaas.dev/{number}")] = json!("x");
    }
    heavy["metadata"]["ownerReferences"] = (0..10)
        .map(|number| json!({"apiVersion": "v1", "kind": "Pod", "name": format!("p{number}"), "uid": long}))
        .chain(["apiVersion", "kind"].map(|field| {
            let mut owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"});
            owner[field] = json!(long);
            owner
        }))
        .chain([json!({"apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseBackup", "name": "b", "uid": "u"})])
        .collect();
    heavy["metadata"]["finalizers"] = json!(["minidbaas.dev/final-backup", "example.org/theirs"]);
    heavy
}

#[track_caller]
fn assert_light(kept: &DeserializeGuard<DatabaseInstance>) {
    let size = serde_json::to_vec(kept.meta()).unwrap().len();
    assert!(size < 10_000, "{size} bytes");
    assert_eq!(kept.managed_fields(), []);
    let annotations = kept.annotations();
    assert_eq!(annotations.len(), 32);
    assert!(annotations.contains_key("minidbaas.dev/paused"));
    assert_eq!(kept.owner_references()[0].name, "b");
    assert_eq!(kept.finalizers().len(), 2);
}

#[test]
fn what_no_rule_reads_is_not_kept() {
    let mut guard = serde_json::from_value(heavy()).unwrap();
    prune(&mut guard);
    assert_light(&guard);
    assert!(guard.0.is_ok());
}

#[test]
fn one_that_cannot_be_read_is_not_kept_either() {
    let mut broken = heavy();
    broken["spec"]["engine"] = json!("y".repeat(100_000));
    let mut guard: DeserializeGuard<DatabaseInstance> = serde_json::from_value(broken).unwrap();
    prune(&mut guard);
    assert_light(&guard);
    assert!(guard.0.unwrap_err().error.len() < 300);
}

#[test]
fn finalizers_are_kept_all_or_the_object_is_not_looked_at() {
    let mut many = heavy();
    many["metadata"]["finalizers"] = (0..65)
        .map(|number| json!(format!("example.org/{number}")))
        .collect();
    let mut guard: DeserializeGuard<DatabaseInstance> = serde_json::from_value(many).unwrap();
    prune(&mut guard);
    assert_eq!(
        (guard.name_any().as_str(), guard.finalizers().len()),
        ("shop", 0)
    );
    assert!(guard.0.unwrap_err().error.contains("metadata.finalizers"));
}

#[tokio::test]
async fn the_store_holds_pruned_objects() {
    let (context, _) = context(|asked| {
        if asked.query.contains("watch=true") {
            return SILENCE;
        }
        let list = json!({"kind": "DatabaseInstanceList", "apiVersion": "minidbaas.dev/v1alpha1",
            "metadata": {"resourceVersion": "1"}, "items": [heavy()]});
        (200, list)
    });
    let (changes, store) = watch::<DatabaseInstance>(context.watched());
    let mut changes = pin!(changes);
    assert_light(&changes.next().await.unwrap().unwrap());
    tokio::select! {
        ready = store.wait_until_ready() => ready.unwrap(),
        change = changes.next() => panic!("{change:?}"),
    }
    assert_light(&store.state()[0]);
}
