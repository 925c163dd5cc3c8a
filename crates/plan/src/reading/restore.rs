//! Of a restore.

use api::DatabaseRestore;
use api::restore::RestorePhase;

/// Whether the restore has come to its end.
pub fn is_finished(cr: &DatabaseRestore) -> bool {
    let phase = cr.status.as_ref().and_then(|status| status.phase);
    matches!(phase, Some(RestorePhase::Ready | RestorePhase::Failed))
}
