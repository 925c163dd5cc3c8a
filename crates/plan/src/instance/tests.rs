//! Scenarios: what is snapshotted is what the cluster is sent. `World` stands for an API server that does what it is
//! told.

mod backups;
mod deletion;
mod law;
mod ours;
mod refusals;
mod restores;
mod scenarios;
pub(crate) mod world;
