//! What the user reads: conditions, phase, and the fields of the status, as a function of what was observed.

use std::time::Duration;

use api::condition::{READY, Truth, has, reason, state};
use api::instance::{Binding, DeletionPolicy, Endpoint, Phase, StorageStatus};
use api::names::{FINALIZER_FINAL_BACKUP, host};
use api::reported::Reported;
use api::{DatabaseInstance, DatabaseInstanceStatus};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{parameters, progress, refused_password, server, storage, trouble};
use super::credentials::Credentials;
use super::settings::{self, Plan as SettingsPlan};
use super::{Observed, source, steps, verification};
use crate::Invalid;
use crate::facts::{self, Trouble};
use crate::reading::instance::has_served;
use crate::report::refused;
use crate::step::{Standing, Step, Tone};
use crate::storage_class::StorageClass;
use crate::task::Task;
use crate::valid::Subject;

/// What is said, and the fields of the status.
pub type Verdict = (Step, DatabaseInstanceStatus);

/// While something is under way: all that it is made of is watched, but its failure may be told by Events only.
const SOON: Duration = Duration::from_secs(10);
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
    let (phase, mut planned) = server(subject, observed, serving, trouble.as_ref());
    if serving || has_served(cr) {
        planned.push(storage(subject, observed));
        planned.push(parameters(subject, settings));
    }
    planned.extend(verification::plan(subject, observed).planned);
    let progress = progress(subject, observed, credentials, settings, serving, restarts);
    let settings_trouble = settings::trouble(subject, settings);
    let is_refused = matches!(settings.job, Some((_, Task::Refused(_))));
    let stalled = trouble
        .or(settings_trouble.filter(|_| is_refused))
        .or(refused_password(credentials));
    let phase = if serving && progress.is_some() {
        Phase::Updating
    } else {
        phase
    };
    let requeue = match (&stalled, phase) {
        (Some(_), _) => Some(LATER),
        (None, Phase::Running | Phase::Stopped) => None,
        _ => Some(SOON),
    };
    let standing = match (stalled, progress) {
        (Some(Trouble { reason, message }), _) => Standing::blocked(reason, message),
        (None, Some((reason, message))) => Standing::under_way(reason, message),
        (None, None) if matches!(phase, Phase::Running | Phase::Stopped) => Standing::AtRest,
        (None, None) => {
            let ready = &planned[0];
            Standing::under_way(ready.reason.clone(), ready.message.clone())
        }
    };
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
                .or_else(|| cr.last_status().storage.and_then(|s| s.capacity)),
            class_name: class_name(subject, observed),
        }),
        deletion_policy: Some(policy_in_force(subject, claim)),
        pending_changes: settings.pending.clone(),
        restored_from: shown
            .and_then(source::of_claim)
            .or_else(|| cr.last_status().restored_from),
        restore: steps::record(subject, observed, serving, now),
        ..cr.last_status()
    };
    (Step::says(planned, standing).again(requeue), status)
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
            StorageClass::Found { name, .. } => Some(name.clone()),
            StorageClass::Missing | StorageClass::Unread => None,
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

/// The status while the spec, or what it names, cannot be used: what runs goes on, nothing is changed. `copying`: a
/// snapshot of another namespace is being made readable meanwhile.
pub fn invalid(
    cr: &DatabaseInstance,
    observed: &Observed,
    invalid: &Invalid,
    copying: bool,
) -> Verdict {
    let serving =
        observed.pod.as_ref().is_some_and(facts::is_ready) && observed.stateful_set.is_some();
    let copying = copying && invalid.goes_on();
    let waiting = invalid.goes_on() && !copying;
    let (phase, ready) = match (&observed.stateful_set, serving) {
        (Some(_), true) => (
            Phase::Running,
            state(
                READY,
                Truth::True,
                reason::RUNNING,
                "The database accepts connections; the last change of the spec is not carried out.",
            ),
        ),
        (Some(_), false) if has_served(cr) => (
            Phase::Degraded,
            state(READY, Truth::False, invalid.reason, invalid.message.clone()),
        ),
        (_, _) if waiting || !has_served(cr) => (
            if copying {
                Phase::Restoring
            } else {
                Phase::Pending
            },
            state(READY, Truth::False, invalid.reason, invalid.message.clone()),
        ),
        _ => (
            Phase::Failed,
            state(READY, Truth::False, invalid.reason, invalid.message.clone()),
        ),
    };
    let mut says = vec![ready];
    says.extend(
        invalid
            .on
            .map(|type_| state(type_, Truth::False, invalid.reason, invalid.message.clone())),
    );
    let status = DatabaseInstanceStatus {
        phase: Some(phase),
        ..cr.last_status()
    };
    let step = Step::says(says, invalid.into()).again(invalid.requeue(LATER));
    (step, status)
}

/// The status of a resource that is being deleted.
pub fn deleting(
    cr: &DatabaseInstance,
    observed: &Observed,
    (why, message): (&'static str, &str),
    tone: Tone,
) -> Verdict {
    let serving = observed.pod.as_ref().is_some_and(facts::is_ready);
    let ready = Truth::from(serving);
    let status = DatabaseInstanceStatus {
        phase: Some(Phase::Deleting),
        ..cr.last_status()
    };
    (Step::told(state(READY, ready, why, message), tone), status)
}

/// The status when a write was refused: what is true of the server stays, and the refusal is said.
pub fn failed(
    cr: &DatabaseInstance,
    planned: &DatabaseInstanceStatus,
    error: &str,
    now: &Time,
) -> DatabaseInstanceStatus {
    let ready = has(&planned.conditions, READY, Truth::True);
    let phase = match planned.phase {
        Some(Phase::Running | Phase::Updating) if ready => planned.phase,
        _ if has_served(cr) => Some(Phase::Degraded),
        _ => Some(Phase::Failed),
    };
    DatabaseInstanceStatus {
        phase,
        ..refused(cr, planned, error, now)
    }
}
