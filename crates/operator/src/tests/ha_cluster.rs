//! Clusters in a Kubernetes cluster that has no Zalando operator.

use std::sync::Arc;

use api::HACluster;
use kube::core::DeserializeGuard;
use serde_json::json;

use super::server::{context, lines, refusal};
use crate::pass;

#[tokio::test]
async fn a_missing_operator_is_told_of_and_nothing_is_made() {
    let (context, asked) = context(|asked| match asked.what.split_once(' ') {
        // So the API server answers for a kind that it does not know; it is no Status.
        Some((_, path)) if path.contains("acid.zalan.do") && !path.contains("apiextensions") => {
            (404, json!("404 page not found"))
        }
        Some(("GET", path))
            if ["pods", "persistentvolumeclaims", "jobs", "storageclasses"]
                .iter()
                .any(|kind| path.ends_with(kind)) =>
        {
            (
                200,
                json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}),
            )
        }
        Some(("GET", _)) => refusal(404, "NotFound", "there is none"),
        Some(("PATCH", path)) if path.ends_with("/status") => {
            let spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"}});
            asked.taken("HACluster", spec)
        }
        _ => (201, asked.body.clone()),
    });
    let cluster: HACluster = serde_json::from_value(json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "HACluster",
        "metadata": {"name": "shop", "namespace": "demo", "uid": "cr-uid", "resourceVersion": "1", "generation": 1},
        "spec": {"engine": "postgresql", "storage": {"size": "1Gi"}},
    }))
    .unwrap();
    pass::run(Arc::new(DeserializeGuard(Ok(cluster))), context)
        .await
        .unwrap();
    let writes: Vec<String> = lines(&asked)
        .into_iter()
        .filter(|line| !line.starts_with("GET"))
        .collect();
    assert!(
        writes
            .iter()
            .all(|line| line.ends_with("/status") || line.ends_with("/events")),
        "{writes:?}"
    );
    let asked = asked.lock().unwrap();
    let status = asked.iter().find(|asked| asked.what.ends_with("/status"));
    let conditions = status.unwrap().status()["conditions"].clone();
    let stalled = conditions
        .as_array()
        .unwrap()
        .iter()
        .find(|condition| condition["type"] == "Stalled");
    assert_eq!(stalled.unwrap()["reason"], "PostgresOperatorMissing");
}
