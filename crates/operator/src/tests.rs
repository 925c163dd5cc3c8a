//! Effects against an API server that a test plays: what is asked, in which order, and what an answer leads to.

mod alerts;
mod apply;
mod backup;
mod deploy;
mod docs;
mod failing;
mod generated;
mod ha_cluster;
mod leader;
mod limits;
mod log;
mod metrics;
mod orphans;
mod pass;
mod pruned;
mod restore;
pub mod server;
