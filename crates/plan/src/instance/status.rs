//! What the user reads: conditions, phase, and the fields of the status, as a function of what was observed.

use std::time::Duration;

use api::condition::{
    PARAMETERS_APPLIED, READY, RECONCILING, STALLED, STORAGE_READY, Statement, conditions, reason,
};
use api::instance::{Binding, DeletionPolicy, Endpoint, Phase, StorageStatus};
use api::names::host;
use api::{DatabaseInstance, DatabaseInstanceStatus};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::credentials::Credentials;
use super::facts::{self, Trouble};
use super::settings::{self, Outcome, Plan as SettingsPlan};
use super::{Class, Observed};
use crate::build::Subject;
use crate::{Invalid, Notice};

/// A status, and when to look again at things that are not watched.
pub struct Verdict {
    /// The whole status.
    pub status: DatabaseInstanceStatus,
    /// `None`: only when something changes.
    pub recheck: Option<Duration>,
}

/// While something is under way whose failure only Events tell.
const SOON: Duration = Duration::from_secs(3);
/// While something is wrong that may be cured elsewhere.
const LATER: Duration = Duration::from_secs(15);

fn state(
    type_: &'static str,
    status: &'static str,
    reason: &'static str,
    message: impl Into<String>,
) -> Statement {
    Statement {
        type_,
        status,
        reason,
        message: message.into(),
    }
}

fn before(cr: &DatabaseInstance) -> DatabaseInstanceStatus {
    cr.status.clone().unwrap_or_default()
}

/// Whether the database has served before: only then has the status a capacity.
fn has_served(cr: &DatabaseInstance) -> bool {
    before(cr)
        .storage
        .is_some_and(|storage| storage.capacity.is_some())
}

/// The status of an instance whose spec can be carried out.
pub fn valid(
    subject: &Subject<'_>,
    observed: &Observed,
    credentials: &Credentials,
    settings: &SettingsPlan,
    now: &Time,
) -> Verdict {
    let cr = subject.cr;
    let serving = observed.pod.as_ref().is_some_and(facts::is_ready) && !cr.spec.stopped;
    let trouble = if serving || cr.spec.stopped {
        None
    } else {
        trouble(subject, observed, now)
    };
    let (phase, mut statements) = server(subject, observed, serving, trouble.as_ref());
    if serving || has_served(cr) {
        statements.push(storage(subject, observed));
        statements.push(parameters(subject, settings));
    }
    let progress = progress(subject, observed, credentials, settings, serving);
    let settings_trouble = settings::trouble(subject, settings);
    let stalled = trouble
        .or(settings_trouble.filter(|trouble| trouble.reason == reason::PARAMETER_REJECTED))
        .or(refused_password(credentials));
    let phase = if serving && progress.is_some() {
        Phase::Updating
    } else {
        phase
    };
    match (&stalled, progress) {
        (Some(Trouble { reason, message }), _) => {
            statements.push(state(STALLED, "True", reason, message.clone()))
        }
        (None, Some((reason, message))) => {
            statements.push(state(RECONCILING, "True", reason, message))
        }
        (None, None) if matches!(phase, Phase::Running | Phase::Stopped) => {}
        (None, None) => {
            let ready = statements[0].clone();
            statements.push(Statement {
                type_: RECONCILING,
                status: "True",
                ..ready
            });
        }
    }
    let claim = observed.claim.as_ref();
    let shown = claim.filter(|_| serving || has_served(cr));
    let status = DatabaseInstanceStatus {
        phase: Some(phase),
        version: Some(subject.version.clone()),
        endpoint: Some(Endpoint {
            host: host(subject.name, subject.namespace),
            port: subject.engine.port(),
        }),
        binding: Some(Binding {
            name: subject.name.to_owned(),
        }),
        storage: Some(StorageStatus {
            requested: cr.spec.storage.size.clone(),
            capacity: shown
                .and_then(facts::capacity)
                .map(|size| Quantity(size.to_owned()))
                .or_else(|| before(cr).storage.and_then(|s| s.capacity)),
            class_name: class_name(subject, observed),
        }),
        deletion_policy: Some(policy_in_force(subject, claim)),
        pending_changes: settings.pending.clone(),
        ..finish(cr, &statements, now)
    };
    let recheck = match (&stalled, phase) {
        (Some(_), _) => Some(LATER),
        (None, Phase::Running | Phase::Stopped) => None,
        _ => Some(SOON),
    };
    Verdict { status, recheck }
}

