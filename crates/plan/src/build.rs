//! One file per kind of child object; each function here shapes an object and decides nothing.

pub mod config_map;
pub mod database_instance;
pub mod ha_secret;
pub mod imported_snapshot;
pub mod job;
pub mod login;
pub mod network_policy;
pub mod pod;
pub mod postgresql;
pub mod pvc;
pub mod quiesce;
pub mod secret;
pub mod service;
pub mod stateful_set;
pub mod volume_snapshot;
