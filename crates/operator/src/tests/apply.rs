//! Planned writes and the calls that they become.

use plan::{Kind, Object, Write};
use serde_json::json;

use super::server::{context, instance, lines, refusal};
use crate::apply::apply;

fn config_map(uid: Option<&str>) -> Object {
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop", "namespace": "demo",
        "uid": uid}, "data": {"a": "b"}});
    Object {
        kind: Kind::ConfigMap,
        value,
    }
}

#[tokio::test]
async fn an_object_that_was_not_seen_is_applied_only_where_there_is_none() {
    let (context, asked) = context(|asked| (201, asked.body.clone()));
    apply(
        &context,
        &instance(),
        "demo",
        &Write::Apply(config_map(None)),
    )
    .await
    .unwrap();
    let asked = asked.lock().unwrap().clone();
    assert_eq!(
        asked[0].what,
        "PATCH /api/v1/namespaces/demo/configmaps/shop"
    );
    assert!(!asked[0].query.contains("force=true"), "{}", asked[0].query);
    assert!(asked[0].query.contains("fieldManager=minidbaas"));
    assert!(asked[0].query.contains("fieldValidation=Strict"));
    assert_eq!(asked[0].body["metadata"]["resourceVersion"], "1");
}

#[tokio::test]
async fn an_object_that_was_seen_is_applied_with_force_to_that_very_one() {
    let (context, asked) = context(|asked| (200, asked.body.clone()));
    apply(
        &context,
        &instance(),
        "demo",
        &Write::Apply(config_map(Some("seen"))),
    )
    .await
    .unwrap();
    let asked = asked.lock().unwrap().clone();
    assert!(asked[0].query.contains("force=true"), "{}", asked[0].query);
    assert_eq!(asked[0].body["metadata"]["uid"], "seen");
    assert_eq!(asked[0].body["metadata"].get("resourceVersion"), None);
}

#[tokio::test]
async fn what_exists_already_is_not_created_and_not_touched() {
    let (context, asked) = context(|_| refusal(409, "AlreadyExists", "it is there"));
    let error = apply(
        &context,
        &instance(),
        "demo",
        &Write::Create(config_map(None)),
    )
    .await
    .unwrap_err();
    assert!(error.is_conflict());
    assert_eq!(lines(&asked), ["POST /api/v1/namespaces/demo/configmaps"]);
}

#[tokio::test]
async fn another_object_of_the_same_name_is_not_deleted() {
    let (context, asked) = context(|_| (200, json!({"metadata": {"name": "j", "uid": "another"}})));
    let delete = Write::Delete {
        kind: Kind::Job,
        name: "j".into(),
        uid: "seen".into(),
    };
    apply(&context, &instance(), "demo", &delete).await.unwrap();
    assert_eq!(lines(&asked), ["GET /apis/batch/v1/namespaces/demo/jobs/j"]);
}

#[tokio::test]
async fn a_delete_reads_first_and_names_the_uid() {
    let (context, asked) = context(|_| (200, json!({"metadata": {"name": "j", "uid": "seen"}})));
    let delete = Write::Delete {
        kind: Kind::Job,
        name: "j".into(),
        uid: "seen".into(),
    };
    apply(&context, &instance(), "demo", &delete).await.unwrap();
    let asked = asked.lock().unwrap().clone();
    assert_eq!(
        asked[1].what,
        "DELETE /apis/batch/v1/namespaces/demo/jobs/j"
    );
    assert_eq!(asked[1].body["preconditions"]["uid"], "seen");
}

#[tokio::test]
async fn a_refusal_is_told_from_a_conflict() {
    let (context, _) = context(|_| refusal(403, "Forbidden", "exceeded quota: q"));
    let error = apply(
        &context,
        &instance(),
        "demo",
        &Write::Create(config_map(None)),
    )
    .await
    .unwrap_err();
    assert!(error.is_refusal() && !error.is_conflict());
    assert!(
        error.to_string().contains("create ConfigMap shop")
            && error.to_string().contains("exceeded quota: q"),
        "{error}"
    );
}
