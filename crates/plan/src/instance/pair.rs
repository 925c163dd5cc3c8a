//! The pair of objects by which an instance reads a snapshot of another namespace; they go as soon as the volume is there.

use std::time::Duration;

use api::DatabaseInstance;
use api::condition::reason;
use api::external::snapshot::VolumeSnapshotContent;
use api::names::{ANNOTATION_INSTANCE, snapshot_content_copy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::source::{Origin, Sight, holds};
use super::{Decision, Observed};
use crate::build::{Subject, snapshot_copy};
use crate::facts;
use crate::{Invalid, Kind, Write};

/// Makes the pair of objects if one is needed; `Ok` as soon as the volume can be made.
pub fn make(
    subject: &Subject<'_>,
    observed: &Observed,
    origin: Option<&Origin>,
    writes: &mut Vec<Write>,
) -> Decision<()> {
    let Some(origin) = origin.filter(|origin| origin.crosses) else {
        return Ok(());
    };
    let seen = &observed.origin;
    let (Sight::Absent | Sight::Found(_), Sight::Absent | Sight::Found(_)) =
        (&seen.content, &seen.copy_content)
    else {
        return Err(forbidden());
    };
    let leaves = |metadata: &ObjectMeta| metadata.deletion_timestamp.is_some();
    let former = seen.copy.as_ref().map(|copy| &copy.metadata);
    let former_content = copy_content(observed).map(|content| &content.metadata);
    if former.is_some_and(leaves) || former_content.is_some_and(leaves) {
        let message = "The objects of a former attempt are being deleted; then it begins anew.";
        return Err(Invalid::surroundings(reason::RESTORING, message));
    }
    if let Some((kind, metadata)) = strangers(subject.uid, observed).next() {
        return Err(Invalid::surroundings(
            reason::NAME_TAKEN,
            format!(
                "There is a {kind} {} that does not belong to this instance. Rename or delete it, or create the instance under another name.",
                metadata.name.as_deref().unwrap_or_default()
            ),
        ));
    }
    let handle = match &seen.content {
        Sight::Found(content) => content
            .status
            .as_ref()
            .and_then(|status| status.snapshot_handle.clone()),
        Sight::Absent | Sight::Forbidden => None,
    };
    let Some(handle) = handle else {
        return Err(Invalid::surroundings(
            reason::BACKUP_UNUSABLE,
            format!(
                "spec.restoreFrom.backup: the DatabaseBackup {} cannot be restored: the VolumeSnapshotContent of its snapshot is gone. Restore another one.",
                origin.facts.restored_from.backup
            ),
        ));
    };
    if matches!(seen.copy_content, Sight::Absent) {
        writes.push(Write::Create(snapshot_copy::content(
            subject,
            &origin.facts.driver,
            &handle,
        )));
    }
    if seen.copy.is_none() {
        writes.push(Write::Create(snapshot_copy::snapshot(subject)));
    }
    let state = seen.copy.as_ref().and_then(|copy| copy.status.as_ref());
    if writes.is_empty() && state.is_some_and(|state| state.ready_to_use == Some(true)) {
        return Ok(());
    }
    let error = state
        .and_then(|state| state.error.as_ref()?.message.as_deref())
        .map(|error| format!(" The storage says: {}.", error.trim_end_matches('.')))
        .unwrap_or_default();
    let message =
        format!("The snapshot of the other namespace is being made readable in this one.{error}");
    Err(Invalid::surroundings(reason::RESTORING, message))
}

fn forbidden() -> Invalid {
    Invalid::surroundings(
        reason::CROSS_NAMESPACE_FORBIDDEN,
        "spec.restoreFrom.backup.namespace: a restore from another namespace makes a VolumeSnapshotContent, and the operator has no right to. Apply deploy/cluster-wide/cross-namespace.yaml, or take a backup in this namespace.",
    )
}

/// What has the name of one of the pair and is not ours.
fn strangers<'a>(
    uid: &str,
    observed: &'a Observed,
) -> impl Iterator<Item = (&'static str, &'a ObjectMeta)> {
    let content = copy_content(observed);
    let copy = observed.origin.copy.as_ref();
    let stranger = copy.filter(|copy| {
        let source = &copy.spec.source.volume_snapshot_content_name;
        !is_ours(uid, &copy.metadata)
            || source.as_deref() != Some(snapshot_content_copy(uid).as_str())
    });
    let foreign = content.filter(|content| !is_ours(uid, &content.metadata));
    let stranger = stranger.map(|copy| ("VolumeSnapshot", &copy.metadata));
    let foreign = foreign.map(|content| ("VolumeSnapshotContent", &content.metadata));
    stranger.into_iter().chain(foreign)
}

