//! Server settings: those in force stay until the engine has accepted others.
//!
//! The ConfigMap holds what is in force. While the server serves, a Job first lets the engine check the wanted settings
//! and changes the dynamic ones; then the ConfigMap follows, and the pod only if a setting needs a restart. A server
//! that cannot start has nothing to lose: it gets the wanted settings at once.

use std::collections::BTreeMap;

use api::condition::reason;
use api::names::{ANNOTATION_RETRY, COMPONENT_APPLY, settings_job};
use serde_json::json;

use super::validate::GOING_SECONDS;
use super::{Decision, Observed};
use crate::build::{config_map::SETTINGS_KEY, job};
use crate::child::is_going;
use crate::difference::hash;
use crate::engine::Settings;
use crate::facts::{self, Trouble};
use crate::facts::{HOLD, PREPARE, SERVER};
use crate::quantity::bytes;
use crate::quote::quoted;
use crate::task::{Task, others};
use crate::valid::Subject;
use crate::{Invalid, Kind, Object, parameters};

/// What is to be done about settings.
pub struct Plan {
    /// What the ConfigMap should hold.
    pub effective: Settings,
    /// Hash of settings that replaced others with which the server could not start.
    pub retry: String,
    /// Names that take effect with a restart.
    pub pending: Vec<String>,
    /// The Job that is needed, if one is, and how it stands.
    pub job: Option<(String, Task)>,
    /// The Job to be made.
    pub new_job: Option<Object>,
}

impl Plan {
    /// Whether a Job is asking the server, or about to.
    pub fn is_being_checked(&self) -> bool {
        let running = matches!(self.job, Some((_, Task::Running)));
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
        || facts::is_failing(pod, &[HOLD, PREPARE, SERVER])
        || (pending && pod.metadata.deletion_timestamp.is_none())
    {
        Server::Down
    } else if facts::is_ready(pod) && !observed.is_outdated() {
        Server::Serving
    } else {
        Server::Starting
    }
}

/// Whether a Job of this name can be made, or is ours.
pub fn is_free(subject: &Subject<'_>, observed: &Observed, name: &str) -> Decision<()> {
    let Some(other) = others(subject.uid, &observed.jobs, name) else {
        return Ok(());
    };
    if is_going(
        &other.metadata,
        Kind::DatabaseInstance,
        &subject.cr.metadata,
    ) {
        return Err(Invalid::going("Job", name, GOING_SECONDS));
    }
    Err(Invalid::surroundings(
        reason::NAME_TAKEN,
        format!(
            "There is a Job {name} that does not belong to this instance, so its end says nothing. Delete it."
        ),
    ))
}

/// How the Job of this name that changes the running server stands.
pub fn task(subject: &Subject<'_>, observed: &Observed, name: &str) -> Task {
    Task::of(
        subject.uid,
        &observed.jobs,
        &observed.job_pods,
        name,
        COMPONENT_APPLY,
    )
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
pub fn plan(subject: &Subject<'_>, observed: &Observed) -> Decision<Plan> {
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
        return Ok(at_once(wanted));
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
        return Ok(Plan {
            retry,
            pending,
            ..at_once(wanted)
        });
    }
    let server = server(subject, observed);
    if server == Server::Down {
        return Ok(at_once(wanted));
    }
    let change = hash(&json!([current, wanted]));
    let name = settings_job(subject.name, &change);
    is_free(subject, observed, &name)?;
    let task = task(subject, observed, &name);
    let (dynamic, mut pending): (BTreeMap<_, _>, _) =
        parameters::split(subject.engine, parameters::changes(&current, &wanted));
    match task {
        Task::Done(_) => {
            return Ok(Plan {
                retry,
                pending,
                ..at_once(wanted)
            });
        }
        Task::Refused(_) => pending.clear(),
        Task::Absent | Task::Running | Task::Failed { .. } => {}
    }
    let new_job = (task == Task::Absent && server == Server::Serving)
        .then(|| job::settings(subject, &change, &wanted, &dynamic));
    Ok(Plan {
        effective: current,
        retry,
        pending,
        job: Some((name, task)),
        new_job,
    })
}

/// What a refused or failed Job means for the user.
pub fn trouble(subject: &Subject<'_>, plan: &Plan) -> Option<Trouble> {
    let title = subject.engine.title();
    match &plan.job.as_ref()?.1 {
        Task::Refused(words) => {
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
                format!("spec.parameters.{}", quoted(&name))
            };
            let message = format!(
                "{title} refuses {field}: {}. The settings before stay in force. Correct or remove it.",
                facts::sentence(&line)
            );
            Some(Trouble {
                reason: reason::PARAMETER_REJECTED,
                message,
            })
        }
        Task::Failed { message, .. } => Some(Trouble {
            reason: reason::UPDATING,
            message: format!(
                "The settings could not be checked: {}. It is tried again.",
                facts::sentence(message)
            ),
        }),
        _ => None,
    }
}
