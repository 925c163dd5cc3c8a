//! Each condition, as a statement that follows from what was observed; `status` puts them together.

use api::condition::{
    PARAMETERS_APPLIED, PlannedCondition, READY, STORAGE_READY, Truth, reason, state,
};
use api::instance::Phase;
use api::names::{ANNOTATION_ACCESS_MODE, host};
use api::reported::Reported;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::backups::holder;
use super::credentials::Credentials;
use super::settings::{self, Plan as SettingsPlan};
use super::{Observed, source};
use crate::facts::{self, Trouble};
use crate::quantity::thousandths;
use crate::reading::instance::has_served;
use crate::report::was_told;
use crate::storage_class::EXCLUSIVE;
use crate::task::Task;
use crate::valid::Subject;

/// What keeps the server from serving: first what keeps the pod from being made, then what keeps it from running.
pub fn trouble(subject: &Subject<'_>, observed: &Observed, now: &Time) -> Option<Trouble> {
    let warning = observed.warning.as_deref();
    let Some(pod) = &observed.pod else {
        return warning.and_then(|warning| facts::creation_trouble(&facts::OF_INSTANCE, warning));
    };
    let unbound = observed
        .claim
        .as_ref()
        .filter(|claim| !facts::is_bound(claim));
    unbound
        .and_then(|claim| facts::volume_trouble(claim, warning))
        .or_else(|| facts::pod_trouble(subject.engine, &facts::OF_INSTANCE, pod, now))
}

/// Ready, and the phase.
pub fn server(
    subject: &Subject<'_>,
    observed: &Observed,
    serving: bool,
    trouble: Option<&Trouble>,
) -> (Phase, Vec<PlannedCondition>) {
    let cr = subject.cr;
    let title = subject.engine.title();
    let not_ready = |reason, message: String| vec![state(READY, Truth::False, reason, message)];
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
                Truth::True,
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
            None => (
                Phase::Stopped,
                not_ready(
                    reason::STOPPED,
                    "No pod runs, as spec.stopped asks; the data is kept. \
                Set spec.stopped to false to start again."
                        .to_owned(),
                ),
            ),
            Some(_) => (
                Phase::Updating,
                not_ready(
                    reason::STOPPING,
                    format!("{title} is shutting down, as spec.stopped asks."),
                ),
            ),
        };
    }
    if let Some(backup) = holder(cr, &observed.backups) {
        let message = format!(
            "{title} is down for the cut of the Offline backup {}, for at most {} s after it has stopped.",
            backup.metadata.name.as_deref().unwrap_or_default(),
            backup.spec.hold_seconds
        );
        return (Phase::Updating, not_ready(reason::OFFLINE_BACKUP, message));
    }
    if let Some(Trouble { reason, message }) = trouble {
        let phase = if has_served(cr) {
            Phase::Degraded
        } else {
            Phase::Failed
        };
        return (phase, not_ready(reason, message.clone()));
    }
    let phase_before = cr.last_status().phase;
    if source::is_restoring(subject, observed) {
        let from = subject.restored_from.as_ref();
        let backup = from.map_or("", |from| from.backup.as_str());
        let message = format!("The first start of {title} from the backup {backup} is under way.");
        (Phase::Restoring, not_ready(reason::RESTORING, message))
    } else if !has_served(cr) {
        (
            Phase::Provisioning,
            not_ready(
                reason::PROVISIONING,
                format!("The first start of {title} is under way."),
            ),
        )
    } else if observed.is_outdated()
        || phase_before == Some(Phase::Updating) && !was_told(cr, READY, reason::STOPPING)
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
        let message = format!(
            "{title} does not accept connections: its pod stopped or was lost, and starts again by itself."
        );
        let ready = state(
            READY,
            Truth::False,
            reason::NOT_ACCEPTING_CONNECTIONS,
            message,
        );
        (Phase::Degraded, vec![ready.warning()])
    }
}