fn is_ours(uid: &str, metadata: &ObjectMeta) -> bool {
    facts::annotation(metadata, ANNOTATION_INSTANCE) == Some(uid)
}

fn copy_content(observed: &Observed) -> Option<&VolumeSnapshotContent> {
    match &observed.origin.copy_content {
        Sight::Found(content) => Some(content),
        Sight::Absent | Sight::Forbidden => None,
    }
}

/// What becomes of the pair.
pub struct Pair {
    /// What is made or deleted of it.
    pub writes: Vec<Write>,
    /// Whether something of it is there, or may be from now on.
    pub remains: bool,
    /// Whether it is being deleted.
    leaves: bool,
    /// Whether the operator may not look for it any more.
    unseen: bool,
}

impl Pair {
    /// Contents are not watched: while one is on its way out it is looked for again.
    pub fn recheck(&self) -> Option<Duration> {
        let pause = if self.unseen { 15 } else { 1 };
        (self.leaves && self.remains).then_some(Duration::from_secs(pause))
    }

    /// What keeps a resource from being let go although everything else is done.
    pub fn lacks_rights(&self, over: bool) -> Option<&'static str> {
        (over && self.unseen).then_some("The VolumeSnapshotContent that was made for the restore cannot be deleted: the operator has no right to. Apply deploy/cluster-wide/cross-namespace.yaml until the resource is gone.")
    }
}

/// Keeps the pair until the volume is there, also while something else is wrong; then, or if it never comes to that, the pair
/// goes. `made` is what is still missing of it.
pub fn decide(
    cr: &DatabaseInstance,
    observed: &Observed,
    refusal: Option<&Invalid>,
    made: Vec<Write>,
) -> Pair {
    let ends = clean(cr, observed);
    let needed = match &observed.claim {
        Some(claim) => !facts::is_bound(claim),
        None => refusal.is_none_or(|refusal| refusal.reason == reason::RESTORING),
    };
    if !needed {
        return ends;
    }
    Pair {
        remains: ends.remains || !made.is_empty(),
        writes: made,
        leaves: false,
        unseen: false,
    }
}

/// Deletes the pair: the VolumeSnapshot first, because its controller is what lets go of the content.
pub fn clean(cr: &DatabaseInstance, observed: &Observed) -> Pair {
    let uid = cr.metadata.uid.as_deref().unwrap_or_default();
    let copy = observed.origin.copy.as_ref();
    let pair = [
        (Kind::VolumeSnapshot, copy.map(|copy| &copy.metadata)),
        (
            Kind::VolumeSnapshotContent,
            copy_content(observed).map(|content| &content.metadata),
        ),
    ];
    let ours: Vec<_> = pair
        .into_iter()
        .filter_map(|(kind, metadata)| Some((kind, metadata?)))
        .filter(|(_, metadata)| is_ours(uid, metadata))
        .collect();
    let writes = ours
        .iter()
        .filter(|(_, metadata)| metadata.deletion_timestamp.is_none())
        .map(|(kind, metadata)| Write::delete(*kind, metadata));
    // What may not be seen can only have been made if the finalizer is there.
    let unseen = matches!(observed.origin.copy_content, Sight::Forbidden) && holds(cr);
    Pair {
        writes: writes.collect(),
        remains: !ours.is_empty() || unseen,
        leaves: true,
        unseen,
    }
}
