//! The VolumeSnapshot of a backup.

use api::DatabaseBackup;
use api::backup::{BackupSource, SnapshotPolicy};
use api::names::{
    ANNOTATION_BACKUP, ANNOTATION_DATABASE, ANNOTATION_ENGINE, ANNOTATION_USERNAME,
    ANNOTATION_VERSION, COMPONENT_BACKUP, labels,
};
use serde_json::{Value, json};

use crate::child::owner_reference;
use crate::{Kind, Object};

/// A snapshot that says whose it is and what is in it: one that is retained must be understood without its backup.
pub fn volume_snapshot(cr: &DatabaseBackup, source: &BackupSource, class: &str) -> Object {
    let (api_version, kind, _) = Kind::VolumeSnapshot.api();
    Object {
        kind: Kind::VolumeSnapshot,
        value: json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {
                "name": cr.metadata.name, "namespace": cr.metadata.namespace,
                "labels": labels(&source.instance, source.engine, &source.version, COMPONENT_BACKUP),
                "annotations": {
                    ANNOTATION_BACKUP: cr.metadata.uid,
                    ANNOTATION_ENGINE: source.engine.name(),
                    ANNOTATION_VERSION: source.version,
                    ANNOTATION_DATABASE: source.database,
                    ANNOTATION_USERNAME: source.username,
                },
                "ownerReferences": owners(cr),
            },
            "spec": {"volumeSnapshotClassName": class, "source": {"persistentVolumeClaimName": source.pvc}},
        }),
    }
}

/// A snapshot that is to be deleted with its backup is owned by it.
pub fn owners(cr: &DatabaseBackup) -> Value {
    match cr.spec.deletion_policy {
        SnapshotPolicy::Delete => owned_by(cr),
        SnapshotPolicy::Retain => json!([]),
    }
}

/// The owner references by which Kubernetes deletes what a backup made.
pub fn owned_by(cr: &DatabaseBackup) -> Value {
    json!([owner_reference(Kind::DatabaseBackup, &cr.metadata)])
}
