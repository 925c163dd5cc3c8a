//! The status of a `DatabaseBackup`: what was taken, when, and all that a restore needs to know.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instance::Engine;
use crate::restore::RestoreStep;

/// What the operator saw; written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseBackupStatus {
    /// The metadata.generation that this status speaks of; an older number means that a change was not looked at yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready: the snapshot is complete and can be restored. Reconciling and Stalled: only while true. Verified: whether
    /// it was restored and found good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The state in one word, for people; programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<BackupPhase>,

    /// When the work began: every row that was acknowledged before it is in the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// The point in time that the backup holds: the snapshot's creationTime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Time>,

    /// When the backup could be restored for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<Time>,

    /// When the backup deletes itself; missing if it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,

    /// What is certain of the data's state: CrashConsistent, Quiesced or Offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Consistency>,

    /// Milliseconds for which writes were held, at most; only with the method Quiesced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_milliseconds: Option<i64>,

    /// The VolumeSnapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotStatus>,

    /// The least size of a volume that the backup can be restored to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_size: Option<Quantity>,

    /// What was backed up; enough to restore it when the instance is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<BackupSource>,

    /// The last verification of this backup, if spec.verify asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
}

/// The state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(
    description = "The state in one word: Pending, Running, Ready, Failed, Deleting or Expired."
)]
pub enum BackupPhase {
    /// Nothing was made: something that the backup needs is not there.
    Pending,
    /// The snapshot is being taken.
    Running,
    /// The backup can be restored.
    Ready,
    /// The backup cannot be restored, and will not be.
    Failed,
    /// The resource is being deleted.
    Deleting,
    /// The backup is due to go, and is held back by what its condition says.
    Expired,
}

/// What is certain of the data's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(
    description = "What is certain of the data's state: CrashConsistent, Quiesced or Offline."
)]
pub enum Consistency {
    /// As after a crash: the engine recovers from it.
    CrashConsistent,
    /// Writes were held at the cut.
    Quiesced,
    /// The database was stopped at the cut.
    Offline,
}

/// The VolumeSnapshot of a backup.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// Name of the VolumeSnapshot in the same namespace.
    pub name: String,
    /// Name of the VolumeSnapshotContent bound to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_name: Option<String>,
    /// Name of its VolumeSnapshotClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// The CSI driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
}

/// What was backed up.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupSource {
    /// Name of the instance.
    pub instance: String,
    /// UID of the instance.
    pub uid: String,
    /// Name of the volume claim.
    pub pvc: String,
    /// The engine.
    pub engine: Engine,
    /// The engine's version, a key of the engine catalog.
    pub version: String,
    /// Name of the first database.
    pub database: String,
    /// Name of the user who owns it.
    pub username: String,
    /// StorageClass of the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// CPU and memory as the instance's spec had them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Server settings as the instance's spec had them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

/// The verification of a backup by restoring it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Name of the throw-away instance while it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// When the restore for it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the result was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Time>,
    /// Seconds from the beginning until the restored database accepted connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_seconds: Option<i64>,
    /// The steps of the restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<RestoreStep>,
}
