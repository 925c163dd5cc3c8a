//! `DatabaseRestore`: the record of one restore into a new instance.

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instance::CredentialsSecret;
use crate::object_name::{INSTANCE, LABEL, SUBDOMAIN};

/// A restore of a backup into a new instance.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
// Every print column has a type of its own.
#[allow(clippy::duplicated_attributes)]
#[kube(
    group = "minidbaas.dev",
    version = "v1alpha1",
    kind = "DatabaseRestore",
    plural = "databaserestores",
    shortname = "dbrestores",
    shortname = "dbrestore",
    shortname = "dbr",
    category = "dbaas",
    namespaced,
    status = "DatabaseRestoreStatus",
    derive = "PartialEq",
    selectable = ".spec.backup.name",
    doc = "DatabaseRestore makes a new instance from a backup and records how that went. It does not own the \
        instance: deleting it deletes nothing.",
    printcolumn(name = "Backup", type_ = "string", json_path = ".spec.backup.name"),
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.instance"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("spec: cannot be changed after creation; create another \
        DatabaseRestore")
)]
pub struct DatabaseRestoreSpec {
    /// The backup to restore. Cannot be changed after creation.
    pub backup: BackupReference,

    /// Name of the new DatabaseInstance, in this namespace. There must be none of this name. Cannot be changed after
    /// creation.
    #[schemars(length(min = 1, max = 52), regex(pattern = INSTANCE))]
    #[x_kube(validation = Rule::new("!self.endsWith('-admin')").message("spec.instance: must not end in '-admin', \
        which is the suffix of another instance's Secret"))]
    pub instance: String,

    /// What the new instance has otherwise than the one that was backed up. Default: nothing. Cannot be changed after
    /// creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<RestoreOverrides>,
}

/// Which backup.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupReference {
    /// Name of the DatabaseBackup.
    #[schemars(length(min = 1, max = 75), regex(pattern = SUBDOMAIN))]
    pub name: String,

    /// Its namespace. Default: this one. The backup must allow restores into this namespace (spec.allowedNamespaces).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub namespace: Option<String>,
}

impl BackupReference {
    /// Whether this, in a resource of the namespace `own`, means the backup of this name and namespace.
    pub fn means(&self, own: Option<&str>, name: &str, namespace: Option<&str>) -> bool {
        self.name == name && self.namespace.as_deref().or(own) == namespace
    }
}

/// What a restored instance has otherwise than the one that was backed up.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreOverrides {
    /// Size and class of the volume. Default: the backup's restoreSize and the class of the backed-up volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageOverride>,

    /// CPU and memory. Default: those of the backed-up instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Version of the engine: the backup's or a newer one of the same major version. Default: the backup's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^[0-9]+(\.[0-9]+){0,2}$"))]
    pub version: Option<String>,

    /// A Secret with the user's password. Default: none, and the operator generates a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret: Option<CredentialsSecret>,
}

/// Size and class of a restored volume.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageOverride {
    /// Size of the volume, at least the backup's restoreSize. Default: the restoreSize.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))")
        .message("spec.overrides.storage.size: must be a quantity greater than zero, such as 10Gi"))]
    pub size: Option<Quantity>,

    /// Name of the StorageClass, of the same driver. Default: the class of the backed-up volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub class_name: Option<String>,
}

/// What the operator saw; written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseRestoreStatus {
    /// The metadata.generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready: the new instance accepted connections. Reconciling and Stalled: only while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The state in one word, for people; programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<RestorePhase>,

    /// When the new instance was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When the new instance accepted connections for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,

    /// The time between these two, such as 6s or 1m12s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,

    /// How long each step took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<RestoreStep>,

    /// The point in time that was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_from: Option<RestoredFrom>,
}

/// The state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(description = "The state in one word: Pending, Running, Ready or Failed.")]
pub enum RestorePhase {
    /// Nothing was made: something that the restore needs is not so.
    Pending,
    /// The new instance was made and is starting.
    Running,
    /// The new instance accepted connections.
    Ready,
    /// The restore was given up.
    Failed,
}

/// What an instance's data was restored from.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoredFrom {
    /// Name of the instance that was backed up.
    pub instance: String,
    /// Name of the backup.
    pub backup: String,
    /// Namespace of the backup, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// UID of the backup.
    pub uid: String,
    /// The point in time that the data was of.
    pub taken_at: Time,
}

/// One step of a restore.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreStep {
    /// Volume (made from the snapshot and bound), Mount (until the first container runs), Rekey (recovery and new
    /// credentials) or Start (until the database accepts connections).
    pub name: String,
    /// Its duration in whole seconds.
    pub seconds: i64,
}
