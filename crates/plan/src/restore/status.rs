//! What the user reads of a restore.

use api::condition::{READY, RECONCILING, STALLED, Statement, conditions, find, reason};
use api::restore::RestorePhase;
use api::{DatabaseInstance, DatabaseRestore, DatabaseRestoreStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{Invalid, Notice};

/// Nothing was made: something is not as the restore needs it.
pub fn waiting(cr: &DatabaseRestore, invalid: &Invalid, now: &Time) -> DatabaseRestoreStatus {
    let besides = match invalid.reason {
        reason::BACKUP_NOT_READY => RECONCILING,
        _ => STALLED,
    };
    let said = [(READY, "False"), (besides, "True")];
    DatabaseRestoreStatus {
        phase: Some(RestorePhase::Pending),
        ..say(cr, &said, invalid.reason, &invalid.message, now)
    }
}

/// The instance is on its way.
pub fn running(
    cr: &DatabaseRestore,
    instance: Option<&DatabaseInstance>,
    message: String,
    now: &Time,
) -> DatabaseRestoreStatus {
    let said = [(READY, "False"), (RECONCILING, "True")];
    DatabaseRestoreStatus {
        phase: Some(RestorePhase::Running),
        started_at: instance.and_then(|instance| instance.metadata.creation_timestamp.clone()),
        ..say(cr, &said, reason::RESTORING, &message, now)
    }
}

/// The instance needs a person.
pub fn stalled(
    cr: &DatabaseRestore,
    instance: &DatabaseInstance,
    stalled: &Condition,
    now: &Time,
) -> DatabaseRestoreStatus {
    let message = format!("The instance {}: {}", cr.spec.instance, stalled.message);
    let said = [(READY, "False"), (STALLED, "True")];
    let mut status = DatabaseRestoreStatus {
        phase: Some(RestorePhase::Running),
        started_at: instance.metadata.creation_timestamp.clone(),
        ..say(cr, &said, reason::RESTORING, &message, now)
    };
    for condition in &mut status.conditions {
        condition.reason.clone_from(&stalled.reason);
    }
    status
}

/// The instance has served.
pub fn ready(
    cr: &DatabaseRestore,
    instance: &DatabaseInstance,
    ready: &Condition,
    now: &Time,
) -> DatabaseRestoreStatus {
    let of_instance = instance.status.clone().unwrap_or_default();
    let record = of_instance.restore.unwrap_or_default();
    let started_at = instance.metadata.creation_timestamp.clone();
    let completed_at = record
        .completed_at
        .unwrap_or_else(|| ready.last_transition_time.clone());
    let taken = of_instance
        .restored_from
        .as_ref()
        .map(|from| format!(" as of {}", from.taken_at.0))
        .unwrap_or_default();
    let message = format!(
        "The instance {} has the data{taken} and accepted connections; the Secret {} has all a client needs.",
        cr.spec.instance, cr.spec.instance
    );
    let seconds = started_at
        .as_ref()
        .map(|started| completed_at.0.as_second() - started.0.as_second());
    DatabaseRestoreStatus {
        phase: Some(RestorePhase::Ready),
        duration: seconds.map(duration),
        started_at,
        completed_at: Some(completed_at),
        steps: record.steps,
        restored_from: of_instance.restored_from,
        ..say(cr, &[(READY, "True")], reason::COMPLETED, &message, now)
    }
}

/// The restore is given up.
pub fn ended(
    cr: &DatabaseRestore,
    reason: &'static str,
    message: String,
    now: &Time,
) -> DatabaseRestoreStatus {
    let said = [(READY, "False"), (STALLED, "True")];
    DatabaseRestoreStatus {
        phase: Some(RestorePhase::Failed),
        ..say(cr, &said, reason, &message, now)
    }
}

/// The status when the instance could not be written.
pub fn failed(cr: &DatabaseRestore, error: &str, now: &Time) -> DatabaseRestoreStatus {
    let message = format!(
        "The API server refused a write: {error}. It is tried again; the operator's log shows more."
    );
    waiting(
        cr,
        &Invalid::surroundings(reason::APPLY_FAILED, message),
        now,
    )
}

/// Conditions with one reason and message; all else as it was.
fn say(
    cr: &DatabaseRestore,
    said: &[(&'static str, &'static str)],
    reason: &'static str,
    message: &str,
    now: &Time,
) -> DatabaseRestoreStatus {
    let before = cr.status.clone().unwrap_or_default();
    let generation = cr.metadata.generation.unwrap_or_default();
    let statements: Vec<Statement> = said
        .iter()
        .map(|(type_, status)| Statement {
            type_,
            status,
            reason,
            message: message.to_owned(),
        })
        .collect();
    DatabaseRestoreStatus {
        observed_generation: Some(generation),
        conditions: conditions(&before.conditions, &statements, generation, now),
        ..before
    }
}

/// An Event when the reason of Ready is a new one.
pub fn notices(cr: &DatabaseRestore, status: &DatabaseRestoreStatus) -> Vec<Notice> {
    let before = cr.status.as_ref();
    let before = before.and_then(|status| find(&status.conditions, READY));
    let ready = find(&status.conditions, READY);
    ready
        .filter(|ready| before.is_none_or(|before| before.reason != ready.reason))
        .into_iter()
        .map(|condition| Notice {
            warning: find(&status.conditions, STALLED).is_some(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        })
        .collect()
}

/// Whole seconds as people write them, such as 6s or 1m12s.
fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    #[rstest::rstest]
    #[case(-1, "0s")]
    #[case(6, "6s")]
    #[case(72, "1m12s")]
    #[case(3_600, "1h0m0s")]
    fn durations_are_short(#[case] seconds: i64, #[case] text: &str) {
        assert_eq!(super::duration(seconds), text);
    }
}
