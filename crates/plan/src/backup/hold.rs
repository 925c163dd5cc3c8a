//! The hold of a Quiesced or Offline backup: taken before the snapshot is asked for, proved at the cut, let go after
//! it.
//!
//! Nothing of it needs a living operator to end: the Job that holds writes and the container that holds the server back
//! let go by themselves.

use std::borrow::Cow;

use api::DatabaseBackup;
use api::backup::{Consistency, DatabaseBackupStatus, Method};
use api::condition::reason;
use api::names::{ANNOTATION_HOLD, COMPONENT_QUIESCE, quiesce_job};
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::preflight::{Ready, needs_hold};
use super::{Observed, WORDS_SECONDS};
use crate::build::quiesce::quiesce;
use crate::child::is_controlled_by;
use crate::facts::HOLD;
use crate::facts::{annotation, container, is_ready, seconds_since};
use crate::task::Task;
use crate::valid::Subject;
use crate::{Invalid, Object};

/// What is next.
pub enum Step {
    /// The cut may be made.
    Cut,
    /// Not yet; with the Job to be made, if it is missing.
    Wait(Option<Object>, String),
    /// It will not be.
    Failed(&'static str, String),
}

/// Clocks of nodes and of the storage may differ by so many milliseconds.
const CLOCK_MILLISECONDS: i64 = 1000;
/// A Job whose session is lost tells it so much later at most: a look at it each 200 ms, and 3 s for an answer.
const LATE_MILLISECONDS: i64 = 4000;

/// What was observed, without a Job and a pod that only look like the hold: labels and names anybody in the namespace
/// may give. The Job is ours if this backup controls it; the pod, if a Job of that name does which is ours or gone.
pub fn without_conflicts<'a>(cr: &DatabaseBackup, observed: &'a Observed) -> Cow<'a, Observed> {
    let uid = cr.metadata.uid.as_deref().unwrap_or_default();
    let job = observed.job.as_ref();
    let job = job.filter(|job| is_controlled_by(&job.metadata, uid));
    let pod = observed.job_pod.as_ref().filter(|pod| {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        owners.any(|owner| {
            let is_hold = owner.kind == "Job" && owner.name == quiesce_job(uid);
            is_hold && job.is_none_or(|job| job.metadata.uid.as_ref() == Some(&owner.uid))
        })
    });
    if job.is_some() == observed.job.is_some() && pod.is_some() == observed.job_pod.is_some() {
        return Cow::Borrowed(observed);
    }
    Cow::Owned(Observed {
        job: job.cloned(),
        job_pod: pod.cloned(),
        ..observed.clone()
    })
}

/// Somebody else's Job has the name of the one that is to hold writes, so there can be no hold.
pub fn name_taken(cr: &DatabaseBackup, observed: &Observed) -> Option<Invalid> {
    let uid = cr.metadata.uid.as_deref().unwrap_or_default();
    let job = observed.job.as_ref()?;
    let matters = cr.spec.method == Method::Quiesced && observed.snapshot.is_none();
    (matters && !is_controlled_by(&job.metadata, uid)).then(|| {
        let message = format!(
            "There is a Job {} that was not made for this backup. Delete it, or create another backup.",
            quiesce_job(uid)
        );
        Invalid::surroundings(reason::NAME_TAKEN, message)
    })
}

/// Before the snapshot is asked for.
pub fn before_cut(cr: &DatabaseBackup, observed: &Observed, ready: &Ready) -> Step {
    if !needs_hold(cr.spec.method) || is_idle(observed) {
        return Step::Cut;
    }
    match cr.spec.method {
        Method::Online => Step::Cut,
        Method::Offline => match holder(cr, observed) {
            Some(Container::Running(_)) => Step::Cut,
            Some(Container::Ended) => Step::Failed(reason::HOLD_EXCEEDED, exceeded(cr)),
            Some(Container::Waiting) | None => Step::Wait(None,
                "The database is being stopped for the cut.".to_owned()),
        },
        Method::Quiesced => match (&observed.job, &observed.job_pod) {
            (Some(_), Some(pod)) if ended(pod).is_some() => lost(cr, pod),
            (Some(_), Some(pod)) if is_ready(pod) => Step::Cut,
            (Some(_), _) if has_failed(cr, observed) => Step::Failed(reason::QUIESCE_FAILED, "The Job that was to hold \
                writes did not get to run in time: `kubectl describe` of it shows why. Delete this backup and create \
                another.".to_owned()),
            (Some(_), _) => Step::Wait(None, "Writes are about to be held for the cut.".to_owned()),
            (None, _) if observed.pod.as_ref().is_none_or(|pod| !is_ready(pod)) => Step::Wait(None, "The database does \
                not accept connections now; the backup goes on when it does.".to_owned()),
            (None, _) => match served(observed, ready) {
                Some(subject) => Step::Wait(Some(quiesce(&subject, cr)),
                    "Writes are about to be held for the cut.".to_owned()),
                None => Step::Failed(reason::UNKNOWN_VERSION, format!("The engine catalog has no image for {} {}; add \
                    it, or use the method Online.", ready.source.engine.name(), ready.source.version)),
            },
        },
    }
}

