//! `DatabaseBackup`: from the resource and what was observed to the snapshot that should exist and what the user should read.
//!
//! The order of a backup is its safety: what it needs is looked at before anything is made, a hold is seen before the snapshot
//! is asked for, the cut is written down before the hold is let go.

mod hold;
mod keep;
mod preflight;
mod snapshot;
mod status;
#[cfg(test)]
mod tests;
mod verification;

use std::time::Duration;

use api::backup::BackupPhase;
use api::condition::{READY, STALLED, VERIFIED, find, has, reason};
use api::external::snapshot::{VolumeSnapshot, VolumeSnapshotStatus};
use api::names::ANNOTATION_PAUSED;
use api::{DatabaseBackup, DatabaseBackupStatus, DatabaseInstance};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::build::volume_snapshot::volume_snapshot;
use crate::catalog::Catalog;
use crate::facts::{annotation, seconds_since};
use crate::{Invalid, Write};
use snapshot::{clean_up, driver_error, driver_words, is_own, release, snapshot_status};
use status::Verdict;

pub use hold::ended as last_words;
pub use keep::{Peers, is_due, needs_backup};
pub use status::failed;
pub use verification::is_wanted as verification_is_wanted;

/// What a pass does and says about a backup.
pub type Plan = crate::Plan<DatabaseBackupStatus>;

/// The world as one pass saw it; every field is a live read.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The engine catalog.
    pub catalog: Catalog,
    /// The instance of spec.instance.
    pub instance: Option<DatabaseInstance>,
    /// Its volume claim.
    pub claim: Option<PersistentVolumeClaim>,
    /// The provisioner of the claim's storage class.
    pub provisioner: Option<String>,
    /// The VolumeSnapshotClasses, or that the cluster has no such API. Read until the backup has come to its end.
    pub classes: SnapshotClasses,
    /// The VolumeSnapshot of the backup's name.
    pub snapshot: Option<VolumeSnapshot>,
    /// The instance's StatefulSet.
    pub stateful_set: Option<StatefulSet>,
    /// The instance's pod.
    pub pod: Option<Pod>,
    /// The Job that holds writes.
    pub job: Option<Job>,
    /// The pod of that Job.
    pub job_pod: Option<Pod>,
    /// The last words of that pod, if they were heard; it does not stay for long after the hold.
    pub last_words: Option<String>,
    /// Who else has a say in whether the backup may go; read only when it is due.
    pub peers: Option<Peers>,
    /// The throw-away instance that proves the backup.
    pub verification: Option<DatabaseInstance>,
    /// Whether there is room for one more proof at a time.
    pub may_verify: bool,
}

/// The VolumeSnapshotClasses.
#[derive(Clone, Debug, PartialEq)]
pub enum SnapshotClasses {
    /// They were not looked for.
    Unread,
    /// The cluster has no such API.
    NoApi,
    /// These are there.
    Found(Vec<api::external::snapshot::VolumeSnapshotClass>),
}

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
    cr.metadata.deletion_timestamp.is_none() && has(conditions_of(cr), READY, "True")
}

/// Whether the backup can be restored, and was not found damaged when it was.
pub fn is_sound(cr: &DatabaseBackup) -> bool {
    is_good(cr) && !has(conditions_of(cr), VERIFIED, "False")
}

/// What the status says, as conditions; nothing before the first pass.
pub fn conditions_of(cr: &DatabaseBackup) -> &[Condition] {
    cr.status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default()
}

/// While something is under way whose end may come without an event.
const SOON: Duration = Duration::from_secs(2);
/// While something is missing that may be put right elsewhere.
const LATER: Duration = Duration::from_secs(15);
/// The last words of the Job's pod come within moments; after this many seconds a coarser measure has to do.
const WORDS_SECONDS: i64 = 15;
/// A backup for which something is missing is given up after so many seconds.
const PENDING_SECONDS: i64 = 600;

/// What should be done and said. Nothing here depends on anything but the arguments.
pub fn decide(cr: &DatabaseBackup, observed: &Observed, now: &Time) -> Plan {
    let mut verdict = if cr.metadata.deletion_timestamp.is_some() {
        status::leaving(cr, now)
    } else if status::before(cr).ready_at.is_some() {
        keep::kept(cr, observed, now)
    } else if is_finished(cr) {
        status::settled(cr, clean_up(cr, observed))
    } else {
        work(cr, observed, now)
    };
    let paused = annotation(&cr.metadata, ANNOTATION_PAUSED) == Some("true");
    if paused && !verdict.writes.is_empty() {
        let why = "The annotation minidbaas.dev/paused holds back what is to be done. Remove it to let it go on.";
        verdict = if is_finished(cr) {
            status::held(cr, verdict, why, now)
        } else {
            status::invalid(cr, &Invalid::spec(reason::PAUSED, why), now)
        };
    }
    Plan {
        notices: status::notices(cr, &verdict.status),
        writes: verdict.writes,
        status: verdict.status,
        requeue: verdict.recheck,
    }
}

