//! What the user reads about a backup, as a function of what was observed.

use std::time::Duration;

use api::backup::BackupPhase;
use api::condition::{READY, STALLED, Truth, reason, state};
use api::reported::Reported;
use api::{DatabaseBackup, DatabaseBackupStatus};

use super::{LATER, SOON};
use crate::step::{Standing, Step, Tone};
use crate::{Invalid, Write};

/// What is done and said, and the fields of the status.
pub type Verdict = (Step, DatabaseBackupStatus);

/// The work goes on. What is only under way is no news.
pub fn running(
    status: DatabaseBackupStatus,
    (why, message): (&'static str, String),
    writes: Vec<Write>,
) -> Verdict {
    let ready = state(READY, Truth::False, why, message.clone()).silent();
    let step = Step::says([ready], Standing::under_way(why, message));
    let status = DatabaseBackupStatus {
        phase: Some(BackupPhase::Running),
        ..status
    };
    (step.writing(writes).again(Some(SOON)), status)
}

/// Not Ready, and a person is needed.
pub fn unwell(why: &'static str, message: &str) -> Step {
    Step::told(state(READY, Truth::False, why, message), Tone::Blocked)
}

/// Something is missing, nothing was made.
pub fn invalid(cr: &DatabaseBackup, invalid: &Invalid) -> Verdict {
    let status = DatabaseBackupStatus {
        phase: cr.last_status().phase.or(Some(BackupPhase::Pending)),
        ..cr.last_status()
    };
    let step = unwell(invalid.reason, &invalid.message);
    (step.again(Some(LATER)), status)
}

/// Nothing was made yet, and nobody needs to act: what is in the way goes by itself.
pub fn waiting(cr: &DatabaseBackup, invalid: &Invalid) -> Verdict {
    let status = DatabaseBackupStatus {
        phase: cr.last_status().phase.or(Some(BackupPhase::Pending)),
        ..cr.last_status()
    };
    let ready = state(READY, Truth::False, invalid.reason, &invalid.message).silent();
    let step = Step::says([ready], invalid.into());
    (step.again(invalid.requeue(LATER)), status)
}

/// Something is wrong that is being tried again.
pub fn stalled(status: DatabaseBackupStatus, why: &'static str, message: &str) -> Verdict {
    let status = DatabaseBackupStatus {
        phase: Some(BackupPhase::Running),
        ..status
    };
    (unwell(why, message).again(Some(SOON)), status)
}

/// The backup has failed for good.
pub fn given_up(
    status: DatabaseBackupStatus,
    why: &'static str,
    message: &str,
    requeue: Option<Duration>,
) -> Verdict {
    let status = DatabaseBackupStatus {
        phase: Some(BackupPhase::Failed),
        ..status
    };
    (unwell(why, message).again(requeue), status)
}

/// A pause holds back what is to be done with a backup that has come to its end; what is true of its snapshot stays.
pub fn held(cr: &DatabaseBackup, (step, status): Verdict, paused: &Invalid) -> Verdict {
    let is_told = matches!(step.standing, Standing::Blocked { .. })
        || step.says.is_empty() && cr.condition(STALLED).is_some();
    let standing = match is_told {
        true => Standing::AtRest,
        false => paused.into(),
    };
    (step.and(Step::says([], standing)), status)
}

/// The resource is being deleted; Kubernetes collects what it owns.
pub fn deleting(cr: &DatabaseBackup) -> Verdict {
    let message = "The resource is being deleted.";
    let status = DatabaseBackupStatus {
        phase: Some(BackupPhase::Deleting),
        ..cr.last_status()
    };
    let ready = state(READY, Truth::False, reason::DELETING, message);
    (Step::told(ready, Tone::Quiet), status)
}
