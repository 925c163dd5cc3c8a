//! What observed objects mean, in plain words: is the server serving, and if not, what keeps it from that.

mod claim;

use api::condition::reason;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::engine::Engine;
use crate::quote::{SAID, cut, quoted};

pub use claim::{access_mode, capacity, grows, is_bound, requested, volume_trouble};

/// The server's container.
pub const SERVER: &str = "database";
/// The init container that makes the volume ready.
pub const PREPARE: &str = "prepare";
/// The init container that keeps the server down for the cut of an Offline backup.
pub const HOLD: &str = "hold";

/// Something that keeps the server from serving until it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A reason of `api::condition::reason`.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// What a person can do about pods depends on who shapes them.
pub struct Remedies {
    /// About an image that cannot be pulled.
    pub image: &'static str,
    /// About pods that no node takes.
    pub placement: &'static str,
    /// About a namespace that forbids the pods.
    pub security: &'static str,
    /// The containers that are asked for; empty if that is not known. Others were put into the pod by somebody else.
    pub containers: &'static [&'static str],
}

/// Of the pods of an instance.
pub const OF_INSTANCE: Remedies = Remedies {
    image: "Correct the image in the engine catalog, or make it available to the nodes.",
    placement: "Correct spec.scheduling",
    security: "The pod satisfies the level 'restricted'; look for a webhook that changes pods, or for a stricter \
        policy.",
    containers: &[HOLD, PREPARE, SERVER],
};

/// Of the pods of an HACluster.
pub const OF_CLUSTER: Remedies = Remedies {
    image: "Correct the Zalando operator's setting docker_image, or make the image available to the nodes.",
    placement: "Look at the Zalando operator's settings node_readiness_label, toleration and enable_pod_antiaffinity",
    security: "The Zalando operator's pods do not satisfy the level 'restricted': label the namespace with \
        pod-security.kubernetes.io/enforce: baseline.",
    containers: &[],
};

fn trouble(reason: &'static str, message: String) -> Trouble {
    Trouble { reason, message }
}

/// The value of an annotation.
pub fn annotation<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// A key of a Secret as text.
pub fn text(secret: &Secret, key: &str) -> Option<String> {
    secret
        .data
        .as_ref()?
        .get(key)
        .and_then(|value| String::from_utf8(value.0.clone()).ok())
}

/// The condition by which a Job tells that it has ended in this way: Complete or Failed.
pub fn job_end<'a>(job: &'a Job, type_: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// The value of a label.
pub fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(name).map(String::as_str)
}

/// What the kubelet says of an image that it does not get.
const PULL_FAILED: [&str; 5] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
];

/// Whether the server accepts connections.
pub fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// A condition of a pod.
pub fn condition<'a>(
    pod: &'a Pod,
    type_: &str,
) -> Option<&'a k8s_openapi::api::core::v1::PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == type_)
}

/// Whether the pod is, or is about to be, of an older revision than the StatefulSet asks for.
pub fn is_outdated(set: Option<&StatefulSet>, pod: Option<&Pod>) -> bool {
    let Some(set) = set else {
        return false;
    };
    let Some(status) = &set.status else {
        return true;
    };
    let revision = |pod: &Pod| {
        pod.metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get("controller-revision-hash").cloned())
    };
    status.observed_generation < set.metadata.generation
        || pod.is_some_and(|pod| revision(pod) != status.update_revision)
}

/// The containers' statuses, in the order in which they start.
fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status
        .and_then(|status| status.init_container_statuses.as_deref())
        .unwrap_or_default();
    init.iter().chain(
        status
            .and_then(|status| status.container_statuses.as_deref())
            .unwrap_or_default(),
    )
}

/// The status of the container, or init container, of this name. Never by its place: others may put containers into a
/// pod.
pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    containers(pod).find(|container| container.name == name)
}

