//! Reads the backup that a restore names, in whichever namespace it is.

use api::external::snapshot::{VolumeSnapshot, VolumeSnapshotClass, VolumeSnapshotContent};
use api::names::{imported_content_name, imported_snapshot};
use api::restore::BackupReference;
use api::{DatabaseBackup, DatabaseInstance};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use plan::instance::source::{Seen, Sight, needs_backup, needs_copy};
use plan::origin::{Snapshot, Source};

use super::reader::{Reader, get_global, list_global};
use crate::context::Context;
use crate::error::Error;

/// The backup of this name and its snapshot, as they are seen from a namespace.
pub async fn source(
    context: &Context,
    namespace: &str,
    reference: &BackupReference,
) -> Result<Source, Error> {
    let reader = Reader {
        context,
        namespace: reference.namespace.as_deref().unwrap_or(namespace),
    };
    let backup = match reader.get::<DatabaseBackup>(&reference.name).await {
        Ok(Some(backup)) => Box::new(backup),
        Ok(None) => return Ok(Source::Unavailable),
        // An operator of one namespace sees no other one.
        Err(error) if error.is_forbidden() && reader.namespace != namespace => {
            return Ok(Source::Unavailable);
        }
        Err(error) => return Err(error),
    };
    let snapshot = match reader.get::<VolumeSnapshot>(&reference.name).await? {
        Some(snapshot) => Snapshot::Found(Box::new(snapshot)),
        None => match list_global::<VolumeSnapshotClass>(context).await? {
            Some(_) => Snapshot::Missing,
            None => Snapshot::NoApi,
        },
    };
    Ok(Source::Found { backup, snapshot })
}

/// What an instance's pass must know of the origin of its data.
pub async fn seen(
    context: &Context,
    cr: &DatabaseInstance,
    claim: Option<&PersistentVolumeClaim>,
) -> Result<Seen, Error> {
    let namespace = cr.namespace().unwrap_or_default();
    let mut seen = Seen::default();
    if let Some(from) = cr
        .spec
        .restore_from
        .as_ref()
        .filter(|_| needs_backup(cr, claim))
    {
        seen.backup = Some(source(context, &namespace, &from.backup).await?);
    }
    if !needs_copy(cr, claim) {
        return Ok(seen);
    }
    let uid = cr.uid().unwrap_or_default();
    let reader = Reader {
        context,
        namespace: &namespace,
    };
    seen.copy = reader.get(&imported_snapshot(&cr.name_any(), &uid)).await?;
    seen.imported_content = content(context, &imported_content_name(&uid)).await?;
    let bound = seen.backup.as_ref().and_then(|source| match source {
        Source::Found {
            snapshot: Snapshot::Found(snapshot),
            ..
        } => snapshot
            .status
            .as_ref()?
            .bound_volume_snapshot_content_name
            .clone(),
        _ => None,
    });
    if let Some(bound) = bound {
        seen.content = content(context, &bound).await?;
    }
    Ok(seen)
}

async fn content(context: &Context, name: &str) -> Result<Sight, Error> {
    match get_global::<VolumeSnapshotContent>(context, name).await {
        Ok(found) => Ok(found.map_or(Sight::Absent, |content| Sight::Found(Box::new(content)))),
        Err(error) if error.is_forbidden() => Ok(Sight::Forbidden),
        Err(error) => Err(error),
    }
}