/// Whether the Job that is to hold writes was given up.
fn has_failed(cr: &DatabaseBackup, observed: &Observed) -> bool {
    let uid = cr.metadata.uid.as_deref().unwrap_or_default();
    let (jobs, pods) = (observed.job.as_slice(), observed.job_pod.as_slice());
    let task = Task::of(uid, jobs, pods, &quiesce_job(uid), COMPONENT_QUIESCE);
    matches!(task, Task::Failed { .. } | Task::Refused(_))
}

/// After the snapshot was asked for, and before it is cut: does the hold still last?
pub fn until_cut(cr: &DatabaseBackup, observed: &Observed) -> Step {
    if is_idle(observed) {
        return Step::Cut;
    }
    match cr.spec.method {
        Method::Online => Step::Cut,
        Method::Offline => match holder(cr, observed) {
            Some(Container::Running(_)) => Step::Cut,
            _ => Step::Failed(reason::HOLD_EXCEEDED, exceeded(cr)),
        },
        Method::Quiesced => match &observed.job_pod {
            Some(pod) if is_alive(pod) => Step::Cut,
            _ => Step::Failed(reason::HOLD_EXCEEDED, exceeded(cr)),
        },
    }
}

/// What is certain of a cut that was made at this time: a hold that lasts after the cut lasted at the cut. `None`: that
/// is about to be known.
pub fn at_cut(
    cr: &DatabaseBackup,
    observed: &Observed,
    taken: &Time,
) -> Result<Option<Consistency>, (&'static str, String)> {
    if needs_hold(cr.spec.method) && is_idle(observed) {
        return Ok(Some(Consistency::Offline));
    }
    let lapsed = || Err((reason::HOLD_EXCEEDED, exceeded(cr)));
    let latest = taken.0.as_second() * 1000 + CLOCK_MILLISECONDS;
    match cr.spec.method {
        Method::Online => Ok(Some(Consistency::CrashConsistent)),
        Method::Offline => match holder(cr, observed) {
            // One that began after the cut says nothing of it: there may have been a server before.
            Some(Container::Running(since)) if since.0.as_millisecond() <= latest => {
                Ok(Some(Consistency::Offline))
            }
            _ => lapsed(),
        },
        Method::Quiesced => match &observed.job_pod {
            Some(pod) if is_alive(pod) && is_ready(pod) => Ok(Some(Consistency::Quiesced)),
            // Between the end of the hold and the words about it.
            Some(pod) if ended(pod).is_none() => Ok(None),
            // The operator was away: the Job says itself until when it held.
            _ => match released(observed) {
                Some(released) if released >= latest_cut(cr, observed, taken) => {
                    Ok(Some(Consistency::Quiesced))
                }
                _ => lapsed(),
            },
        },
    }
}

/// Whether the Job's last words leave it open that the hold was over at the cut, which its pod may be too late to show.
/// One that was ended by us lasted until we had seen the cut.
pub fn was_over(cr: &DatabaseBackup, observed: &Observed, taken: &Time) -> bool {
    let quiesced =
        cr.status.as_ref().and_then(|status| status.consistency) == Some(Consistency::Quiesced);
    let exit = words(observed).and_then(|words| number(&words, "exit"));
    let needed = if exit.is_some_and(|exit| exit != 0) {
        latest_cut(cr, observed, taken)
    } else {
        taken.0.as_second() * 1000 - CLOCK_MILLISECONDS
    };
    quiesced && released(observed).is_some_and(|released| released < needed)
}

/// A hold that was released before this, in Unix milliseconds and by the Job's own account, may have been over at the
/// cut. A creationTime has whole seconds, and a session that was lost is noticed late.
fn latest_cut(cr: &DatabaseBackup, observed: &Observed, taken: &Time) -> i64 {
    let budget = i64::from(cr.spec.hold_seconds) * 1000;
    let held = words(observed).and_then(|words| number(&words, "held"));
    let late = if held < Some(budget) {
        LATE_MILLISECONDS
    } else {
        0
    };
    (taken.0.as_second() + 1) * 1000 + CLOCK_MILLISECONDS + late
}

