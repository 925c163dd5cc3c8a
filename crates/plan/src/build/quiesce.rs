//! The Job that holds writes for the cut of a backup. It lets go when it is deleted, and by itself when its time is
//! over.

use api::DatabaseBackup;
use api::names::{ANNOTATION_BACKUP_NAME, COMPONENT_QUIESCE, quiesce_job};
use serde_json::{Value, json};

use super::job::client;
use super::pod;
use super::volume_snapshot::owned_by;
use crate::valid::Subject;
use crate::{Kind, Object};

/// Seconds to wait for the engine's locks: a statement that runs longer than this keeps the backup from being quiesced.
pub const LOCK_WAIT_SECONDS: i64 = 10;
/// Seconds in which the Job's pod must be scheduled, pull its image and connect.
const START_SECONDS: i64 = 120;

/// The Job for this backup of the instance.
pub fn quiesce(subject: &Subject<'_>, backup: &DatabaseBackup) -> Object {
    let hold = i64::from(backup.spec.hold_seconds);
    let mut container = client(subject, COMPONENT_QUIESCE);
    container["resources"] =
        json!({"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}});
    if let Some(env) = container["env"].as_array_mut() {
        env.push(json!({"name": "BUDGET", "value": hold.to_string()}));
        env.push(json!({"name": "LOCK_WAIT", "value": LOCK_WAIT_SECONDS.to_string()}));
    }
    // The kubelet looks once a second at most: a look that waits for the lock tells of it at once, and writes are held
    // for a second less.
    container["readinessProbe"] = json!({
        "exec": {"command": ["bash", "-c", "until [ -e /tmp/held ]; do sleep 0.05; done"]},
        "periodSeconds": 1, "timeoutSeconds": LOCK_WAIT_SECONDS + 5, "failureThreshold": 1,
    });
    let mut spec = pod::spec(subject);
    spec["restartPolicy"] = json!("Never");
    spec["terminationGracePeriodSeconds"] = json!(5);
    spec["containers"] = json!([container]);
    let metadata: Value = json!({
        "labels": subject.labels(COMPONENT_QUIESCE),
        "annotations": {ANNOTATION_BACKUP_NAME: backup.metadata.name},
    });
    let (api_version, kind, _) = Kind::Job.api();
    let uid = backup.metadata.uid.as_deref().unwrap_or_default();
    Object {
        kind: Kind::Job,
        value: json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {
                "name": quiesce_job(uid), "namespace": subject.namespace,
                "labels": metadata["labels"], "annotations": metadata["annotations"],
                "ownerReferences": owned_by(backup),
            },
            "spec": {
                "backoffLimit": 0,
                "activeDeadlineSeconds": START_SECONDS + LOCK_WAIT_SECONDS + hold,
                "template": {"metadata": metadata, "spec": spec},
            },
        }),
    }
}