/// A backup that is not ready yet.
fn work(cr: &DatabaseBackup, observed: &Observed, now: &Time) -> Verdict {
    match &observed.snapshot {
        Some(snapshot) if !is_own(cr, snapshot) => {
            let message = format!(
                "There is a VolumeSnapshot {} that was not made for this backup. Rename or delete it, or create the backup under another name.",
                snapshot.metadata.name.as_deref().unwrap_or_default()
            );
            pending(cr, &Invalid::surroundings(reason::NAME_TAKEN, message), now)
        }
        Some(snapshot) if snapshot.metadata.deletion_timestamp.is_none() => {
            follow(cr, observed, snapshot, now)
        }
        snapshot if snapshot.is_some() || status::before(cr).snapshot.is_some() => {
            give_up(cr, observed, reason::SNAPSHOT_LOST, "The VolumeSnapshot was deleted before it was complete. Delete this backup and create another.".to_owned(), now)
        }
        _ => begin(cr, observed, now),
    }
}

/// No snapshot yet: checks what is needed, takes the hold, and asks for the snapshot.
fn begin(cr: &DatabaseBackup, observed: &Observed, now: &Time) -> Verdict {
    let ready = match preflight::check(cr, observed) {
        Ok(ready) => ready,
        Err(invalid) if status::before(cr).started_at.is_none() => {
            return pending(cr, &invalid, now);
        }
        Err(invalid) => return give_up(cr, observed, invalid.reason, invalid.message, now),
    };
    let started = status::before(cr).started_at.unwrap_or_else(|| now.clone());
    let step = hold::before_cut(cr, observed, &ready);
    let waits_for = match &step {
        hold::Step::Wait(_, message) => message.clone(),
        _ => "The snapshot could not be asked for.".to_owned(),
    };
    if let Some(verdict) = overdue(cr, observed, &started, &waits_for, now) {
        return verdict;
    }
    let mut status = status::before(cr);
    status.started_at = Some(started);
    status.source = Some(ready.source.clone());
    let mut writes = Vec::new();
    let (reason, message) = match step {
        hold::Step::Cut => {
            writes.push(Write::Create(volume_snapshot(
                cr,
                &ready.source,
                &ready.class,
            )));
            (
                reason::TAKING_SNAPSHOT,
                format!("The snapshot of {} is being taken.", ready.source.pvc),
            )
        }
        hold::Step::Wait(job, message) => {
            writes.extend(job.map(Write::Create));
            (reason::HOLDING, message)
        }
        hold::Step::Failed(reason, message) => return give_up(cr, observed, reason, message, now),
    };
    Verdict::running(cr, status, (reason, message), writes, now)
}

/// The snapshot was asked for: notes the cut, lets go, and waits until it is complete.
fn follow(
    cr: &DatabaseBackup,
    observed: &Observed,
    snapshot: &VolumeSnapshot,
    now: &Time,
) -> Verdict {
    let mut status = status::before(cr);
    let asked = snapshot.metadata.creation_timestamp.clone();
    let started = status
        .started_at
        .clone()
        .or(asked)
        .unwrap_or_else(|| now.clone());
    status.started_at = Some(started.clone());
    status.source = status
        .source
        .or_else(|| preflight::source(cr, observed).ok());
    if status.source.is_none() {
        let message = "The instance went before it was written down what the snapshot holds, so it could not be restored. Create another backup.";
        let reason = reason::INSTANCE_NOT_FOUND;
        return give_up(cr, observed, reason, message.to_owned(), now);
    }
    let seen = snapshot.status.clone().unwrap_or_default();
    status.snapshot = Some(snapshot_status(&status.snapshot, snapshot, &seen, observed));
    let overdue = || overdue(cr, observed, &started, SLOW_STORAGE, now);
    let Some(taken) = seen.creation_time.clone() else {
        return await_cut(cr, observed, &seen, status, &started, now);
    };
    if status.consistency.is_none() {
        match hold::at_cut(cr, observed, &taken) {
            Ok(Some(consistency)) => status.consistency = Some(consistency),
            Ok(None) => {
                let message = "The cut is made; whether writes were held at that moment is about to be known.";
                let says = (reason::HOLDING, message.to_owned());
                return overdue()
                    .unwrap_or_else(|| Verdict::running(cr, status, says, Vec::new(), now));
            }
            Err((reason, message)) => return give_up(cr, observed, reason, message, now),
        }
        status.taken_at = Some(taken);
        // The hold is let go by the pass after this one: what is certain of the cut must be on record before.
        return Verdict::running(cr, status, completing(), Vec::new(), now);
    }
    if hold::was_over(cr, observed, &taken) {
        let message = hold::exceeded(cr);
        return give_up(cr, observed, reason::HOLD_EXCEEDED, message, now);
    }
    let writes = release(observed);
    if status.held_milliseconds.is_none() {
        status.held_milliseconds = hold::measured(cr, observed, &status, now);
    }
    let measured =
        cr.spec.method != api::backup::Method::Quiesced || status.held_milliseconds.is_some();
    if seen.ready_to_use == Some(true) && measured && writes.is_empty() {
        return keep::completed(cr, observed, snapshot, status, now);
    }
    if let Some(verdict) = overdue() {
        return verdict;
    }
    match driver_error(&seen) {
        Some(message) => Verdict {
            writes,
            ..status::stalled(cr, status, reason::SNAPSHOT_FAILED, &message, now)
        },
        None => Verdict::running(cr, status, completing(), writes, now),
    }
}

