//! Whole passes: what is written, what is not, and what the user reads when a write is refused.

use std::sync::Arc;

use kube::core::DeserializeGuard;
use serde_json::{Value, json};

use super::server::{Asked, context, instance, lines, refusal};
use crate::pass;

pub const STATUS: &str =
    "PATCH /apis/minidbaas.dev/v1alpha1/namespaces/demo/databaseinstances/shop/status";

/// An empty namespace in a cluster with a default class; what is written is taken.
pub fn empty(asked: &Asked) -> (u16, Value) {
    if asked.what.ends_with("/storageclasses") {
        let class = json!({"metadata": {"name": "fast",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "x"});
        return (
            200,
            json!({"kind": "StorageClassList", "apiVersion": "storage.k8s.io/v1", "metadata": {}, "items": [class]}),
        );
    }
    match asked.what.split_once(' ') {
        Some(("GET", path)) if path.ends_with("/jobs") => (
            200,
            json!({"kind": "JobList", "apiVersion": "batch/v1", "metadata": {}, "items": []}),
        ),
        Some(("GET", path)) if path.ends_with("/databasebackups") => (
            200,
            json!({"kind": "DatabaseBackupList", "apiVersion": "minidbaas.dev/v1alpha1", "metadata": {}, "items": []}),
        ),
        Some(("GET", path)) if path.ends_with("/configmaps") => (
            200,
            json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": []}),
        ),
        Some(("GET", path)) if path.ends_with("/databaseinstances/shop") => {
            (200, serde_json::to_value(instance()).unwrap())
        }
        Some(("GET", _)) => refusal(404, "NotFound", "there is none"),
        _ if asked.what == STATUS => {
            let mut resource = serde_json::to_value(instance()).unwrap();
            resource["status"] = asked.status();
            (200, resource)
        }
        _ => (201, asked.body.clone()),
    }
}

fn guarded() -> Arc<DeserializeGuard<api::DatabaseInstance>> {
    Arc::new(DeserializeGuard(Ok(instance())))
}

fn writes(asked: &[String]) -> Vec<String> {
    asked
        .iter()
        .filter(|line| !line.starts_with("GET"))
        .cloned()
        .collect()
}

#[tokio::test]
async fn a_creation_writes_children_in_order_and_then_the_status() {
    let (context, asked) = context(empty);
    pass::run(guarded(), context).await.unwrap();
    let writes = writes(&lines(&asked));
    let kinds: Vec<&str> = writes
        .iter()
        .map(|line| {
            line.rsplit("demo/")
                .next()
                .unwrap()
                .split('/')
                .next()
                .unwrap()
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "secrets",
            "secrets",
            "persistentvolumeclaims",
            "configmaps",
            "configmaps",
            "services",
            "networkpolicies",
            "statefulsets",
            "databaseinstances",
            "events"
        ]
    );
}

#[tokio::test]
async fn nothing_is_written_when_something_could_not_be_read() {
    let (context, asked) = context(|asked| {
        if asked.what.ends_with("/secrets/shop") {
            refusal(500, "InternalError", "etcd is away")
        } else {
            empty(asked)
        }
    });
    let error = pass::run(guarded(), context).await.unwrap_err();
    assert!(error.to_string().contains("get Secret shop"), "{error}");
    assert_eq!(writes(&lines(&asked)), Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_write_ends_the_pass_and_is_in_the_status() {
    let (context, asked) = context(|asked| {
        if asked.what.starts_with("POST") && asked.what.ends_with("/persistentvolumeclaims") {
            refusal(
                403,
                "Forbidden",
                "persistentvolumeclaims \"shop\" is forbidden: exceeded quota: q",
            )
        } else {
            empty(asked)
        }
    });
    pass::run(guarded(), context).await.unwrap_err();
    let asked = asked.lock().unwrap().clone();
    let last = asked.iter().find(|asked| asked.what == STATUS).unwrap();
    let ready = &last.status()["conditions"][0];
    assert_eq!(
        (&ready["type"], &ready["reason"]),
        (&json!("Ready"), &json!("QuotaExceeded"))
    );
    assert!(
        !asked.iter().any(
            |asked| asked.what.contains("statefulsets/shop") && asked.what.starts_with("PATCH")
        )
    );
}

#[tokio::test]
async fn what_is_seen_as_of_before_our_status_is_not_decided_upon() {
    let (context, asked) = context(|asked| {
        let (code, mut answer) = empty(asked);
        if asked.what == STATUS {
            answer["metadata"]["resourceVersion"] = json!("2");
        }
        (code, answer)
    });
    pass::run(guarded(), context.clone()).await.unwrap();
    let before = lines(&asked).len();
    pass::run(guarded(), context.clone()).await.unwrap();
    assert_eq!(lines(&asked).len(), before);
    let mut newer = instance();
    newer.metadata.resource_version = Some("2".to_owned());
    let newer = Arc::new(DeserializeGuard(Ok(newer)));
    pass::run(newer, context).await.unwrap();
    assert!(lines(&asked).len() > before);
}

/// Its namesake, made after it was deleted, as the API server has it now.
fn successor(asked: &Asked) -> (u16, Value) {
    let (code, mut answer) = empty(asked);
    if asked.what.starts_with("GET") && asked.what.ends_with("/databaseinstances/shop") {
        answer["metadata"]["uid"] = json!("another");
    }
    (code, answer)
}

#[tokio::test]
async fn nothing_is_made_for_a_resource_whose_name_another_one_has() {
    let (context, asked) = context(successor);
    let error = pass::run(guarded(), context).await.unwrap_err();
    assert!(error.is_conflict(), "{error}");
    assert_eq!(writes(&lines(&asked)), Vec::<String>::new());
}

#[tokio::test]
async fn a_status_is_for_one_uid_and_its_refusal_is_a_conflict_when_that_is_gone() {
    let replaced = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let now = replaced.clone();
    let (context, asked) = context(move |asked| {
        if asked.what == STATUS {
            now.store(true, std::sync::atomic::Ordering::SeqCst);
            return refusal(422, "Invalid", "the server rejected our request");
        }
        match now.load(std::sync::atomic::Ordering::SeqCst) {
            true => successor(asked),
            false => empty(asked),
        }
    });
    let error = pass::run(guarded(), context).await.unwrap_err();
    assert!(error.is_conflict(), "{error}");
    let asked = asked.lock().unwrap();
    let status = asked.iter().find(|asked| asked.what == STATUS).unwrap();
    assert_eq!(
        status.body[0],
        json!({"op": "test", "path": "/metadata/uid", "value": "cr-uid"})
    );
}

#[tokio::test]
async fn a_conflict_is_not_told_to_the_user() {
    let (context, asked) = context(|asked| {
        if asked.what.starts_with("POST") {
            refusal(409, "AlreadyExists", "it is there")
        } else {
            empty(asked)
        }
    });
    pass::run(guarded(), context).await.unwrap_err();
    assert!(!lines(&asked).contains(&STATUS.to_owned()));
}

#[tokio::test]
async fn a_resource_that_cannot_be_read_stops_nobody() {
    let (context, asked) = context(empty);
    let broken: DeserializeGuard<api::DatabaseInstance> = serde_json::from_value(
        json!({"metadata": {"name": "odd", "namespace": "demo"}, "spec": {"engine": "oracle"}}),
    )
    .unwrap();
    assert!(broken.0.is_err());
    pass::run(Arc::new(broken), context).await.unwrap();
    assert_eq!(lines(&asked), Vec::<String>::new());
}
