//! Backups in a cluster that has no snapshots; who uses a backup.

use std::sync::Arc;

use api::DatabaseBackup;
use kube::core::DeserializeGuard;
use serde_json::json;

use super::server::{context, refusal};
use crate::controllers::backup::users;
use crate::pass;

#[tokio::test]
async fn a_missing_kind_is_an_answer_and_no_failure() {
    let (context, asked) = context(|asked| match asked.what.split_once(' ') {
        // So the API server answers for a kind that it does not know; it is no Status.
        Some((_, path)) if path.contains("snapshot.storage.k8s.io") => {
            (404, json!("404 page not found"))
        }
        Some(("GET", path)) if path.ends_with("/pods") => (
            200,
            json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}),
        ),
        Some(("GET", _)) => refusal(404, "NotFound", "there is none"),
        Some(("PATCH", path)) if path.ends_with("/status") => {
            asked.taken("DatabaseBackup", json!({"instance": "shop"}))
        }
        _ => (201, asked.body.clone()),
    });
    let backup: DatabaseBackup = serde_json::from_value(json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseBackup",
        "metadata": {"name": "nightly", "namespace": "demo", "uid": "backup-uid", "resourceVersion": "1",
            "generation": 1},
        "spec": {"instance": "shop"},
    }))
    .unwrap();
    pass::run(Arc::new(DeserializeGuard(Ok(backup))), context)
        .await
        .unwrap();
    let asked = asked.lock().unwrap();
    let status = asked.iter().find(|asked| asked.what.ends_with("/status"));
    let conditions = &status.unwrap().status()["conditions"];
    assert_eq!(conditions[0]["reason"], "SnapshotApiMissing");
}

/// Whoever may not read a backup may name it a thousand times, and nobody waits for that.
#[tokio::test]
async fn who_uses_a_backup_is_looked_for_where_it_may_be_read() {
    let list = json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []});
    for (allowed, places) in [
        (vec![], &["namespaces/demo"][..]),
        (vec!["other"], &["namespaces/demo", "namespaces/other"][..]),
        (vec!["other", "*"], &["v1alpha1"][..]),
    ] {
        let list = list.clone();
        let (context, asked) = context(move |_| (200, list.clone()));
        let backup: DatabaseBackup = serde_json::from_value(json!({
            "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseBackup",
            "metadata": {"name": "nightly", "namespace": "demo"},
            "spec": {"instance": "shop", "allowedNamespaces": allowed},
        }))
        .unwrap();
        users(&context, &backup).await.unwrap();
        let asked = asked.lock().unwrap();
        let ends = |kind: &str| {
            let ends = places.iter().map(|place| format!("{place}/{kind}"));
            ends.collect::<Vec<_>>()
        };
        let expected = [ends("databaseinstances"), ends("databaserestores")].concat();
        assert_eq!(asked.len(), expected.len());
        for end in expected {
            let found = asked.iter().any(|asked| asked.what.ends_with(&end));
            assert!(found, "{end} was not read");
        }
    }
}

/// Anybody may name a backup as often as they like: that one uses it is known from the first of them.
#[tokio::test]
async fn of_those_who_use_a_backup_one_is_looked_for() {
    let (context, asked) = context(|asked| {
        let restore = |name: &str, backup: &str| {
            json!({"apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseRestore",
                "metadata": {"name": name, "namespace": "demo"}, "spec": {"backup": {"name": backup}, "instance": "x"}})
        };
        let restores = match asked.query.contains("continue=") {
            false => vec![restore("a", "another")],
            true => vec![restore("b", "nightly"), restore("c", "nightly")],
        };
        let (items, more) = match asked.what.ends_with("/databaserestores") {
            true => (restores, "more"),
            false => (Vec::new(), ""),
        };
        let list = json!({"kind": "List", "apiVersion": "v1", "metadata": {"continue": more}, "items": items});
        (200, list)
    });
    let backup: DatabaseBackup = serde_json::from_value(json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseBackup",
        "metadata": {"name": "nightly", "namespace": "demo"}, "spec": {"instance": "shop"},
    }))
    .unwrap();
    let (_, restores) = users(&context, &backup).await.unwrap();
    assert!(!restores.is_empty());
    let asked = asked.lock().unwrap();
    let lists = asked
        .iter()
        .filter(|asked| asked.what.ends_with("/databaserestores"));
    assert_eq!(lists.count(), 2);
}
