//! A backup that was complete once: is it still, must it be proved, and when does it go?

use api::backup::{BackupPhase, DatabaseBackupStatus};
use api::condition::{PlannedCondition, READY, Truth, reason, state};
use api::external::snapshot::VolumeSnapshot;
use api::reported::Reported;
use api::restore::BackupReference;
use api::{DatabaseBackup, DatabaseInstance, DatabaseRestore};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::SignedDuration;

use super::snapshot::{driver_words, fate, is_own, release};
use super::status::{Verdict, unwell};
use super::{LATER, Observed, verification};
use crate::clock;
use crate::facts::capacity;
use crate::quantity::thousandths;
use crate::reading;
use crate::reading::backup::{allows, is_sound};
use crate::reading::instance::awaits_backup;
use crate::step::{Step, Tone};
use crate::{Kind, Write};
use std::time::Duration;

/// Who has a say in whether a backup may go.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// Backups of the same instance that supersede it, if there are any: one is enough.
    pub siblings: Vec<DatabaseBackup>,
    /// The instances that name a backup of this name, wherever they are.
    pub copies: Vec<DatabaseInstance>,
    /// The DatabaseRestores that do.
    pub restores: Vec<DatabaseRestore>,
}

/// When the backup is to go by itself.
fn expires_at(cr: &DatabaseBackup, status: &DatabaseBackupStatus) -> Option<Time> {
    let taken = status.taken_at.as_ref()?;
    let days = cr.spec.retention_days?;
    let age = SignedDuration::from_hours(24 * i64::from(days));
    taken.0.checked_add(age).ok().map(Time)
}

/// Whether the time of the backup is over, so that the pass must know its peers.
pub fn is_due(cr: &DatabaseBackup, now: &Time) -> bool {
    expires_at(cr, &cr.last_status()).is_some_and(|at| at.0 <= now.0)
}

/// The snapshot is complete.
pub fn completed(
    cr: &DatabaseBackup,
    observed: &Observed,
    snapshot: &VolumeSnapshot,
    mut status: DatabaseBackupStatus,
    now: &Time,
) -> Verdict {
    let size = snapshot
        .status
        .as_ref()
        .and_then(|status| status.restore_size.clone());
    // Not every driver tells; then the volume's own size is the least that is certain to do.
    let told = size.filter(|size| thousandths(&size.0) > Some(0));
    status.restore_size = told.or_else(|| {
        let size = capacity(observed.claim.as_ref()?)?;
        Some(Quantity(size.to_owned()))
    });
    status.ready_at = Some(now.clone());
    status.expires_at = expires_at(cr, &status);
    status.phase = Some(BackupPhase::Ready);
    let ready = ready(cr, &status);
    (Step::told(ready, Tone::Quiet), status)
}

fn ready(cr: &DatabaseBackup, status: &DatabaseBackupStatus) -> PlannedCondition {
    let taken = status
        .taken_at
        .as_ref()
        .map(|taken| taken.0.to_string())
        .unwrap_or_default();
    state(
        READY,
        Truth::True,
        reason::COMPLETED,
        format!(
            "The snapshot of {} as of {taken} is complete and can be restored.",
            cr.spec.instance
        ),
    )
}

/// A backup that was complete once.
pub fn kept(cr: &DatabaseBackup, observed: &Observed, now: &Time) -> Verdict {
    let mut status = cr.last_status();
    status.expires_at = expires_at(cr, &status);
    let mut writes = release(observed);
    let usable = observed
        .snapshot
        .as_ref()
        .filter(|snapshot| is_own(cr, snapshot) && snapshot.metadata.deletion_timestamp.is_none());
    let trouble = match usable {
        None => Some((
            reason::SNAPSHOT_LOST,
            "The VolumeSnapshot of this backup is gone, and with it the data. Delete this backup."
                .to_owned(),
        )),
        Some(snapshot) => {
            writes.extend(fate(cr, snapshot));
            let seen = snapshot.status.clone().unwrap_or_default();
            (seen.ready_to_use != Some(true)).then(|| {
                let said = driver_words(&seen).unwrap_or_else(|| {
                    "The VolumeSnapshot says that it is not ready to use any more.".to_owned()
                });
                let remedy =
                    "Look at the driver's log; if it does not come back, delete this backup.";
                (reason::SNAPSHOT_FAILED, format!("{said} {remedy}"))
            })
        }
    };
    if let Some((why, message)) = trouble {
        status.phase = Some(BackupPhase::Failed);
        let aside = verification::set_aside(cr, observed, &mut status);
        let may_go = clock::is_trusted(observed.clock_skew) && !in_use(cr, observed, now);
        let goes = usable.is_none() && is_due(cr, now) && may_go;
        let step = unwell(why, &message)
            .writing(writes)
            .and(aside)
            .writing(goes.then(|| Write::delete(Kind::DatabaseBackup, &cr.metadata)))
            .again(Some(LATER));
        return (step, status);
    }
    status.phase = Some(BackupPhase::Ready);
    let mut step = Step::told(ready(cr, &status), Tone::Quiet);
    let mut requeue = status.expires_at.as_ref().map(|at| until(at, now));
    // It may have become due after the peers were looked for: the next pass looks.
    if is_due(cr, now) && observed.peers.is_some() {
        match held_back(cr, observed, now) {
            None => writes.push(Write::delete(Kind::DatabaseBackup, &cr.metadata)),
            Some((why, message)) => {
                status.phase = Some(BackupPhase::Expired);
                step = Step::told(state(READY, Truth::True, why, message), Tone::Quiet);
                requeue = Some(Duration::from_secs(60));
            }
        }
    }
    let verification = verification::decide(cr, observed, &mut status, now);
    let step = step.writing(writes).and(verification).again(requeue);
    (step, status)
}