/// Whether one of these containers ends again and again, so that only a change helps.
pub fn is_failing(pod: &Pod, names: &[&str]) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && !is_ready(pod)
        && containers(pod)
            .filter(|container| names.contains(&container.name.as_str()))
            .any(|container| crashed(container).is_some())
}

/// How the container last ended, if it keeps ending.
fn crashed(
    container: &ContainerStatus,
) -> Option<&k8s_openapi::api::core::v1::ContainerStateTerminated> {
    let waits = container
        .state
        .as_ref()
        .and_then(|state| state.waiting.as_ref())
        .and_then(|waiting| waiting.reason.as_deref());
    let now = container
        .state
        .as_ref()
        .and_then(|state| state.terminated.as_ref())
        .filter(|end| end.exit_code != 0);
    let before = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref())
        .filter(|end| end.exit_code != 0);
    // One bad end may be a node that died; a second one, or the kubelet's back-off, is a pattern.
    match (waits, now, before) {
        (Some("CrashLoopBackOff"), _, Some(end)) => Some(end),
        (_, Some(end), _) => Some(end),
        (_, None, Some(end)) if container.restart_count > 1 && !container.ready => Some(end),
        _ => None,
    }
}

/// What keeps the pod from serving, if anything does.
pub fn pod_trouble(
    engine: &dyn Engine,
    remedies: &Remedies,
    pod: &Pod,
    now: &Time,
) -> Option<Trouble> {
    // What was told to end may end badly; the pod after it has to be asked.
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    if let Some(unscheduled) = condition(pod, "PodScheduled")
        .filter(|c| c.status == "False" && c.reason.as_deref() == Some("Unschedulable"))
    {
        // While the volume is bound, the scheduler reports this for a moment.
        if seconds_since(unscheduled.last_transition_time.as_ref(), now) >= SETTLED_SECONDS {
            return Some(unschedulable(
                remedies,
                unscheduled.message.as_deref().unwrap_or_default(),
            ));
        }
    }
    containers(pod).find_map(|container| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        let said = waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default();
        match waiting.and_then(|waiting| waiting.reason.as_deref()) {
            Some(reason) if PULL_FAILED.contains(&reason) => {
                return Some(trouble(
                    reason::IMAGE_PULL_FAILED,
                    format!("The image {} cannot be pulled: {}. {}", cut(&container.image, SAID),
                        sentence(pull_error(said)), remedies.image),
                ));
            }
            Some("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => {
                return Some(trouble(
                    reason::CONTAINER_NOT_STARTED,
                    format!("The container {} cannot be started: {}. `kubectl describe pod {}` shows \
                        more.", container.name, sentence(said), pod.metadata.name.as_deref().unwrap_or_default()),
                ));
            }
            _ => {}
        }
        crashed(container).map(|end| {
            let words = end.message.as_deref().unwrap_or_default();
            let ours = remedies.containers;
            if !ours.is_empty() && !ours.contains(&container.name.as_str()) {
                return trouble(
                    reason::CRASH_LOOP,
                    format!("The container {}, which somebody else put into the pod, ends again and again, with exit \
                        code {}. Remove what puts it there, or let it work.", container.name, end.exit_code),
                );
            }
            if end.reason.as_deref() == Some("OOMKilled") {
                return trouble(
                    reason::OUT_OF_MEMORY,
                    "The server was killed for using more memory than its limit. Raise spec.resources.limits.memory, \
                        or lower the memory settings in spec.parameters.".to_owned(),
                );
            }
            match engine.complaint(words) {
                Some((name, line)) => trouble(
                    reason::PARAMETER_REJECTED,
                    format!("{} refuses spec.parameters.{}: {}. Correct or remove it.", engine.title(), quoted(&name),
                        sentence(&line)),
                ),
                None => trouble(
                    reason::CRASH_LOOP,
                    format!("{} ends again and again, with exit code {}: {}. `kubectl logs {} -c {} --previous` shows \
                        more.", engine.title(), end.exit_code, sentence(last_error(engine, words)),
                        pod.metadata.name.as_deref().unwrap_or_default(), container.name),
                ),
            }
        })
    })
}

