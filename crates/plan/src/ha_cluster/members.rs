//! Which server is the primary, which replicas stream, and what keeps the others from it: by pods, their annotations
//! and Patroni's records, never by the Zalando operator's word.

use api::Engine;
use api::external::zalando::{LABEL_ROLE, ROLE_PRIMARY};
use api::ha_cluster::{Synchronous, SynchronousStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{Observed, Patroni};
use crate::engine;
use crate::facts::{
    OF_CLUSTER, Trouble, annotation, condition, creation_trouble, is_outdated, is_ready, label,
    pod_trouble,
};
use crate::version::compare;

/// Clocks of nodes may differ by so many seconds.
const CLOCKS: i64 = 10;

/// The servers of a cluster.
pub struct Members<'a> {
    /// The primary, if one serves.
    pub primary: Option<&'a str>,
    /// How many serve: the primary, and replicas that stream from it.
    pub serving: i32,
    /// How many pods there are.
    pub pods: i32,
    /// What keeps servers from serving, if anything does.
    pub trouble: Option<Trouble>,
    /// Since when all pods have been ready; none if one is not.
    pub all_ready_since: Option<Timestamp>,
    /// The names of those that were asked for and do not serve.
    pub missing: Vec<String>,
}

/// What there is of the servers `<name>-0` to `<name>-<replicas - 1>`.
pub fn members<'a>(observed: &'a Observed, name: &str, replicas: i32, now: &Time) -> Members<'a> {
    let primary = observed
        .pods
        .iter()
        .find(|pod| is_primary(pod, &observed.patroni, now));
    let pod = |name: &str| {
        let mut pods = observed.pods.iter();
        pods.find(|pod| pod_name(pod) == name)
    };
    let serves = |pod: &Pod| {
        primary.is_some_and(|primary| pod_name(primary) == pod_name(pod)) || streams(pod)
    };
    let missing: Vec<String> = (0..replicas)
        .map(|number| format!("{name}-{number}"))
        .filter(|name| !pod(name).is_some_and(serves))
        .collect();
    let trouble = missing.iter().find_map(|name| {
        let trouble = match pod(name) {
            Some(pod) => pod_trouble(engine::of(Engine::Postgresql), &OF_CLUSTER, pod, now),
            None => observed
                .warning
                .as_deref()
                .and_then(|warning| creation_trouble(&OF_CLUSTER, warning)),
        }?;
        let message = format!(
            "The pod {name}: {}{}",
            trouble.message,
            stuck(observed, pod(name))
        );
        Some(Trouble { message, ..trouble })
    });
    let ready_since = observed.pods.iter().map(|pod| {
        let ready = condition(pod, "Ready").filter(|_| is_ready(pod))?;
        Some(ready.last_transition_time.as_ref()?.0)
    });
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    Members {
        primary: primary.map(pod_name),
        serving: count(observed.pods.iter().filter(|pod| serves(pod)).count()),
        pods: count(observed.pods.len()),
        trouble,
        all_ready_since: ready_since
            .collect::<Option<Vec<_>>>()
            .and_then(|times| times.into_iter().max()),
        missing,
    }
}

/// What else is to be said of a pod in trouble that is of former settings: the operator replaces no pod while one has
/// no address.
fn stuck(observed: &Observed, pod: Option<&Pod>) -> String {
    let set = observed.stateful_set.as_ref();
    match pod.filter(|pod| is_outdated(set, Some(pod))) {
        Some(pod) => format!(
            " It was made with former settings, and the Zalando operator does not replace it: kubectl delete pod {}.",
            pod_name(pod)
        ),
        None => String::new(),
    }
}

fn pod_name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// What Patroni says of a member, in the annotation of its pod.
fn member(pod: &Pod) -> Option<Value> {
    serde_json::from_str(annotation(&pod.metadata, "status")?).ok()
}

/// What a pass may see otherwise in a pod than before: all of it but how far Patroni has got.
pub fn signs(pod: &Pod) -> Value {
    let member = member(pod).unwrap_or_default();
    let status = pod.status.as_ref();
    json!([
        label(&pod.metadata, LABEL_ROLE),
        label(&pod.metadata, "controller-revision-hash"),
        pod.metadata.deletion_timestamp,
        [
            &member["state"],
            &member["role"],
            &member["replication_state"]
        ],
        status.map(|status| (&status.phase, &status.conditions)),
        status.map(|status| (&status.init_container_statuses, &status.container_statuses)),
    ])
}

/// The pod has the role, its server runs, and it holds the leader's lock.
fn is_primary(pod: &Pod, patroni: &Patroni, now: &Time) -> bool {
    label(&pod.metadata, LABEL_ROLE) == Some(ROLE_PRIMARY)
        && is_ready(pod)
        && member(pod).is_some_and(|member| member["state"] == "running")
        && leader(patroni).is_some_and(|leader| leader == pod_name(pod))
        && lock_ends(patroni).is_none_or(|end| now.0.as_second() < end + CLOCKS)
}

/// A replica is of use as long as it follows. Patroni says so since version 3.0.3.
fn streams(pod: &Pod) -> bool {
    let follows = |member: &Value| {
        let version = member["version"].as_str().unwrap_or_default();
        member["replication_state"] == "streaming" || compare(version, "3.0.3").is_lt()
    };
    label(&pod.metadata, LABEL_ROLE).is_some_and(|role| role != ROLE_PRIMARY)
        && is_ready(pod)
        && member(pod).is_some_and(|member| member["state"] == "running" && follows(&member))
}

fn leader(patroni: &Patroni) -> Option<&str> {
    patroni.leader.get("leader").map(String::as_str)
}

/// When the leader took its lock.
pub fn acquired_at(patroni: &Patroni) -> Option<Time> {
    patroni.leader.get("acquireTime")?.parse().ok().map(Time)
}

/// The second at which the lock ends if it is not renewed.
fn lock_ends(patroni: &Patroni) -> Option<i64> {
    let renewed: Timestamp = patroni.leader.get("renewTime")?.parse().ok()?;
    let ttl: i64 = patroni.leader.get("ttl")?.parse().ok()?;
    Some(renewed.as_second() + ttl)
}

/// In how many seconds a primary that has fallen silent is one no more.
pub fn lock_rest(patroni: &Patroni, now: &Time) -> Option<i64> {
    lock_ends(patroni).map(|end| end + CLOCKS - now.0.as_second())
}

/// Whether writes are confirmed by a replica, as Patroni has it.
pub fn synchronous(patroni: &Patroni) -> Option<SynchronousStatus> {
    let config: Value = serde_json::from_str(patroni.config.get("config")?).ok()?;
    let on = |name: &str| config[name] == Value::Bool(true);
    let mode = match (on("synchronous_mode"), on("synchronous_mode_strict")) {
        (false, _) => Synchronous::Off,
        (true, false) => Synchronous::On,
        (true, true) => Synchronous::Strict,
    };
    let standbys = patroni.sync.get("sync_standby").map_or("", String::as_str);
    let standbys = standbys
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let confirm = mode != Synchronous::Off;
    Some(SynchronousStatus {
        mode,
        standbys: standbys.filter(|_| confirm).map(str::to_owned).collect(),
    })
}
