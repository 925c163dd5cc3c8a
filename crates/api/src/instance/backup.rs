//! What a `DatabaseInstance` says of backups: where its data comes from, and which backups are taken by themselves.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backup::Method;
use crate::object_name::{LABEL_OR_ALL, SUBDOMAIN};
use crate::restore::BackupReference;

/// Where the data comes from.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!self.ifExists || !has(self.backup.__namespace__)")
        .message("spec.restoreFrom.ifExists: only for a backup of the same namespace, because of others it is not \
            told whether they exist")
)]
pub struct RestoreFrom {
    /// The backup.
    pub backup: BackupReference,

    /// While true, the database starts empty if there is no such backup at the time when its volume is made, so that
    /// one manifest serves for both. Default: false, it waits for the backup.
    #[serde(default)]
    pub if_exists: bool,
}

/// Backups that are taken by themselves.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// When: five fields as in cron(8), such as "0 3 * * *". Default: none, no backup is taken by itself. If runs were
    /// missed, one is made up for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub schedule: Option<String>,

    /// Time zone of the schedule by its IANA name, such as Europe/Berlin. Default: UTC. A time that does not exist when
    /// clocks go forward is made up for right after it; one that comes twice counts once. A schedule of every hour
    /// follows the clock.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,

    /// Which scheduled backups stay. Default: the last 7 good ones. Only good ones count; the last good one and one
    /// that a restore uses are never deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,

    /// How the snapshots are cut: Online (default), Quiesced or Offline; see DatabaseBackup.
    #[serde(default)]
    pub method: Method,

    /// Name of the VolumeSnapshotClass. Default: the default class of the volume's driver, or its only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub snapshot_class_name: Option<String>,

    /// Whether each backup is proved by restoring it; see DatabaseBackup. Default: false.
    #[serde(default)]
    pub verify: bool,

    /// Other namespaces that may restore from the backups taken from now on; "*" means all. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63), regex(pattern = LABEL_OR_ALL)))]
    pub allowed_namespaces: Vec<String>,
}

/// Which scheduled backups stay: those that one of the `keep` rules selects. Without a `keep` rule only their age
/// decides.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// How many of the newest backups stay. Default: none by this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub keep_last: Option<i32>,

    /// For how many days, of those that have a backup, the newest of the day stays. Default: none by this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub keep_daily: Option<i32>,

    /// For how many months, of those that have a backup, the newest of the month stays. Default: none by this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub keep_monthly: Option<i32>,

    /// Days after which a backup goes even if a `keep` rule selects it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub max_age_days: Option<i32>,
}

fn default_time_zone() -> String {
    "UTC".to_owned()
}
