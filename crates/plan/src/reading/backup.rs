//! Of a backup.

use std::collections::BTreeSet;

use api::DatabaseBackup;
use api::backup::BackupPhase;
use api::condition::{READY, Truth, VERIFIED, has};
use api::reported::Reported;

/// Whether the backup has come to its end, good or bad: nothing makes it anew.
pub fn is_finished(cr: &DatabaseBackup) -> bool {
    cr.status.as_ref().is_some_and(|status| {
        status.ready_at.is_some() || status.phase == Some(BackupPhase::Failed)
    })
}

/// Whether the backup wants the instance's server to be down now: an Offline backup that began and has no cut yet.
pub fn wants_server_down(cr: &DatabaseBackup) -> bool {
    cr.spec.method == api::backup::Method::Offline
        && cr.metadata.deletion_timestamp.is_none()
        && cr.status.as_ref().is_some_and(|status| {
            status.started_at.is_some()
                && status.consistency.is_none()
                && status.phase == Some(BackupPhase::Running)
        })
}

/// Whether the backup can be restored.
pub fn is_good(cr: &DatabaseBackup) -> bool {
    cr.metadata.deletion_timestamp.is_none() && has(cr.conditions(), READY, Truth::True)
}

/// Whether the backup can be restored, and was not found damaged when it was.
pub fn is_sound(cr: &DatabaseBackup) -> bool {
    is_good(cr) && !has(cr.conditions(), VERIFIED, Truth::False)
}

/// The namespaces that the backup may be restored into; `None`: all.
pub fn readers(cr: &DatabaseBackup) -> Option<BTreeSet<String>> {
    let allowed = &cr.spec.allowed_namespaces;
    let everywhere = allowed.iter().any(|allowed| allowed == "*");
    let own = cr.metadata.namespace.iter();
    (!everywhere).then(|| own.chain(allowed).cloned().collect())
}

/// Whether the backup may be restored into this namespace: its own, or one that spec.allowedNamespaces lists. Nothing
/// that is asked for elsewhere counts for anything.
pub fn allows(cr: &DatabaseBackup, namespace: Option<&str>) -> bool {
    let mut allowed = cr.spec.allowed_namespaces.iter();
    cr.metadata.namespace.as_deref() == namespace
        || allowed.any(|allowed| allowed == "*" || Some(allowed.as_str()) == namespace)
}
