//! Condition types and reasons, and the one function that sets a condition.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::limits::MESSAGE;

/// The database accepts connections; of a cluster: and all its replicas stream.
pub const READY: &str = "Ready";
/// A change is under way; present only while true (kstatus).
pub const RECONCILING: &str = "Reconciling";
/// Nothing more happens until a person changes something; present only while true (kstatus).
pub const STALLED: &str = "Stalled";
/// The volume is there and as large as asked.
pub const STORAGE_READY: &str = "StorageReady";
/// The server settings of the spec are in force.
pub const PARAMETERS_APPLIED: &str = "ParametersApplied";
/// A primary of the cluster accepts connections.
pub const AVAILABLE: &str = "Available";
/// The Zalando operator acts on the cluster, and its settings do no harm.
pub const DELEGATED: &str = "Delegated";

/// The scheduled backups succeed; present only while spec.backup.schedule is set.
pub const BACKUP_HEALTHY: &str = "BackupHealthy";
/// The backup was restored, and the engine's own checks found it good.
pub const VERIFIED: &str = "Verified";

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
    /// A write of the operator is refused, or does not succeed.
    pub const APPLY_FAILED: &str = "ApplyFailed";
    /// What the operator must know could not be read.
    pub const READ_FAILED: &str = "ReadFailed";
    /// A cluster without the API of VolumeSnapshots.
    pub const SNAPSHOT_API_MISSING: &str = "SnapshotApiMissing";
    /// There is no such VolumeSnapshotClass, or none for the volume's driver.
    pub const SNAPSHOT_CLASS_NOT_FOUND: &str = "SnapshotClassNotFound";
    /// The volume's driver cannot make snapshots, or is another one than the class's.
    pub const SNAPSHOT_UNSUPPORTED: &str = "SnapshotUnsupported";
    /// The instance to be backed up does not exist.
    pub const INSTANCE_NOT_FOUND: &str = "InstanceNotFound";
    /// The instance to be backed up has no volume with data yet, or its server does not serve.
    pub const INSTANCE_NOT_READY: &str = "InstanceNotReady";
    /// The snapshot is being taken.
    pub const TAKING_SNAPSHOT: &str = "TakingSnapshot";
    /// Writes are being held, or the database is being stopped, for the cut.
    pub const HOLDING: &str = "Holding";
    /// The cut is made; the storage completes the snapshot.
    pub const COMPLETING: &str = "Completing";
    /// The storage driver reports an error.
    pub const SNAPSHOT_FAILED: &str = "SnapshotFailed";
    /// The backup was not ready within spec.deadlineSeconds.
    pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
    /// The hold ended before the cut was made.
    pub const HOLD_EXCEEDED: &str = "HoldExceeded";
    /// Writes could not be held.
    pub const QUIESCE_FAILED: &str = "QuiesceFailed";
    /// Of a backup: the snapshot is complete and can be restored. Of a restore: the new instance accepted connections.
    pub const COMPLETED: &str = "Completed";
    /// The snapshot of the backup is gone.
    pub const SNAPSHOT_LOST: &str = "SnapshotLost";
    /// The backup is due to go, but is the last good one of its instance.
    pub const LAST_GOOD_BACKUP: &str = "LastGoodBackup";
    /// The backup is due to go, but a restore uses it.
    pub const IN_USE: &str = "InUse";

    /// The backup was restored and the engine's checks found it good.
    pub const CHECKED: &str = "Checked";
    /// The backup waits for its verification, or the verification is under way.
    pub const VERIFYING: &str = "Verifying";
    /// The engine's checks found damage, or the restored database did not start.
    pub const CHECK_FAILED: &str = "CheckFailed";
    /// The verification could not be finished; it says nothing of the backup.
    pub const NOT_CHECKED: &str = "NotChecked";

    /// The first start from a backup is under way.
    pub const RESTORING: &str = "Restoring";
    /// The backup to be restored does not exist, or is in another namespace and does not allow this one.
    pub const BACKUP_NOT_AVAILABLE: &str = "BackupNotAvailable";
    /// The operator lacks the rights that a restore from another namespace takes.
    pub const CROSS_NAMESPACE_FORBIDDEN: &str = "CrossNamespaceForbidden";
    /// The time of a backup is over by the operator's clock, which differs from the API server's.
    pub const CLOCK_DIFFERS: &str = "ClockDiffers";
    /// The backup to be restored is not ready yet.
    pub const BACKUP_NOT_READY: &str = "BackupNotReady";
    /// The backup to be restored failed, or its snapshot is gone.
    pub const BACKUP_UNUSABLE: &str = "BackupUnusable";
    /// The instance asks for something else than the backup has.
    pub const RESTORE_MISMATCH: &str = "RestoreMismatch";
    /// The volume asked for is smaller than the backup's.
    pub const VOLUME_TOO_SMALL: &str = "VolumeTooSmall";
    /// An instance of the new one's name exists, or its data.
    pub const INSTANCE_EXISTS: &str = "InstanceExists";

    /// spec.backup.schedule does not parse.
    pub const INVALID_SCHEDULE: &str = "InvalidSchedule";
    /// spec.backup.timeZone is not known.
    pub const INVALID_TIME_ZONE: &str = "InvalidTimeZone";
    /// The last scheduled backup succeeded, or none was due yet.
    pub const BACKUPS_SUCCEED: &str = "BackupsSucceed";
    /// The last scheduled backup failed.
    pub const BACKUP_FAILED: &str = "BackupFailed";
    /// The last scheduled backup is under way for longer than usual, or cannot begin.
    pub const BACKUP_WAITING: &str = "BackupWaiting";
    /// The database is down for an Offline backup.
    pub const OFFLINE_BACKUP: &str = "OfflineBackup";
    /// The last backup before the data goes is being taken.
    pub const FINAL_BACKUP: &str = "FinalBackup";
    /// The last backup before the data goes failed.
    pub const FINAL_BACKUP_FAILED: &str = "FinalBackupFailed";

    /// The resource goes, and data stays that its policy would not keep: it is not the resource's, or has no good last
    /// backup.
    pub const DATA_KEPT: &str = "DataKept";

    /// A primary accepts connections.
    pub const PRIMARY_SERVES: &str = "PrimaryServes";
    /// No primary accepts connections.
    pub const NO_PRIMARY: &str = "NoPrimary";
    /// Fewer replicas stream than were asked for.
    pub const REPLICAS_MISSING: &str = "ReplicasMissing";
    /// All servers serve, and no replica confirms writes yet.
    pub const NO_SYNCHRONOUS_STANDBY: &str = "NoSynchronousStandby";
    /// Another pod is the primary now.
    pub const FAILED_OVER: &str = "FailedOver";
    /// The Zalando operator has carried out what was asked, or is at it.
    pub const ACTING: &str = "Acting";
    /// The cluster does not know the Zalando operator's resources.
    pub const POSTGRES_OPERATOR_MISSING: &str = "PostgresOperatorMissing";
    /// The Zalando operator does not act on what it was asked.
    pub const POSTGRES_OPERATOR_NOT_RESPONDING: &str = "PostgresOperatorNotResponding";
    /// The Zalando operator could not carry out what it was asked.
    pub const POSTGRES_OPERATOR_FAILED: &str = "PostgresOperatorFailed";
    /// A setting of the Zalando operator harms the cluster.
    pub const HARMFUL_SETTING: &str = "HarmfulSetting";
    /// Something holds what is to be deleted.
    pub const DELETION_BLOCKED: &str = "DeletionBlocked";

    /// Everything of the spec is in force.
    pub const APPLIED: &str = "Applied";
}

