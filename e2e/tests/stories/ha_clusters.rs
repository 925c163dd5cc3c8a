//! Clusters of PostgreSQL, delegated to the Zalando operator.

mod cluster;
mod deletion;
mod failed;
mod failover;
mod pending;
mod refusals;