/// The class of the claim; before there is one, the class that it is going to have.
fn class_name(subject: &Subject<'_>, observed: &Observed) -> Option<String> {
    let of_claim = observed
        .claim
        .as_ref()
        .and_then(|claim| claim.spec.as_ref()?.storage_class_name.clone());
    of_claim
        .or_else(|| subject.cr.spec.storage.class_name.clone())
        .or_else(|| match &observed.storage_class {
            Class::Found { name, .. } => Some(name.clone()),
            Class::Missing | Class::Unread => None,
        })
}

fn policy_in_force(subject: &Subject<'_>, claim: Option<&PersistentVolumeClaim>) -> DeletionPolicy {
    let owned = claim.map_or(subject.data_is_owned(), |claim| {
        !claim
            .metadata
            .owner_references
            .as_deref()
            .unwrap_or_default()
            .is_empty()
    });
    if owned {
        DeletionPolicy::Delete
    } else {
        DeletionPolicy::Retain
    }
}

/// What keeps the server from serving: first what keeps the pod from being made, then what keeps it from running.
fn trouble(subject: &Subject<'_>, observed: &Observed, now: &Time) -> Option<Trouble> {
    let warning = observed.warning.as_deref();
    let Some(pod) = &observed.pod else {
        return warning.and_then(facts::creation_trouble);
    };
    let unbound = observed
        .claim
        .as_ref()
        .filter(|claim| !facts::is_bound(claim));
    unbound
        .and_then(|claim| facts::volume_trouble(claim, warning))
        .or_else(|| facts::pod_trouble(subject.engine, pod, now))
}

/// Ready, and the phase.
fn server(
    subject: &Subject<'_>,
    observed: &Observed,
    serving: bool,
    trouble: Option<&Trouble>,
) -> (Phase, Vec<Statement>) {
    let cr = subject.cr;
    let title = subject.engine.title();
    let not_ready = |reason, message: String| vec![state(READY, "False", reason, message)];
    if serving {
        let address = format!(
            "{}:{}",
            host(subject.name, subject.namespace),
            subject.engine.port()
        );
        return (
            Phase::Running,
            vec![state(
                READY,
                "True",
                reason::RUNNING,
                format!(
                    "{title} accepts connections at {address}; the Secret {} has all a client needs.",
                    subject.name
                ),
            )],
        );
    }
    if cr.spec.stopped {
        return match observed.pod {
            None => (Phase::Stopped, not_ready(reason::STOPPED, "No pod runs, as spec.stopped asks; the data is kept. Set spec.stopped to false to start again.".to_owned())),
            Some(_) => (Phase::Updating, not_ready(reason::STOPPING, format!("{title} is shutting down, as spec.stopped asks."))),
        };
    }
    if let Some(Trouble { reason, message }) = trouble {
        let phase = if has_served(cr) {
            Phase::Degraded
        } else {
            Phase::Failed
        };
        return (phase, not_ready(reason, message.clone()));
    }
    let phase_before = before(cr).phase;
    if !has_served(cr) {
        (
            Phase::Provisioning,
            not_ready(
                reason::PROVISIONING,
                format!("The first start of {title} is under way."),
            ),
        )
    } else if facts::is_outdated(observed)
        || phase_before == Some(Phase::Updating) && ready_reason(cr) != Some(reason::STOPPING)
    {
        (
            Phase::Updating,
            not_ready(
                reason::UPDATING,
                format!("{title} restarts with the changes that were asked for."),
            ),
        )
    } else if matches!(
        phase_before,
        Some(Phase::Stopped | Phase::Provisioning | Phase::Updating)
    ) {
        (
            Phase::Provisioning,
            not_ready(reason::PROVISIONING, format!("{title} is starting.")),
        )
    } else {
        (
            Phase::Degraded,
            not_ready(
                reason::NOT_ACCEPTING_CONNECTIONS,
                format!(
                    "{title} does not accept connections: its pod stopped or was lost, and starts again by itself."
                ),
            ),
        )
    }
}

fn ready_reason(cr: &DatabaseInstance) -> Option<&str> {
    let conditions = &cr.status.as_ref()?.conditions;
    conditions
        .iter()
        .find(|condition| condition.type_ == READY)
        .map(|condition| condition.reason.as_str())
}

