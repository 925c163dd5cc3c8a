//! The last backup of an instance before its data goes: how it is asked for, and what proves that it is good.
//!
//! Its status alone is not enough: who may write that could have the data deleted. What counts besides is what only the
//! API server, the snapshot-controller and the storage write.

use api::names::{ANNOTATION_BACKUP, LABEL_FINAL, final_backup};
use api::{DatabaseBackup, DatabaseInstance};
use serde_json::json;

use super::Observed;
use super::backups::backup;
use crate::Object;
use crate::child::is_made_for;
use crate::facts::label;
use crate::reading::backup::is_good;

/// Its name.
pub fn name(cr: &DatabaseInstance) -> String {
    final_backup(
        cr.metadata.name.as_deref().unwrap_or_default(),
        cr.metadata.uid.as_deref().unwrap_or_default(),
    )
}

/// What has its name, if it was begun.
pub fn taken<'a>(cr: &DatabaseInstance, observed: &'a Observed) -> Option<&'a DatabaseBackup> {
    let name = name(cr);
    let mut backups = observed.backups.iter();
    backups.find(|backup| backup.metadata.name.as_ref() == Some(&name))
}

/// Whether it was asked for after the resource was deleted: one from before does not have what was written since.
pub fn is_ours(cr: &DatabaseInstance, last: &DatabaseBackup) -> bool {
    let deleted = cr.metadata.deletion_timestamp.as_ref().map(|at| at.0);
    let created = last.metadata.creation_timestamp.as_ref().map(|at| at.0);
    label(&last.metadata, LABEL_FINAL) == Some("true")
        && last.spec.method == api::backup::Method::Offline
        && Some(&last.spec.instance) == cr.metadata.name.as_ref()
        && created.is_some()
        && created >= deleted
}

/// Whether it says that it is good, of this very instance, and its snapshot of the very claim is there and complete.
pub fn is_proved(cr: &DatabaseInstance, observed: &Observed, last: &DatabaseBackup) -> bool {
    let source = last
        .status
        .as_ref()
        .and_then(|status| status.source.as_ref());
    let of_this = source.is_some_and(|source| Some(&source.uid) == cr.metadata.uid.as_ref());
    let complete = observed.last_snapshot.as_ref().is_some_and(|snapshot| {
        let of_claim = &snapshot.spec.source.persistent_volume_claim_name;
        let status = snapshot.status.as_ref();
        is_made_for(
            &snapshot.metadata,
            ANNOTATION_BACKUP,
            last.metadata.uid.as_deref(),
        ) && of_claim.as_ref() == cr.metadata.name.as_ref()
            && snapshot.metadata.deletion_timestamp.is_none()
            && status.is_some_and(|status| status.ready_to_use == Some(true))
    });
    is_good(last) && of_this && complete
}

/// The backup as it is asked for.
pub fn wanted(cr: &DatabaseInstance, name: &str) -> Object {
    let mut spec = json!({"instance": cr.metadata.name, "method": "Offline"});
    if let Some(scheduled) = &cr.spec.backup {
        if let Some(class) = &scheduled.snapshot_class_name {
            spec["snapshotClassName"] = json!(class);
        }
        if !scheduled.allowed_namespaces.is_empty() {
            spec["allowedNamespaces"] = json!(scheduled.allowed_namespaces);
        }
    }
    backup(cr, name, json!({LABEL_FINAL: "true"}), spec)
}