/// Whether a restore uses the backup; as long as that is not known, it may.
fn in_use(cr: &DatabaseBackup, observed: &Observed, now: &Time) -> bool {
    observed.peers.as_ref().is_none_or(|peers| {
        let mut copies = peers.copies.iter();
        let mut restores = peers.restores.iter();
        copies.any(|copy| copies_from(cr, copy, now))
            || restores.any(|restore| restores_from(cr, restore, now))
    })
}

/// Whether the instance has yet to read the backup, and may.
pub fn copies_from(cr: &DatabaseBackup, copy: &DatabaseInstance, now: &Time) -> bool {
    let from = copy.spec.restore_from.as_ref();
    from.is_some_and(|from| may_hold(cr, &copy.metadata, &from.backup, now)) && needs_backup(copy)
}

/// Whether the restore has yet to read the backup, and may.
pub fn restores_from(cr: &DatabaseBackup, restore: &DatabaseRestore, now: &Time) -> bool {
    may_hold(cr, &restore.metadata, &restore.spec.backup, now)
        && !reading::restore::is_finished(restore)
}

/// For so long a restore into another namespace holds a backup back: leave to read is not leave to keep for ever.
const OTHERS: SignedDuration = SignedDuration::from_hours(24);

/// Whether the backup stays for whoever asks for it by this reference. What the backup does not allow holds nothing
/// back: else anybody who may ask for a restore anywhere could keep everybody's backups.
fn may_hold(cr: &DatabaseBackup, asker: &ObjectMeta, backup: &BackupReference, now: &Time) -> bool {
    let (name, namespace) = (
        cr.metadata.name.as_deref().unwrap_or_default(),
        cr.metadata.namespace.as_deref(),
    );
    let own = asker.namespace.as_deref();
    let created = asker.creation_timestamp.as_ref();
    let is_recent = created.is_some_and(|at| now.0.duration_since(at.0) < OTHERS);
    backup.means(own, name, namespace) && allows(cr, own) && (own == namespace || is_recent)
}

/// Whether a backup of the same instance is newer, and good.
pub fn supersedes(other: &DatabaseBackup, cr: &DatabaseBackup) -> bool {
    let rank = |backup: &DatabaseBackup| {
        let taken = backup
            .status
            .as_ref()
            .and_then(|status| status.taken_at.as_ref().map(|at| at.0));
        (taken, backup.metadata.name.clone())
    };
    is_sound(other) && rank(other) > rank(cr)
}

/// Why a backup that is due may not go.
fn held_back(
    cr: &DatabaseBackup,
    observed: &Observed,
    now: &Time,
) -> Option<(&'static str, String)> {
    let peers = observed.peers.as_ref()?;
    let name = cr.metadata.name.as_deref().unwrap_or_default();
    if !clock::is_trusted(observed.clock_skew) {
        return Some((
            reason::CLOCK_DIFFERS,
            format!(
                "The backup is due to go; it stays while {}. Set the clocks right; nothing is deleted by age until \
                    they differ by at most {} s.",
                clock::difference(observed.clock_skew),
                clock::TOLERANCE_SECONDS
            ),
        ));
    }
    if in_use(cr, observed, now) {
        return Some((
            reason::IN_USE,
            format!(
                "The backup is due to go; it stays while a restore uses it. `kubectl get dbinstances,dbrestores -A` \
                    shows who restores {name}."
            ),
        ));
    }
    let living = observed
        .instance
        .as_ref()
        .is_some_and(|instance| instance.metadata.deletion_timestamp.is_none());
    let newer = peers.siblings.iter().any(|other| supersedes(other, cr));
    (living && !newer).then(|| {
        (
            reason::LAST_GOOD_BACKUP,
            format!(
                "The backup is due to go; it stays until {} has a newer good one.",
                cr.spec.instance
            ),
        )
    })
}

/// Whether an instance has yet to read the backup that it was asked to start from.
fn needs_backup(copy: &DatabaseInstance) -> bool {
    copy.metadata.deletion_timestamp.is_none() && awaits_backup(copy)
}

fn until(at: &Time, now: &Time) -> Duration {
    Duration::from_secs(
        u64::try_from(at.0.as_second() - now.0.as_second())
            .unwrap_or(0)
            .clamp(1, 600),
    )
}
