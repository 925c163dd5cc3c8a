//! What else works in a cluster: each a small function that does one step, and tells whether it did.

use api::names::{ANNOTATION_CREDENTIALS, ANNOTATION_HOLD, LABEL_COMPONENT, LABEL_INSTANCE};
use serde_json::{Value, json};

use super::api_server::{Cluster, Key, key as key_of};
use super::storage::{bind, snapshots};
use super::zalando;
use crate::difference::hash;

/// What does a step.
pub type Machine = fn(&mut Cluster) -> bool;

/// All of them.
pub const ALL: [Machine; 9] = [
    Cluster::collect,
    bind,
    stateful_sets,
    kubelet,
    jobs,
    snapshots,
    released,
    write_rows,
    zalando::step,
];

pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn label<'a>(value: &'a Value, name: &str) -> &'a str {
    value["metadata"]["labels"][name]
        .as_str()
        .unwrap_or_default()
}

/// A key of a Secret as text.
pub fn secret(cluster: &Cluster, namespace: &str, name: &str, field: &str) -> Option<String> {
    let stored = cluster.stored("Secret", namespace, name)?;
    let secret: k8s_openapi::api::core::v1::Secret = stored.typed();
    crate::facts::text(&secret, field)
}

/// The StatefulSet controller, for one pod a set.
fn stateful_sets(cluster: &mut Cluster) -> bool {
    for (key, set) in cluster.living("StatefulSet") {
        if zalando::is_of_zalando(&set.value) || cluster.strangers.contains(&key) {
            continue;
        }
        let revision = hash(&set.value["spec"]["template"]);
        let status = json!({"replicas": 1, "updateRevision": revision,
            "observedGeneration": set.value["metadata"]["generation"]});
        if set.value["status"] != status {
            cluster.merge(&key, &json!({"status": status}));
            return true;
        }
        let name = format!("{}-0", key.2);
        let pod_key = key_of("Pod", &key.1, &name);
        let wanted = set.value["spec"]["replicas"] != 0;
        match cluster.objects.get(&pod_key).cloned() {
            None if wanted => {
                let mut pod = set.value["spec"]["template"].clone();
                pod["metadata"]["name"] = json!(name);
                pod["metadata"]["labels"]["controller-revision-hash"] = json!(revision);
                // The kubelet has the last word on its going.
                pod["metadata"]["finalizers"] = json!(["kubelet"]);
                pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet",
                    "name": key.2.as_ref(), "uid": set.uid(), "controller": true}]);
                pod["status"] = json!({"phase": "Pending"});
                cluster.create("Pod", &key.1, pod).unwrap();
                return true;
            }
            Some(pod) if !pod.leaves() => {
                let outdated = label(&pod.value, "controller-revision-hash") != revision;
                if !wanted || outdated {
                    cluster.delete(&pod_key);
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

fn ready(cluster: &Cluster) -> Value {
    json!([{"type": "Ready", "status": "True", "lastTransitionTime": cluster.time()},
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": cluster.time()}])
}

fn container(name: &str, ready: bool, state: Value) -> Value {
    json!({"name": name, "image": "i", "imageID": "sha256:1", "ready": ready, "restartCount": 0, "state": state})
}

pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions
            .into_iter()
            .any(|found| found["type"] == "Ready" && found["status"] == "True")
}

/// The servers' pods: a hold, if one is asked for, then the volume is made ready, then the server serves.
fn kubelet(cluster: &mut Cluster) -> bool {
    for (key, pod) in cluster.of_kind("Pod") {
        if cluster.strangers.contains(&key) {
            continue;
        }
        if pod.leaves() {
            cluster.edit(&key, |pod| pod["metadata"]["finalizers"] = json!([]));
            return true;
        }
        if label(&pod.value, LABEL_COMPONENT) != "database" || is_ready(&pod.value) {
            continue;
        }
        if start(cluster, &key, &pod.value) {
            return true;
        }
    }
    false
}

fn start(cluster: &mut Cluster, key: &Key, pod: &Value) -> bool {
    let name = label(pod, LABEL_INSTANCE).to_owned();
    let claim = cluster
        .stored("PersistentVolumeClaim", &key.1, &name)
        .cloned();
    let bound = claim.filter(|claim| cluster.volumes.contains_key(claim.uid()));
    let admin = |field| secret(cluster, &key.1, &format!("{name}-admin"), field);
    let (Some(claim), Some(id), Some(password)) = (bound, admin("id"), admin("password")) else {
        return false;
    };
    let time = cluster.time();
    let held = pod["metadata"]["annotations"][ANNOTATION_HOLD].is_string();
    let hold = &pod["status"]["initContainerStatuses"][0]["state"];
    let hold_is_over = !held || hold["terminated"].is_object();
    if !hold_is_over {
        let state = match hold["running"]["startedAt"].as_str() {
            None => json!({"running": {"startedAt": time}}),
            Some(since) => {
                let since: k8s_openapi::jiff::Timestamp = since.parse().unwrap();
                let env = |name: &str| {
                    let env = pod["spec"]["initContainers"][0]["env"]
                        .as_array()
                        .into_iter()
                        .flatten();
                    let mut env = env.filter(|entry| entry["name"] == name);
                    env.next()
                        .and_then(|entry| entry["value"].as_str()?.parse::<i64>().ok())
                        .unwrap()
                };
                if cluster.now < since.as_second() + env("HOLD_SECONDS")
                    && cluster.now < env("HOLD_UNTIL")
                {
                    return false;
                }
                json!({"terminated": {"exitCode": 0}})
            }
        };
        let status = json!({"initContainerStatuses": [container("hold", false, state)]});
        cluster.merge(key, &json!({"status": status}));
        return true;
    }
    // The StatefulSet may be asking for credentials that the mounted Secret does not have any more; it follows.
    let asked = text(
        pod,
        &format!(
            "/metadata/annotations/{}",
            ANNOTATION_CREDENTIALS.replace('/', "~1")
        ),
    );
    if asked != id {
        return false;
    }
    let database =
        secret(cluster, &key.1, &format!("{name}-admin"), "database").unwrap_or_default();
    let data = cluster.volumes.get_mut(claim.uid()).unwrap();
    if data.keyed != id {
        data.keyed = id;
        data.set_password(password);
    }
    if data.database.is_empty() {
        data.database = database;
    }
    let mut first = vec![container(
        "prepare",
        true,
        json!({"terminated": {"exitCode": 0, "startedAt": time,
        "finishedAt": time}}),
    )];
    if held {
        first.insert(
            0,
            container("hold", true, json!({"terminated": {"exitCode": 0}})),
        );
    }
    let status = json!({"phase": "Running", "conditions": ready(cluster), "initContainerStatuses": first,
        "containerStatuses": [container("database", true, json!({"running": {}}))]});
    cluster.edit(key, |pod| pod["status"] = status);
    true
}

/// An application that writes with the password of the binding.
fn write_rows(cluster: &mut Cluster) -> bool {
    for (key, pod) in cluster.living("Pod") {
        let name = label(&pod.value, LABEL_INSTANCE);
        let serves = label(&pod.value, LABEL_COMPONENT) == "database" && is_ready(&pod.value);
        let held = cluster.living("Pod").iter().any(|(other, pod)| {
            other.1 == key.1
                && label(&pod.value, LABEL_COMPONENT) == "quiesce"
                && label(&pod.value, LABEL_INSTANCE) == name
                && is_ready(&pod.value)
        });
        if !serves || held {
            continue;
        }
        let password = secret(cluster, &key.1, name, "password");
        let uid = cluster
            .stored("PersistentVolumeClaim", &key.1, name)
            .map(|claim| claim.uid().to_owned());
        if let Some(data) = uid.and_then(|uid| cluster.volumes.get_mut(&uid))
            && password.as_ref() == Some(&data.password)
            && data.rows < 5
        {
            data.rows += 1;
            return true;
        }
    }
    false
}

fn end(cluster: &mut Cluster, key: &Key, type_: &str) {
    let conditions =
        json!([{"type": type_, "status": "True", "lastTransitionTime": cluster.time()}]);
    let counted = if type_ == "Complete" {
        "succeeded"
    } else {
        "failed"
    };
    cluster.merge(
        key,
        &json!({"status": {"conditions": conditions, counted: 1}}),
    );
}

fn env_of(job: &Value, name: &str) -> Option<String> {
    let env = job["spec"]["template"]["spec"]["containers"][0]["env"].as_array()?;
    let entry = env.iter().find(|entry| entry["name"] == name)?;
    entry["value"].as_str().map(str::to_owned)
}

/// The Job controller, and what the Jobs do.
fn jobs(cluster: &mut Cluster) -> bool {
    for (key, job) in cluster.living("Job") {
        if job.value["status"]["conditions"].is_array() || cluster.strangers.contains(&key) {
            continue;
        }
        let instance = label(&job.value, LABEL_INSTANCE).to_owned();
        let server = cluster.value("Pod", &key.1, &format!("{instance}-0"));
        let serves = is_ready(&server);
        let moved = match label(&job.value, LABEL_COMPONENT) {
            "apply" if serves => apply(cluster, &key, &job.value, &instance),
            "check" if serves => {
                end(cluster, &key, "Complete");
                true
            }
            "login" => zalando::log_in(cluster, &key, &job.value),
            "quiesce" => quiesce(cluster, &key, &job.value, serves),
            _ => false,
        };
        let age = cluster.now - second(&job.value["metadata"]["creationTimestamp"]);
        if !moved
            && job.value["spec"]["activeDeadlineSeconds"]
                .as_i64()
                .is_some_and(|most| age > most)
        {
            end(cluster, &key, "Failed");
            return true;
        }
        if moved {
            return true;
        }
    }
    false
}

fn apply(cluster: &mut Cluster, key: &Key, job: &Value, instance: &str) -> bool {
    let revision = env_of(job, "REVISION").unwrap_or_default();
    if !revision.is_empty() {
        let admin = format!("{instance}-admin");
        // The pod mounts the Secret as it is now.
        if secret(cluster, &key.1, &admin, "revision") != Some(revision) {
            return false;
        }
        let password = secret(cluster, &key.1, &admin, "password").unwrap();
        let claim = cluster.stored("PersistentVolumeClaim", &key.1, instance);
        let uid = claim
            .map(|claim| claim.uid().to_owned())
            .unwrap_or_default();
        if let Some(data) = cluster.volumes.get_mut(&uid) {
            data.set_password(password);
        }
    }
    end(cluster, key, "Complete");
    true
}

pub fn second(time: &Value) -> i64 {
    let time = time
        .as_str()
        .and_then(|time| time.parse::<k8s_openapi::jiff::Timestamp>().ok());
    time.map_or(0, |time| time.as_second())
}

/// Holds writes from when its pod is ready, and lets go when its time is over.
fn quiesce(cluster: &mut Cluster, key: &Key, job: &Value, serves: bool) -> bool {
    let pod = key_of("Pod", &key.1, &format!("{}-pod", key.2));
    let Some(found) = cluster.objects.get(&pod).cloned() else {
        if !serves {
            return false;
        }
        let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": key.2.as_ref(),
            "uid": job["metadata"]["uid"], "controller": true}]);
        let mut labels = job["metadata"]["labels"].clone();
        labels["batch.kubernetes.io/job-name"] = json!(key.2.as_ref());
        let status = json!({"conditions": ready(cluster),
            "containerStatuses": [container("quiesce", true, json!({"running": {}}))]});
        let value = json!({"metadata": {"name": pod.2.as_ref(), "labels": labels, "ownerReferences": owner,
            "finalizers": ["words"], "annotations": job["metadata"]["annotations"]}, "status": status});
        cluster.create("Pod", &key.1, value).unwrap();
        return true;
    };
    let began = second(&found.value["metadata"]["creationTimestamp"]);
    let budget: i64 = env_of(job, "BUDGET")
        .and_then(|budget| budget.parse().ok())
        .unwrap();
    if cluster.now < began + budget || !is_ready(&found.value) {
        return false;
    }
    say(cluster, &pod, 1);
    end(cluster, key, "Failed");
    true
}

/// The hold is over; its last words tell for how long it was.
fn say(cluster: &mut Cluster, pod: &Key, exit: i64) {
    let now = cluster.now * 1000;
    cluster.edit(pod, |pod| {
        let began = second(&pod["metadata"]["creationTimestamp"]) * 1000;
        let words = json!({"acquired": began, "released": now, "held": now - began}).to_string();
        let state = json!({"terminated": {"exitCode": exit, "message": words}});
        pod["status"] = json!({"containerStatuses": [container("quiesce", false, state)]});
    });
}

/// Pods of Jobs that were deleted say their last words, and go.
fn released(cluster: &mut Cluster) -> bool {
    for (key, pod) in cluster.of_kind("Pod") {
        if label(&pod.value, LABEL_COMPONENT) != "quiesce"
            || cluster.strangers.contains(&key)
            || !pod.leaves()
        {
            continue;
        }
        let ended = pod.value["status"]["containerStatuses"][0]["state"]["terminated"].is_object();
        match ended {
            false => say(cluster, &key, 0),
            true => cluster.edit(&key, |pod| pod["metadata"]["finalizers"] = json!([])),
        }
        return true;
    }
    false
}
