//! The rules of a backup. `World` stands for an API server that does what it is told; a test says what storage, kubelet
//! and Job do.

mod any_order;
mod kept;
mod missing;
mod offline;
mod online;
mod quiesced;
mod verification;
pub(crate) mod world;
