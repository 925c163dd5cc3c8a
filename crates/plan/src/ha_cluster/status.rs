//! What the user reads: conditions, phase, and the fields of the status, as a function of what was observed.

use std::time::Duration;

use api::condition::{
    AVAILABLE, DELEGATED, READY, RECONCILING, STALLED, STORAGE_READY, Statement, conditions, find,
    has, reason, state,
};
use api::external::zalando::replica_service;
use api::ha_cluster::{Failover, HAClusterEndpoints, HAClusterPhase as Phase};
use api::instance::{Binding, StorageStatus};
use api::{HACluster, HAClusterStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::Observed;
use super::credentials::Credentials;
use super::edits::{Delegate, Edits};
use super::members::{self, Members, acquired_at, members, synchronous};
use super::progress::progress;
use super::statements::{Incomplete, address, delegated, is_idle, primary, ready, stalled};
use super::storage::{claims, class_name, smallest, storage};
use crate::build::postgresql::Cluster;
use crate::{Invalid, Notice};

/// A status, and when to look again at things that are not watched.
pub struct Verdict {
    /// The whole status.
    pub status: HAClusterStatus,
    /// `None`: only when something changes.
    pub recheck: Option<Duration>,
}

/// While something is under way whose failure only Events tell.
const SOON: Duration = Duration::from_secs(3);
/// While something is wrong that may be cured elsewhere.
const LATER: Duration = Duration::from_secs(15);

/// The status as it was written last.
pub fn before(cr: &HACluster) -> HAClusterStatus {
    cr.status.clone().unwrap_or_default()
}

/// Whether the cluster has served before: only then has the status a capacity.
pub fn has_served(cr: &HACluster) -> bool {
    let storage = cr
        .status
        .as_ref()
        .and_then(|status| status.storage.as_ref());
    storage.is_some_and(|storage| storage.capacity.is_some())
}

/// Whether the cluster has not been whole yet.
fn is_starting(cr: &HACluster) -> bool {
    !has_served(cr) || before(cr).phase == Some(Phase::Provisioning)
}

/// The status of a cluster whose spec can be carried out.
pub fn valid(
    cluster: &Cluster<'_>,
    observed: &Observed,
    members: &Members<'_>,
    credentials: &Credentials,
    edits: &Edits,
    now: &Time,
) -> Verdict {
    let cr = cluster.cr;
    let delegate = match edits.delegate {
        Delegate::Busy if is_idle(members, observed, now) => Delegate::Silent,
        delegate => delegate,
    };
    let available = members.primary.is_some() && (has_served(cr) || credentials.proved);
    let progress = progress(
        cluster,
        observed,
        members,
        credentials,
        edits,
        delegate,
        now,
    );
    let incomplete = match &progress {
        _ if is_starting(cr) => Incomplete::Starting,
        Some(_) => Incomplete::Changing,
        None => Incomplete::Degraded,
    };
    let synchronous = synchronous(&observed.patroni);
    let mut statements = vec![
        ready(
            cluster,
            members,
            available,
            synchronous.as_ref(),
            incomplete,
        ),
        primary(cluster, members, available),
        delegated(cluster, observed, delegate),
    ];
    let shown = available || has_served(cr);
    let claims = claims(cluster, observed);
    if shown {
        statements.push(storage(cluster, &claims));
    }
    let is_ready = statements[0].status == "True";
    let progress = progress.filter(|_| is_ready || !is_starting(cr));
    let stalled = stalled(members, &statements, delegate);
    let phase = match (is_ready, shown) {
        _ if available && progress.is_some() && stalled.is_none() => Phase::Updating,
        (true, _) => Phase::Running,
        (false, true) if is_starting(cr) && stalled.is_none() => Phase::Provisioning,
        (false, true) => Phase::Degraded,
        (false, false) if stalled.is_some() => Phase::Failed,
        (false, false) => Phase::Provisioning,
    };
    let recheck = [
        edits.recheck,
        lock_rest(members, observed, now),
        look_again(stalled.is_some(), phase),
    ];
    statements.extend(besides(&statements[0], stalled, progress));
    let status = HAClusterStatus {
        phase: Some(phase),
        version: Some(cluster.version.clone()),
        endpoints: Some(HAClusterEndpoints {
            primary: address(cluster, cluster.name),
            replicas: address(cluster, &replica_service(cluster.name)),
        }),
        binding: Some(Binding {
            name: cluster.name.to_owned(),
        }),
        storage: Some(StorageStatus {
            requested: cr.spec.storage.size.clone(),
            capacity: smallest(&claims)
                .filter(|_| shown)
                .or_else(|| before(cr).storage.and_then(|storage| storage.capacity)),
            class_name: class_name(cluster, observed),
        }),
        ..finish(cr, observed, members, available, &statements, now)
    };
    Verdict {
        status,
        recheck: recheck.into_iter().flatten().min(),
    }
}

/// What is said besides: that it takes a person, or goes on by itself; nothing when all is well.
fn besides(
    ready: &Statement,
    stalled: Option<(&'static str, String)>,
    progress: Option<(&'static str, String)>,
) -> Option<Statement> {
    match (stalled, progress) {
        (Some((why, message)), _) => Some(state(STALLED, "True", why, message)),
        (None, Some((why, message))) => Some(state(RECONCILING, "True", why, message)),
        (None, None) if ready.status == "True" => None,
        (None, None) => Some(state(
            RECONCILING,
            "True",
            ready.reason,
            ready.message.clone(),
        )),
    }
}

/// When a primary that falls silent now is one no more, of which nothing else tells.
fn lock_rest(members: &Members<'_>, observed: &Observed, now: &Time) -> Option<Duration> {
    let rest = members
        .primary
        .and_then(|_| members::lock_rest(&observed.patroni, now))?;
    Some(Duration::from_secs(u64::try_from(rest.max(1)).unwrap_or(1)))
}

/// When to look again at what is not watched.
fn look_again(is_stalled: bool, phase: Phase) -> Option<Duration> {
    match (is_stalled, phase) {
        (true, _) => Some(LATER),
        (false, Phase::Running) => None,
        (false, _) => Some(SOON),
    }
}

/// The status while the spec, or what it needs, cannot be used: what runs goes on, nothing is changed.
pub fn invalid(cr: &HACluster, observed: &Observed, invalid: &Invalid, now: &Time) -> Verdict {
    let name = cr.metadata.name.as_deref().unwrap_or_default();
    let members = members(observed, name, cr.spec.replicas, now);
    let available = members.primary.is_some() && has_served(cr);
    let (why, message) = (invalid.reason, invalid.message.clone());
    let waiting = why == reason::WAITING_FOR_DELETION;
    let phase = match (available, has_served(cr)) {
        (true, _) if members.missing.is_empty() => Phase::Running,
        (true, _) => Phase::Degraded,
        (false, true) if waiting => Phase::Degraded,
        (false, true) => Phase::Failed,
        (false, false) => Phase::Pending,
    };
    let ready = if phase == Phase::Running {
        state(
            READY,
            "True",
            reason::RUNNING,
            "All servers serve; the last change of the spec is not carried out.",
        )
    } else {
        state(READY, "False", why, message.clone())
    };
    let primary = match available {
        true => state(
            AVAILABLE,
            "True",
            reason::PRIMARY_SERVES,
            "A primary accepts connections.",
        ),
        false => state(AVAILABLE, "False", why, message.clone()),
    };
    let mut statements = vec![ready, primary];
    if why == reason::POSTGRES_OPERATOR_MISSING {
        statements.push(state(DELEGATED, "False", why, message.clone()));
    }
    let besides = if waiting { RECONCILING } else { STALLED };
    statements.push(state(besides, "True", why, message));
    let status = HAClusterStatus {
        phase: Some(phase),
        ..finish(cr, observed, &members, available, &statements, now)
    };
    let recheck = match (waiting, invalid.recheck) {
        (true, _) => Some(SOON),
        (false, true) => Some(LATER),
        (false, false) => None,
    };
    Verdict { status, recheck }
}

/// The status of a resource that is being deleted.
pub fn leaving(
    cr: &HACluster,
    observed: &Observed,
    why: &'static str,
    message: &str,
    now: &Time,
) -> HAClusterStatus {
    let name = cr.metadata.name.as_deref().unwrap_or_default();
    let members = members(observed, name, cr.spec.replicas, now);
    let mut statements = vec![state(READY, "False", why, message)];
    if why == reason::DELETION_BLOCKED {
        statements.push(state(STALLED, "True", why, message));
    }
    HAClusterStatus {
        phase: Some(Phase::Deleting),
        ..finish(cr, observed, &members, false, &statements, now)
    }
}

/// The status when a write was refused: what is true of the servers stays, and the refusal is said.
pub fn failed(
    cr: &HACluster,
    planned: &HAClusterStatus,
    error: &str,
    now: &Time,
) -> HAClusterStatus {
    let message = format!(
        "The API server refused a write: {error}. It is tried again; `kubectl describe` of the object and the operator's log show more."
    );
    let ready = has(&planned.conditions, READY, "True");
    let mut statements = vec![state(
        STALLED,
        "True",
        reason::APPLY_FAILED,
        message.clone(),
    )];
    if !ready {
        statements.insert(0, state(READY, "False", reason::APPLY_FAILED, message));
    }
    let said = |type_: &str| type_ == STALLED || type_ == RECONCILING || type_ == READY && !ready;
    let kept = planned
        .conditions
        .iter()
        .filter(|condition| !said(&condition.type_));
    let generation = cr.metadata.generation.unwrap_or_default();
    let added = conditions(&before(cr).conditions, &statements, generation, now);
    let conditions: Vec<Condition> = kept.cloned().chain(added).collect();
    HAClusterStatus {
        conditions,
        phase: match (ready, has_served(cr)) {
            (true, _) => planned.phase,
            (false, true) => Some(Phase::Degraded),
            (false, false) => Some(Phase::Failed),
        },
        ..planned.clone()
    }
}

fn finish(
    cr: &HACluster,
    observed: &Observed,
    members: &Members<'_>,
    available: bool,
    statements: &[Statement],
    now: &Time,
) -> HAClusterStatus {
    let before = before(cr);
    let generation = cr.metadata.generation.unwrap_or_default();
    let primary = members.primary.filter(|_| available).map(str::to_owned);
    let asked = cr.spec.replicas;
    HAClusterStatus {
        observed_generation: Some(generation),
        conditions: conditions(&before.conditions, statements, generation, now),
        replicas: Some(asked),
        ready_replicas: Some(members.serving),
        ready: Some(format!("{}/{asked}", members.serving)),
        last_failover: failover(&before, primary.as_deref(), observed, now)
            .or(before.last_failover.clone()),
        last_primary: primary.clone().or(before.last_primary.clone()),
        primary,
        synchronous: synchronous(&observed.patroni),
        ..before
    }
}

/// The primary is another one than the last time.
fn failover(
    before: &HAClusterStatus,
    primary: Option<&str>,
    observed: &Observed,
    now: &Time,
) -> Option<Failover> {
    let (from, to) = (before.last_primary.clone()?, primary?.to_owned());
    let at = acquired_at(&observed.patroni).unwrap_or_else(|| now.clone());
    // Kubernetes writes whole seconds.
    let at = Timestamp::from_second(at.0.as_second()).map_or(at, Time);
    (from != to).then_some(Failover { at, from, to })
}

/// An Event for each condition whose reason is a new one, and for a change of the primary.
pub fn notices(cr: &HACluster, status: &HAClusterStatus) -> Vec<Notice> {
    let old = before(cr);
    let mut notices: Vec<Notice> = Vec::new();
    if let Some(failover) = status
        .last_failover
        .as_ref()
        .filter(|new| old.last_failover.as_ref() != Some(*new))
    {
        notices.push(Notice {
            warning: false,
            reason: reason::FAILED_OVER.to_owned(),
            message: format!(
                "The primary is {} now; it was {}.",
                failover.to, failover.from
            ),
        });
    }
    for condition in &status.conditions {
        let known = find(&old.conditions, &condition.type_);
        let told = known.is_some_and(|known| known.reason == condition.reason)
            || notices
                .iter()
                .any(|notice| notice.reason == condition.reason);
        let stalled = |reason: &str| {
            find(&status.conditions, STALLED).is_some_and(|stalled| stalled.reason == reason)
        };
        let bad = [
            reason::NO_PRIMARY,
            reason::REPLICAS_MISSING,
            reason::HARMFUL_SETTING,
        ];
        if !told && condition.type_ != AVAILABLE && condition.type_ != STORAGE_READY {
            notices.push(Notice {
                warning: stalled(&condition.reason) || bad.contains(&condition.reason.as_str()),
                reason: condition.reason.clone(),
                message: condition.message.clone(),
            });
        }
    }
    notices
}
