//! Stories on a real cluster with real engines: one file a story. `make test` brings the cluster up first.

mod backup_cross_namespace;
mod backup_damage;
mod backup_failures;
mod backup_last;
mod backup_leaving;
mod backup_many;
mod backup_refusals;
mod backups;
mod creation;
mod examples;
mod ha_cluster;
mod ha_failed;
mod ha_failover;
mod ha_leaving;
mod ha_pending;
mod ha_refusals;
mod hostile;
mod leaving;
mod lifecycle;
mod refusals;
mod restore_from;
mod restore_refusals;
mod secrecy;
mod stalls;
mod troubles;
