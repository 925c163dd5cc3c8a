//! Conditions, each as a statement that follows from what was observed; `status` puts them together.

use std::borrow::Cow;

use api::condition::{AVAILABLE, DELEGATED, PlannedCondition, READY, Truth, reason, state};
use api::external::zalando::{Postgresql, replica_service};
use api::ha_cluster::{Synchronous, SynchronousStatus};
use api::names::host;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::edits::Delegate;
use super::members::Members;
use super::status::has_served;
use super::{Observed, settings};
use crate::build::ha_secret::PORT;
use crate::facts::{Trouble, sentence};
use crate::valid::Cluster;

/// The operator has nothing to wait for when all pods have been ready for so many seconds.
const IDLE_SECONDS: i64 = 180;

/// Whether the operator says that it is at it, and has nothing to wait for.
pub fn is_idle(members: &Members<'_>, observed: &Observed, now: &Time) -> bool {
    let reported = observed
        .postgresql
        .as_ref()
        .and_then(Postgresql::reported_at);
    let since = members.all_ready_since.max(reported.map(|time| time.0));
    members.missing.is_empty()
        && members.all_ready_since.is_some()
        && since.is_some_and(|since| now.0.as_second() - since.as_second() >= IDLE_SECONDS)
}

/// Host and port of a Service of the cluster.
pub fn address(cluster: &Cluster<'_>, service: &str) -> String {
    format!("{}:{PORT}", host(service, cluster.namespace))
}

/// Why a cluster with a primary may lack replicas.
#[derive(Clone, Copy)]
pub enum Incomplete {
    /// It has not been whole yet.
    Starting,
    /// A change is being carried out.
    Changing,
    /// It was whole.
    Degraded,
}

