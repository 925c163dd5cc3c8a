//! Contents without an instance, and lists that are read by pages.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::server::{Asked, context, refusal};
use crate::controllers::reader::Reader;
use crate::orphans::sweep;

const CONTENTS: &str = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents";

fn content(uid: &str) -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
        "metadata": {
            "name": api::names::imported_content_name(uid), "uid": format!("content-of-{uid}"),
            "labels": {"minidbaas.dev/instance": "shop"},
            "annotations": {"minidbaas.dev/instance-uid": uid, "minidbaas.dev/instance-namespace": "demo"},
        },
        "spec": {"deletionPolicy": "Retain", "driver": "d", "source": {}, "volumeSnapshotRef": {}},
    })
}

fn list(items: &[Value], next: &str) -> (u16, Value) {
    let list =
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"continue": next}, "items": items});
    (200, list)
}

fn verb(asked: &[Asked], verb: &str) -> Vec<String> {
    let of_verb = asked.iter().filter(|asked| asked.what.starts_with(verb));
    of_verb.map(|asked| asked.what.clone()).collect()
}

#[tokio::test]
async fn contents_go_whose_instance_is_gone() {
    let (context, asked) = context(|asked| {
        let path = asked
            .what
            .split_once(' ')
            .map(|(_, path)| path)
            .unwrap_or_default();
        match path {
            CONTENTS => list(&[content("living"), content("former")], ""),
            _ if path.ends_with("/databaseinstances/shop") => {
                let metadata = json!({"name": "shop", "namespace": "demo", "uid": "living"});
                (
                    200,
                    json!({"apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance", "metadata": metadata}),
                )
            }
            _ if path.starts_with(CONTENTS) => (200, content("former")),
            _ => refusal(404, "NotFound", "there is none"),
        }
    });
    sweep(&context).await.unwrap();
    let asked = asked.lock().unwrap();
    let deleted = verb(&asked, "DELETE");
    let former = api::names::imported_content_name("former");
    assert_eq!(deleted, [format!("DELETE {CONTENTS}/{former}")]);
    let body = &asked
        .iter()
        .find(|asked| asked.what == deleted[0])
        .unwrap()
        .body;
    assert_eq!(body["preconditions"]["uid"], "content-of-former");
}

#[tokio::test]
async fn lists_are_read_by_pages_and_have_an_end() {
    let (context, asked) = context(move |asked| {
        let has = |what: &str| asked.query.contains(what);
        let words = if has("large") {
            "x".repeat(100_000)
        } else {
            "x".to_owned()
        };
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [], "hostname": "p"}, "status": {"message": words}});
        let ends = has("labelSelector=two") && has("continue=");
        list(&vec![pod; 5], if ends { "" } else { "more" })
    });
    let reader = Reader {
        context: &context,
        namespace: "demo",
    };
    let read = reader.list::<Pod>("two").await.unwrap();
    assert_eq!(read.len(), 10);
    let is_read = |pod: &Pod| pod.spec.is_none() && pod.status.is_some();
    assert!(read.iter().all(is_read));
    assert!(
        asked
            .lock()
            .unwrap()
            .iter()
            .all(|asked| asked.query.contains("limit=5"))
    );
    for (labels, expected) in [
        ("endless", "there are 101 or more"),
        ("large", "there are 6 or more, of 60"),
    ] {
        let endless = reader.list::<Pod>(labels).await;
        let words = endless.unwrap_err().words();
        assert!(
            words.starts_with(&format!("list Pod {labels}: {expected}")),
            "{words}"
        );
    }
}

#[tokio::test]
async fn of_endless_events_two_hundred_are_read() {
    let event = |minute: i64, message: &str| {
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": message}, "involvedObject": {},
            "message": message, "lastTimestamp": format!("2026-07-14T09:{minute:02}:00Z")})
    };
    let (context, asked) = context(move |_| {
        let page = [event(2, "newest"), event(1, "older")];
        list(&page, "more")
    });
    let reader = Reader {
        context: &context,
        namespace: "demo",
    };
    let said = reader.warning(Some("uid".to_owned())).await.unwrap();
    assert_eq!(said.as_deref(), Some("newest"));
    assert_eq!(asked.lock().unwrap().len(), 40);
}
