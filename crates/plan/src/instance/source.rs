//! Where the data comes from. spec.restoreFrom matters only until the volume claim is made; from then on the claim says it.
//!
//! A snapshot of another namespace is read by a pair of objects of our own, which go as soon as the volume is there.

use std::time::Duration;

use api::DatabaseInstance;
use api::condition::reason;
use api::external::snapshot::{VolumeSnapshot, VolumeSnapshotContent};
use api::instance::Phase;
use api::names::{
    ANNOTATION_INSTANCE, ANNOTATION_RESTORED_FROM, FINALIZER_SNAPSHOT_COPY, snapshot_content_copy,
    snapshot_copy as copy_name,
};
use api::restore::RestoredFrom;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::conditions::has_served;
use super::{Class, Decision, Observed, facts};
use crate::build::{Subject, snapshot_copy};
use crate::restore::preflight::{self, Facts, Source, Wanted};
use crate::{Invalid, Kind, Write};

/// What a pass reads about the origin of the data.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The backup; read only while [`needs_backup`].
    pub backup: Option<Source>,
    /// The VolumeSnapshotContent of the backup, if it is in another namespace.
    pub content: Sight,
    /// The VolumeSnapshot by which it is read; read only while [`needs_copy`], as is the next.
    pub copy: Option<VolumeSnapshot>,
    /// The content of that.
    pub copy_content: Sight,
}

/// An object that the operator may have no right to see.
#[derive(Clone, Debug, Default)]
pub enum Sight {
    /// It was not looked for, or is not there.
    #[default]
    Absent,
    /// The operator may not look.
    Forbidden,
    /// It is there.
    Found(Box<VolumeSnapshotContent>),
}

/// The backup that the volume is to be made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// What the backup has.
    pub facts: Facts,
    /// Whether it is in another namespace.
    pub crosses: bool,
}

impl Origin {
    /// The VolumeSnapshot in the instance's namespace.
    pub fn data_source(&self, cr: &DatabaseInstance) -> String {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        if self.crosses {
            copy_name(&text(&cr.metadata.name), &text(&cr.metadata.uid))
        } else {
            self.facts.snapshot.clone()
        }
    }
}

/// Whether the pass must read the backup: the volume is still to be made, for the first time.
pub fn needs_backup(cr: &DatabaseInstance, claim: Option<&PersistentVolumeClaim>) -> bool {
    awaits_backup(cr) && claim.is_none() && cr.metadata.deletion_timestamp.is_none()
}

/// Whether the pass must look for the pair of objects by which another namespace's snapshot is read.
pub fn needs_copy(cr: &DatabaseInstance, claim: Option<&PersistentVolumeClaim>) -> bool {
    holds(cr) || needs_backup(cr, claim) && crosses(cr)
}

/// Whether the instance is to start from a backup and has not served yet.
pub fn awaits_backup(cr: &DatabaseInstance) -> bool {
    cr.spec.restore_from.is_some() && !has_served(cr)
}

/// Whether the instance's volume is being made from its backup, or may be: without the snapshot it would never be complete.
pub fn uses_backup(cr: &DatabaseInstance) -> bool {
    let phase = cr.status.as_ref().and_then(|status| status.phase);
    awaits_backup(cr) && phase.is_some_and(|phase| phase != Phase::Pending)
}

/// Whether the backup is in another namespace.
fn crosses(cr: &DatabaseInstance) -> bool {
    let reference = cr.spec.restore_from.as_ref().map(|from| &from.backup);
    let namespace = reference.and_then(|backup| backup.namespace.as_ref());
    namespace.is_some() && namespace != cr.metadata.namespace.as_ref()
}

/// Whether the finalizer is there.
fn holds(cr: &DatabaseInstance) -> bool {
    let finalizers = cr.metadata.finalizers.as_deref().unwrap_or_default();
    finalizers
        .iter()
        .any(|held| held == FINALIZER_SNAPSHOT_COPY)
}

/// What the data of a claim was restored from.
pub fn of_claim(claim: &PersistentVolumeClaim) -> Option<RestoredFrom> {
    let text = facts::annotation(&claim.metadata, ANNOTATION_RESTORED_FROM)?;
    serde_json::from_str(text).ok()
}

/// Whether the first start from a backup is under way: a claim that is older than the resource was kept, not restored for it.
pub fn is_restoring(subject: &Subject<'_>, observed: &Observed) -> bool {
    let cr = subject.cr;
    subject.restored_from.is_some()
        && !has_served(cr)
        && observed
            .claim
            .as_ref()
            .is_none_or(|claim| is_made_for(cr, claim))
}

/// Whether the claim is not older than the resource.
pub fn is_made_for(cr: &DatabaseInstance, claim: &PersistentVolumeClaim) -> bool {
    let made = |metadata: &ObjectMeta| metadata.creation_timestamp.as_ref().map(|at| at.0);
    made(&claim.metadata) >= made(&cr.metadata)
}

/// The backup to start from, if there is one to start from; everything about it is checked.
pub fn origin(cr: &DatabaseInstance, observed: &Observed) -> Decision<Option<Origin>> {
    let spec = &cr.spec;
    let (Some(from), Some(source)) = (&spec.restore_from, &observed.origin.backup) else {
        return Ok(None);
    };
    if !needs_backup(cr, observed.claim.as_ref()) {
        return Ok(None);
    }
    if from.if_exists && !crosses(cr) && matches!(source, Source::Unavailable) {
        return Ok(None);
    }
    let wanted = Wanted {
        namespace: cr.metadata.namespace.as_deref().unwrap_or_default(),
        backup: &from.backup,
        field: "spec.restoreFrom.backup",
        fields: "spec",
        engine: Some(spec.engine),
        version: spec.version.as_deref(),
        database: spec.database.as_deref(),
        username: Some(&spec.username),
        size: Some(&spec.storage.size.0),
        provisioner: match &observed.storage_class {
            Class::Found { provisioner, .. } => Some(provisioner),
            Class::Missing | Class::Unread => None,
        },
    };
    let facts = preflight::check(&wanted, source, &observed.catalog)?;
    Ok(Some(Origin {
        facts,
        crosses: crosses(cr),
    }))
}

/// Makes the pair of objects if one is needed; `Ok` as soon as the volume can be made.
pub fn copied(
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
pub fn pair(
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
        .map(|(kind, metadata)| Write::Delete {
            kind: *kind,
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
        });
    // What may not be seen can only have been made if the finalizer is there.
    let unseen = matches!(observed.origin.copy_content, Sight::Forbidden) && holds(cr);
    Pair {
        writes: writes.collect(),
        remains: !ours.is_empty() || unseen,
        leaves: true,
        unseen,
    }
}
