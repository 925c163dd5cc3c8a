//! Server settings: those in force stay until the engine has accepted others.
//!
//! The ConfigMap holds what is in force. While the server serves, a Job first lets the engine check the wanted settings and
//! changes the dynamic ones; then the ConfigMap follows, and the pod only if a setting needs a restart. A server that cannot
//! start has nothing to lose: it gets the wanted settings at once.

use std::collections::BTreeMap;

use api::condition::reason;
use api::names::{ANNOTATION_RETRY, settings_job};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::Observed;
use crate::build::{Subject, config_map::SETTINGS_KEY, job};
use crate::difference::hash;
use crate::engine::Settings;
use crate::facts::{self, Trouble, job_end};
use crate::quantity::bytes;
use crate::{Object, parameters};

/// What is to be done about settings.
pub struct Plan {
    /// What the ConfigMap should hold.
    pub effective: Settings,
    /// Hash of settings that replaced others with which the server could not start.
    pub retry: String,
    /// Names that take effect with a restart.
    pub pending: Vec<String>,
    /// The Job that is needed, if one is, and how it stands.
    pub job: Option<(String, Outcome)>,
    /// The Job to be made.
    pub new_job: Option<Object>,
}

impl Plan {
    /// Whether a Job is asking the server, or about to.
    pub fn is_being_checked(&self) -> bool {
        let running = matches!(self.job, Some((_, Outcome::Running)));
        running || self.new_job.is_some()
    }
}

/// How far the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// It accepts connections, and no restart is under way.
    Serving,
    /// It runs or is on its way; it will serve.
    Starting,
    /// It does not run, or cannot start as it is.
    Down,
}

/// How far the server is.
pub fn server(subject: &Subject<'_>, observed: &Observed) -> Server {
    let Some(pod) = observed
        .pod
        .as_ref()
        .filter(|_| observed.stateful_set.is_some())
    else {
        return Server::Down;
    };
    let pending = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        == Some("Pending");
    if subject.cr.spec.stopped
        || facts::is_failing(pod)
        || (pending && pod.metadata.deletion_timestamp.is_none())
    {
        Server::Down
    } else if facts::is_ready(pod) && !observed.is_outdated() {
        Server::Serving
    } else {
        Server::Starting
    }
}

/// How a Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is not there.
    Absent,
    /// It runs.
    Running,
    /// It succeeded.
    Done,
    /// The engine said no; only another wish helps.
    Refused(String),
    /// It could not do its work; it is tried again.
    Failed {
        /// When it gave up.
        at: Option<Time>,
        /// Its last words.
        message: String,
    },
}

/// How the Job of this name stands.
pub fn outcome(observed: &Observed, name: &str) -> Outcome {
    let Some(job) = observed
        .jobs
        .iter()
        .find(|job| job.metadata.name.as_deref() == Some(name))
    else {
        return Outcome::Absent;
    };
    if job_end(job, "Complete").is_some() {
        return Outcome::Done;
    }
    let Some(failed) = job_end(job, "Failed") else {
        return Outcome::Running;
    };
    let (code, words) = last_words(observed, job);
    if failed.reason.as_deref() == Some("PodFailurePolicy") && code != Some(137) {
        Outcome::Refused(words)
    } else {
        let message = if words.is_empty() {
            failed.message.clone().unwrap_or_default()
        } else {
            words
        };
        Outcome::Failed {
            at: failed.last_transition_time.clone(),
            message,
        }
    }
}

/// What the Job of this name said last.
pub fn words(observed: &Observed, name: &str) -> String {
    let mut jobs = observed.jobs.iter();
    let job = jobs.find(|job| job.metadata.name.as_deref() == Some(name));
    job.map(|job| last_words(observed, job).1)
        .unwrap_or_default()
}

fn last_words(observed: &Observed, job: &Job) -> (Option<i32>, String) {
    let of_job = observed.job_pods.iter().filter(|pod| {
        pod.metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref())
    });
    let ends = of_job.filter_map(|pod| {
        pod.status
            .as_ref()?
            .container_statuses
            .as_ref()?
            .first()?
            .state
            .as_ref()?
            .terminated
            .as_ref()
    });
    ends.max_by_key(|end| end.finished_at.as_ref().map(|at| at.0))
        .map(|end| (Some(end.exit_code), end.message.clone().unwrap_or_default()))
        .unwrap_or_default()
}

