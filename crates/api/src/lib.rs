//! The nouns of Mini DBaaS: custom resources, condition types and reasons, and every name the operator gives to
//! anything. Nothing here talks to a cluster; crate `plan` decides with these types and crate `minidbaas` acts on them.
#![warn(missing_docs)]

pub mod backup;
pub mod condition;
pub mod external;
pub mod ha_cluster;
pub mod instance;
pub mod limits;
pub mod names;
pub mod object_name;
pub mod reported;
pub mod restore;

pub use backup::{DatabaseBackup, DatabaseBackupSpec, DatabaseBackupStatus};
pub use ha_cluster::{HACluster, HAClusterSpec, HAClusterStatus};
pub use instance::{DatabaseInstance, DatabaseInstanceSpec, DatabaseInstanceStatus, Engine};
pub use restore::{DatabaseRestore, DatabaseRestoreSpec, DatabaseRestoreStatus};
