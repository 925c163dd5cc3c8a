//! The rules of Mini DBaaS as pure functions: from a resource and what was observed to what should be done and said.
//! Nothing here can name a client, a clock or a random byte; crate `minidbaas` observes and acts.
#![warn(missing_docs)]

pub mod backup;
pub mod build;
pub mod catalog;
pub mod difference;
pub mod engine;
pub mod facts;
pub mod ha_cluster;

pub mod instance;
pub mod parameters;
pub mod password;
pub mod quantity;
pub mod resources;
pub mod restore;
pub mod retention;
pub mod schedule;
pub mod version;

use std::time::Duration;

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
    pub notices: Vec<Notice>,
    /// When to look again although nothing changed; `None`: after the usual ten minutes.
    pub requeue: Option<Duration>,
}

/// One write to the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Make an object that is not there; if it is there by now, the pass fails and the next one looks at it.
    Create(Object),
    /// Server-side apply. An object without `metadata.uid` is applied without force, so that a stranger's is not taken over;
    /// with it, only to the very object that was observed.
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
pub struct Notice {
    /// Whether a person should act.
    pub warning: bool,
    /// A reason of `api::condition::reason`.
    pub reason: String,
    /// The condition's message.
    pub message: String,
}

/// A spec that cannot be carried out as it stands; nothing is written until it, or what it names, changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// A reason of `api::condition::reason`.
    pub reason: &'static str,
    /// Names the field and the remedy.
    pub message: String,
    /// Whether something outside the resource may cure it by itself, so that looking again is worth while.
    pub recheck: bool,
}

impl Invalid {
    /// Cured by a change of the resource.
    pub fn spec(reason: &'static str, message: impl Into<String>) -> Self {
        Invalid {
            reason,
            message: message.into(),
            recheck: false,
        }
    }

    /// Cured by something that the operator does not watch.
    pub fn surroundings(reason: &'static str, message: impl Into<String>) -> Self {
        Invalid {
            reason,
            message: message.into(),
            recheck: true,
        }
    }
}
