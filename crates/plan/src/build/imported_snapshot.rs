//! The VolumeSnapshotContent and the VolumeSnapshot by which an instance reads a snapshot of another namespace. Both
//! only name the snapshot: deleting them leaves it alone.

use api::external::snapshot::VolumeSnapshotContentSpec;
use api::names::{
    ANNOTATION_INSTANCE, ANNOTATION_INSTANCE_NAMESPACE, COMPONENT_IMPORTED_SNAPSHOT,
    imported_content_name, imported_snapshot,
};
use serde_json::{Value, json};

use crate::child::Owner;
use crate::valid::Subject;
use crate::{Kind, Object};

/// What the snapshot controller puts on a content when its VolumeSnapshot goes, and without which the storage's sidecar
/// never lets go of one that is being deleted. It misses that if the VolumeSnapshot goes before it is bound, so ours
/// bears the mark from its beginning: until the content is deleted it says nothing. external-snapshotter,
/// pkg/sidecar-controller, shouldDelete.
const ANNOTATION_BEING_DELETED: &str =
    "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";

/// The content, which names the snapshot as the storage knows it, by `handle`. All else is said by the snapshot's own
/// content.
pub fn content(
    subject: &Subject<'_>,
    original: &VolumeSnapshotContentSpec,
    handle: &str,
) -> Object {
    let mut value = json!({"spec": {
        "driver": original.driver,
        "deletionPolicy": "Retain",
        "source": {"snapshotHandle": handle},
        "volumeSnapshotRef": {"namespace": subject.namespace, "name": imported_snapshot(subject.name, subject.uid)},
    }});
    if let Some(mode) = &original.source_volume_mode {
        value["spec"]["sourceVolumeMode"] = json!(mode);
    }
    mark(subject, &mut value);
    value["metadata"]["annotations"][ANNOTATION_BEING_DELETED] = json!("yes");
    object(
        Kind::VolumeSnapshotContent,
        &imported_content_name(subject.uid),
        value,
    )
}

/// The VolumeSnapshot of that content.
pub fn snapshot(subject: &Subject<'_>) -> Object {
    let content = imported_content_name(subject.uid);
    let mut value = json!({"spec": {"source": {"volumeSnapshotContentName": content}}});
    mark(subject, &mut value);
    value["metadata"]["namespace"] = json!(subject.namespace);
    // So that it goes also if the instance's finalizer, which deletes it, is torn off.
    value["metadata"]["ownerReferences"] = Owner::instance(subject.cr).references();
    object(
        Kind::VolumeSnapshot,
        &imported_snapshot(subject.name, subject.uid),
        value,
    )
}

/// Whose they are. The content belongs to no namespace, so it says in which one its instance is.
fn mark(subject: &Subject<'_>, value: &mut Value) {
    value["metadata"]["labels"] = subject.labels(COMPONENT_IMPORTED_SNAPSHOT);
    value["metadata"]["annotations"] = json!({
        ANNOTATION_INSTANCE: subject.uid,
        ANNOTATION_INSTANCE_NAMESPACE: subject.namespace,
    });
}

fn object(kind: Kind, name: &str, mut value: Value) -> Object {
    let (api_version, kind_name, _) = kind.api();
    value["apiVersion"] = json!(api_version);
    value["kind"] = json!(kind_name);
    value["metadata"]["name"] = json!(name);
    Object { kind, value }
}
