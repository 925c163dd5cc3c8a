//! `DatabaseInstance`: from the resource and what was observed to what should exist and what the user should read.
//!
//! `decide` is the whole story: is it being deleted, is the spec valid, what should be written, what is there to say.

mod backups;
mod children;
mod conditions;
mod credentials;
mod leaving;
mod pair;
mod proof;
mod settings;
pub mod source;
mod status;
mod steps;
#[cfg(test)]
pub(crate) mod tests;
mod validate;

use std::collections::BTreeSet;
use std::time::Duration;

use api::condition::reason;
use api::names::{
    ANNOTATION_PAUSED, FINALIZER_FINAL_BACKUP, FINALIZER_PROTECTION, FINALIZER_SNAPSHOT_COPY,
};
use api::{DatabaseBackup, DatabaseInstance, DatabaseInstanceStatus};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::catalog::Catalog;
use crate::facts;
use crate::{Invalid, Write};

pub use backups::due_to_go;
pub use status::failed;

/// What a pass does and says about an instance.
pub type Plan = crate::Plan<DatabaseInstanceStatus>;

/// The world as one pass saw it; every field is a live read.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The engine catalog.
    pub catalog: Catalog,
    /// The storage class of the spec or of the volume claim, else the default one; read while it matters (see [`needs_class`]).
    pub storage_class: Class,
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
    /// Service `<name>`.
    pub service: Option<Service>,
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
    /// The last warning Event about the claim or the StatefulSet; read only while the claim is unbound or the pod is missing.
    pub warning: Option<String>,
    /// Backups of this instance.
    pub backups: Vec<DatabaseBackup>,
    /// Names of those that a restore uses; read only of those that are [`due_to_go`].
    pub backups_in_use: BTreeSet<String>,
    /// Whether the namespace is being deleted; read only while the instance is.
    pub namespace_is_leaving: bool,
    /// Where the data is to come from.
    pub origin: source::Seen,
    /// Values that no pure code may make.
    pub fresh: Fresh,
}

impl Observed {
    /// Whether the pod is, or is about to be, of an older revision than the StatefulSet asks for.
    fn is_outdated(&self) -> bool {
        facts::is_outdated(self.stateful_set.as_ref(), self.pod.as_ref())
    }
}

/// A storage class, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// It was not looked for.
    Unread,
    /// There is none of this name, or no default one.
    Missing,
    /// It exists.
    Found {
        /// Its name.
        name: String,
        /// allowVolumeExpansion.
        can_grow: bool,
        /// The driver that makes its volumes.
        provisioner: String,
    },
}

/// Random values, made anew for every pass; used only where something is made for the first time.
#[derive(Clone)]
pub struct Fresh {
    /// A password for the application's user.
    pub password: String,
    /// A password for the administrator.
    pub admin_password: String,
    /// Eight hex digits that name a set of credentials or a revision of one.
    pub id: String,
}

impl std::fmt::Debug for Fresh {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Fresh")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Whether a pass must read the storage class: before the claim is made, and when it is to grow.
pub fn needs_class(cr: &DatabaseInstance, claim: Option<&PersistentVolumeClaim>) -> bool {
    claim.is_none_or(|claim| facts::grows(&cr.spec.storage.size, claim))
}

/// How soon a changed password in spec.credentialsSecret is noticed; Secrets are not watched, to need no right to list them.
const CREDENTIALS_RECHECK: Duration = Duration::from_secs(30);

/// What should be done and said. Nothing here depends on anything but the arguments.
pub fn decide(cr: &DatabaseInstance, observed: &Observed, now: &Time) -> Plan {
    if cr.metadata.deletion_timestamp.is_some() {
        return leaving::plan(cr, observed, now);
    }
    let backups = backups::plan(cr, observed, now);
    let mut copy = Vec::new();
    let decided = source::origin(cr, observed).and_then(|origin| {
        let subject = validate::subject(cr, observed, origin.as_ref())?;
        validate::surroundings(&subject, observed)?;
        backups.invalid.clone().map_or(Ok(()), Err)?;
        let credentials = credentials::plan(&subject, observed)?;
        pair::make(&subject, observed, origin.as_ref(), &mut copy)?;
        let settings = settings::plan(&subject, observed);
        let hold = backups.hold.as_ref();
        let writes = children::plan(&subject, observed, &credentials, &settings, hold, now);
        Ok((subject, credentials, settings, writes))
    });
    let pair = pair::decide(cr, observed, decided.as_ref().err(), copy);
    let (mut writes, mut verdict) = match decided {
        Ok((subject, credentials, settings, writes)) => {
            let restarts = children::restart(&writes);
            let verdict = status::valid(&subject, observed, &credentials, &settings, restarts, now);
            (writes, verdict)
        }
        Err(invalid) => (Vec::new(), status::invalid(cr, observed, &invalid, now)),
    };
    writes.extend(backups.writes.clone());
    writes.extend(pair.writes.clone());
    let mut held = holds(cr, observed);
    held.extend(pair.remains.then_some(FINALIZER_SNAPSHOT_COPY));
    if let Some(finalizers) = finalizers(cr, &held) {
        writes.insert(0, Write::Finalizers(finalizers));
    }
    if is_paused(cr) && !writes.is_empty() {
        writes.clear();
        let why = "The annotation minidbaas.dev/paused holds back what is to be done. Remove it to let it go on.";
        verdict = status::invalid(cr, observed, &Invalid::spec(reason::PAUSED, why), now);
    }
    backups::tell(cr, observed, &backups, &mut verdict.status, now);
    let passwords = cr.spec.credentials_secret.as_ref();
    let requeue = [
        verdict.recheck,
        passwords.map(|_| CREDENTIALS_RECHECK),
        backups::recheck(&backups, now),
        pair.recheck(),
    ]
    .into_iter()
    .flatten()
    .min();
    Plan {
        writes,
        notices: status::notices(cr, &verdict.status),
        status: verdict.status,
        requeue,
    }
}

fn is_paused(cr: &DatabaseInstance) -> bool {
    cr.metadata.annotations.as_ref().is_some_and(|annotations| {
        annotations
            .get(ANNOTATION_PAUSED)
            .is_some_and(|value| value == "true")
    })
}

/// The finalizers as they should be, if they are not. A resource that is being deleted takes no new ones.
fn finalizers(cr: &DatabaseInstance, wanted: &[&str]) -> Option<Vec<String>> {
    let before = cr.metadata.finalizers.clone().unwrap_or_default();
    let mut finalizers = before.clone();
    finalizers.retain(|held| !OURS.contains(&held.as_str()) || wanted.contains(&held.as_str()));
    if cr.metadata.deletion_timestamp.is_none() {
        let missing = wanted
            .iter()
            .filter(|wanted| !before.iter().any(|held| held == *wanted));
        finalizers.extend(missing.map(|name| (*name).to_owned()));
    }
    (finalizers != before).then_some(finalizers)
}

/// Every finalizer that is ours.
const OURS: [&str; 3] = [
    FINALIZER_PROTECTION,
    FINALIZER_FINAL_BACKUP,
    FINALIZER_SNAPSHOT_COPY,
];

/// Why the instance is to be held back from deletion.
fn holds(cr: &DatabaseInstance, _observed: &Observed) -> Vec<&'static str> {
    leaving::reasons(cr)
}

/// Shorthand of the rules below.
type Decision<T> = Result<T, Invalid>;
