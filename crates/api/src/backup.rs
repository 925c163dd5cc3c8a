//! `DatabaseBackup`: one snapshot of an instance's volume, with all that is needed to restore it.

mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object_name::{INSTANCE, LABEL_OR_ALL, SUBDOMAIN};

pub use status::{
    BackupPhase, BackupSource, Consistency, DatabaseBackupStatus, SnapshotStatus, Verification,
};

/// Seconds that a hold may last unless the spec says otherwise.
pub const DEFAULT_HOLD_SECONDS: i32 = 30;
/// Seconds until a backup that is not ready fails, unless the spec says otherwise.
pub const DEFAULT_DEADLINE_SECONDS: i32 = 600;

/// A backup of a database instance: one snapshot of its volume, taken while it serves.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "minidbaas.dev",
    version = "v1alpha1",
    kind = "DatabaseBackup",
    plural = "databasebackups",
    shortname = "dbbackups",
    shortname = "dbbackup",
    shortname = "dbb",
    category = "dbaas",
    namespaced,
    status = "DatabaseBackupStatus",
    derive = "PartialEq",
    selectable = ".spec.instance",
    doc = "DatabaseBackup is one snapshot of an instance's volume and what is needed to restore it. It outlives its \
        instance; deleting it deletes the snapshot.",
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.instance"),
    printcolumn(name = "Engine", type_ = "string", json_path = ".status.source.engine"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Consistency", type_ = "string", json_path = ".status.consistency"),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.restoreSize"),
    printcolumn(name = "Taken", type_ = "string", json_path = ".status.takenAt"),
    // A date column shows times to come as <invalid>.
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Verified",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Verified\")].status",
        priority = "1"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    ),
    validation = Rule::new("self.metadata.name.size() <= 75")
        .message("metadata.name: at most 75 characters, so that the names of what belongs to the backup stay valid")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.snapshotClassName) == has(oldSelf.snapshotClassName) && \
        (!has(self.snapshotClassName) || self.snapshotClassName == oldSelf.snapshotClassName)")
        .message("spec.snapshotClassName: cannot be changed after creation; create another backup"),
    validation = Rule::new("self.verify || !oldSelf.verify")
        .message("spec.verify: cannot be taken back")
)]
pub struct DatabaseBackupSpec {
    /// Name of the DatabaseInstance in the same namespace. Cannot be changed after creation.
    #[schemars(length(min = 1, max = 52), regex(pattern = INSTANCE))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.instance: cannot be changed after creation; \
        create another backup"))]
    pub instance: String,

    /// How the snapshot is cut. Online (default): while the database works; restoring it is like starting after a
    /// crash, from which all three engines recover. Quiesced: writes are held for the moment of the cut. Offline: the
    /// database is stopped for the cut. Cannot be changed after creation.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.method: cannot be changed after creation; create \
        another backup"))]
    pub method: Method,

    /// The longest time in seconds that writes are held (Quiesced) or that the database stays down after it has stopped
    /// (Offline). Default: 30. When it ends before the cut is made, the database works again and the backup fails.
    /// Cannot be changed after creation.
    #[serde(default = "default_hold_seconds")]
    #[schemars(range(min = 1, max = 600))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.holdSeconds: cannot be changed after creation; \
        create another backup"))]
    pub hold_seconds: i32,

    /// Seconds after which a backup that has begun and is not ready fails; until then errors of the storage driver are
    /// tried again. (One that cannot begin, because something is missing, fails after ten minutes.) Default: 600.
    /// Cannot be changed after creation.
    #[serde(default = "default_deadline_seconds")]
    #[schemars(range(min = 10, max = 86400))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.deadlineSeconds: cannot be changed after \
        creation; create another backup"))]
    pub deadline_seconds: i32,

    /// Days after which the backup deletes itself; never while a restore uses it, and never the last good backup of a
    /// living instance. Default: none, it stays. May be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub retention_days: Option<i32>,

    /// Name of the VolumeSnapshotClass. Default: the default class of the volume's driver, or its only one. Cannot be
    /// changed after creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub snapshot_class_name: Option<String>,

    /// What happens to the snapshot when this resource is deleted. Delete (default): it is deleted too. Retain: the
    /// VolumeSnapshot stays. May be changed at any time.
    #[serde(default)]
    pub deletion_policy: SnapshotPolicy,

    /// Other namespaces that may restore from this backup; "*" means all. Default: none. May be changed at any time,
    /// which gives or withdraws the consent for restores that begin from then on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63), regex(pattern = LABEL_OR_ALL)))]
    pub allowed_namespaces: Vec<String>,

    /// Whether the backup is to be proved: it is restored into a throw-away instance that nobody else can connect to,
    /// the engine's own checks run on it, and the result is the condition Verified. Default: false. May be set later.
    #[serde(default)]
    pub verify: bool,
}

/// How a snapshot is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(description = "How the snapshot is cut: Online, Quiesced or Offline.")]
pub enum Method {
    /// While the database works.
    #[default]
    Online,
    /// While writes are held.
    Quiesced,
    /// While the database is stopped.
    Offline,
}

impl Method {
    /// The word that the API uses.
    pub fn name(self) -> &'static str {
        match self {
            Method::Online => "Online",
            Method::Quiesced => "Quiesced",
            Method::Offline => "Offline",
        }
    }
}

/// What happens to the snapshot when the backup is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(
    description = "What happens to the snapshot when the resource is deleted: Delete or Retain."
)]
pub enum SnapshotPolicy {
    /// The snapshot is deleted too.
    #[default]
    Delete,
    /// The VolumeSnapshot stays.
    Retain,
}

fn default_hold_seconds() -> i32 {
    DEFAULT_HOLD_SECONDS
}

fn default_deadline_seconds() -> i32 {
    DEFAULT_DEADLINE_SECONDS
}