/// Until when writes were held, in Unix milliseconds, by the Job's own account.
fn released(observed: &Observed) -> Option<i64> {
    number(&words(observed)?, "released")
}

/// The last words of the Job's pod, wherever they were heard.
fn words(observed: &Observed) -> Option<String> {
    let pod = observed.job_pod.as_ref();
    pod.and_then(ended).or_else(|| observed.last_words.clone())
}

/// For how long writes were held, once that is known. Where the Job's own measure was lost, the time since the backup
/// began is a bound.
pub fn measured(
    cr: &DatabaseBackup,
    observed: &Observed,
    status: &DatabaseBackupStatus,
    now: &Time,
) -> Option<i64> {
    if cr.spec.method != Method::Quiesced {
        return None;
    }
    if status.consistency == Some(Consistency::Offline) {
        return Some(0);
    }
    if let Some(held) = words(observed).and_then(|words| number(&words, "held")) {
        return Some(held);
    }
    // The pod of a lost node stays; its hold is over all the same.
    let gone = observed.job.is_none() && observed.job_pod.is_none();
    let since = seconds_since(status.taken_at.as_ref(), now);
    let over = gone || since >= i64::from(cr.spec.hold_seconds);
    let began = status.started_at.as_ref()?;
    (over && since >= WORDS_SECONDS).then(|| now.0.as_millisecond() - began.0.as_second() * 1000)
}

/// The last words of the Job's pod, once its container has ended, after its exit code.
pub fn ended(pod: &Pod) -> Option<String> {
    let container = container(pod, COMPONENT_QUIESCE)?;
    let end = container.state.as_ref()?.terminated.as_ref()?;
    let message = end.message.as_deref().unwrap_or_default();
    Some(format!("{{\"exit\":{}}}\n{message}", end.exit_code))
}

/// A number of the Job's last words, a line of JSON.
fn number(words: &str, key: &str) -> Option<i64> {
    words
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|value| value[key].as_i64())
}

/// Whether the Job's pod works, as far as is known.
fn is_alive(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && ended(pod).is_none()
}

/// Whether no server works on the volume, nor is about to. Where there was something to hold, it was not so at the cut.
fn is_idle(observed: &Observed) -> bool {
    if observed.job.is_some() || observed.job_pod.is_some() || observed.last_words.is_some() {
        return false;
    }
    let asked = |set: &k8s_openapi::api::apps::v1::StatefulSet| {
        set.spec.as_ref().and_then(|spec| spec.replicas) == Some(0)
    };
    observed.pod.is_none() && observed.stateful_set.as_ref().is_none_or(asked)
}

enum Container {
    Waiting,
    /// Since when.
    Running(Time),
    Ended,
}

/// How the container stands that holds the server back for this backup.
fn holder(cr: &DatabaseBackup, observed: &Observed) -> Option<Container> {
    let pod = observed.pod.as_ref().filter(|pod| {
        pod.metadata.deletion_timestamp.is_none()
            && annotation(&pod.metadata, ANNOTATION_HOLD) == cr.metadata.uid.as_deref()
    })?;
    let hold = container(pod, HOLD)?;
    Some(match &hold.state {
        Some(ContainerState {
            running: Some(state),
            ..
        }) => Container::Running(state.started_at.clone()?),
        Some(ContainerState {
            terminated: Some(_),
            ..
        }) => Container::Ended,
        _ => Container::Waiting,
    })
}

/// What is said of a hold that was too short.
pub fn exceeded(cr: &DatabaseBackup) -> String {
    format!(
        "The hold ended after spec.holdSeconds ({} s), before the storage had made the cut; the database works as \
            before. Create another backup with a greater holdSeconds or the method Online.",
        cr.spec.hold_seconds
    )
}

/// The Job has ended before the snapshot was asked for: either it never held, or not for long enough.
fn lost(cr: &DatabaseBackup, pod: &Pod) -> Step {
    let words = ended(pod).unwrap_or_default();
    if number(&words, "held").is_some() {
        return Step::Failed(reason::HOLD_EXCEEDED, exceeded(cr));
    }
    let line = words
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty() && !line.starts_with("{\"exit\""))
        .unwrap_or("no reason was given")
        .trim();
    let message = format!(
        "Writes could not be held for the cut: {}. Create another backup, or one with the method Online.",
        crate::facts::sentence(line)
    );
    Step::Failed(reason::QUIESCE_FAILED, message)
}

fn served<'a>(observed: &'a Observed, ready: &Ready) -> Option<Subject<'a>> {
    Subject::served(
        observed.instance.as_ref()?,
        &ready.source,
        &observed.catalog,
    )
}
