//! `DatabaseRestore`: checks everything, makes one instance, and writes down how that went.
//!
//! The instance does the work, as any with spec.restoreFrom does; the restore follows it to its first Ready and is then
//! at its end, whatever becomes of the instance.

mod status;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use api::condition::{READY, STALLED, Truth, find, reason};
use api::restore::{RestorePhase, StorageOverride};
use api::{DatabaseInstance, DatabaseRestore, DatabaseRestoreStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};

use crate::build::database_instance::{is_made_by, restored};
use crate::catalog::Catalog;
use crate::child::is_going;
use crate::facts::seconds_since;
use crate::names::{self, Named};
use crate::origin::{self, Facts, Source, Wanted};
use crate::quantity::thousandths;
use crate::quote::quoted;
use crate::reading::restore::is_finished;
use crate::report::{Customs, refused, report};
use crate::storage_class::StorageClass;
use crate::{Invalid, Kind, Write};
use status::Verdict;

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
    /// An object of that name which holds the data or the passwords of a former instance, with its kind.
    pub retained: Option<(Kind, ObjectMeta)>,
    /// The storage class that the volume is to have.
    pub storage_class: StorageClass,
}

/// What is being deleted is looked at again so much later; that of an instance is also told by its watch.
const GOING_SECONDS: u64 = 15;

/// An instance that has not served after so many seconds is not waited for any longer.
const DEADLINE_SECONDS: i64 = 3600;

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

const CUSTOMS: Customs = Customs {
    told: &[READY],
    kept: &[],
    finalizers: &[],
};

/// What should be done and said. Nothing here depends on anything but the arguments.
pub fn decide(cr: &DatabaseRestore, observed: &Observed, now: &Time) -> Plan {
    if is_finished(cr) || cr.metadata.deletion_timestamp.is_some() {
        return Plan::nothing(cr);
    }
    let made = observed.instance.as_ref();
    let made = made.filter(|instance| is_made_by(instance, cr));
    let verdict = match made {
        Some(instance) => follow(cr, instance, now),
        None if was_made(cr) => {
            let message = format!(
                "The instance {} was deleted before it accepted connections. Create another DatabaseRestore to try \
                    again.",
                cr.spec.instance
            );
            status::ended(cr, reason::INSTANCE_NOT_FOUND, message)
        }
        None => begin(cr, observed),
    };
    let paused = |paused: &Invalid, _| status::waiting(cr, paused);
    report(cr, &CUSTOMS, verdict, paused, now)
}

/// The status when the instance could not be written: nothing was made.
pub fn failed(
    cr: &DatabaseRestore,
    planned: &DatabaseRestoreStatus,
    error: &str,
    now: &Time,
) -> DatabaseRestoreStatus {
    DatabaseRestoreStatus {
        phase: Some(RestorePhase::Pending),
        ..refused(cr, planned, error, now)
    }
}

/// Makes the instance, if nothing speaks against it.
fn begin(cr: &DatabaseRestore, observed: &Observed) -> Verdict {
    match check(cr, observed) {
        Ok((facts, size)) => {
            let message = format!("The instance {} is being made.", cr.spec.instance);
            let (step, status) = status::running(cr, None, message);
            let write = Write::Create(restored(cr, &facts, &size));
            (step.writing([write]), status)
        }
        Err(invalid) => status::waiting(cr, &invalid),
    }
}

/// Every object that the spec names can have that name.
fn object_names(cr: &DatabaseRestore) -> Result<(), Invalid> {
    names::check_backup("spec.backup", &cr.spec.backup)?;
    names::check("spec.instance", Some(&cr.spec.instance), Named::Instance)?;
    let overrides = cr.spec.overrides.as_ref();
    let secret = overrides.and_then(|overrides| overrides.credentials_secret.as_ref());
    let named = secret.map(|secret| secret.name.as_str());
    let field = "spec.overrides.credentialsSecret.name";
    names::check(field, named, Named::Object)?;
    let named = storage(cr).and_then(|storage| storage.class_name.as_deref());
    names::check("spec.overrides.storage.className", named, Named::Object)
}

