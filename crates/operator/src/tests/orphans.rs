//! Contents without an instance, and lists that are read by pages.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
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
        let name = asked.what.rsplit('/').next().unwrap();
        if name != "pods" {
            let words = "x".repeat(if name.starts_with("large") {
                100_000
            } else {
                1
            });
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                "spec": {"containers": [], "hostname": "p"}, "status": {"message": words}});
            return (200, pod);
        }
        let first = !has("continue=");
        let pods = |names: &[&str]| -> Vec<Value> {
            let (version, kind) = ("meta.k8s.io/v1", "PartialObjectMetadata");
            let pod = |name: &&str| {
                let metadata = json!({"name": name});
                json!({"apiVersion": version, "kind": kind, "metadata": metadata})
            };
            names.iter().map(pod).collect()
        };
        match (first, has("endless"), has("large")) {
            (true, false, false) => list(&pods(&["ours-1", "theirs", "ours-2"]), "more"),
            (false, false, false) => list(&pods(&["ours-3"]), ""),
            (_, _, true) => list(
                &pods(&[
                    "large-1", "large-2", "large-3", "large-4", "large-5", "large-6",
                ]),
                "",
            ),
            (_, true, _) => list(&pods(&["theirs"; 3]), "more"),
        }
    });
    let reader = Reader {
        context: &context,
        namespace: "demo",
    };
    let ours = |pod: &ObjectMeta| pod.name.iter().any(|name| !name.starts_with("theirs"));
    let read = reader.list::<Pod>("two", ours).await.unwrap();
    let read: Vec<_> = read
        .iter()
        .map(|pod| (pod.name_any(), pod.spec.is_some(), pod.status.is_some()))
        .collect();
    let expected = [
        ("ours-1", true),
        ("theirs", false),
        ("ours-2", true),
        ("ours-3", true),
    ];
    assert_eq!(
        read,
        expected.map(|(name, is_read)| (name.to_owned(), false, is_read))
    );
    let lists = asked.lock().unwrap().clone();
    let lists = lists.iter().filter(|asked| asked.what.ends_with("/pods"));
    assert!(lists.clone().all(|asked| asked.query.contains("limit=3")) && lists.count() == 2);
    for (labels, expected) in [
        ("endless", "there are 101 or more"),
        ("large", "there are 6 or more, of 60"),
    ] {
        let endless = reader.list::<Pod>(labels, ours).await;
        let words = endless.unwrap_err().words();
        assert!(
            words.starts_with(&format!("list Pod {labels}: {expected}")),
            "{words}"
        );
    }
    let crowd = reader.list::<Pod>("endless", |_| true).await;
    assert!(crowd.is_err());
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
