//! The VolumeSnapshotContent and the VolumeSnapshot by which an instance reads a snapshot of another namespace. Both only name
//! the snapshot: deleting them leaves it alone.

use api::names::{
    ANNOTATION_INSTANCE, COMPONENT_SNAPSHOT_COPY, snapshot_content_copy, snapshot_copy,
};
use serde_json::{Value, json};

use super::Subject;
use crate::{Kind, Object};

/// The content, which names the snapshot as the storage knows it.
pub fn content(subject: &Subject<'_>, driver: &str, handle: &str) -> Object {
    let mut value = json!({"spec": {
        "driver": driver,
        "deletionPolicy": "Retain",
        "source": {"snapshotHandle": handle},
        "volumeSnapshotRef": {"namespace": subject.namespace, "name": snapshot_copy(subject.name, subject.uid)},
    }});
    mark(subject, &mut value);
    object(
        Kind::VolumeSnapshotContent,
        &snapshot_content_copy(subject.uid),
        value,
    )
}

/// The VolumeSnapshot of that content.
pub fn snapshot(subject: &Subject<'_>) -> Object {
    let content = snapshot_content_copy(subject.uid);
    let mut value = json!({"spec": {"source": {"volumeSnapshotContentName": content}}});
    mark(subject, &mut value);
    value["metadata"]["namespace"] = json!(subject.namespace);
    object(
        Kind::VolumeSnapshot,
        &snapshot_copy(subject.name, subject.uid),
        value,
    )
}

/// Whose they are. The content belongs to no namespace, so it says in which one its instance is.
fn mark(subject: &Subject<'_>, value: &mut Value) {
    value["metadata"]["labels"] = subject.labels(COMPONENT_SNAPSHOT_COPY);
    value["metadata"]["annotations"] = json!({
        ANNOTATION_INSTANCE: subject.uid,
        "minidbaas.dev/instance-namespace": subject.namespace,
    });
}

fn object(kind: Kind, name: &str, mut value: Value) -> Object {
    let (api_version, kind_name, _) = kind.api();
    value["apiVersion"] = json!(api_version);
    value["kind"] = json!(kind_name);
    value["metadata"]["name"] = json!(name);
    Object { kind, value }
}