/// What is told if the API server says that a ResourceQuota has no room, or is for what the spec does not say.
pub fn quota_trouble(words: &str) -> Option<Trouble> {
    let lacks = ["exceeded quota", "failed quota"];
    lacks.iter().any(|lacks| words.contains(lacks)).then(|| {
        let said = sentence(words);
        let message = format!(
            "A ResourceQuota of the namespace leaves no room: {said}. Raise the quota, delete what is not needed, or \
                lower spec.resources or spec.storage.size."
        );
        trouble(reason::QUOTA_EXCEEDED, message)
    })
}

/// Why the StatefulSet controller could not make the pod, from its last warning.
pub fn creation_trouble(remedies: &Remedies, warning: &str) -> Option<Trouble> {
    if let Some(trouble) = quota_trouble(warning) {
        return Some(trouble);
    }
    let said = sentence(warning);
    if warning.contains("violates PodSecurity") {
        Some(trouble(
            reason::POD_FORBIDDEN,
            format!(
                "The namespace's pod security forbids the pod: {said}. {}",
                remedies.security
            ),
        ))
    } else if warning.contains("forbidden") || warning.contains("denied") {
        Some(trouble(
            reason::POD_FORBIDDEN,
            format!("The API server forbids the pod: {said}. Ask whoever owns that rule."),
        ))
    } else {
        None
    }
}

fn unschedulable(remedies: &Remedies, message: &str) -> Trouble {
    let short = ["memory", "cpu", "ephemeral-storage"]
        .into_iter()
        .find(|resource| message.contains(&format!("Insufficient {resource}")));
    let remedy = match short {
        Some("ephemeral-storage") => "Free local storage on a node, or add one".to_owned(),
        Some(resource) => {
            format!("Lower spec.resources.requests.{resource}, or add a node with room")
        }
        None if message.contains("affinity")
            || message.contains("selector")
            || message.contains("taint") =>
        {
            format!("{}, or label a node to match", remedies.placement)
        }
        None if message.contains("PersistentVolumeClaim") => {
            "The volume is not bound: look at its class and its Events".to_owned()
        }
        None => format!("{}, or make room on a node", remedies.placement),
    };
    trouble(
        reason::UNSCHEDULABLE,
        format!("No node can take the pod: {}. {remedy}.", sentence(message)),
    )
}

/// A state that usually passes by itself is reported after so many seconds.
pub const SETTLED_SECONDS: i64 = 5;

/// Seconds from a time to now; a missing time is long ago.
pub fn seconds_since(time: Option<&Time>, now: &Time) -> i64 {
    time.map_or(i64::MAX, |time| now.0.as_second() - time.0.as_second())
}

/// A message to go into a sentence: one line, no full stop, of bounded length.
pub fn sentence(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_end_matches('.');
    if line.is_empty() {
        "no reason was given".to_owned()
    } else {
        cut(line, SAID).into_owned()
    }
}

/// What the last pull said. The kubelet says it with and without an introduction in turns; the status is to stay the
/// same.
fn pull_error(said: &str) -> &str {
    said.split_once(": ErrImagePull: ")
        .map_or(said, |(_, error)| error)
}

/// The last line that the engine marks as an error, from the mark on: the time before it differs with each end. Else
/// the last line. "Aborting" only says that there was one.
fn last_error<'a>(engine: &dyn Engine, text: &'a str) -> &'a str {
    let lines = || text.lines().rev().filter(|line| !line.trim().is_empty());
    let marked = |line: &'a str| {
        let marks = engine.error_marks().iter();
        let mark = marks.filter_map(|mark| line.find(mark)).min()?;
        (!line.ends_with("Aborting")).then(|| &line[mark..])
    };
    lines()
        .find_map(marked)
        .or_else(|| lines().next())
        .unwrap_or_default()
}
