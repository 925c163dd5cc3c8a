//! Effects against an API server that a test plays: what is asked, in which order, and what an answer leads to.

mod alerts;
mod apply;
mod backup;
mod deploy;
mod generated;
mod ha_cluster;
mod pass;
mod restore;
mod server;
