//! What the user reads: conditions, phase, and the fields of the status, as a function of what was observed.

use std::borrow::Cow;
use std::time::Duration;

use api::condition::{AVAILABLE, PlannedCondition, READY, Truth, has, reason, state};
use api::external::zalando::replica_service;
use api::ha_cluster::{Failover, HAClusterEndpoints, HAClusterPhase as Phase};
use api::instance::{Binding, StorageStatus};
use api::reported::Reported;
use api::{HACluster, HAClusterStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::Observed;
use super::conditions::{Incomplete, address, delegated, is_idle, primary, ready, stalled};
use super::credentials::Credentials;
use super::edits::{Delegate, Edits};
use super::members::{self, Members, acquired_at, members, synchronous};
use super::progress::progress;
use super::storage::{claims, class_name, smallest, storage};
use crate::report::refused;
use crate::step::{Standing, Step, Tone};
use crate::valid::Cluster;
use crate::{Invalid, PlannedEvent};

/// What is said, and the fields of the status.
pub type Verdict = (Step, HAClusterStatus);

/// While something is under way whose failure only Events tell.
const SOON: Duration = Duration::from_secs(3);
/// While something is wrong that may be cured elsewhere.
const LATER: Duration = Duration::from_secs(15);

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
    !has_served(cr) || cr.last_status().phase == Some(Phase::Provisioning)
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
    let mut planned = vec![
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
        planned.push(storage(cluster, &claims));
    }
    let is_ready = planned[0].status == Truth::True;
    let progress = progress.filter(|_| is_ready || !is_starting(cr));
    let stalled = stalled(members, &planned, delegate);
    let phase = match (is_ready, shown) {
        _ if available && progress.is_some() && stalled.is_none() => Phase::Updating,
        (true, _) => Phase::Running,
        (false, true) if is_starting(cr) && stalled.is_none() => Phase::Provisioning,
        (false, true) => Phase::Degraded,
        (false, false) if stalled.is_some() => Phase::Failed,
        (false, false) => Phase::Provisioning,
    };
    let again = requeue(stalled.is_some(), phase);
    let standing = standing(&planned[0], stalled, progress);
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
            capacity: smallest(&claims).filter(|_| shown).or_else(|| {
                cr.last_status()
                    .storage
                    .and_then(|storage| storage.capacity)
            }),
            class_name: class_name(cluster, observed),
        }),
        ..finish(cr, observed, members, available, now)
    };
    let step = Step::says(planned, standing)
        .again(edits.requeue)
        .again(lock_rest(members, observed, now))
        .again(again);
    (step, status)
}

/// Whether it takes a person, or goes on by itself.
fn standing(
    ready: &PlannedCondition,
    stalled: Option<(Cow<'static, str>, String)>,
    progress: Option<(&'static str, String)>,
) -> Standing {
    match (stalled, progress) {
        (Some((why, message)), _) => Standing::blocked(why, message),
        (None, Some((why, message))) => Standing::under_way(why, message),
        (None, None) if ready.status == Truth::True => Standing::AtRest,
        (None, None) => Standing::under_way(ready.reason.clone(), ready.message.clone()),
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
fn requeue(is_stalled: bool, phase: Phase) -> Option<Duration> {
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
    let waiting = invalid.goes_on();
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
            Truth::True,
            reason::RUNNING,
            "All servers serve; the last change of the spec is not carried out.",
        )
    } else {
        state(READY, Truth::False, why, message.clone())
    };
    let primary = match available {
        true => state(
            AVAILABLE,
            Truth::True,
            reason::PRIMARY_SERVES,
            "A primary accepts connections.",
        ),
        false => state(AVAILABLE, Truth::False, why, message.clone()),
    };
    let mut says = vec![ready, primary];
    says.extend(
        invalid
            .on
            .map(|type_| state(type_, Truth::False, why, message.clone())),
    );
    let status = HAClusterStatus {
        phase: Some(phase),
        ..finish(cr, observed, &members, available, now)
    };
    let step = Step::says(says, invalid.into()).again(invalid.requeue(LATER));
    (step, status)
}

/// The status of a resource that is being deleted.
pub fn deleting(
    cr: &HACluster,
    observed: &Observed,
    (why, message): (&'static str, &str),
    tone: Tone,
    now: &Time,
) -> Verdict {
    let name = cr.metadata.name.as_deref().unwrap_or_default();
    let members = members(observed, name, cr.spec.replicas, now);
    let status = HAClusterStatus {
        phase: Some(Phase::Deleting),
        ..finish(cr, observed, &members, false, now)
    };
    (
        Step::told(state(READY, Truth::False, why, message), tone),
        status,
    )
}

/// The status when a write was refused: what is true of the servers stays, and the refusal is said.
pub fn failed(
    cr: &HACluster,
    planned: &HAClusterStatus,
    error: &str,
    now: &Time,
) -> HAClusterStatus {
    let ready = has(&planned.conditions, READY, Truth::True);
    HAClusterStatus {
        phase: match (ready, has_served(cr)) {
            (true, _) => planned.phase,
            (false, true) => Some(Phase::Degraded),
            (false, false) => Some(Phase::Failed),
        },
        ..refused(cr, planned, error, now)
    }
}

fn finish(
    cr: &HACluster,
    observed: &Observed,
    members: &Members<'_>,
    available: bool,
    now: &Time,
) -> HAClusterStatus {
    let before = cr.last_status();
    let primary = members.primary.filter(|_| available).map(str::to_owned);
    let asked = cr.spec.replicas;
    HAClusterStatus {
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

/// The Event about a change of the primary.
pub fn failed_over(cr: &HACluster, status: &HAClusterStatus) -> Option<PlannedEvent> {
    let old = cr.last_status().last_failover;
    let new = status.last_failover.as_ref();
    let failover = new.filter(|new| old.as_ref() != Some(*new))?;
    Some(PlannedEvent {
        warning: false,
        reason: reason::FAILED_OVER.to_owned(),
        message: format!(
            "The primary is {} now; it was {}.",
            failover.to, failover.from
        ),
    })
}