impl Incomplete {
    fn reason(self, degraded: &'static str) -> &'static str {
        match self {
            Incomplete::Starting => reason::PROVISIONING,
            Incomplete::Changing => reason::UPDATING,
            Incomplete::Degraded => degraded,
        }
    }
}

/// Whether writes are to be confirmed by a replica, and Patroni has not chosen one yet: then it would make none the
/// primary.
fn lacks_standby(members: &Members<'_>, synchronous: Option<&SynchronousStatus>) -> bool {
    members.serving > 1
        && synchronous
            .is_some_and(|found| found.mode != Synchronous::Off && found.standbys.is_empty())
}

/// Ready: a primary serves, all replicas stream, and one can take its place.
pub fn ready(
    cluster: &Cluster<'_>,
    members: &Members<'_>,
    available: bool,
    synchronous: Option<&SynchronousStatus>,
    incomplete: Incomplete,
) -> PlannedCondition {
    let (serving, asked) = (members.serving, cluster.cr.spec.replicas);
    let count = if serving > asked {
        format!("{serving} servers serve, {asked} are asked for")
    } else {
        format!("{serving} of {asked} servers serve")
    };
    let (why, message) = match (&members.trouble, members.primary) {
        (Some(Trouble { reason, message }), _) => (*reason, format!("{count}. {message}")),
        (None, Some(_)) if !available => (
            reason::PROVISIONING,
            format!(
                "{count}; no client could log in yet. The Zalando operator makes the user and the database when all \
                    pods run for the first time."
            ),
        ),
        (None, None) if !has_served(cluster.cr) => (
            reason::PROVISIONING,
            "The cluster is starting; no primary serves yet.".to_owned(),
        ),
        (None, None) => (
            reason::NO_PRIMARY,
            format!(
                "{count}, and none is the primary: no write is possible. Patroni makes a replica the primary if one is \
                    fit to be, within half a minute of the last one's silence. `kubectl logs` of the pods shows more."
            ),
        ),
        (None, Some(primary)) if !members.missing.is_empty() => (
            incomplete.reason(reason::REPLICAS_MISSING),
            format!(
                "{count}; not streaming from the primary {primary}: {}.",
                members.missing.join(", ")
            ),
        ),
        (None, Some(primary)) if lacks_standby(members, synchronous) => (
            incomplete.reason(reason::NO_SYNCHRONOUS_STANDBY),
            format!(
                "{count}, but no replica confirms the writes of {primary} yet, and none would take its place. Patroni \
                    chooses one within moments."
            ),
        ),
        (None, Some(primary)) => {
            return state(
                READY,
                Truth::True,
                reason::RUNNING,
                format!(
                    "{count}: the primary {primary} at {}, replicas at {}; the Secret {} has all a client needs.",
                    address(cluster, cluster.name),
                    address(cluster, &replica_service(cluster.name)),
                    cluster.name
                ),
            );
        }
    };
    let ready = state(READY, Truth::False, why, message);
    let is_lost = members.primary.is_none() && has_served(cluster.cr);
    let lacks = !members.missing.is_empty() && matches!(incomplete, Incomplete::Degraded);
    match members.trouble.is_none() && (is_lost || lacks) {
        true => ready.warning(),
        false => ready,
    }
}

/// Available: a primary serves.
pub fn primary(cluster: &Cluster<'_>, members: &Members<'_>, available: bool) -> PlannedCondition {
    match members.primary {
        Some(primary) if available => state(
            AVAILABLE,
            Truth::True,
            reason::PRIMARY_SERVES,
            format!(
                "The primary {primary} accepts connections at {}.",
                address(cluster, cluster.name)
            ),
        ),
        _ if has_served(cluster.cr) => state(
            AVAILABLE,
            Truth::False,
            reason::NO_PRIMARY,
            "No primary accepts connections.",
        ),
        _ => state(
            AVAILABLE,
            Truth::False,
            reason::PROVISIONING,
            "The cluster is being made.",
        ),
    }
}

/// Delegated: the operator acts, and its settings do no harm.
pub fn delegated(
    cluster: &Cluster<'_>,
    observed: &Observed,
    delegate: Delegate,
) -> PlannedCondition {
    let word = observed.postgresql.as_ref().map_or("", Postgresql::word);
    let said = observed.said.as_deref().map(sentence).unwrap_or_default();
    let said = if said.is_empty() {
        String::new()
    } else {
        format!(" It said: {said}.")
    };
    let no = |why, message: String| state(DELEGATED, Truth::False, why, message);
    match (
        delegate,
        settings::harm(&observed.settings, cluster.cr.spec.replicas),
    ) {
        (Delegate::Silent, _) => no(
            reason::POSTGRES_OPERATOR_NOT_RESPONDING,
            format!(
                "The Zalando operator does not act on the postgresql {}{}. See that it runs, that it watches this \
                    namespace (watched_namespace), and that no acid.zalan.do/controller is set which is not its own; \
                    it may also be busy with another cluster.",
                cluster.name,
                if word.is_empty() {
                    String::new()
                } else {
                    format!(", of which its last word is {word}")
                }
            ),
        ),
        (Delegate::Failed, _) => no(
            reason::POSTGRES_OPERATOR_FAILED,
            format!(
                "The Zalando operator says {word}.{said} It is asked to try again, ever more seldom; `kubectl describe \
                    postgresql {}` and its log show more.",
                cluster.name
            ),
        ),
        (_, Some(harm)) => no(reason::HARMFUL_SETTING, harm).warning(),
        (Delegate::Done, None) => state(
            DELEGATED,
            Truth::True,
            reason::ACTING,
            "The Zalando operator has carried out what it was told.",
        ),
        (Delegate::Awaited | Delegate::Busy, None) => state(
            DELEGATED,
            Truth::True,
            reason::ACTING,
            "The Zalando operator is carrying out what it was told.",
        ),
    }
}

/// What needs a person.
pub fn stalled(
    members: &Members<'_>,
    planned: &[PlannedCondition],
    delegate: Delegate,
) -> Option<(Cow<'static, str>, String)> {
    if let Some(Trouble { reason, message }) = &members.trouble {
        return Some(((*reason).into(), message.clone()));
    }
    let delegated = planned.iter().find(|said| said.type_ == DELEGATED)?;
    matches!(delegate, Delegate::Silent | Delegate::Failed)
        .then(|| (delegated.reason.clone(), delegated.message.clone()))
}
