//! Condition types and reasons, and the one function that sets a condition.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The database accepts connections.
pub const READY: &str = "Ready";
/// A change is under way; present only while true (kstatus).
pub const RECONCILING: &str = "Reconciling";
/// Nothing more happens until a person changes something; present only while true (kstatus).
pub const STALLED: &str = "Stalled";
/// The volume is there and as large as asked.
pub const STORAGE_READY: &str = "StorageReady";
/// The server settings of the spec are in force.
pub const PARAMETERS_APPLIED: &str = "ParametersApplied";

/// Reasons, in CamelCase as the API conventions ask. Each is explained in docs/conditions.md.
pub mod reason {
    /// The database accepts connections.
    pub const RUNNING: &str = "Running";
    /// The first start is under way.
    pub const PROVISIONING: &str = "Provisioning";
    /// A change restarts the database, or is being applied to it.
    pub const UPDATING: &str = "Updating";
    /// No pod runs, as asked.
    pub const STOPPED: &str = "Stopped";
    /// The pod is shutting down, as asked.
    pub const STOPPING: &str = "Stopping";
    /// The database ran before and does not accept connections now.
    pub const NOT_ACCEPTING_CONNECTIONS: &str = "NotAcceptingConnections";
    /// The objects of a former instance of the same name are still being deleted.
    pub const WAITING_FOR_DELETION: &str = "WaitingForDeletion";
    /// spec.deletionProtection is true and the resource was deleted all the same.
    pub const DELETION_PROTECTED: &str = "DeletionProtected";
    /// The resource is being deleted.
    pub const DELETING: &str = "Deleting";
    /// The annotation minidbaas.dev/paused is set.
    pub const PAUSED: &str = "Paused";

    /// spec.version is not in the engine catalog.
    pub const UNKNOWN_VERSION: &str = "UnknownVersion";
    /// spec.version is another major version than the data's.
    pub const MAJOR_VERSION_CHANGE: &str = "MajorVersionChange";
    /// spec.version is older than the data's.
    pub const VERSION_DOWNGRADE: &str = "VersionDowngrade";
    /// A name in the spec is too long, reserved or malformed.
    pub const INVALID_NAME: &str = "InvalidName";
    /// A parameter is unknown, belongs to the operator or is malformed.
    pub const INVALID_PARAMETER: &str = "InvalidParameter";
    /// The engine refused the value of a parameter.
    pub const PARAMETER_REJECTED: &str = "ParameterRejected";
    /// spec.resources contradicts itself or is too small for the engine.
    pub const INVALID_RESOURCES: &str = "InvalidResources";
    /// spec.credentialsSecret names a Secret that does not exist.
    pub const CREDENTIALS_NOT_FOUND: &str = "CredentialsNotFound";
    /// The Secret of spec.credentialsSecret has no usable password, or another username.
    pub const CREDENTIALS_INVALID: &str = "CredentialsInvalid";
    /// spec.storage.className names a class that does not exist, or there is no default class.
    pub const STORAGE_CLASS_NOT_FOUND: &str = "StorageClassNotFound";
    /// The volume is to grow and its class does not allow that.
    pub const STORAGE_CLASS_CANNOT_GROW: &str = "StorageClassCannotGrow";
    /// The volume is being made larger.
    pub const RESIZING: &str = "Resizing";
    /// The volume could not be made, bound or resized.
    pub const VOLUME_NOT_BOUND: &str = "VolumeNotBound";
    /// The volume is larger than spec.storage.size.
    pub const STORAGE_SHRINKS: &str = "StorageShrinks";
    /// The volume claim that held the data is gone.
    pub const VOLUME_LOST: &str = "VolumeLost";
    /// The volume is bound and as large as asked.
    pub const BOUND: &str = "Bound";
    /// A retained volume of this name holds other data than the spec asks for.
    pub const RETAINED_DATA_MISMATCH: &str = "RetainedDataMismatch";
    /// An object with a child's name exists and is not ours.
    pub const NAME_TAKEN: &str = "NameTaken";

    /// No node can take the pod.
    pub const UNSCHEDULABLE: &str = "Unschedulable";
    /// The engine's image cannot be pulled.
    pub const IMAGE_PULL_FAILED: &str = "ImagePullFailed";
    /// A container cannot be started.
    pub const CONTAINER_NOT_STARTED: &str = "ContainerNotStarted";
    /// The server ends again and again.
    pub const CRASH_LOOP: &str = "CrashLoop";
    /// The server was killed for using more memory than its limit.
    pub const OUT_OF_MEMORY: &str = "OutOfMemory";
    /// A ResourceQuota of the namespace leaves no room.
    pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";
    /// An admission rule of the namespace or cluster forbids the pod.
    pub const POD_FORBIDDEN: &str = "PodForbidden";
    /// The password could not be changed inside the database.
    pub const CREDENTIALS_NOT_APPLIED: &str = "CredentialsNotApplied";
    /// The API server refused a write of the operator.
    pub const APPLY_FAILED: &str = "ApplyFailed";
    /// Everything of the spec is in force.
    pub const APPLIED: &str = "Applied";
}

/// A condition before it has a time: what `decide` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Condition type, one of the constants of this module.
    pub type_: &'static str,
    /// "True", "False" or "Unknown".
    pub status: &'static str,
    /// One of [`reason`].
    pub reason: &'static str,
    /// One or two sentences: what is so, and if it is not good, what a person can do.
    pub message: String,
}

/// The conditions that `statements` make of `before`. `lastTransitionTime` moves only when a condition's status moves (API
/// conventions); a condition that nobody states any more is gone.
pub fn conditions(
    before: &[Condition],
    statements: &[Statement],
    generation: i64,
    now: &Time,
) -> Vec<Condition> {
    statements
        .iter()
        .map(|statement| {
            let kept = before
                .iter()
                .find(|old| old.type_ == statement.type_ && old.status == statement.status)
                .map(|old| old.last_transition_time.clone());
            Condition {
                type_: statement.type_.to_owned(),
                status: statement.status.to_owned(),
                reason: statement.reason.to_owned(),
                message: statement.message.clone(),
                observed_generation: Some(generation),
                last_transition_time: kept.unwrap_or_else(|| now.clone()),
            }
        })
        .collect()
}