/// Settings of the spec over those derived from the memory limit.
fn wanted(subject: &Subject<'_>) -> Settings {
    let memory = subject.resources["limits"]["memory"]
        .as_str()
        .and_then(bytes)
        .unwrap_or_default();
    let mut settings = subject.engine.derived(memory);
    settings.extend(subject.cr.spec.parameters.clone());
    settings
}

/// Compares what is wanted with what is in force and decides.
pub fn plan(subject: &Subject<'_>, observed: &Observed) -> Plan {
    let wanted = wanted(subject);
    let data = observed
        .config_map
        .as_ref()
        .and_then(|map| map.data.as_ref())
        .and_then(|data| data.get(SETTINGS_KEY));
    let current: Option<Settings> = data.and_then(|text| serde_json::from_str(text).ok());
    let retried = observed
        .config_map
        .as_ref()
        .and_then(|map| facts::annotation(&map.metadata, ANNOTATION_RETRY));
    let at_once = |settings: Settings| Plan {
        retry: hash(&json!(settings)),
        effective: settings,
        pending: Vec::new(),
        job: None,
        new_job: None,
    };
    let Some(current) = current else {
        return at_once(wanted);
    };
    let retry = retried.map_or_else(|| hash(&json!(current)), str::to_owned);
    if current == wanted {
        // Accepted before; what needs the restart is told until that is over.
        let restarting =
            observed.is_outdated() || !observed.pod.as_ref().is_some_and(facts::is_ready);
        let told = subject
            .cr
            .status
            .as_ref()
            .map(|status| status.pending_changes.clone());
        let pending = told.filter(|_| restarting).unwrap_or_default();
        return Plan {
            retry,
            pending,
            ..at_once(wanted)
        };
    }
    let server = server(subject, observed);
    if server == Server::Down {
        return at_once(wanted);
    }
    let change = hash(&json!([current, wanted]));
    let name = settings_job(subject.name, &change);
    let outcome = outcome(observed, &name);
    let (dynamic, mut pending): (BTreeMap<_, _>, _) =
        parameters::split(subject.engine, parameters::changes(&current, &wanted));
    match outcome {
        Outcome::Done => {
            return Plan {
                retry,
                pending,
                ..at_once(wanted)
            };
        }
        Outcome::Refused(_) => pending.clear(),
        Outcome::Absent | Outcome::Running | Outcome::Failed { .. } => {}
    }
    let new_job = (outcome == Outcome::Absent && server == Server::Serving)
        .then(|| job::settings(subject, &change, &wanted, &dynamic));
    Plan {
        effective: current,
        retry,
        pending,
        job: Some((name, outcome)),
        new_job,
    }
}

/// What a refused or failed Job means for the user.
pub fn trouble(subject: &Subject<'_>, plan: &Plan) -> Option<Trouble> {
    let title = subject.engine.title();
    match &plan.job.as_ref()?.1 {
        Outcome::Refused(words) => {
            let (name, line) = subject.engine.complaint(words).unwrap_or_else(|| {
                let line = words
                    .lines()
                    .rev()
                    .find(|line| !line.trim().is_empty())
                    .unwrap_or("no reason was given");
                let named = subject
                    .cr
                    .spec
                    .parameters
                    .keys()
                    .find(|name| line.contains(name.as_str()));
                (
                    named.map_or("*", String::as_str).to_owned(),
                    line.trim().to_owned(),
                )
            });
            let field = if name == "*" {
                "a setting of spec.parameters".to_owned()
            } else {
                format!("spec.parameters.{name}")
            };
            let message = format!(
                "{title} refuses {field}: {}. The settings before stay in force. Correct or remove it.",
                line.trim_end_matches('.')
            );
            Some(Trouble {
                reason: reason::PARAMETER_REJECTED,
                message,
            })
        }
        Outcome::Failed { message, .. } => Some(Trouble {
            reason: reason::UPDATING,
            message: format!(
                "The settings could not be checked: {}. It is tried again.",
                message.trim().trim_end_matches('.')
            ),
        }),
        _ => None,
    }
}
