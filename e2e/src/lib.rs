//! What every story needs: the cluster, a namespace of its own, resources, clients, and a good explanation of a
//! failure.

pub mod audit;
pub mod backups;
pub mod client;
pub mod cluster;
pub mod ha;
pub mod kstatus;
pub mod length;
pub mod objects;
pub mod space;
mod waits;
pub mod writer;

pub use client::Database;
pub use cluster::Cluster;
pub use space::Space;
pub use writer::{Writer, none_lost};
