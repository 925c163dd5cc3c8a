//! Each condition, as a statement that follows from what was observed; `status` puts them together.

use api::condition::{PARAMETERS_APPLIED, READY, STORAGE_READY, Statement, find, reason, state};
use api::instance::Phase;
use api::names::host;
use api::{DatabaseInstance, DatabaseInstanceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::backups::holder;
use super::credentials::Credentials;
use super::settings::{self, Outcome, Plan as SettingsPlan};
use super::{Observed, source};
use crate::build::Subject;
use crate::facts::{self, Trouble};

/// The status as it was written last.
pub fn before(cr: &DatabaseInstance) -> DatabaseInstanceStatus {
    cr.status.clone().unwrap_or_default()
}

/// Whether the database has served before: only then has the status a capacity.
pub fn has_served(cr: &DatabaseInstance) -> bool {
    before(cr)
        .storage
        .is_some_and(|storage| storage.capacity.is_some())
}

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
    let phase_before = before(cr).phase;
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
    find(conditions, READY).map(|condition| condition.reason.as_str())
}

/// A change that is under way while the server serves, or begins with this pass (`restarts`): who waits for it must not take
/// the state before it for the state after it.
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

/// The engine said no to a new password.
pub fn refused_password(credentials: &Credentials) -> Option<Trouble> {
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

/// StorageReady.
pub fn storage(subject: &Subject<'_>, observed: &Observed) -> Statement {
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

/// ParametersApplied.
pub fn parameters(subject: &Subject<'_>, settings: &SettingsPlan) -> Statement {
    match settings::trouble(subject, settings) {
        Some(trouble) => state(PARAMETERS_APPLIED, "False", trouble.reason, trouble.message),
        None if settings.job.is_some() => state(
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
