//! What the Zalando operator is told, and when: one edit at a time, and none before it has come to an end with the one
//! before.
//!
//! It compares the old with the new object of an event, so of two edits in a row it may lose the first; and a change of
//! the pods that comes together with new pods it puts off until its next look, half an hour later.

use std::time::Duration;

use api::HACluster;
use api::external::zalando::Postgresql;
use api::names::{ANNOTATION_ASKED, ANNOTATION_REVISION, FIELD_MANAGER};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::Observed;
use crate::build::postgresql::postgresql;
use crate::child::Owner;
use crate::difference::in_force;
use crate::facts::{annotation, grows, seconds_since};
use crate::valid::Cluster;
use crate::{Kind, Write};

/// The operator begins within a second; it may be busy with another cluster.
const ANSWER_SECONDS: i64 = 15;
/// What was asked while it did not run, it carries out when it starts, and says nothing if it said Running before. It
/// does say something when it is asked again, which is done this often. What it failed at it would try again within
/// five minutes (`repair_period`); that is long for a primary that is away, and often it only missed that a pod was
/// gone.
const ASK_AGAIN_SECONDS: i64 = 30;
/// Its own waits end after ten minutes (`pod_label_wait_timeout`, `resource_check_timeout`).
const BUSY_SECONDS: i64 = 900;

/// Words by which it says that it could not do something.
const FAILED: [&str; 4] = ["CreateFailed", "UpdateFailed", "SyncFailed", "Invalid"];

/// Parts of a `postgresql` that are edited together, in the order in which that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// A new password.
    User,
    /// A larger volume.
    Volume,
    /// What restarts the servers.
    Servers,
    /// How many servers.
    Replicas,
}

impl Part {
    const ALL: [Part; 4] = [Part::User, Part::Volume, Part::Servers, Part::Replicas];

    /// Where its fields are.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Part::User => &[
                "/metadata/annotations/minidbaas.dev~1revision",
                "/spec/users",
            ],
            Part::Volume => &["/spec/volume/size"],
            Part::Servers => &[
                "/spec/resources",
                "/spec/postgresql/parameters",
                "/spec/patroni",
                "/spec/podAnnotations",
            ],
            Part::Replicas => &["/spec/numberOfInstances"],
        }
    }

    /// What the user calls it.
    fn name(self) -> &'static str {
        match self {
            Part::User => "the password",
            Part::Volume => "spec.storage.size",
            Part::Servers => "resources and settings",
            Part::Replicas => "spec.replicas",
        }
    }
}

/// What the operator does about what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delegate {
    /// It has not begun; it may yet.
    Awaited,
    /// It is at it.
    Busy,
    /// It has carried it out.
    Done,
    /// It could not carry it out.
    Failed,
    /// It does not act.
    Silent,
}

/// What is to be done about the `postgresql`.
pub struct Edits {
    /// The edit to be made now.
    pub write: Option<Write>,
    /// What waits for its turn, for a person to read.
    pub pending: Vec<&'static str>,
    /// What the operator does about the edit before.
    pub delegate: Delegate,
    /// When to look again whether the operator has begun.
    pub requeue: Option<Duration>,
}

/// Whether a pass must read the storage class: before there are claims, and when they are to grow.
pub fn needs_class(cr: &HACluster, claims: &[PersistentVolumeClaim]) -> bool {
    let size = &cr.spec.storage.size;
    claims.is_empty() || claims.iter().any(|claim| grows(size, claim))
}

/// What is to be done, given the revision of the password that the user's Secret has.
pub fn plan(cluster: &Cluster<'_>, observed: &Observed, revision: &str, now: &Time) -> Edits {
    let Some(found) = &observed.postgresql else {
        return Edits {
            write: Some(Write::Apply(postgresql(cluster, revision, &json!([])))),
            pending: Vec::new(),
            delegate: Delegate::Awaited,
            requeue: Some(seconds(ANSWER_SECONDS)),
        };
    };
    let delegate = delegate(found, now);
    let mut wanted = postgresql(cluster, revision, &flags(cluster, found, revision));
    let observed_value = json!(found);
    let differing: Vec<Part> = Part::ALL
        .into_iter()
        .filter(|part| differs(*part, &wanted.value, &observed_value))
        .collect();
    // Nothing runs: there is no pod that an edit could be put off for.
    let stopped = found.spec["numberOfInstances"] == json!(0);
    let at_once = if stopped { differing.len() } else { 1 };
    for part in differing
        .iter()
        .skip(at_once)
        .flat_map(|part| part.fields())
    {
        let kept = observed_value.pointer(part).cloned();
        if let (Some(place), Some(kept)) = (wanted.value.pointer_mut(part), kept) {
            *place = kept;
        }
    }
    wanted.value["metadata"]["uid"] = json!(found.metadata.uid);
    let at_rest = matches!(delegate, Delegate::Done | Delegate::Failed);
    let now_edited = at_rest && !differing.is_empty() && !just_reported(found, now);
    // First of all it is written down whose the data is from now on: for that nobody is waited for.
    let mark = Owner::cluster(cluster.cr).mark(Kind::Postgresql, &found.metadata);
    let write = match mark {
        Some(mark) => Some(mark),
        None if now_edited => Some(Write::Apply(wanted)),
        None => ask_again(found, delegate, now),
    };
    Edits {
        write,
        pending: differing.iter().map(|part| part.name()).collect(),
        requeue: requeue(found, delegate, !differing.is_empty(), now),
        delegate,
    }
}

