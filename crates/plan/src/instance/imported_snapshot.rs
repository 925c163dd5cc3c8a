//! The imported snapshot, a pair of objects by which an instance reads a snapshot of another namespace; they go as soon
//! as the volume is there.

use std::time::Duration;

use api::DatabaseInstance;
use api::condition::reason;
use api::external::snapshot::VolumeSnapshotContent;
use api::names::{ANNOTATION_INSTANCE, FINALIZER_IMPORTED_SNAPSHOT, imported_content_name};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::source::{Origin, Sight, has_finalizer};
use super::validate::taken;
use super::{Decision, Observed};
use crate::build::imported_snapshot;
use crate::child::is_made_for;
use crate::facts;
use crate::quote::quoted;
use crate::step::Step;
use crate::valid::Subject;
use crate::{Invalid, Kind, Write};

/// While the imported snapshot is being made it is looked at again so much later.
const COPY_SECONDS: u64 = 3;
/// While it is being deleted.
const GOING_SECONDS: u64 = 1;
/// What has not come or gone after a minute may never: its storage fails, or somebody's finalizer holds it.
const HELD_SECONDS: u64 = 15;

/// When to look again at what goes.
fn look_again<'a>(going: impl IntoIterator<Item = &'a ObjectMeta>, quick: u64, now: &Time) -> u64 {
    let mut since = going
        .into_iter()
        .filter_map(|it| it.deletion_timestamp.as_ref());
    match since.any(|since| facts::seconds_since(Some(since), now) > 60) {
        true => HELD_SECONDS,
        false => quick,
    }
}

/// Makes the imported snapshot, a pair of objects, if one is needed; `Ok` as soon as the volume can be made.
pub fn make(
    subject: &Subject<'_>,
    observed: &Observed,
    origin: Option<&Origin>,
    writes: &mut Vec<Write>,
    now: &Time,
) -> Decision<()> {
    let Some(origin) = origin.filter(|origin| origin.crosses) else {
        return Ok(());
    };
    let seen = &observed.origin;
    let (Sight::Absent | Sight::Found(_), Sight::Absent | Sight::Found(_)) =
        (&seen.content, &seen.imported_content)
    else {
        return Err(forbidden());
    };
    let leaves = |metadata: &ObjectMeta| metadata.deletion_timestamp.is_some();
    let former = seen.copy.as_ref().map(|copy| &copy.metadata);
    let former_content = content(observed).map(|content| &content.metadata);
    if former.is_some_and(leaves) || former_content.is_some_and(leaves) {
        let message = "The objects of a former attempt are being deleted; then it begins anew.";
        let pause = look_again(former.into_iter().chain(former_content), COPY_SECONDS, now);
        return Err(Invalid::wait(reason::RESTORING, message, pause));
    }
    if let Some((kind, metadata)) = conflicts(subject.uid, observed).next() {
        return Err(taken(kind, metadata, "Rename or delete it"));
    }
    let original = original(origin, &seen.content);
    let handle = original.and_then(|content| content.status.as_ref()?.snapshot_handle.as_ref());
    let (Some(original), Some(handle)) = (original, handle) else {
        return Err(Invalid::surroundings(
            reason::BACKUP_UNUSABLE,
            format!(
                "spec.restoreFrom.backup: the DatabaseBackup {} cannot be restored: there is no VolumeSnapshotContent \
                    that belongs to its snapshot. Restore another one.",
                quoted(&origin.facts.restored_from.backup)
            ),
        ));
    };
    if matches!(seen.imported_content, Sight::Absent) {
        writes.push(Write::Create(imported_snapshot::content(
            subject,
            &original.spec,
            handle,
        )));
    }
    if seen.copy.is_none() {
        writes.push(Write::Create(imported_snapshot::snapshot(subject)));
    }
    let state = seen.copy.as_ref().and_then(|copy| copy.status.as_ref());
    if writes.is_empty() && state.is_some_and(|state| state.ready_to_use == Some(true)) {
        return Ok(());
    }
    let error = state
        .and_then(|state| state.error.as_ref()?.message.as_deref())
        .map(|error| format!(" The storage says: {}.", facts::sentence(error)))
        .unwrap_or_default();
    let message =
        format!("The snapshot of the other namespace is being made readable in this one.{error}");
    let made = former.and_then(|copy| copy.creation_timestamp.as_ref());
    let is_slow = made.is_some_and(|made| facts::seconds_since(Some(made), now) > 60);
    let pause = if is_slow { HELD_SECONDS } else { COPY_SECONDS };
    Err(Invalid::wait(reason::RESTORING, message, pause))
}

/// The content of the backup's snapshot. The snapshot's status names it, and that can be written in the snapshot's
/// namespace; so it counts only if the content itself says that it belongs to this very snapshot.
fn original<'a>(origin: &Origin, seen: &'a Sight) -> Option<&'a VolumeSnapshotContent> {
    let Sight::Found(content) = seen else {
        return None;
    };
    let facts = &origin.facts;
    let of = &content.spec.volume_snapshot_ref;
    let belongs = of.namespace == facts.restored_from.namespace
        && of.name.as_ref() == Some(&facts.snapshot)
        && of.uid.as_ref() == Some(&facts.snapshot_uid);
    let there = content.metadata.deletion_timestamp.is_none();
    (belongs && there && !facts.snapshot_uid.is_empty()).then_some(content.as_ref())
}