/// A change that is under way while the server serves.
fn progress(
    subject: &Subject<'_>,
    observed: &Observed,
    credentials: &Credentials,
    settings: &SettingsPlan,
    serving: bool,
) -> Option<(&'static str, String)> {
    if !serving {
        return None;
    }
    if let Some(trouble) =
        settings::trouble(subject, settings).filter(|trouble| trouble.reason == reason::UPDATING)
    {
        return Some((reason::UPDATING, trouble.message));
    }
    if let Some((_, Outcome::Failed { message, .. })) = &credentials.job {
        return Some((
            reason::CREDENTIALS_NOT_APPLIED,
            format!(
                "The password could not be changed inside the database: {}. It is tried again.",
                message.trim().trim_end_matches('.')
            ),
        ));
    }
    if facts::is_outdated(observed) {
        return Some((
            reason::UPDATING,
            format!(
                "{} is about to restart with the changes that were asked for.",
                subject.engine.title()
            ),
        ));
    }
    match (&settings.job, &credentials.job) {
        (Some((_, Outcome::Absent | Outcome::Running)), _) => Some((
            reason::UPDATING,
            "The engine checks the changed settings and applies them.".to_owned(),
        )),
        (_, Some((_, Outcome::Absent | Outcome::Running))) => Some((
            reason::UPDATING,
            "The password is being changed inside the database.".to_owned(),
        )),
        _ if storage(subject, observed).reason == reason::RESIZING => Some((
            reason::RESIZING,
            "The volume is being made larger.".to_owned(),
        )),
        _ => None,
    }
}

fn refused_password(credentials: &Credentials) -> Option<Trouble> {
    let (_, Outcome::Refused(words)) = credentials.job.as_ref()? else {
        return None;
    };
    let line = words
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no reason was given")
        .trim();
    Some(Trouble {
        reason: reason::CREDENTIALS_NOT_APPLIED,
        message: format!(
            "The engine refuses the password of spec.credentialsSecret: {}. The password before stays in force. Use another.",
            line.trim_end_matches('.')
        ),
    })
}

fn storage(subject: &Subject<'_>, observed: &Observed) -> Statement {
    let wanted = &subject.cr.spec.storage.size.0;
    let Some(claim) = &observed.claim else {
        return state(
            STORAGE_READY,
            "False",
            reason::VOLUME_NOT_BOUND,
            "There is no volume claim yet.",
        );
    };
    let Some(capacity) = facts::capacity(claim).filter(|_| facts::is_bound(claim)) else {
        return state(
            STORAGE_READY,
            "False",
            reason::VOLUME_NOT_BOUND,
            "The volume claim is not bound.",
        );
    };
    if crate::quantity::thousandths(capacity) >= crate::quantity::thousandths(wanted) {
        return state(
            STORAGE_READY,
            "True",
            reason::BOUND,
            format!("The volume has {capacity}."),
        );
    }
    let failed = claim
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .find(|condition| condition.type_.ends_with("ResizeError"));
    let said = failed
        .and_then(|condition| condition.message.clone())
        .map(|message| format!(" The driver says: {message}"))
        .unwrap_or_default();
    state(
        STORAGE_READY,
        "False",
        reason::RESIZING,
        format!("The volume grows from {capacity} to {wanted}.{said}"),
    )
}

fn parameters(subject: &Subject<'_>, settings: &SettingsPlan) -> Statement {
    match settings::trouble(subject, settings) {
        Some(trouble) => state(PARAMETERS_APPLIED, "False", trouble.reason, trouble.message),
        None if settings.job.is_some() || settings.waiting => state(
            PARAMETERS_APPLIED,
            "False",
            reason::UPDATING,
            "The changed settings are not in force yet.",
        ),
        None => state(
            PARAMETERS_APPLIED,
            "True",
            reason::APPLIED,
            "The settings of the spec are those the server starts with.",
        ),
    }
}

