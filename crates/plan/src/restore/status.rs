//! What the user reads of a restore.

use std::time::Duration;

use api::condition::{READY, Truth, reason, state};
use api::reported::Reported;
use api::restore::RestorePhase;
use api::{DatabaseInstance, DatabaseRestore, DatabaseRestoreStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::Invalid;
use crate::step::{Standing, Step};

/// While something is wrong that may be cured elsewhere.
const LATER: Duration = Duration::from_secs(15);

/// What is said, and the fields of the status.
pub type Verdict = (Step, DatabaseRestoreStatus);

/// Not Ready, for the reason of the standing.
fn not_ready(reason: &'static str, message: &str, standing: Standing) -> Step {
    Step::says([state(READY, Truth::False, reason, message)], standing)
}

/// Nothing was made: something is not as the restore needs it.
pub fn waiting(cr: &DatabaseRestore, invalid: &Invalid) -> Verdict {
    let step = not_ready(invalid.reason, &invalid.message, invalid.into());
    let status = DatabaseRestoreStatus {
        phase: Some(RestorePhase::Pending),
        ..cr.last_status()
    };
    (step.again(invalid.requeue(LATER)), status)
}

/// The instance is on its way.
pub fn running(
    cr: &DatabaseRestore,
    instance: Option<&DatabaseInstance>,
    message: String,
) -> Verdict {
    let standing = Standing::under_way(reason::RESTORING, message.clone());
    let status = DatabaseRestoreStatus {
        phase: Some(RestorePhase::Running),
        started_at: instance.and_then(|instance| instance.metadata.creation_timestamp.clone()),
        ..cr.last_status()
    };
    (not_ready(reason::RESTORING, &message, standing), status)
}

/// The instance needs a person.
pub fn stalled(cr: &DatabaseRestore, instance: &DatabaseInstance, stalled: &Condition) -> Verdict {
    let message = format!("The instance {}: {}", cr.spec.instance, stalled.message);
    let reason = stalled.reason.clone();
    let standing = Standing::blocked(reason.clone(), message.clone());
    let status = DatabaseRestoreStatus {
        phase: Some(RestorePhase::Running),
        started_at: instance.metadata.creation_timestamp.clone(),
        ..cr.last_status()
    };
    let step = Step::says([state(READY, Truth::False, reason, message)], standing);
    (step, status)
}

/// The instance has served.
pub fn ready(cr: &DatabaseRestore, instance: &DatabaseInstance, ready: &Condition) -> Verdict {
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
    let status = DatabaseRestoreStatus {
        phase: Some(RestorePhase::Ready),
        duration: seconds.map(duration),
        started_at,
        completed_at: Some(completed_at),
        steps: record.steps,
        restored_from: of_instance.restored_from,
        ..cr.last_status()
    };
    let says = [state(READY, Truth::True, reason::COMPLETED, message)];
    (Step::says(says, Standing::AtRest), status)
}

/// The restore is given up.
pub fn ended(cr: &DatabaseRestore, reason: &'static str, message: String) -> Verdict {
    let standing = Standing::blocked(reason, message.clone());
    let status = DatabaseRestoreStatus {
        phase: Some(RestorePhase::Failed),
        ..cr.last_status()
    };
    (not_ready(reason, &message, standing), status)
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
