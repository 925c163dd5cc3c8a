//! Where the data comes from. spec.restoreFrom matters only until the volume claim is made; from then on the claim says
//! it.

use api::DatabaseInstance;
use api::external::snapshot::{VolumeSnapshot, VolumeSnapshotContent};
use api::names::{
    ANNOTATION_RESTORED_FROM, FINALIZER_IMPORTED_SNAPSHOT, imported_snapshot as copy_name,
};
use api::restore::RestoredFrom;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Decision, Observed};
use crate::facts;
use crate::names;
use crate::origin::{self, Facts, Source, Wanted};
use crate::reading::instance::{awaits_backup, has_served};
use crate::storage_class::StorageClass;
use crate::valid::Subject;

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
    pub imported_content: Sight,
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

/// Whether the pass must look for the imported snapshot, a pair of objects, by which another namespace's snapshot is
/// read.
pub fn needs_copy(cr: &DatabaseInstance, claim: Option<&PersistentVolumeClaim>) -> bool {
    has_finalizer(cr) || needs_backup(cr, claim) && crosses(cr)
}

/// Whether the backup is in another namespace.
fn crosses(cr: &DatabaseInstance) -> bool {
    let reference = cr.spec.restore_from.as_ref().map(|from| &from.backup);
    let namespace = reference.and_then(|backup| backup.namespace.as_ref());
    namespace.is_some() && namespace != cr.metadata.namespace.as_ref()
}

/// Whether the finalizer is there.
pub(super) fn has_finalizer(cr: &DatabaseInstance) -> bool {
    let finalizers = cr.metadata.finalizers.as_deref().unwrap_or_default();
    finalizers
        .iter()
        .any(|held| held == FINALIZER_IMPORTED_SNAPSHOT)
}

/// What the data of a claim was restored from.
pub fn of_claim(claim: &PersistentVolumeClaim) -> Option<RestoredFrom> {
    let text = facts::annotation(&claim.metadata, ANNOTATION_RESTORED_FROM)?;
    serde_json::from_str(text).ok()
}

/// Whether the first start from a backup is under way: a claim that is older than the resource was kept, not restored
/// for it.
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
    names::check_backup("spec.restoreFrom.backup", &from.backup)?;
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
            StorageClass::Found { provisioner, .. } => Some(provisioner),
            StorageClass::Missing | StorageClass::Unread => None,
        },
    };
    let facts = origin::check(&wanted, source, &observed.catalog)?;
    Ok(Some(Origin {
        facts,
        crosses: crosses(cr),
    }))
}
