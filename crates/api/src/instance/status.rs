//! The status of a `DatabaseInstance`: what the operator saw.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DeletionPolicy;
use crate::restore::{RestoreStep, RestoredFrom};

/// What the operator saw; written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseInstanceStatus {
    /// The metadata.generation that this status speaks of; an older number means that a change was not looked at yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready: the database accepts connections. Reconciling and Stalled: only while true. StorageReady: the volume is
    /// there and as large as asked. ParametersApplied: spec.parameters is in force. BackupHealthy: the scheduled
    /// backups succeed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The state in one word, for people; programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// The version in force, a key of the engine catalog; written once, then moved only by spec.version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// Where the database is reached from inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,

    /// The Secret with everything an application needs to connect, as in the service-binding specification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,

    /// The volume, as asked and as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageStatus>,

    /// The deletion policy in force: what would happen to the data if the resource were deleted now. It follows
    /// spec.deletionPolicy within moments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// Parameters that are accepted and take effect with the restart that is under way, or with the next start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_changes: Vec<String>,

    /// What the data was restored from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_from: Option<RestoredFrom>,

    /// How the restore went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreStatus>,

    /// The newest good backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<LastBackup>,

    /// The newest backup that was restored and found good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verified_backup: Option<LastBackup>,

    /// When the next scheduled backup is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_backup: Option<Time>,
}

/// A backup of the instance.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastBackup {
    /// Name of the DatabaseBackup.
    pub name: String,
    /// The point in time that it holds.
    pub taken_at: Time,
}

/// How a restore went.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreStatus {
    /// When the volume was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the database accepted connections for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// How long each step took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<RestoreStep>,
}

/// The state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(
    description = "The state in one word: Pending, Provisioning, Restoring, Running, Stopped, Updating, Degraded, \
        Failed or Deleting."
)]
pub enum Phase {
    /// Nothing was made: the spec cannot be carried out as it stands.
    Pending,
    /// The first start is under way.
    Provisioning,
    /// The first start from a backup is under way.
    Restoring,
    /// The database accepts connections.
    Running,
    /// No pod runs, as asked.
    Stopped,
    /// A change restarts the database.
    Updating,
    /// The database ran before and does not accept connections now.
    Degraded,
    /// The database cannot start until something is changed.
    Failed,
    /// The resource is being deleted.
    Deleting,
}

/// Where the database is reached.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// DNS name of the Service.
    pub host: String,
    /// TCP port.
    pub port: i32,
}

/// Reference to the binding Secret.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// Name of the Secret in the same namespace.
    pub name: String,
}

/// The volume, as asked and as it is.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// The size asked for.
    pub requested: Quantity,

    /// The size the volume has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Quantity>,

    /// The StorageClass in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
}
