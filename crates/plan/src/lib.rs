//! The rules of Mini DBaaS as pure functions: from a resource and what was observed to what should be done and said.
//! Nothing here can name a client, a clock or a random byte; crate `minidbaas` observes and acts.
#![warn(missing_docs)]

pub mod backup;
pub mod build;
pub mod catalog;
pub mod child;
pub mod clock;
pub mod difference;
pub mod engine;
pub mod facts;
pub mod failing;
#[cfg(test)]
mod fake_cluster;
pub mod generated;
pub mod ha_cluster;
pub mod instance;
#[cfg(test)]
mod layers;
pub mod names;
pub mod origin;
#[cfg(test)]
mod ownership_law;
pub mod parameters;
pub mod password;
pub mod quantity;
pub mod quote;
#[cfg(test)]
mod quoting_law;
pub mod reading;
pub mod report;
pub mod resources;
pub mod restore;
pub mod retention;
pub mod schedule;
pub mod step;
pub mod storage_class;
mod task;
mod valid;
pub mod version;

use std::time::Duration;

use api::condition::reason;
use api::reported::{Head, Reported};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

/// What a pass does and says.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<Status> {
    /// What to write, in this order; the first failure ends the pass.
    pub writes: Vec<Write>,
    /// The whole status.
    pub status: Status,
    /// Events to publish: reasons that changed.
    pub events: Vec<PlannedEvent>,
    /// When to look again although nothing changed; `None`: after the usual ten minutes.
    pub requeue: Option<Duration>,
}

impl<S: Head> Plan<S> {
    /// Nothing is done, and nothing else is said than before.
    pub fn nothing<R: Reported<Status = S>>(cr: &R) -> Self {
        Plan {
            writes: Vec::new(),
            status: cr.last_status(),
            events: Vec::new(),
            requeue: None,
        }
    }
}

/// One write to the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Make an object that is not there; if it is there by now, the pass fails and the next one looks at it.
    Create(Object),
    /// Server-side apply. An object without `metadata.uid` is applied without force, so that a conflict's is not taken
    /// over; with it, only to the very object that was observed.
    Apply(Object),
    /// JSON merge patch of an object that carries `metadata.uid`.
    Patch(Object),
    /// Delete this very object, after a live read.
    Delete {
        /// Kind of the object.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its UID, sent as a precondition.
        uid: String,
    },
    /// Set the finalizers of the resource itself.
    Finalizers(Vec<String>),
}

impl Write {
    /// The deletion of an object as it was observed.
    pub fn delete(kind: Kind, metadata: &ObjectMeta) -> Self {
        Write::Delete {
            kind,
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
        }
    }

    /// A change of an object as it was observed.
    pub fn patch(kind: Kind, metadata: &ObjectMeta, change: Value) -> Self {
        let (api_version, kind_name, _) = kind.api();
        let mut value = change;
        value["apiVersion"] = json!(api_version);
        value["kind"] = json!(kind_name);
        value["metadata"]["name"] = json!(metadata.name);
        value["metadata"]["uid"] = json!(metadata.uid);
        Write::Patch(Object { kind, value })
    }
}

/// A Kubernetes object as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// The whole object, `apiVersion` and `kind` included.
    pub value: Value,
}

impl Object {
    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// The kinds of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// core/v1 Secret.
    Secret,
    /// core/v1 PersistentVolumeClaim.
    PersistentVolumeClaim,
    /// core/v1 ConfigMap.
    ConfigMap,
    /// core/v1 Service.
    Service,
    /// apps/v1 StatefulSet.
    StatefulSet,
    /// networking.k8s.io/v1 NetworkPolicy.
    NetworkPolicy,
    /// batch/v1 Job.
    Job,
    /// snapshot.storage.k8s.io/v1 VolumeSnapshot.
    VolumeSnapshot,
    /// snapshot.storage.k8s.io/v1 VolumeSnapshotContent; belongs to no namespace.
    VolumeSnapshotContent,
    /// core/v1 Endpoints.
    Endpoints,
    /// discovery.k8s.io/v1 EndpointSlice.
    EndpointSlice,
    /// apps/v1 ControllerRevision.
    ControllerRevision,
    /// policy/v1 PodDisruptionBudget.
    PodDisruptionBudget,
    /// acid.zalan.do/v1 postgresql.
    Postgresql,
    /// minidbaas.dev/v1alpha1 DatabaseInstance.
    DatabaseInstance,
    /// minidbaas.dev/v1alpha1 DatabaseBackup.
    DatabaseBackup,
    /// minidbaas.dev/v1alpha1 HACluster.
    HACluster,
}

