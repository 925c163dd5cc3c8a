//! `DatabaseInstance`: from the resource and what was observed to what should exist and what the user should read.
//!
//! `decide` is the whole story: is it being deleted, is the spec valid, what should be written, what is there to say.

mod backups;
mod children;
mod conditions;
mod credentials;
mod deletion;
mod imported_snapshot;
mod last_backup;
mod scripts;
mod settings;
pub mod source;
mod status;
mod steps;
#[cfg(test)]
pub(crate) mod tests;
mod validate;
mod verification;

use std::collections::BTreeSet;
use std::time::Duration;

use api::condition::{BACKUP_HEALTHY, READY, RECONCILING, STALLED};
use api::external::snapshot::VolumeSnapshot;
use api::names::{FINALIZER_FINAL_BACKUP, FINALIZER_IMPORTED_SNAPSHOT, FINALIZER_PROTECTION};
use api::{DatabaseBackup, DatabaseInstance, DatabaseInstanceStatus};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::Invalid;
use crate::build::config_map;
use crate::catalog::Catalog;
use crate::generated::Generated;
use crate::report::{Customs, report};
use crate::storage_class::StorageClass;
use crate::{engine, facts};
use status::Verdict;

pub use backups::{MOST_AT_A_TIME, due_to_go};
pub use imported_snapshot::is_orphan;
pub use last_backup::name as last_backup_name;
pub use status::failed;

/// What a pass does and says about an instance.
pub type Plan = crate::Plan<DatabaseInstanceStatus>;

/// The world as one pass saw it; every field is a live read.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The engine catalog.
    pub catalog: Catalog,
    /// The storage class of the spec or of the volume claim, else the default one; read while it matters (see
    /// [`needs_class`]).
    pub storage_class: StorageClass,
    /// The Secret of spec.credentialsSecret.
    pub credentials: Option<Secret>,
    /// Secret `<name>`.
    pub binding: Option<Secret>,
    /// Secret `<name>-admin`.
    pub admin: Option<Secret>,
    /// PersistentVolumeClaim `<name>`.
    pub claim: Option<PersistentVolumeClaim>,
    /// ConfigMap `<name>`.
    pub config_map: Option<ConfigMap>,
    /// ConfigMap with the scripts; see [`scripts_name`].
    pub scripts: Option<ConfigMap>,
    /// All ConfigMaps with scripts that are labelled as this instance's.
    pub all_scripts: Vec<ObjectMeta>,
    /// Service `<name>`.
    pub service: Option<Service>,
    /// Endpoints `<name>`; read only while there is no Service, which would have some.
    pub endpoints: Option<ObjectMeta>,
    /// NetworkPolicy `<name>`.
    pub network_policy: Option<NetworkPolicy>,
    /// StatefulSet `<name>`.
    pub stateful_set: Option<StatefulSet>,
    /// Pod `<name>-0`.
    pub pod: Option<Pod>,
    /// Jobs of this instance.
    pub jobs: Vec<Job>,
    /// Pods of those Jobs; read only when a Job failed.
    pub job_pods: Vec<Pod>,
    /// The last warning Event about the claim or the StatefulSet; read only while the claim is unbound or the pod is
    /// missing.
    pub warning: Option<String>,
    /// Backups of this instance.
    pub backups: Vec<DatabaseBackup>,
    /// A DatabaseBackup of another instance that has the name of one that is to be made; see [`backup_to_make`].
    pub others_backup: Option<ObjectMeta>,
    /// The VolumeSnapshot of the last backup; read only while the instance is being deleted (see [`last_backup_name`]).
    pub last_snapshot: Option<VolumeSnapshot>,
    /// Names of those that a restore uses; read only of those that are [`due_to_go`].
    pub backups_in_use: BTreeSet<String>,
    /// How many seconds the operator's clock is ahead of the API server's; `None`: that is not known.
    pub clock_skew: Option<i64>,
    /// Whether the namespace is being deleted; read only while the instance is.
    pub namespace_is_terminating: bool,
    /// Where the data is to come from.
    pub origin: source::Seen,
    /// Values that no pure code may make.
    pub fresh: Generated,
}