/// Everything that can be known before anything is made, and the size of the new volume.
fn check(cr: &DatabaseRestore, observed: &Observed) -> Result<(Facts, Quantity), Invalid> {
    object_names(cr)?;
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
            StorageClass::Found { provisioner, .. } => Some(provisioner),
            StorageClass::Missing | StorageClass::Unread => None,
        },
    };
    let facts = origin::check(&wanted, &observed.source, &observed.catalog)?;
    let name = &cr.spec.instance;
    let instance = observed.instance.as_ref();
    let instance = instance.map(|instance| (Kind::DatabaseInstance, &instance.metadata));
    let retained = observed.retained.as_ref();
    let there = instance.or(retained.map(|(kind, metadata)| (*kind, metadata)));
    // Whatever goes with a former instance goes for a new one to be made.
    let target = ObjectMeta {
        name: Some(name.clone()),
        ..ObjectMeta::default()
    };
    if let Some((kind, found)) = there {
        if is_going(found, Kind::DatabaseInstance, &target) {
            let found = found.name.as_deref().unwrap_or_default();
            return Err(Invalid::going(kind.api().1, found, GOING_SECONDS));
        }
        let taken = match kind {
            Kind::DatabaseInstance => format!("there is a DatabaseInstance {name} already"),
            kind => format!(
                "there is a {} {name}, kept from a former instance",
                kind.api().1
            ),
        };
        return Err(Invalid::surroundings(
            reason::INSTANCE_EXISTS,
            format!(
                "spec.instance: {taken}, and a restore overwrites nothing. Create another DatabaseRestore with another \
                    name, or delete what is there if it is not needed."
            ),
        ));
    }
    if observed.storage_class == StorageClass::Missing {
        let message = match class_name(cr, &observed.source) {
            Some(class) => format!(
                "spec.overrides.storage.className: there is no StorageClass {}. Create it, or create another \
                    DatabaseRestore with another class; `kubectl get storageclass` lists them.",
                quoted(class)
            ),
            None => "The cluster has no default StorageClass. Mark one as default, or create another DatabaseRestore \
                with spec.overrides.storage.className.".to_owned(),
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
                "The backup {} does not say how large its volume must be. Create another DatabaseRestore with \
                    spec.overrides.storage.size.",
                quoted(&cr.spec.backup.name)
            ),
        )
    })?;
    Ok((facts, size))
}

/// Follows the instance to its first Ready.
fn follow(cr: &DatabaseRestore, instance: &DatabaseInstance, now: &Time) -> Verdict {
    let name = &cr.spec.instance;
    let condition = |type_: &str| -> Option<&Condition> {
        let status = instance.status.as_ref()?;
        find(&status.conditions, type_)
    };
    let ready = condition(READY);
    if let Some(ready) = ready.filter(|ready| Truth::True.is(ready)) {
        return status::ready(cr, instance, ready);
    }
    let started = instance.metadata.creation_timestamp.as_ref();
    let age = started.map_or(0, |started| seconds_since(Some(started), now));
    if age >= DEADLINE_SECONDS {
        let said = ready.map_or("nothing is known of it", |ready| {
            ready.message.trim_end_matches('.')
        });
        let message = format!(
            "The instance {name} did not accept connections within an hour: {said}. It is left as it is; `kubectl \
                describe dbinstance {name}` shows more."
        );
        return status::ended(cr, reason::DEADLINE_EXCEEDED, message);
    }
    let rest = u64::try_from(DEADLINE_SECONDS - age).unwrap_or_default();
    let requeue = Some(Duration::from_secs(rest.clamp(1, 600)));
    let (step, status) = match (condition(STALLED), ready) {
        (Some(stalled), _) => status::stalled(cr, instance, stalled),
        (None, Some(ready)) => {
            let message = format!("The instance {name}: {}", ready.message);
            status::running(cr, Some(instance), message)
        }
        (None, None) => {
            let message = format!("The instance {name} was made.");
            status::running(cr, Some(instance), message)
        }
    };
    (step.again(requeue), status)
}