/// Whether what a condition's type says is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It is.
    True,
    /// It is not.
    False,
    /// That is not known.
    Unknown,
}

impl Truth {
    /// As it is written in a condition.
    pub fn word(self) -> &'static str {
        match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        }
    }

    /// Whether a condition says this.
    pub fn is(self, condition: &Condition) -> bool {
        condition.status == self.word()
    }
}

impl From<bool> for Truth {
    fn from(is_so: bool) -> Self {
        if is_so { Truth::True } else { Truth::False }
    }
}

/// A condition before it has a time: what `decide` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedCondition {
    /// Condition type, one of the constants of this module.
    pub type_: &'static str,
    /// Whether it is so.
    pub status: Truth,
    /// One of [`reason`].
    pub reason: Cow<'static, str>,
    /// One or two sentences: what is so, and if it is not good, what a person can do.
    pub message: String,
    /// What the Event is like that tells of a new reason, in kinds that tell of this type.
    pub event: News,
}

/// What an Event is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// There is none.
    Silent,
    /// A Normal one; a Warning if the resource is stalled for the same reason.
    Normal,
    /// A Warning: a person should look.
    Warning,
}

impl PlannedCondition {
    /// The same, of which no Event tells.
    pub fn silent(self) -> Self {
        let event = News::Silent;
        PlannedCondition { event, ..self }
    }

    /// The same, of which a Warning tells.
    pub fn warning(self) -> Self {
        let event = News::Warning;
        PlannedCondition { event, ..self }
    }
}

/// A statement.
pub fn state(
    type_: &'static str,
    status: Truth,
    reason: impl Into<Cow<'static, str>>,
    message: impl Into<String>,
) -> PlannedCondition {
    PlannedCondition {
        type_,
        status,
        reason: reason.into(),
        message: message.into(),
        event: News::Normal,
    }
}

/// The condition of this type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of this type is there and has this status.
pub fn has(conditions: &[Condition], type_: &str, status: Truth) -> bool {
    find(conditions, type_).is_some_and(|condition| status.is(condition))
}

/// The conditions that `statements` make of `before`. `lastTransitionTime` moves only when a condition's status moves
/// (API conventions); a condition that nobody states any more is gone. A message that is longer than the schema takes
/// is cut, whatever it quotes: a status that is refused would tell nothing.
pub fn conditions(
    before: &[Condition],
    planned: &[PlannedCondition],
    generation: i64,
    now: &Time,
) -> Vec<Condition> {
    planned
        .iter()
        .map(|planned| {
            let kept = before
                .iter()
                .find(|old| old.type_ == planned.type_ && planned.status.is(old))
                .map(|old| old.last_transition_time.clone());
            Condition {
                type_: planned.type_.to_owned(),
                status: planned.status.word().to_owned(),
                reason: planned.reason.clone().into_owned(),
                message: beginning(&planned.message, MESSAGE).to_owned(),
                observed_generation: Some(generation),
                last_transition_time: kept.unwrap_or_else(|| now.clone()),
            }
        })
        .collect()
}

/// As much of the beginning of a text as has at most so many bytes.
pub fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::beginning;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(beginning("äöü", 6), "äöü");
        assert_eq!(beginning("äöü", 5), "äö");
        assert_eq!(beginning("a", 0), "");
        assert_eq!(beginning("short", 2000), "short");
    }
}
