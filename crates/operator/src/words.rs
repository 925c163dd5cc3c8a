//! The last words of pods that hold writes for a backup: they tell until when it held, and the pods are gone right
//! after them.

use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::recent::Recent;

/// Of so many Jobs; each belongs to a backup that is under way.
const MOST: usize = 1000;
/// As much as Kubernetes itself keeps of a container's last words.
const LONGEST: usize = 4096;

/// What was heard, by namespace and name of the pod's Job.
pub struct LastWords(Mutex<Recent<Heard>>);

#[derive(Default)]
struct Heard {
    job_uid: String,
    words: String,
}

impl Default for LastWords {
    fn default() -> Self {
        LastWords(Mutex::new(Recent::new(MOST)))
    }
}

fn key(namespace: &str, job: &str) -> String {
    format!("{namespace}/{job}")
}

/// Name and UID of the Job whose controller made this pod. A label would tell the same, but anybody may set it.
fn job_of(pod: &Pod) -> Option<(&str, &str)> {
    let mut owners = pod.owner_references().iter();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    (owner.kind == "Job" && owner.api_version == "batch/v1")
        .then_some((owner.name.as_str(), owner.uid.as_str()))
}

impl LastWords {
    /// Remembers the last words of a pod of this Job, if it has said any.
    pub fn hear(&self, pod: &Pod, expected: &str) {
        let Some((job, uid)) = job_of(pod).filter(|(job, _)| *job == expected) else {
            return;
        };
        let Some(mut words) = plan::backup::last_words(pod) else {
            return;
        };
        words.truncate(words.floor_char_boundary(LONGEST));
        let key = key(&pod.namespace().unwrap_or_default(), job);
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *heard.touch(&key) = Heard {
            job_uid: uid.to_owned(),
            words,
        };
    }

    /// The last words of this Job's pod. A Job that is still there must be the very one.
    pub fn of(&self, namespace: &str, name: &str, job: Option<&Job>) -> Option<String> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = heard.get(&key(namespace, name))?;
        let is_it = job.is_none_or(|job| job.metadata.uid.as_ref() == Some(&heard.job_uid));
        is_it.then(|| heard.words.clone())
    }

    /// Forgets the last words of this Job's pod.
    pub fn forget(&self, namespace: &str, name: &str) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.forget(&key(namespace, name));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::LastWords;

    fn pod(change: impl Fn(&mut Value)) -> k8s_openapi::api::core::v1::Pod {
        let ended = json!({"terminated": {"exitCode": 0, "message": "{\"held\":5}"}});
        let mut pod = json!({
            "metadata": {"name": "quiesce-b-x", "namespace": "demo",
                "labels": {"batch.kubernetes.io/job-name": "quiesce-b"},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "quiesce-b", "uid": "job",
                    "controller": true}]},
            "spec": {"containers": []},
            "status": {"containerStatuses": [{"name": "quiesce", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": ended}]},
        });
        change(&mut pod);
        serde_json::from_value(pod).unwrap()
    }

    fn heard(change: impl Fn(&mut Value)) -> Option<String> {
        let words = LastWords::default();
        words.hear(&pod(change), "quiesce-b");
        words.of("demo", "quiesce-b", None)
    }

    #[test]
    fn the_words_of_the_jobs_pod_are_heard_and_forgotten() {
        assert_eq!(heard(|_| ()).unwrap(), "{\"exit\":0}\n{\"held\":5}");
        let words = LastWords::default();
        words.hear(&pod(|_| ()), "quiesce-b");
        words.forget("demo", "quiesce-b");
        assert_eq!(words.of("demo", "quiesce-b", None), None);
    }

    #[test]
    fn a_pod_that_only_bears_the_label_is_not_heard() {
        assert_eq!(
            heard(|pod| pod["metadata"]["ownerReferences"] = json!([])),
            None
        );
        assert_eq!(
            heard(|pod| pod["metadata"]["ownerReferences"][0]["kind"] = json!("ReplicaSet")),
            None
        );
        assert_eq!(
            heard(|pod| pod["metadata"]["ownerReferences"][0]["controller"] = json!(false)),
            None
        );
        assert_eq!(
            heard(|pod| pod["metadata"]["ownerReferences"][0]["name"] = json!("other")),
            None
        );
    }

    #[test]
    fn a_pod_of_another_namespace_or_of_a_former_job_is_not_heard() {
        assert_eq!(
            heard(|pod| pod["metadata"]["namespace"] = json!("theirs")),
            None
        );
        let words = LastWords::default();
        words.hear(&pod(|_| ()), "quiesce-b");
        let job = |uid: &str| serde_json::from_value(json!({"metadata": {"uid": uid}})).unwrap();
        assert_eq!(words.of("demo", "quiesce-b", Some(&job("another"))), None);
        assert!(words.of("demo", "quiesce-b", Some(&job("job"))).is_some());
    }

    #[test]
    fn who_talks_much_is_not_heard_to_the_end() {
        let long = |pod: &mut Value| {
            pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] =
                json!("ä".repeat(100_000));
        };
        assert!(heard(long).unwrap().len() <= 4096);
    }
}
