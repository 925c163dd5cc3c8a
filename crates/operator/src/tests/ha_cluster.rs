//! Clusters in a Kubernetes cluster that has no Zalando operator.

use std::sync::Arc;

use api::HACluster;
use kube::core::DeserializeGuard;
use serde_json::json;

use super::server::{context, lines, refusal};
use crate::controllers::reader::Reader;
use crate::controllers::zalando::in_the_way;
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

/// The Zalando operator and Patroni take what has these names for their own, whoever has made it.
#[tokio::test]
async fn what_has_a_name_and_not_the_mark_of_a_cluster_is_in_its_way() {
    let taken = [
        ("persistentvolumeclaims", "pgdata-shop-1"),
        (
            "secrets",
            "postgres.shop.credentials.postgresql.acid.zalan.do",
        ),
        (
            "secrets",
            "standby.shop.credentials.postgresql.acid.zalan.do",
        ),
        ("endpoints", "shop-leader"),
        ("configmaps", "shop-config"),
    ];
    for mark in [None, Some("other"), Some("shop")] {
        let (context, _) = context(move |asked| {
            let is_taken =
                |(kind, name): &(&str, &str)| asked.what.ends_with(&format!("/demo/{kind}/{name}"));
            match taken.iter().find(|one| is_taken(one)) {
                Some((_, name)) => {
                    let labels = mark.map(|mark| json!({"cluster-name": mark}));
                    let metadata = json!({"name": name, "namespace": "demo", "labels": labels});
                    let version = "meta.k8s.io/v1";
                    let object = json!({"apiVersion": version, "kind": "PartialObjectMetadata", "metadata": metadata});
                    (200, object)
                }
                None => refusal(404, "NotFound", "there is none"),
            }
        });
        let reader = Reader {
            context: &context,
            namespace: "demo",
        };
        let found = in_the_way(&reader, "shop", 2).await.unwrap();
        let mut names: Vec<String> = found.into_iter().filter_map(|(_, it)| it.name).collect();
        names.sort();
        let mut expected: Vec<&str> = taken.map(|(_, name)| name).into();
        expected.sort();
        expected.retain(|_| mark != Some("shop"));
        assert_eq!(names, expected, "marked as {mark:?}");
    }
}