impl Kind {
    /// `apiVersion`, `kind` and plural.
    pub fn api(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Kind::Secret => ("v1", "Secret", "secrets"),
            Kind::PersistentVolumeClaim => {
                ("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
            }
            Kind::ConfigMap => ("v1", "ConfigMap", "configmaps"),
            Kind::Service => ("v1", "Service", "services"),
            Kind::StatefulSet => ("apps/v1", "StatefulSet", "statefulsets"),
            Kind::NetworkPolicy => ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
            Kind::Job => ("batch/v1", "Job", "jobs"),
            Kind::VolumeSnapshot => (
                "snapshot.storage.k8s.io/v1",
                "VolumeSnapshot",
                "volumesnapshots",
            ),
            Kind::VolumeSnapshotContent => (
                "snapshot.storage.k8s.io/v1",
                "VolumeSnapshotContent",
                "volumesnapshotcontents",
            ),
            Kind::Endpoints => ("v1", "Endpoints", "endpoints"),
            Kind::EndpointSlice => ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
            Kind::ControllerRevision => ("apps/v1", "ControllerRevision", "controllerrevisions"),
            Kind::PodDisruptionBudget => {
                ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
            }
            Kind::Postgresql => ("acid.zalan.do/v1", "postgresql", "postgresqls"),
            Kind::HACluster => ("minidbaas.dev/v1alpha1", "HACluster", "haclusters"),
            Kind::DatabaseInstance => (
                "minidbaas.dev/v1alpha1",
                "DatabaseInstance",
                "databaseinstances",
            ),
            Kind::DatabaseBackup => (
                "minidbaas.dev/v1alpha1",
                "DatabaseBackup",
                "databasebackups",
            ),
        }
    }

    /// Whether objects of this kind belong to a namespace.
    pub fn is_namespaced(self) -> bool {
        self != Kind::VolumeSnapshotContent
    }
}

/// An Event about the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedEvent {
    /// Whether a person should act.
    pub warning: bool,
    /// A reason of `api::condition::reason`.
    pub reason: String,
    /// The condition's message.
    pub message: String,
}

/// What is said of an object that is in the way and about to be gone.
fn still_going(kind: &str, name: &str) -> String {
    format!(
        "The {kind} {name} of a former resource is still being deleted. This goes on by itself when it is gone."
    )
}

/// What is said of a pause that holds something back.
const PAUSED: &str =
    "The annotation minidbaas.dev/paused holds back what is to be done. Remove it to let it go on.";
/// The same of a deletion.
const PAUSED_DELETION: &str = "The annotation minidbaas.dev/paused holds back what the deletion takes, so the resource \
    stays. Remove it to let it go on.";

/// A spec that cannot be carried out as it stands; nothing is written until it, or what it names, changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// A reason of `api::condition::reason`.
    pub reason: &'static str,
    /// Names the field and the remedy.
    pub message: String,
    /// What cures it.
    pub cure: Cure,
    /// A further condition that is False for this reason.
    pub on: Option<&'static str>,
}

/// What has to happen before a resource is not held up any more. Rules go by this and never by a reason, which is for
/// people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// A change of the resource.
    Spec,
    /// A change of something that the operator does not watch, by a person.
    Elsewhere,
    /// It goes on by itself; it is looked at again so much later.
    Wait(Duration),
    /// The pause is taken off.
    Unpause,
}

impl Invalid {
    /// Cured by a change of the resource.
    pub fn spec(reason: &'static str, message: impl Into<String>) -> Self {
        Invalid {
            reason,
            message: message.into(),
            cure: Cure::Spec,
            on: None,
        }
    }

    /// Cured by something that the operator does not watch.
    pub fn surroundings(reason: &'static str, message: impl Into<String>) -> Self {
        Invalid {
            reason,
            message: message.into(),
            cure: Cure::Elsewhere,
            on: None,
        }
    }

    /// Cured by itself; it is looked at again after so many seconds.
    pub fn wait(reason: &'static str, message: impl Into<String>, seconds: u64) -> Self {
        Invalid {
            reason,
            message: message.into(),
            cure: Cure::Wait(Duration::from_secs(seconds)),
            on: None,
        }
    }

    /// An object of this kind and name is in the way, and about to be gone; it is looked at again after so many
    /// seconds.
    pub fn going(kind: &str, name: &str, seconds: u64) -> Self {
        Self::wait(
            reason::WAITING_FOR_DELETION,
            still_going(kind, name),
            seconds,
        )
    }

    /// Cured by taking off the pause, which holds back what is to be done, or what a deletion takes.
    pub fn paused(is_deleted: bool) -> Self {
        Invalid {
            reason: reason::PAUSED,
            message: if is_deleted { PAUSED_DELETION } else { PAUSED }.to_owned(),
            cure: Cure::Unpause,
            on: None,
        }
    }

    /// The same, by which this condition is False, too.
    pub fn on(self, type_: &'static str) -> Self {
        let on = Some(type_);
        Invalid { on, ..self }
    }

    /// Whether it goes on by itself, so that nobody needs to act.
    pub fn goes_on(&self) -> bool {
        matches!(self.cure, Cure::Wait(_))
    }

    /// When to look again at what is not watched; `elsewhere` if a person has to act somewhere else.
    pub fn requeue(&self, elsewhere: Duration) -> Option<Duration> {
        match self.cure {
            Cure::Spec | Cure::Unpause => None,
            Cure::Elsewhere => Some(elsewhere),
            Cure::Wait(pause) => Some(pause),
        }
    }
}
