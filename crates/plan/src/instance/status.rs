//! What the user reads: conditions, phase, and the fields of the status, as a function of what was observed.

use std::time::Duration;

use api::condition::{
    BACKUP_HEALTHY, PARAMETERS_APPLIED, READY, RECONCILING, STALLED, Statement, conditions, has,
    reason, state,
};
use api::instance::{Binding, DeletionPolicy, Endpoint, Phase, StorageStatus};
use api::names::{FINALIZER_FINAL_BACKUP, host};
use api::{DatabaseInstance, DatabaseInstanceStatus};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::conditions::{
    before, has_served, parameters, progress, refused_password, server, storage, trouble,
};
use super::credentials::Credentials;
use super::settings::{self, Plan as SettingsPlan};
use super::{Class, Observed, proof, source, steps};
use crate::build::Subject;
use crate::facts::{self, Trouble};
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

/// The status of an instance whose spec can be carried out.
pub fn valid(
    subject: &Subject<'_>,
    observed: &Observed,
    credentials: &Credentials,
    settings: &SettingsPlan,
    restarts: bool,
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
    statements.extend(proof::plan(subject, observed).statement);
    let progress = progress(subject, observed, credentials, settings, serving, restarts);
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
        restored_from: shown
            .and_then(source::of_claim)
            .or_else(|| before(cr).restored_from),
        restore: steps::record(subject, observed, serving, now),
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
    let held = subject.cr.metadata.finalizers.iter().flatten();
    if owned {
        DeletionPolicy::Delete
    } else if held.into_iter().any(|held| held == FINALIZER_FINAL_BACKUP) {
        DeletionPolicy::Snapshot
    } else {
        DeletionPolicy::Retain
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
    let copying = invalid.reason == reason::RESTORING;
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
            if copying {
                Phase::Restoring
            } else {
                Phase::Pending
            },
            state(READY, "False", invalid.reason, invalid.message.clone()),
        ),
        _ => (
            Phase::Failed,
            state(READY, "False", invalid.reason, invalid.message.clone()),
        ),
    };
    let goes_on = waiting || copying || invalid.reason == reason::BACKUP_NOT_READY;
    let besides = if goes_on { RECONCILING } else { STALLED };
    let mut statements = vec![ready];
    if invalid.reason == reason::INVALID_PARAMETER {
        statements.push(state(
            PARAMETERS_APPLIED,
            "False",
            invalid.reason,
            invalid.message.clone(),
        ));
    }
    statements.push(state(
        besides,
        "True",
        invalid.reason,
        invalid.message.clone(),
    ));
    let status = DatabaseInstanceStatus {
        phase: Some(phase),
        ..finish(cr, &statements, now)
    };
    let recheck = match (waiting, invalid.recheck) {
        (true, _) => Some(Duration::from_secs(1)),
        (false, true) if copying => Some(SOON),
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
    let stalls = [
        reason::DELETION_PROTECTED,
        reason::FINAL_BACKUP_FAILED,
        reason::CROSS_NAMESPACE_FORBIDDEN,
    ];
    if stalls.contains(&why) {
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
    let Trouble { reason, message } = facts::creation_trouble(&facts::OF_INSTANCE, error).filter(|trouble| trouble.reason == reason::QUOTA_EXCEEDED).unwrap_or_else(|| Trouble {
        reason: reason::APPLY_FAILED,
        message: format!("The API server refused a write: {error}. It is tried again; `kubectl describe` of the object and the operator's log show more."),
    });
    let ready = has(&planned.conditions, READY, "True");
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
    for condition in status.conditions.iter().filter(|condition| {
        [READY, STALLED, RECONCILING, BACKUP_HEALTHY].contains(&condition.type_.as_str())
    }) {
        let known = old
            .iter()
            .any(|old| old.type_ == condition.type_ && old.reason == condition.reason);
        let said = notices
            .iter()
            .any(|notice| notice.reason == condition.reason);
        if !known && !said {
            let warning = condition.type_ == STALLED
                || condition.reason == reason::NOT_ACCEPTING_CONNECTIONS
                || condition.type_ == BACKUP_HEALTHY && condition.status == "False";
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