/// What the operator does about what it was told last.
pub fn delegate(found: &Postgresql, now: &Time) -> Delegate {
    let (changed, reported) = (found.applied_at(FIELD_MANAGER), found.reported_at());
    let told = reported.map(|time| time.0) >= changed.map(|time| time.0) && reported.is_some();
    if !told {
        return if seconds_since(changed, now) < ANSWER_SECONDS {
            Delegate::Awaited
        } else {
            Delegate::Silent
        };
    }
    match found.word() {
        "Running" => Delegate::Done,
        word if FAILED.contains(&word) => Delegate::Failed,
        _ if seconds_since(reported, now) < BUSY_SECONDS => Delegate::Busy,
        _ => Delegate::Silent,
    }
}

/// A change that means nothing, so that the operator looks.
fn ask_again(found: &Postgresql, delegate: Delegate, now: &Time) -> Option<Write> {
    let seconds = now.0.as_second();
    let asked = annotation(&found.metadata, ANNOTATION_ASKED);
    let asked = asked.and_then(|asked| asked.parse::<i64>().ok());
    let asked = asked.map_or(i64::MAX, |asked| seconds - asked);
    let due = match delegate {
        Delegate::Silent => asked >= ASK_AGAIN_SECONDS,
        Delegate::Failed => {
            let edited = seconds_since(found.applied_at(FIELD_MANAGER), now);
            // Ever more seldom: what fails again and again will go on to.
            let pause = if asked < edited { edited / 4 } else { 0 };
            let reported = seconds_since(found.reported_at(), now);
            asked.min(reported) >= pause.max(ASK_AGAIN_SECONDS)
        }
        Delegate::Awaited | Delegate::Busy | Delegate::Done => false,
    };
    let change = json!({"metadata": {"annotations": {ANNOTATION_ASKED: seconds.to_string()}}});
    due.then(|| Write::patch(Kind::Postgresql, &found.metadata, change))
}

/// Whether the operator says that it could not carry something out; its last warning tells what.
pub fn has_failed(found: &Postgresql) -> bool {
    FAILED.contains(&found.word())
}

/// Times are whole seconds: an edit in the second of a report could be taken for one that the report is about.
fn just_reported(found: &Postgresql, now: &Time) -> bool {
    found
        .reported_at()
        .is_some_and(|reported| seconds_since(Some(reported), now) < 1)
}

fn requeue(found: &Postgresql, delegate: Delegate, edits: bool, now: &Time) -> Option<Duration> {
    match delegate {
        Delegate::Awaited => {
            let waited = seconds_since(found.applied_at(FIELD_MANAGER), now);
            Some(seconds(ANSWER_SECONDS - waited.min(ANSWER_SECONDS - 1)))
        }
        Delegate::Busy => Some(seconds(60)),
        Delegate::Done | Delegate::Failed => edits.then_some(seconds(1)),
        Delegate::Silent => None,
    }
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or_default())
}

/// The operator reads passwords again when users change. `login` is what a user has anyway: it comes and goes with each
/// password.
fn flags(cluster: &Cluster<'_>, found: &Postgresql, revision: &str) -> Value {
    let flags = &found.spec["users"][&cluster.cr.spec.username];
    let told = annotation(&found.metadata, ANNOTATION_REVISION) == Some(revision);
    match (
        told,
        flags.as_array().is_some_and(|flags| !flags.is_empty()),
    ) {
        (true, _) => flags.clone(),
        (false, true) => json!([]),
        (false, false) => json!(["login"]),
    }
}

/// Whether a part is not as wanted. What others have added beside our fields does not matter, but for settings: one
/// that is not asked for any more is to go.
fn differs(part: Part, wanted: &Value, observed: &Value) -> bool {
    part.fields().iter().any(|field| {
        let (wanted, observed) = (wanted.pointer(field), observed.pointer(field));
        let (wanted, observed) = (
            wanted.unwrap_or(&Value::Null),
            observed.unwrap_or(&Value::Null),
        );
        let exact = *field == "/spec/postgresql/parameters" || *field == "/spec/resources";
        !in_force(wanted, observed) || exact && !in_force(observed, wanted)
    })
}
