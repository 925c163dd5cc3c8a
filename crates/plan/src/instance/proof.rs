//! A throw-away instance proves a backup: once it serves, the engine's own checks run over it, once.

use api::condition::{Statement, VERIFIED, find, reason, state};
use api::names::check_job;

use super::Observed;
use super::conditions::before;
use super::settings::{self, Outcome, Server};
use crate::Object;
use crate::build::{Subject, job};

/// What there is to do and to say.
#[derive(Default)]
pub struct Proof {
    /// The Job that stays, if there is one.
    pub job: Option<String>,
    /// The Job to be made.
    pub new_job: Option<Object>,
    /// The condition Verified.
    pub statement: Option<Statement>,
}

/// Nothing, unless the instance is there to prove a backup.
pub fn plan(subject: &Subject<'_>, observed: &Observed) -> Proof {
    if !subject.verifies() {
        return Proof::default();
    }
    let name = check_job(subject.name);
    let outcome = settings::outcome(observed, &name);
    let serves = settings::server(subject, observed) == Server::Serving;
    let new_job = (outcome == Outcome::Absent && serves && known(subject).is_none())
        .then(|| job::check(subject));
    let statement = known(subject).unwrap_or_else(|| said(subject, observed, &name, &outcome));
    Proof {
        job: Some(name),
        new_job,
        statement: Some(statement),
    }
}

/// A result stays what it is, also when the Job's pod is gone.
fn known(subject: &Subject<'_>) -> Option<Statement> {
    let conditions = before(subject.cr).conditions;
    let old = find(&conditions, VERIFIED)?.clone();
    match old.status.as_str() {
        "True" => Some(state(VERIFIED, "True", reason::CHECKED, old.message)),
        "False" => Some(state(VERIFIED, "False", reason::CHECK_FAILED, old.message)),
        _ => None,
    }
}

fn said(subject: &Subject<'_>, observed: &Observed, name: &str, outcome: &Outcome) -> Statement {
    let title = subject.engine.title();
    let line = |words: &str, otherwise: &str| match words.trim() {
        "" => otherwise.to_owned(),
        words => format!("{}.", words.trim_end_matches('.')),
    };
    match outcome {
        Outcome::Absent => state(
            VERIFIED,
            "Unknown",
            reason::VERIFYING,
            format!("The checks begin when {title} serves the restored data."),
        ),
        Outcome::Running => state(
            VERIFIED,
            "Unknown",
            reason::VERIFYING,
            format!("The checks of {title} are running."),
        ),
        Outcome::Done => state(
            VERIFIED,
            "True",
            reason::CHECKED,
            line(
                &settings::words(observed, name),
                &format!("The checks of {title} found nothing wrong."),
            ),
        ),
        Outcome::Refused(words) => state(
            VERIFIED,
            "False",
            reason::CHECK_FAILED,
            line(words, &format!("The checks of {title} failed.")),
        ),
        Outcome::Failed { message, .. } => state(
            VERIFIED,
            "Unknown",
            reason::NOT_CHECKED,
            format!(
                "The checks could not be finished: {}. This says nothing of the backup.",
                line(message, "no reason was given").trim_end_matches('.')
            ),
        ),
    }
}
