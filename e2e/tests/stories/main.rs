//! Stories on a real cluster with real engines, side by side: one file a story. `e2e/stories` runs them.

mod absent_zalando;
mod backup_cross_namespace;
mod backup_damage;
mod backup_deletion;
mod backup_failures;
mod backup_figures;
mod backup_last;
mod backup_many;
mod backup_refusals;
mod backups;
mod creation;
mod deletion;
mod examples;
mod ha_clusters;
mod hostile;
mod lifecycle;
mod refusals;
mod restore_from;
mod restore_refusals;
mod secrecy;
mod stalls;
mod tenants;
mod troubles;
mod two_servers;
