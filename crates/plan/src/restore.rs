//! `DatabaseRestore`: checks everything, makes one instance, and writes down how that went.
//!
//! The instance does the work, as any with spec.restoreFrom does; the restore follows it to its first Ready and is then at its
//! end, whatever becomes of the instance.

pub mod preflight;
mod status;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use api::condition::{READY, STALLED, find, reason};
use api::names::ANNOTATION_PAUSED;
use api::restore::{RestorePhase, StorageOverride};
use api::{DatabaseInstance, DatabaseRestore, DatabaseRestoreStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::build::database_instance::{is_made_by, restored};
use crate::catalog::Catalog;
use crate::facts::{annotation, seconds_since};
use crate::instance::Class;
use crate::quantity::thousandths;
use crate::{Invalid, Write};
use preflight::{Facts, Source, Wanted};

pub use status::failed;

/// What a pass does and says about a restore.
pub type Plan = crate::Plan<DatabaseRestoreStatus>;

/// The world as one pass saw it; every field is a live read.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The engine catalog.
    pub catalog: Catalog,
    /// The backup.
    pub source: Source,
    /// The instance of spec.instance.
    pub instance: Option<DatabaseInstance>,
    /// Kind of an object of that name which holds the data or the passwords of a former instance.
    pub retained: Option<&'static str>,
    /// The storage class that the volume is to have.
    pub storage_class: Class,
}

/// An instance that has not served after so many seconds is not waited for any longer.
const DEADLINE_SECONDS: i64 = 3600;
/// While something is wrong that may be cured elsewhere.
const LATER: Duration = Duration::from_secs(15);

/// Whether the restore has come to its end.
pub fn is_finished(cr: &DatabaseRestore) -> bool {
    let phase = cr.status.as_ref().and_then(|status| status.phase);
    matches!(phase, Some(RestorePhase::Ready | RestorePhase::Failed))
}

/// Whether the pass must look at the backup: nothing was made yet.
pub fn needs_backup(cr: &DatabaseRestore) -> bool {
    !is_finished(cr) && !was_made(cr)
}

fn was_made(cr: &DatabaseRestore) -> bool {
    let phase = cr.status.as_ref().and_then(|status| status.phase);
    phase == Some(RestorePhase::Running)
}

/// The storage class of the new volume, as far as it is said: by the restore, else by the backup.
pub fn class_name<'a>(cr: &'a DatabaseRestore, source: &'a Source) -> Option<&'a str> {
    let asked = storage(cr).and_then(|storage| storage.class_name.as_deref());
    asked.or_else(|| match source {
        Source::Found { backup, .. } => {
            let source = backup.status.as_ref()?.source.as_ref()?;
            source.storage_class.as_deref()
        }
        Source::Unavailable => None,
    })
}

fn storage(cr: &DatabaseRestore) -> Option<&StorageOverride> {
    cr.spec.overrides.as_ref()?.storage.as_ref()
}

/// What should be done and said. Nothing here depends on anything but the arguments.
pub fn decide(cr: &DatabaseRestore, observed: &Observed, now: &Time) -> Plan {
    if is_finished(cr) || cr.metadata.deletion_timestamp.is_some() {
        return Plan {
            writes: Vec::new(),
            status: cr.status.clone().unwrap_or_default(),
            notices: Vec::new(),
            requeue: None,
        };
    }
    let made = observed
        .instance
        .as_ref()
        .filter(|instance| is_made_by(instance, cr));
    let (write, status, requeue) = match made {
        Some(instance) => {
            let (status, requeue) = follow(cr, instance, now);
            (None, status, requeue)
        }
        None if was_made(cr) => {
            let message = format!(
                "The instance {} was deleted before it accepted connections. Create another DatabaseRestore to try again.",
                cr.spec.instance
            );
            let status = status::ended(cr, reason::INSTANCE_NOT_FOUND, message, now);
            (None, status, None)
        }
        None => begin(cr, observed, now),
    };
    Plan {
        writes: write.into_iter().collect(),
        notices: status::notices(cr, &status),
        status,
        requeue,
    }
}

/// Makes the instance, if nothing speaks against it.
fn begin(
    cr: &DatabaseRestore,
    observed: &Observed,
    now: &Time,
) -> (Option<Write>, DatabaseRestoreStatus, Option<Duration>) {
    let checked = check(cr, observed).and_then(|ready| {
        let paused = annotation(&cr.metadata, ANNOTATION_PAUSED) == Some("true");
        let why = "The annotation minidbaas.dev/paused holds back what is to be done. Remove it to let it go on.";
        if paused { Err(Invalid::spec(reason::PAUSED, why)) } else { Ok(ready) }
    });
    match checked {
        Ok((facts, size)) => {
            let write = Write::Create(restored(cr, &facts, &size));
            let message = format!("The instance {} is being made.", cr.spec.instance);
            (Some(write), status::running(cr, None, message, now), None)
        }
        Err(invalid) => {
            let requeue = invalid.recheck.then_some(LATER);
            (None, status::waiting(cr, &invalid, now), requeue)
        }
    }
}

