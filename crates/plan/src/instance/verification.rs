//! A throw-away instance proves a backup: once it serves, the engine's own checks run over it, once.

use api::condition::{PlannedCondition, Truth, VERIFIED, find, reason, state};
use api::names::{COMPONENT_CHECK, LABEL_VERIFIES, check_job};
use api::reported::Reported;

use super::Observed;
use super::settings::{self, Server};
use crate::Object;
use crate::build::job;
use crate::facts;
use crate::task::Task;
use crate::valid::Subject;

/// What there is to do and to say.
#[derive(Default)]
pub struct Verification {
    /// The Job that stays, if there is one.
    pub job: Option<String>,
    /// The Job to be made.
    pub new_job: Option<Object>,
    /// The condition Verified.
    pub planned: Option<PlannedCondition>,
}

/// Nothing, unless the instance is there to prove a backup.
pub fn plan(subject: &Subject<'_>, observed: &Observed) -> Verification {
    if !subject.verifies() || !is_of_backup(subject) {
        return Verification::default();
    }
    let name = check_job(subject.name);
    let (jobs, pods) = (&observed.jobs, &observed.job_pods);
    let task = Task::of(subject.uid, jobs, pods, &name, COMPONENT_CHECK);
    let serves = settings::server(subject, observed) == Server::Serving;
    let new_job =
        (task == Task::Absent && serves && known(subject).is_none()).then(|| job::check(subject));
    let planned = known(subject).unwrap_or_else(|| said(subject, &task));
    Verification {
        job: Some(name),
        new_job,
        planned: Some(planned),
    }
}

/// Whether the data is that of the backup which is to be verified; under the name may have lain a retained volume.
fn is_of_backup(subject: &Subject<'_>) -> bool {
    let wanted = facts::label(&subject.cr.metadata, LABEL_VERIFIES);
    let from = subject.restored_from.as_ref();
    from.is_some_and(|from| Some(from.uid.as_str()) == wanted)
}

/// A result stays what it is, also when the Job's pod is gone.
fn known(subject: &Subject<'_>) -> Option<PlannedCondition> {
    let conditions = subject.cr.last_status().conditions;
    let old = find(&conditions, VERIFIED)?.clone();
    match old.status.as_str() {
        "True" => Some(state(VERIFIED, Truth::True, reason::CHECKED, old.message)),
        "False" => Some(state(
            VERIFIED,
            Truth::False,
            reason::CHECK_FAILED,
            old.message,
        )),
        _ => None,
    }
}

fn said(subject: &Subject<'_>, task: &Task) -> PlannedCondition {
    let title = subject.engine.title();
    let line = |words: &str, otherwise: &str| match words.trim() {
        "" => otherwise.to_owned(),
        words => format!("{}.", facts::sentence(words)),
    };
    match task {
        Task::Absent => state(
            VERIFIED,
            Truth::Unknown,
            reason::VERIFYING,
            format!("The checks begin when {title} serves the restored data."),
        ),
        Task::Running => state(
            VERIFIED,
            Truth::Unknown,
            reason::VERIFYING,
            format!("The checks of {title} are running."),
        ),
        Task::Done(words) => state(
            VERIFIED,
            Truth::True,
            reason::CHECKED,
            line(
                words,
                &format!("The checks of {title} found nothing wrong."),
            ),
        ),
        Task::Refused(words) => state(
            VERIFIED,
            Truth::False,
            reason::CHECK_FAILED,
            line(words, &format!("The checks of {title} failed.")),
        ),
        Task::Failed { message, .. } => state(
            VERIFIED,
            Truth::Unknown,
            reason::NOT_CHECKED,
            format!(
                "The checks could not be finished: {}. This says nothing of the backup.",
                line(message, "no reason was given").trim_end_matches('.')
            ),
        ),
    }
}
