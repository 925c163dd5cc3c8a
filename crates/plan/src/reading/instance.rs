//! Of an instance.

use api::DatabaseInstance;
use api::instance::Phase;
use api::reported::Reported;

/// Whether the database has served before: only then has the status a capacity.
pub fn has_served(cr: &DatabaseInstance) -> bool {
    let storage = cr.status().and_then(|status| status.storage.as_ref());
    storage.is_some_and(|storage| storage.capacity.is_some())
}

/// Whether the instance is to start from a backup and has not served yet.
pub fn awaits_backup(cr: &DatabaseInstance) -> bool {
    cr.spec.restore_from.is_some() && !has_served(cr)
}

/// Whether the instance's volume is being made from its backup, or may be: without the snapshot it would never be
/// complete.
pub fn uses_backup(cr: &DatabaseInstance) -> bool {
    let phase = cr.status.as_ref().and_then(|status| status.phase);
    awaits_backup(cr) && phase.is_some_and(|phase| phase != Phase::Pending)
}
