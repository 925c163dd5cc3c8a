//! `HACluster`: from the resource and what was observed to what the Zalando operator should be told and what the user
//! should read.
//!
//! The operator's word for a cluster tells how its own last pass ended. What serves is told by pods and by Patroni's
//! records.

mod conditions;
mod credentials;
mod deletion;
mod edits;
mod members;
mod progress;
mod settings;
mod status;
mod storage;
#[cfg(test)]
pub(crate) mod tests;
mod validate;

use std::collections::BTreeMap;
use std::time::Duration;

use api::condition::{DELEGATED, READY, RECONCILING, STALLED};
use api::external::zalando::{OperatorConfiguration, Postgresql};
use api::names::FINALIZER_HA_CLUSTER;
use api::{HACluster, HAClusterStatus};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use serde_json::{Value, json};

use crate::catalog::Catalog;
use crate::generated::Generated;
use crate::report::{Customs, report};
use crate::storage_class::StorageClass;
use crate::{Invalid, Kind};
use status::Verdict;

pub use edits::{has_failed, needs_class};
pub use members::signs;
pub use status::failed;

/// What a pass does and says about a cluster.
pub type Plan = crate::Plan<HAClusterStatus>;
type Decision<T> = Result<T, Invalid>;

/// The world as one pass saw it; every field is a live read.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The engine catalog; only its default version matters.
    pub catalog: Catalog,
    /// What the installed definition of `postgresql` allows.
    pub served: Served,
    /// The Zalando operator's settings, as far as they are in resources and may be read.
    pub settings: Vec<OperatorConfiguration>,
    /// The Secret of spec.credentialsSecret.
    pub credentials: Option<Secret>,
    /// Secret `<name>`.
    pub binding: Option<Secret>,
    /// The Secret by which the Zalando operator knows the user's password.
    pub user: Option<Secret>,
    /// `postgresql` `<name>`.
    pub postgresql: Option<Postgresql>,
    /// StatefulSet `<name>`.
    pub stateful_set: Option<StatefulSet>,
    /// Pods of the cluster.
    pub pods: Vec<Pod>,
    /// Volume claims of the cluster.
    pub claims: Vec<PersistentVolumeClaim>,
    /// Jobs that log in to it.
    pub jobs: Vec<Job>,
    /// What Patroni keeps in annotations.
    pub patroni: Patroni,
    /// The storage class of the spec or of the claims, else the default one; read while it matters (see
    /// [`needs_class`]).
    pub storage_class: StorageClass,
    /// The last warning Event about the StatefulSet; read only while pods are missing.
    pub warning: Option<String>,
    /// The last warning Event about the `postgresql`; read only while the operator has failed.
    pub said: Option<String>,
    /// Metadata of what else has a name of this cluster: before anything is made, what would be taken for its own;
    /// while there are fewer claims than servers, claims that are not its own; while it is deleted, whatever is left.
    pub others: Vec<(Kind, ObjectMeta)>,
    /// Whether the namespace is being deleted; read only while the cluster is.
    pub namespace_is_terminating: bool,
    /// Values that no pure code may make.
    pub fresh: Generated,
}

/// What the installed definition of `postgresql` allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// There is no such definition.
    Missing,
    /// These major versions of PostgreSQL; none named means that any is.
    Versions(Vec<String>),
}

/// The major versions of PostgreSQL that a definition of `postgresql` allows; none named means that any is.
pub fn versions(definition: &CustomResourceDefinition) -> Vec<String> {
    let mut served = definition.spec.versions.iter();
    let served = served.find(|version| version.name == "v1");
    let schema = json!(served.and_then(|version| version.schema.as_ref()));
    let version = "/openAPIV3Schema/properties/spec/properties/postgresql/properties/version/enum";
    let named = schema.pointer(version).and_then(Value::as_array);
    let named = named.into_iter().flatten().filter_map(Value::as_str);
    named.map(str::to_owned).collect()
}

/// What Patroni keeps, in annotations of Endpoints or ConfigMaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patroni {
    /// Who has the leader's lock, since when, and when it was renewed.
    pub leader: BTreeMap<String, String>,
    /// The configuration in force.
    pub config: BTreeMap<String, String>,
    /// Which replicas confirm writes.
    pub sync: BTreeMap<String, String>,
}

/// How soon a changed password in spec.credentialsSecret is noticed; Secrets are not watched, to need no right to list
/// them.
const CREDENTIALS_REQUEUE: Duration = Duration::from_secs(30);

/// What should be done and said. Nothing here depends on anything but the arguments.
pub fn decide(cr: &HACluster, observed: &Observed, now: &Time) -> Plan {
    if cr.metadata.deletion_timestamp.is_some() {
        return deletion::plan(cr, observed, now);
    }
    let decided = validate::cluster(cr, observed).and_then(|cluster| {
        let members = members::members(observed, cluster.name, cr.spec.replicas, now);
        let credentials = credentials::plan(&cluster, observed, members.primary.is_some())?;
        let edits = edits::plan(&cluster, observed, &credentials.revision, now);
        Ok((cluster, members, credentials, edits))
    });
    let besides = |(step, status): Verdict| {
        let passwords = cr.spec.credentials_secret.as_ref();
        let mut step = step.again(passwords.map(|_| CREDENTIALS_REQUEUE));
        let held = decided.is_ok() || has_finalizer(cr);
        step.finalizers.extend(held.then_some(FINALIZER_HA_CLUSTER));
        (step, status)
    };
    let verdict = match &decided {
        Ok((cluster, members, credentials, edits)) => {
            let (step, status) = status::valid(cluster, observed, members, credentials, edits, now);
            let step = step
                .writing(credentials.writes.iter().chain(&edits.write).cloned())
                .writing(credentials.jobs.iter().cloned());
            (step, status)
        }
        Err(invalid) => status::invalid(cr, observed, invalid, now),
    };
    let paused = |paused: &Invalid, _| besides(status::invalid(cr, observed, paused, now));
    let mut plan = report(cr, &CUSTOMS, besides(verdict), paused, now);
    plan.events
        .splice(0..0, status::failed_over(cr, &plan.status));
    plan
}

/// What is told of a cluster, and the finalizer that is ours.
const CUSTOMS: Customs = Customs {
    told: &[READY, DELEGATED, STALLED, RECONCILING],
    kept: &[],
    finalizers: &[FINALIZER_HA_CLUSTER],
};

/// Whether the finalizer is there. It comes before anything is made, so without it nothing was; with it nothing is
/// proved: anybody who may write the resource can set it.
fn has_finalizer(cr: &HACluster) -> bool {
    let mut held = cr.metadata.finalizers.iter().flatten();
    held.any(|held| held == FINALIZER_HA_CLUSTER)
}
