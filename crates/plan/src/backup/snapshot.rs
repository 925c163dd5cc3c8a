//! The VolumeSnapshot of a backup as it was observed: whose it is, what its driver says, and how it goes.

use api::DatabaseBackup;
use api::backup::SnapshotStatus;
use api::external::snapshot::{VolumeSnapshot, VolumeSnapshotStatus};
use api::names::ANNOTATION_BACKUP;

use super::{Observed, SnapshotClasses};
use crate::build::volume_snapshot::owners;
use crate::child::is_made_for;
use crate::difference::change_owners;
use crate::facts::sentence;
use crate::{Kind, Write};

/// What the status says of it.
pub fn snapshot_status(
    before: &Option<SnapshotStatus>,
    snapshot: &VolumeSnapshot,
    seen: &VolumeSnapshotStatus,
    observed: &Observed,
) -> SnapshotStatus {
    let class_name = snapshot.spec.volume_snapshot_class_name.clone();
    let driver = before
        .as_ref()
        .and_then(|before| before.driver.clone())
        .or_else(|| match &observed.classes {
            SnapshotClasses::Found(classes) => classes
                .iter()
                .find(|class| class.metadata.name == class_name)
                .map(|class| class.driver.clone()),
            SnapshotClasses::Unread | SnapshotClasses::NoApi => None,
        });
    SnapshotStatus {
        name: snapshot.metadata.name.clone().unwrap_or_default(),
        content_name: seen.bound_volume_snapshot_content_name.clone(),
        class_name,
        driver,
    }
}

/// What the driver complains about, with what a person can do.
pub fn driver_error(seen: &VolumeSnapshotStatus) -> Option<String> {
    let said = driver_words(seen)?;
    Some(format!(
        "{said} It is tried again until spec.deadlineSeconds are over; look at the VolumeSnapshotClass and at the \
            driver's log."
    ))
}

pub fn driver_words(seen: &VolumeSnapshotStatus) -> Option<String> {
    let said = seen.error.as_ref()?.message.clone().unwrap_or_default();
    Some(format!("The storage driver reports: {}.", sentence(&said)))
}

/// Deletes the Job that holds writes.
pub fn release(observed: &Observed) -> Vec<Write> {
    let job = observed
        .job
        .iter()
        .filter(|job| job.metadata.deletion_timestamp.is_none());
    job.map(|job| Write::delete(Kind::Job, &job.metadata))
        .collect()
}

/// Deletes all that a failed backup made; the hold first.
pub fn clean_up(cr: &DatabaseBackup, observed: &Observed) -> Vec<Write> {
    let mut writes = release(observed);
    let snapshot = observed
        .snapshot
        .iter()
        .filter(|snapshot| is_own(cr, snapshot) && snapshot.metadata.deletion_timestamp.is_none());
    writes.extend(snapshot.map(|snapshot| Write::delete(Kind::VolumeSnapshot, &snapshot.metadata)));
    writes
}

/// Whether the snapshot was made for this very backup, and not for a namesake or by a conflict.
pub fn is_own(cr: &DatabaseBackup, snapshot: &VolumeSnapshot) -> bool {
    is_made_for(
        &snapshot.metadata,
        ANNOTATION_BACKUP,
        cr.metadata.uid.as_deref(),
    )
}

/// The snapshot's fate follows spec.deletionPolicy.
pub fn fate(cr: &DatabaseBackup, snapshot: &VolumeSnapshot) -> Option<Write> {
    change_owners(Kind::VolumeSnapshot, &snapshot.metadata, owners(cr))
}