/// The status while the spec, or what it names, cannot be used: what runs goes on, nothing is changed.
pub fn invalid(
    cr: &DatabaseInstance,
    observed: &Observed,
    invalid: &Invalid,
    now: &Time,
) -> Verdict {
    let serving =
        observed.pod.as_ref().is_some_and(facts::is_ready) && observed.stateful_set.is_some();
    let waiting = invalid.reason == reason::WAITING_FOR_DELETION;
    let (phase, ready) = match (&observed.stateful_set, serving) {
        (Some(_), true) => (
            Phase::Running,
            state(
                READY,
                "True",
                reason::RUNNING,
                "The database accepts connections; the last change of the spec is not carried out.",
            ),
        ),
        (Some(_), false) if has_served(cr) => (
            Phase::Degraded,
            state(READY, "False", invalid.reason, invalid.message.clone()),
        ),
        (_, _) if waiting || !has_served(cr) => (
            Phase::Pending,
            state(READY, "False", invalid.reason, invalid.message.clone()),
        ),
        _ => (
            Phase::Failed,
            state(READY, "False", invalid.reason, invalid.message.clone()),
        ),
    };
    let besides = if waiting { RECONCILING } else { STALLED };
    let statements = [
        ready,
        state(besides, "True", invalid.reason, invalid.message.clone()),
    ];
    let status = DatabaseInstanceStatus {
        phase: Some(phase),
        ..finish(cr, &statements, now)
    };
    let recheck = match (waiting, invalid.recheck) {
        (true, _) => Some(Duration::from_secs(1)),
        (false, true) => Some(LATER),
        (false, false) => None,
    };
    Verdict { status, recheck }
}

/// The status of a resource that is being deleted.
pub fn leaving(
    cr: &DatabaseInstance,
    observed: &Observed,
    why: &'static str,
    message: &str,
    now: &Time,
) -> DatabaseInstanceStatus {
    let serving = observed.pod.as_ref().is_some_and(facts::is_ready);
    let mut statements = vec![state(
        READY,
        if serving { "True" } else { "False" },
        why,
        message,
    )];
    if why == reason::DELETION_PROTECTED {
        statements.push(state(STALLED, "True", why, message));
    }
    DatabaseInstanceStatus {
        phase: Some(Phase::Deleting),
        ..finish(cr, &statements, now)
    }
}

/// The status when a write was refused: what is true of the server stays, and the refusal is said.
pub fn failed(
    cr: &DatabaseInstance,
    planned: &DatabaseInstanceStatus,
    error: &str,
    now: &Time,
) -> DatabaseInstanceStatus {
    let Trouble { reason, message } = facts::creation_trouble(error).unwrap_or_else(|| Trouble {
        reason: reason::APPLY_FAILED,
        message: format!("The API server refused a write: {error}. It is tried again; `kubectl describe` of the object and the operator's log show more."),
    });
    let ready = planned
        .conditions
        .iter()
        .any(|condition| condition.type_ == READY && condition.status == "True");
    let kept = planned
        .conditions
        .iter()
        .filter(|condition| ready && !matches!(condition.type_.as_str(), STALLED | RECONCILING))
        .cloned();
    let mut statements = vec![state(STALLED, "True", reason, message.clone())];
    if !ready {
        statements.insert(0, state(READY, "False", reason, message));
    }
    let generation = cr.metadata.generation.unwrap_or_default();
    let conditions: Vec<Condition> = kept
        .chain(conditions(
            &before(cr).conditions,
            &statements,
            generation,
            now,
        ))
        .collect();
    let phase = match planned.phase {
        Some(Phase::Running | Phase::Updating) if ready => planned.phase,
        _ if has_served(cr) => Some(Phase::Degraded),
        _ => Some(Phase::Failed),
    };
    DatabaseInstanceStatus {
        conditions,
        phase,
        ..planned.clone()
    }
}

fn finish(cr: &DatabaseInstance, statements: &[Statement], now: &Time) -> DatabaseInstanceStatus {
    let before = before(cr);
    let generation = cr.metadata.generation.unwrap_or_default();
    DatabaseInstanceStatus {
        observed_generation: Some(generation),
        conditions: conditions(&before.conditions, statements, generation, now),
        ..before
    }
}

/// An Event for each condition whose reason is a new one.
pub fn notices(cr: &DatabaseInstance, status: &DatabaseInstanceStatus) -> Vec<Notice> {
    let old = before(cr).conditions;
    let mut notices: Vec<Notice> = Vec::new();
    for condition in status
        .conditions
        .iter()
        .filter(|condition| [READY, STALLED, RECONCILING].contains(&condition.type_.as_str()))
    {
        let known = old
            .iter()
            .any(|old| old.type_ == condition.type_ && old.reason == condition.reason);
        let said = notices
            .iter()
            .any(|notice| notice.reason == condition.reason);
        if !known && !said {
            let warning =
                condition.type_ == STALLED || condition.reason == reason::NOT_ACCEPTING_CONNECTIONS;
            let stalled = status
                .conditions
                .iter()
                .any(|other| other.type_ == STALLED && other.reason == condition.reason);
            notices.push(Notice {
                warning: warning || stalled,
                reason: condition.reason.clone(),
                message: condition.message.clone(),
            });
        }
    }
    notices
}