fn completing() -> (&'static str, String) {
    let message = "The cut is made; the storage completes the snapshot.";
    (reason::COMPLETING, message.to_owned())
}

const SLOW_STORAGE: &str = "The storage did not complete the snapshot in time.";

/// The storage has not made the cut yet: the hold must last until it has.
fn await_cut(
    cr: &DatabaseBackup,
    observed: &Observed,
    seen: &VolumeSnapshotStatus,
    status: DatabaseBackupStatus,
    started: &Time,
    now: &Time,
) -> Verdict {
    if let Some(verdict) = overdue(cr, observed, started, SLOW_STORAGE, now) {
        return verdict;
    }
    if let hold::Step::Failed(reason, message) = hold::until_cut(cr, observed) {
        let message = match driver_words(seen) {
            Some(words) => format!("{words} {message}"),
            None => message,
        };
        return give_up(cr, observed, reason, message, now);
    }
    match driver_error(seen) {
        Some(message) => status::stalled(cr, status, reason::SNAPSHOT_FAILED, &message, now),
        None => {
            let says = (
                reason::TAKING_SNAPSHOT,
                "The storage is making the cut.".to_owned(),
            );
            Verdict::running(cr, status, says, Vec::new(), now)
        }
    }
}

/// A backup that is not ready in time fails; `otherwise` says why, if the driver does not.
fn overdue(
    cr: &DatabaseBackup,
    observed: &Observed,
    started: &Time,
    otherwise: &str,
    now: &Time,
) -> Option<Verdict> {
    let deadline = i64::from(cr.spec.deadline_seconds);
    if seconds_since(Some(started), now) < deadline {
        return None;
    }
    let seen = observed.snapshot.as_ref();
    let why = seen
        .and_then(|snapshot| driver_words(snapshot.status.as_ref()?))
        .unwrap_or_else(|| otherwise.to_owned());
    let message = format!(
        "The backup was not ready within spec.deadlineSeconds ({deadline} s). {why} Delete it and create another."
    );
    Some(give_up(
        cr,
        observed,
        reason::DEADLINE_EXCEEDED,
        message,
        now,
    ))
}

/// Something is missing: nothing is made, and after a while the backup fails.
fn pending(cr: &DatabaseBackup, invalid: &Invalid, now: &Time) -> Verdict {
    // From when it was told: before, nobody may have been there to look.
    let told = find(conditions_of(cr), STALLED);
    if told.is_some_and(|c| seconds_since(Some(&c.last_transition_time), now) >= PENDING_SECONDS) {
        let message = format!(
            "{} Given up after {} minutes: delete this backup and create another.",
            invalid.message,
            PENDING_SECONDS / 60
        );
        return status::given_up(cr, status::before(cr), invalid.reason, &message, now);
    }
    status::invalid(cr, invalid, now)
}

/// The backup fails. That and why is on record before what was made for it goes: afterwards nothing would tell it.
fn give_up(
    cr: &DatabaseBackup,
    observed: &Observed,
    reason: &'static str,
    message: String,
    now: &Time,
) -> Verdict {
    let mut status = status::before(cr);
    status.started_at = status.started_at.or_else(|| Some(now.clone()));
    status.snapshot = None;
    status.taken_at = None;
    status.consistency = None;
    status.held_milliseconds = None;
    let rest = !clean_up(cr, observed).is_empty();
    Verdict {
        recheck: rest.then_some(SOON),
        ..status::given_up(cr, status, reason, &message, now)
    }
}