fn forbidden() -> Invalid {
    Invalid::surroundings(
        reason::CROSS_NAMESPACE_FORBIDDEN,
        "spec.restoreFrom.backup.namespace: a restore from another namespace makes a VolumeSnapshotContent, and the \
            operator has no right to. Apply deploy/cluster-wide/cross-namespace.yaml, or take a backup in this \
            namespace.",
    )
}

/// What has the name of the imported snapshot or its content and is not ours.
fn conflicts<'a>(
    uid: &str,
    observed: &'a Observed,
) -> impl Iterator<Item = (Kind, &'a ObjectMeta)> {
    let content = content(observed);
    let copy = observed.origin.copy.as_ref();
    let conflict = copy.filter(|copy| {
        let source = &copy.spec.source.volume_snapshot_content_name;
        !is_made_for(&copy.metadata, ANNOTATION_INSTANCE, Some(uid))
            || source.as_deref() != Some(imported_content_name(uid).as_str())
    });
    let foreign =
        content.filter(|content| !is_made_for(&content.metadata, ANNOTATION_INSTANCE, Some(uid)));
    let conflict = conflict.map(|copy| (Kind::VolumeSnapshot, &copy.metadata));
    let foreign = foreign.map(|content| (Kind::VolumeSnapshotContent, &content.metadata));
    conflict.into_iter().chain(foreign)
}

/// Whether a content of ours is no instance's any more, given what is there under the name of its instance.
pub fn is_orphan(content: &ObjectMeta, instance: Option<&ObjectMeta>) -> bool {
    let of = facts::annotation(content, ANNOTATION_INSTANCE);
    let ours = of.is_some_and(|uid| content.name.as_ref() == Some(&imported_content_name(uid)));
    let there = instance.is_some_and(|instance| instance.uid.as_deref() == of);
    ours && !there && content.deletion_timestamp.is_none()
}

fn content(observed: &Observed) -> Option<&VolumeSnapshotContent> {
    match &observed.origin.imported_content {
        Sight::Found(content) => Some(content),
        Sight::Absent | Sight::Forbidden => None,
    }
}

/// What becomes of the imported snapshot.
pub struct ImportedSnapshot {
    /// What is made or deleted of it.
    pub writes: Vec<Write>,
    /// Whether something of it is there, or may be from now on.
    pub remains: bool,
    /// When to look again while it is being deleted. Contents are not watched.
    again: Option<u64>,
    /// Whether the operator may not look for it any more.
    unseen: bool,
}

impl ImportedSnapshot {
    /// What is done about it, held by its finalizer.
    pub fn step(&self) -> Step {
        let finalizer = self.remains.then_some(FINALIZER_IMPORTED_SNAPSHOT);
        Step {
            writes: self.writes.clone(),
            finalizers: finalizer.into_iter().collect(),
            requeue: self.again.filter(|_| self.remains).map(Duration::from_secs),
            ..Step::default()
        }
    }

    /// What keeps a resource from being let go although everything else is done.
    pub fn lacks_rights(&self, over: bool) -> Option<&'static str> {
        (over && self.unseen).then_some("The VolumeSnapshotContent that was made for the restore cannot be deleted: \
            the operator has no right to. Apply deploy/cluster-wide/cross-namespace.yaml until the resource is gone.")
    }
}

/// Keeps the imported snapshot until the volume is there, also while something else is wrong; then, or if it never
/// comes to that, the imported snapshot goes. `made` is what is still missing of it.
pub fn decide(
    cr: &DatabaseInstance,
    observed: &Observed,
    refusal: Option<&Invalid>,
    made: Vec<Write>,
    now: &Time,
) -> ImportedSnapshot {
    let ends = clean(cr, observed, now);
    let needed = match &observed.claim {
        Some(claim) => !facts::is_bound(claim),
        None => refusal.is_none_or(Invalid::goes_on),
    };
    if !needed {
        return ends;
    }
    ImportedSnapshot {
        remains: ends.remains || !made.is_empty(),
        writes: made,
        again: None,
        unseen: false,
    }
}

/// Deletes the imported snapshot: the VolumeSnapshot first, because its controller is what lets go of the content.
pub fn clean(cr: &DatabaseInstance, observed: &Observed, now: &Time) -> ImportedSnapshot {
    let uid = cr.metadata.uid.as_deref().unwrap_or_default();
    let copy = observed.origin.copy.as_ref();
    let imported = [
        (Kind::VolumeSnapshot, copy.map(|copy| &copy.metadata)),
        (
            Kind::VolumeSnapshotContent,
            content(observed).map(|content| &content.metadata),
        ),
    ];
    let ours: Vec<_> = imported
        .into_iter()
        .filter_map(|(kind, metadata)| Some((kind, metadata?)))
        .filter(|(_, metadata)| is_made_for(metadata, ANNOTATION_INSTANCE, Some(uid)))
        .collect();
    let writes = ours
        .iter()
        .filter(|(_, metadata)| metadata.deletion_timestamp.is_none())
        .map(|(kind, metadata)| Write::delete(*kind, metadata));
    // What may not be seen can only have been made if the finalizer is there.
    let unseen = matches!(observed.origin.imported_content, Sight::Forbidden) && has_finalizer(cr);
    let going = ours.iter().map(|(_, metadata)| *metadata);
    ImportedSnapshot {
        writes: writes.collect(),
        remains: !ours.is_empty() || unseen,
        again: Some(match unseen {
            true => HELD_SECONDS,
            false => look_again(going, GOING_SECONDS, now),
        }),
        unseen,
    }
}
