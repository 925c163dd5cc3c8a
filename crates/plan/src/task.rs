//! A Job of a resource, and what became of it: for settings, passwords, logins, holds and checks alike.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::child::is_controlled_by;
use crate::facts::{self, job_end};

/// SIGKILL, by which a container ends that was out of memory or time: no word of the engine.
const KILLED: i32 = 137;

/// How a Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// It is not there.
    Absent,
    /// It runs.
    Running,
    /// It succeeded, with these last words.
    Done(String),
    /// The engine said no, with these last words; only another wish helps.
    Refused(String),
    /// It could not do its work; it is tried again.
    Failed {
        /// When it gave up.
        at: Option<Time>,
        /// Its last words, or why Kubernetes gave it up.
        message: String,
    },
}

impl Task {
    /// How the Job of this name stands, if this resource controls it: of anybody else's the end says nothing. `pods`
    /// are those of the resource's Jobs; `container` is the one that speaks.
    pub fn of(uid: &str, jobs: &[Job], pods: &[Pod], name: &str, container: &str) -> Self {
        let job = named(jobs, name).filter(|job| is_controlled_by(&job.metadata, uid));
        let Some(job) = job else {
            return Task::Absent;
        };
        let (code, words) = last_words(job, pods, container);
        if job_end(job, "Complete").is_some() {
            return Task::Done(words);
        }
        let Some(failed) = job_end(job, "Failed") else {
            return Task::Running;
        };
        if failed.reason.as_deref() == Some("PodFailurePolicy") && code != Some(KILLED) {
            return Task::Refused(words);
        }
        let given = failed.message.clone().unwrap_or_default();
        Task::Failed {
            at: failed.last_transition_time.clone(),
            message: if words.is_empty() { given } else { words },
        }
    }
}

/// Somebody else's Job of this name.
pub fn others<'a>(uid: &str, jobs: &'a [Job], name: &str) -> Option<&'a Job> {
    named(jobs, name).filter(|job| !is_controlled_by(&job.metadata, uid))
}

fn named<'a>(jobs: &'a [Job], name: &str) -> Option<&'a Job> {
    let mut jobs = jobs.iter();
    jobs.find(|job| job.metadata.name.as_deref() == Some(name))
}

/// Exit code and message of the Job's pod that ended last.
fn last_words(job: &Job, pods: &[Pod], container: &str) -> (Option<i32>, String) {
    let of_job = pods.iter().filter(|pod| {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        owners.any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref())
    });
    let ends = of_job.filter_map(|pod| {
        let state = facts::container(pod, container)?.state.as_ref()?;
        state.terminated.as_ref()
    });
    let last = ends.max_by_key(|end| end.finished_at.as_ref().map(|at| at.0));
    last.map(|end| (Some(end.exit_code), end.message.clone().unwrap_or_default()))
        .unwrap_or_default()
}