/// A change that is under way while the server serves, or begins with this pass (`restarts`): who waits for it must not
/// take the state before it for the state after it.
pub fn progress(
    subject: &Subject<'_>,
    observed: &Observed,
    credentials: &Credentials,
    settings: &SettingsPlan,
    serving: bool,
    restarts: bool,
) -> Option<(&'static str, String)> {
    if !serving {
        return None;
    }
    if let Some((_, Task::Failed { .. })) = &settings.job
        && let Some(trouble) = settings::trouble(subject, settings)
    {
        return Some((reason::UPDATING, trouble.message));
    }
    if let Some((_, Task::Failed { message, .. })) = &credentials.job {
        return Some((
            reason::CREDENTIALS_NOT_APPLIED,
            format!(
                "The password could not be changed inside the database: {}. It is tried again.",
                facts::sentence(message)
            ),
        ));
    }
    if restarts || observed.is_outdated() {
        return Some((
            reason::UPDATING,
            format!(
                "{} is about to restart with the changes that were asked for.",
                subject.engine.title()
            ),
        ));
    }
    match (&settings.job, &credentials.job) {
        (Some((_, Task::Absent | Task::Running)), _) => Some((
            reason::UPDATING,
            "The engine checks the changed settings and applies them.".to_owned(),
        )),
        (_, Some((_, Task::Absent | Task::Running))) => Some((
            reason::UPDATING,
            "The password is being changed inside the database.".to_owned(),
        )),
        _ if is_resizing(subject, observed) => Some((
            reason::RESIZING,
            "The volume is being made larger.".to_owned(),
        )),
        _ => None,
    }
}

/// The engine said no to a new password.
pub fn refused_password(credentials: &Credentials) -> Option<Trouble> {
    let (_, Task::Refused(words)) = credentials.job.as_ref()? else {
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
            "The engine refuses the password of spec.credentialsSecret: {}. The password before stays in force. Use \
                another.",
            line.trim_end_matches('.')
        ),
    })
}

/// Whether the volume is bound and smaller than what is asked for.
fn is_resizing(subject: &Subject<'_>, observed: &Observed) -> bool {
    let claim = observed
        .claim
        .as_ref()
        .filter(|claim| facts::is_bound(claim));
    let wanted = thousandths(&subject.cr.spec.storage.size.0);
    claim
        .and_then(facts::capacity)
        .is_some_and(|capacity| thousandths(capacity) < wanted)
}

/// StorageReady.
pub fn storage(subject: &Subject<'_>, observed: &Observed) -> PlannedCondition {
    let wanted = &subject.cr.spec.storage.size.0;
    let Some(claim) = &observed.claim else {
        return state(
            STORAGE_READY,
            Truth::False,
            reason::VOLUME_NOT_BOUND,
            "There is no volume claim yet.",
        );
    };
    let Some(capacity) = facts::capacity(claim).filter(|_| facts::is_bound(claim)) else {
        return state(
            STORAGE_READY,
            Truth::False,
            reason::VOLUME_NOT_BOUND,
            "The volume claim is not bound.",
        );
    };
    if !is_resizing(subject, observed) {
        return state(
            STORAGE_READY,
            Truth::True,
            reason::BOUND,
            format!("The volume has {capacity}.{}", shared(claim)),
        );
    }
    let failed = claim
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .find(|condition| condition.type_.ends_with("ResizeError"));
    let said = failed
        .and_then(|condition| condition.message.clone())
        .map(|message| format!(" The driver says: {}.", facts::sentence(&message)))
        .unwrap_or_default();
    state(
        STORAGE_READY,
        Truth::False,
        reason::RESIZING,
        format!("The volume grows from {capacity} to {wanted}.{said}"),
    )
}

/// What is said of a volume that more than one pod could mount.
fn shared(claim: &PersistentVolumeClaim) -> String {
    match facts::access_mode(claim) {
        Some(EXCLUSIVE) | None => String::new(),
        Some(mode) => format!(
            " Its access mode is {mode}: of other pods that mount it, only the server's lock keeps the data. A volume \
                cannot change that; to have {EXCLUSIVE}, restore a backup into another instance, of a class without \
                the annotation {ANNOTATION_ACCESS_MODE}."
        ),
    }
}

/// ParametersApplied.
pub fn parameters(subject: &Subject<'_>, settings: &SettingsPlan) -> PlannedCondition {
    match settings::trouble(subject, settings) {
        Some(trouble) => state(
            PARAMETERS_APPLIED,
            Truth::False,
            trouble.reason,
            trouble.message,
        ),
        None if settings.job.is_some() => state(
            PARAMETERS_APPLIED,
            Truth::False,
            reason::UPDATING,
            "The changed settings are not in force yet.",
        ),
        None => state(
            PARAMETERS_APPLIED,
            Truth::True,
            reason::APPLIED,
            "The settings of the spec are those the server starts with.",
        ),
    }
}
