//! The status of an `HACluster`: what the operator saw of pods, volumes and Patroni's own records.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Synchronous;
use crate::instance::{Binding, StorageStatus};

/// What the operator saw; written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HAClusterStatus {
    /// The metadata.generation that this status speaks of; an older number means that a change was not looked at yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready: a primary serves, all replicas stream, and one can take its place. Available: a primary serves.
    /// Delegated: the Zalando operator acts, and its settings do no harm. StorageReady: the volumes are as large as
    /// asked. Reconciling and Stalled: only while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The state in one word, for people; programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<HAClusterPhase>,

    /// The major version in force; written once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// How many servers were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// How many serve: the primary, and the replicas that stream from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,

    /// readyReplicas of replicas, such as 3/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,

    /// The pod of the primary; none while no primary serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,

    /// The pod of the last primary that served; the same as `primary` while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_primary: Option<String>,

    /// The last change of the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failover: Option<Failover>,

    /// Whether writes are confirmed by a replica now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synchronous: Option<SynchronousStatus>,

    /// Where the cluster is reached from inside the Kubernetes cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<HAClusterEndpoints>,

    /// The Secret with everything an application needs to connect, as in the service-binding specification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,

    /// The volumes, as asked and as the smallest of them is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageStatus>,
}

/// The state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(
    description = "The state in one word: Pending, Provisioning, Running, Updating, Degraded, Failed or Deleting."
)]
pub enum HAClusterPhase {
    /// Nothing was made: the spec cannot be carried out as it stands.
    Pending,
    /// The first start is under way, until all servers serve.
    Provisioning,
    /// A primary serves and all replicas stream.
    Running,
    /// A change is being carried out.
    Updating,
    /// It served before, and a primary or a replica is missing now.
    Degraded,
    /// It cannot start until something is changed.
    Failed,
    /// The resource is being deleted.
    Deleting,
}

/// A change of the primary.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// When the new primary took over.
    pub at: Time,
    /// The pod of the primary before.
    pub from: String,
    /// The pod of the primary after.
    pub to: String,
}

/// Whether writes are confirmed by a replica now.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SynchronousStatus {
    /// The mode in force: Off, On or Strict.
    pub mode: Synchronous,
    /// The pods of the replicas that confirm writes; none means that the primary confirms them alone or, with Strict,
    /// that writes wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standbys: Vec<String>,
}

/// Where the cluster is reached.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HAClusterEndpoints {
    /// Host and port of the primary, for reading and writing.
    pub primary: String,
    /// Host and port of the replicas, for reading only.
    pub replicas: String,
}
