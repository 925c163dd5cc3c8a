//! `DatabaseBackup`: from the resource and what was observed to the snapshot that should exist and what the user should
//! read.
//!
//! The order of a backup is its safety: what it needs is looked at before anything is made, a hold is seen before the
//! snapshot is asked for, the cut is written down before the hold is let go.

mod failure;
mod hold;
mod keep;
mod preflight;
mod snapshot;
mod status;
#[cfg(test)]
pub(crate) mod tests;
mod verification;

use std::time::Duration;

use api::condition::{READY, STALLED, VERIFIED, reason};
use api::external::snapshot::{VolumeSnapshot, VolumeSnapshotStatus};
use api::reported::Reported;
use api::{DatabaseBackup, DatabaseBackupStatus, DatabaseInstance};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::build::volume_snapshot::volume_snapshot;
use crate::catalog::Catalog;
use crate::child::is_going;
use crate::facts::seconds_since;
use crate::reading::backup::is_finished;
use crate::report::{Customs, report};
use crate::step::Step;
use crate::{Invalid, Kind, Write};
use failure::{give_up, in_the_way, overdue, pending};
use snapshot::{clean_up, driver_error, driver_words, is_own, release, snapshot_status};
use status::Verdict;

pub use hold::ended as last_words;
pub use keep::{Peers, copies_from, is_due, restores_from, supersedes};
pub use verification::{
    Waiting, is_ours as is_verified_by, is_wanted as verification_is_wanted, may_begin,
    takes_no_room,
};

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
    /// Whether the verification has its turn (see [`may_begin`]).
    pub may_verify: bool,
    /// How many seconds the operator's clock is ahead of the API server's; `None`: that is not known.
    pub clock_skew: Option<i64>,
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

/// While something is under way whose end may come without an event.
const SOON: Duration = Duration::from_secs(2);
/// The same of a backup that has been under way, or has waited, for more than this many seconds, and holds no writes.
/// What it waits for brings passes; thousands that look every other second would take the operator from all others.
const WAITING: Duration = Duration::from_secs(10);
const FRESH_SECONDS: i64 = 30;
/// While something is missing that may be put right elsewhere.
const LATER: Duration = Duration::from_secs(15);
/// The last words of the Job's pod come within moments; after this many seconds a coarser measure has to do.
const WORDS_SECONDS: i64 = 15;

/// What is told of a backup. The result of a verification stays while nothing new is said of it.
const CUSTOMS: Customs = Customs {
    told: &[READY, VERIFIED],
    kept: &[VERIFIED],
    finalizers: &[],
};
/// Of one that has failed, all that was said stays.
const SETTLED: Customs = Customs {
    told: &[],
    kept: &[READY, STALLED, VERIFIED],
    finalizers: &[],
};

/// What should be done and said. Nothing here depends on anything but the arguments.
pub fn decide(cr: &DatabaseBackup, observed: &Observed, now: &Time) -> Plan {
    let taken = hold::name_taken(cr, observed);
    let observed = &*hold::without_conflicts(cr, observed);
    let (customs, verdict) = if cr.metadata.deletion_timestamp.is_some() {
        (CUSTOMS, status::deleting(cr))
    } else if cr.last_status().ready_at.is_some() {
        (CUSTOMS, keep::kept(cr, observed, now))
    } else if is_finished(cr) {
        let step = Step::default().writing(clean_up(cr, observed));
        (SETTLED, (step, cr.last_status()))
    } else if let Some(taken) = taken {
        (CUSTOMS, pending(cr, &taken, now))
    } else {
        (CUSTOMS, work(cr, observed, now))
    };
    let paused = |paused: &Invalid, verdict| match is_finished(cr) {
        true => status::held(cr, verdict, paused),
        false => status::invalid(cr, paused),
    };
    report(cr, &customs, verdict, paused, now)
}

/// A backup that is not ready yet.
fn work(cr: &DatabaseBackup, observed: &Observed, now: &Time) -> Verdict {
    let (mut step, status) = match &observed.snapshot {
        Some(snapshot)
            if !is_own(cr, snapshot)
                && is_going(&snapshot.metadata, Kind::DatabaseBackup, &cr.metadata) =>
        {
            let name = snapshot.metadata.name.as_deref().unwrap_or_default();
            in_the_way(
                cr,
                &Invalid::going("VolumeSnapshot", name, LATER.as_secs()),
                now,
            )
        }
        Some(snapshot) if !is_own(cr, snapshot) => {
            let message = format!(
                "There is a VolumeSnapshot {} that was not made for this backup. Rename or delete it, or create the \
                    backup under another name.",
                snapshot.metadata.name.as_deref().unwrap_or_default()
            );
            pending(cr, &Invalid::surroundings(reason::NAME_TAKEN, message), now)
        }
        Some(snapshot) if snapshot.metadata.deletion_timestamp.is_none() => {
            follow(cr, observed, snapshot, now)
        }
        snapshot if snapshot.is_some() || cr.last_status().snapshot.is_some() => give_up(
            cr,
            observed,
            reason::SNAPSHOT_LOST,
            "The VolumeSnapshot was deleted before it was complete. \
                Delete this backup and create another."
                .to_owned(),
            now,
        ),
        _ => begin(cr, observed, now),
    };
    let is_old = seconds_since(status.started_at.as_ref(), now) > FRESH_SECONDS;
    if is_old && observed.job.is_none() {
        step.requeue = step.requeue.map(|pause| pause.max(WAITING));
    }
    (step, status)
}

/// No snapshot yet: checks what is needed, takes the hold, and asks for the snapshot.
fn begin(cr: &DatabaseBackup, observed: &Observed, now: &Time) -> Verdict {
    let ready = match preflight::check(cr, observed) {
        Ok(ready) => ready,
        Err(invalid) if cr.last_status().started_at.is_none() => {
            return pending(cr, &invalid, now);
        }
        Err(invalid) => return give_up(cr, observed, invalid.reason, invalid.message, now),
    };
    let started = cr.last_status().started_at.unwrap_or_else(|| now.clone());
    let step = hold::before_cut(cr, observed, &ready);
    let waits_for = match &step {
        hold::Step::Wait(_, message) => message.clone(),
        _ => "The snapshot could not be asked for.".to_owned(),
    };
    if let Some(verdict) = overdue(cr, observed, &started, &waits_for, now) {
        return verdict;
    }
    let mut status = cr.last_status();
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
    status::running(status, (reason, message), writes)
}

/// The snapshot was asked for: notes the cut, lets go, and waits until it is complete.
fn follow(
    cr: &DatabaseBackup,
    observed: &Observed,
    snapshot: &VolumeSnapshot,
    now: &Time,
) -> Verdict {
    let mut status = cr.last_status();
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
        let message = "The instance went before it was written down what the snapshot holds, so it could not be \
            restored. Create another backup.";
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
                return overdue().unwrap_or_else(|| status::running(status, says, Vec::new()));
            }
            Err((reason, message)) => return give_up(cr, observed, reason, message, now),
        }
        status.taken_at = Some(taken);
        // The hold is let go by the pass after this one: what is certain of the cut must be on record before.
        return status::running(status, completing(), Vec::new());
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
        Some(message) => {
            let (step, status) = status::stalled(status, reason::SNAPSHOT_FAILED, &message);
            (step.writing(writes), status)
        }
        None => status::running(status, completing(), writes),
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
        Some(message) => status::stalled(status, reason::SNAPSHOT_FAILED, &message),
        None => {
            let says = (
                reason::TAKING_SNAPSHOT,
                "The storage is making the cut.".to_owned(),
            );
            status::running(status, says, Vec::new())
        }
    }
}