/// Everything that can be known before anything is made, and the size of the new volume.
fn check(cr: &DatabaseRestore, observed: &Observed) -> Result<(Facts, Quantity), Invalid> {
    let overrides = cr.spec.overrides.as_ref();
    let asked = storage(cr).and_then(|storage| storage.size.clone());
    let wanted = Wanted {
        namespace: cr.metadata.namespace.as_deref().unwrap_or_default(),
        backup: &cr.spec.backup,
        field: "spec.backup",
        fields: "spec.overrides",
        engine: None,
        version: overrides.and_then(|overrides| overrides.version.as_deref()),
        database: None,
        username: None,
        size: asked.as_ref().map(|size| size.0.as_str()),
        provisioner: match &observed.storage_class {
            Class::Found { provisioner, .. } => Some(provisioner),
            Class::Missing | Class::Unread => None,
        },
    };
    let facts = preflight::check(&wanted, &observed.source, &observed.catalog)?;
    let name = &cr.spec.instance;
    let taken = match (&observed.instance, observed.retained) {
        (Some(_), _) => Some(format!("there is a DatabaseInstance {name} already")),
        (None, Some(kind)) => Some(format!(
            "there is a {kind} {name}, kept from a former instance"
        )),
        (None, None) => None,
    };
    if let Some(taken) = taken {
        return Err(Invalid::surroundings(
            reason::INSTANCE_EXISTS,
            format!(
                "spec.instance: {taken}, and a restore overwrites nothing. Create another DatabaseRestore with another name, or delete what is there if it is not needed."
            ),
        ));
    }
    if observed.storage_class == Class::Missing {
        let message = match class_name(cr, &observed.source) {
            Some(class) => format!(
                "spec.overrides.storage.className: there is no StorageClass {class}. Create it, or create another DatabaseRestore with another class; `kubectl get storageclass` lists them."
            ),
            None => "The cluster has no default StorageClass. Mark one as default, or create another DatabaseRestore with spec.overrides.storage.className.".to_owned(),
        };
        return Err(Invalid::surroundings(
            reason::STORAGE_CLASS_NOT_FOUND,
            message,
        ));
    }
    let known = facts.size.clone();
    let known = known.filter(|size| thousandths(&size.0) > Some(0));
    let size = asked.or(known).ok_or_else(|| {
        Invalid::spec(
            reason::VOLUME_TOO_SMALL,
            format!(
                "The backup {} does not say how large its volume must be. Create another DatabaseRestore with spec.overrides.storage.size.",
                cr.spec.backup.name
            ),
        )
    })?;
    Ok((facts, size))
}

/// Follows the instance to its first Ready.
fn follow(
    cr: &DatabaseRestore,
    instance: &DatabaseInstance,
    now: &Time,
) -> (DatabaseRestoreStatus, Option<Duration>) {
    let name = &cr.spec.instance;
    let condition = |type_: &str| -> Option<&Condition> {
        let status = instance.status.as_ref()?;
        find(&status.conditions, type_)
    };
    let ready = condition(READY);
    if let Some(ready) = ready.filter(|ready| ready.status == "True") {
        return (status::ready(cr, instance, ready, now), None);
    }
    let started = instance.metadata.creation_timestamp.as_ref();
    let age = started.map_or(0, |started| seconds_since(Some(started), now));
    if age >= DEADLINE_SECONDS {
        let said = ready.map_or("nothing is known of it", |ready| {
            ready.message.trim_end_matches('.')
        });
        let message = format!(
            "The instance {name} did not accept connections within an hour: {said}. It is left as it is; `kubectl describe dbinstance {name}` shows more."
        );
        let status = status::ended(cr, reason::DEADLINE_EXCEEDED, message, now);
        return (status, None);
    }
    let rest = u64::try_from(DEADLINE_SECONDS - age).unwrap_or_default();
    let requeue = Some(Duration::from_secs(rest.clamp(1, 600)));
    if let Some(stalled) = condition(STALLED) {
        return (status::stalled(cr, instance, stalled, now), requeue);
    }
    let message = match ready {
        Some(ready) => format!("The instance {name}: {}", ready.message),
        None => format!("The instance {name} was made."),
    };
    (status::running(cr, Some(instance), message, now), requeue)
}
