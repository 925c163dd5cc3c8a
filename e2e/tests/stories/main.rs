//! Stories on a real cluster with real engines: one file a story. `make test` brings the cluster up first.

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

/// The one Zalando operator: stories with clusters share it, and one that stops it or sets it otherwise has it alone.
/// They begin in the order of their names: `absent_zalando` is over before `ha_clusters` begin, whose long waits have
/// others beside them.
static ZALANDO: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());