impl Observed {
    /// Whether the pod is, or is about to be, of an older revision than the StatefulSet asks for.
    fn is_outdated(&self) -> bool {
        facts::is_outdated(self.stateful_set.as_ref(), self.pod.as_ref())
    }

    /// A backup of another instance by this name.
    fn others_backup_named(&self, name: &str) -> Option<&ObjectMeta> {
        let found = self.others_backup.as_ref();
        found.filter(|found| found.name.as_deref() == Some(name))
    }
}

/// Whether a pass must read the storage class: before the claim is made, and when it is to grow.
pub fn needs_class(cr: &DatabaseInstance, claim: Option<&PersistentVolumeClaim>) -> bool {
    claim.is_none_or(|claim| facts::grows(&cr.spec.storage.size, claim))
}

/// The name of the backup that is to be made now: the last one, or that of the schedule.
pub fn backup_to_make(cr: &DatabaseInstance, now: &Time) -> Option<String> {
    match cr.metadata.deletion_timestamp {
        Some(_) => Some(last_backup::name(cr)),
        None => backups::due_name(cr, now),
    }
}

/// The name of the ConfigMap with the instance's scripts.
pub fn scripts_name(cr: &DatabaseInstance) -> String {
    let name = cr.metadata.name.as_deref().unwrap_or_default();
    config_map::scripts_name(name, engine::of(cr.spec.engine))
}

/// How soon a changed password in spec.credentialsSecret is noticed; Secrets are not watched, to need no right to list
/// them.
const CREDENTIALS_REQUEUE: Duration = Duration::from_secs(30);

/// What should be done and said. Nothing here depends on anything but the arguments.
pub fn decide(cr: &DatabaseInstance, observed: &Observed, now: &Time) -> Plan {
    if cr.metadata.deletion_timestamp.is_some() {
        return deletion::plan(cr, observed, now);
    }
    let backups = backups::plan(cr, observed, now);
    let mut copy = Vec::new();
    let decided = source::origin(cr, observed).and_then(|origin| {
        let subject = validate::subject(cr, observed, origin.as_ref())?;
        validate::surroundings(&subject, observed)?;
        backups.invalid.clone().map_or(Ok(()), Err)?;
        let credentials = credentials::plan(&subject, observed)?;
        imported_snapshot::make(&subject, observed, origin.as_ref(), &mut copy, now)?;
        let settings = settings::plan(&subject, observed)?;
        let hold = backups.hold.as_ref();
        let writes = children::plan(&subject, observed, &credentials, &settings, hold, now);
        Ok((subject, credentials, settings, writes))
    });
    let imported = imported_snapshot::decide(cr, observed, decided.as_ref().err(), copy, now);
    let besides = |(step, mut status): Verdict| {
        backups::tell(observed, &backups, &mut status);
        let mut step = step.and(backups::step(&backups, now)).and(imported.step());
        step.finalizers.extend(deletion::reasons(cr));
        let passwords = cr.spec.credentials_secret.as_ref();
        (step.again(passwords.map(|_| CREDENTIALS_REQUEUE)), status)
    };
    let verdict = match decided {
        Ok((subject, credentials, settings, writes)) => {
            let restarts = children::restart(&writes);
            let (step, status) =
                status::valid(&subject, observed, &credentials, &settings, restarts, now);
            (step.writing(writes), status)
        }
        Err(invalid) => status::invalid(cr, observed, &invalid, imported.remains),
    };
    let paused = |paused: &Invalid, _| besides(status::invalid(cr, observed, paused, false));
    report(cr, &CUSTOMS, besides(verdict), paused, now)
}

/// What is told of an instance, and the finalizers that are ours.
const CUSTOMS: Customs = Customs {
    told: &[READY, BACKUP_HEALTHY, STALLED, RECONCILING],
    kept: &[],
    finalizers: &[
        FINALIZER_PROTECTION,
        FINALIZER_FINAL_BACKUP,
        FINALIZER_IMPORTED_SNAPSHOT,
    ],
};

/// Shorthand of the rules below.
type Decision<T> = Result<T, Invalid>;
