//! How a backup fails: it is late, something is missing for too long, or the cut cannot be made.

use api::DatabaseBackup;
use api::condition::{STALLED, reason};
use api::reported::Reported;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::snapshot::{clean_up, driver_words};
use super::status::{self, Verdict};
use super::{Observed, SOON};
use crate::Invalid;
use crate::facts::seconds_since;

/// A backup for which something is missing is given up after so many seconds.
const PENDING_SECONDS: i64 = 600;

/// A backup that is not ready in time fails; `otherwise` says why, if the driver does not.
pub fn overdue(
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
pub fn pending(cr: &DatabaseBackup, invalid: &Invalid, now: &Time) -> Verdict {
    // From when it was told: before, nobody may have been there to look.
    let told = cr.condition(STALLED);
    if told.is_some_and(|c| seconds_since(Some(&c.last_transition_time), now) >= PENDING_SECONDS) {
        let message = format!(
            "{} Given up after {} minutes: delete this backup and create another.",
            invalid.message,
            PENDING_SECONDS / 60
        );
        return status::given_up(cr.last_status(), invalid.reason, &message, None);
    }
    status::invalid(cr, invalid)
}

/// A former backup's snapshot is in the way and about to be gone. If that takes as long as a person is given to act, it
/// does not go by itself.
pub fn in_the_way(cr: &DatabaseBackup, going: &Invalid, now: &Time) -> Verdict {
    let age = seconds_since(cr.metadata.creation_timestamp.as_ref(), now);
    if age >= PENDING_SECONDS {
        return pending(cr, going, now);
    }
    status::waiting(cr, going)
}

/// The backup fails. That and why is on record before what was made for it goes: afterwards nothing would tell it.
pub fn give_up(
    cr: &DatabaseBackup,
    observed: &Observed,
    reason: &'static str,
    message: String,
    now: &Time,
) -> Verdict {
    let mut status = cr.last_status();
    status.started_at = status.started_at.or_else(|| Some(now.clone()));
    status.snapshot = None;
    status.taken_at = None;
    status.consistency = None;
    status.held_milliseconds = None;
    let rest = !clean_up(cr, observed).is_empty();
    status::given_up(status, reason, &message, rest.then_some(SOON))
}
