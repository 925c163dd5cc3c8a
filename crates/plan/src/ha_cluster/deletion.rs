//! A cluster that is being deleted.
//!
//! Retain: no server runs any more, and everything else stays, the `postgresql` included. Nothing is deleted, so
//! whatever the Zalando operator's settings say about deletion does not matter. Delete: the `postgresql` goes, and the
//! Zalando operator deletes what it made; what it leaves is handed to garbage collection, as is everything if it does
//! not act at all.
//!
//! What bears the name may be another team's, which uses the Zalando operator itself. So the data is handed over while
//! the `postgresql` that this very resource had accepted is still there to prove whose it is, and afterwards only what
//! bears our mark.

use std::time::Duration;

use api::HACluster;
use api::condition::{READY, reason};
use api::external::zalando::Postgresql;
use api::instance::DeletionPolicy;
use api::names::{FINALIZER_HA_CLUSTER, LABEL_HA_CLUSTER};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;

use super::{CUSTOMS, Observed, Plan, has_finalizer, status};
use crate::child::Owner;
use crate::facts::{annotation, seconds_since};
use crate::quote::{SAID, cut};
use crate::report::{report, was_told};
use crate::step::Tone;
use crate::{Invalid, Kind, Write};

/// Looks again while others are at it.
const SOON: Duration = Duration::from_secs(2);
/// The same while a person is needed.
const LATER: Duration = Duration::from_secs(15);
/// The Zalando operator begins within a second; after so many, it is not waited for.
const PATIENCE_SECONDS: i64 = 60;

/// What is told of a cluster on its way out.
struct Stage {
    reason: &'static str,
    message: String,
    writes: Vec<Write>,
    /// Whether nothing more is to be done.
    over: bool,
    tone: Tone,
}

impl Stage {
    fn over(writes: Vec<Write>) -> Self {
        Stage {
            over: true,
            ..Stage::wait("The resource is being deleted.".to_owned(), writes)
        }
    }

    fn wait(message: String, writes: Vec<Write>) -> Self {
        Stage {
            reason: reason::DELETING,
            message,
            writes,
            over: false,
            tone: Tone::Quiet,
        }
    }

    /// The resource goes, and data stays that its policy would not keep. That is told before nobody is left to be
    /// asked.
    fn kept(cr: &HACluster, why: &str) -> Self {
        let name = cr.metadata.name.as_deref().unwrap_or_default();
        let told = was_told(cr, READY, reason::DATA_KEPT);
        Stage {
            reason: reason::DATA_KEPT,
            message: format!(
                "The volumes and Secrets of {name} stay: {why}. Apply a cluster {name} that fits to use them; delete \
                    them if they are not needed."
            ),
            writes: Vec::new(),
            over: told,
            tone: Tone::Warns,
        }
    }
}

/// What should be done and said.
pub fn plan(cr: &HACluster, observed: &Observed, now: &Time) -> Plan {
    // Without the finalizer, nothing was made.
    let stage = match has_finalizer(cr) {
        true => stage(cr, observed, now),
        false => Stage::over(Vec::new()),
    };
    let told = (stage.reason, stage.message.as_str());
    let pause = match stage.tone {
        Tone::Blocked => LATER,
        _ => SOON,
    };
    let (step, status) = status::deleting(cr, observed, told, stage.tone, now);
    let mut step = step
        .writing(stage.writes)
        .again((!stage.over).then_some(pause));
    step.finalizers
        .extend((!stage.over).then_some(FINALIZER_HA_CLUSTER));
    let paused = |paused: &Invalid, _| {
        let told = (paused.reason, paused.message.as_str());
        status::deleting(cr, observed, told, Tone::Blocked, now)
    };
    report(cr, &CUSTOMS, (step, status), paused, now)
}

fn stage(cr: &HACluster, observed: &Observed, now: &Time) -> Stage {
    // With the namespace goes everything that is in it.
    if observed.namespace_is_terminating {
        return Stage::over(Vec::new());
    }
    let owner = Owner::cluster(cr);
    if let Some(found) = &observed.postgresql
        && !accepted(owner, &found.metadata)
    {
        return kept(cr, owner, &found.metadata);
    }
    match cr.spec.deletion_policy {
        DeletionPolicy::Delete => delete(cr, observed, now),
        DeletionPolicy::Retain | DeletionPolicy::Snapshot => retain(cr, observed),
    }
}

/// Whether what is there was made for this very resource, or accepted by it. What came before there was a mark is this
/// resource's if it is no older: whoever has such a name in a namespace first is the one that it was made for.
fn accepted(owner: Owner<'_>, metadata: &ObjectMeta) -> bool {
    owner.accepted(metadata) || owner.is_unmarked(metadata) && owner.is_no_older(metadata)
}

/// There is a `postgresql` that this resource never had anything to do with: all stays as it is. Of a former cluster's,
/// that is told.
fn kept(cr: &HACluster, owner: Owner<'_>, found: &ObjectMeta) -> Stage {
    if !owner.is_namesakes(found) || cr.spec.deletion_policy == DeletionPolicy::Retain {
        return Stage::over(Vec::new());
    }
    Stage::kept(
        cr,
        "they are a former cluster's, and this one did not take them over, as a rule because its spec did not fit them",
    )
}

/// The Zalando operator stops the servers when it sees that none is asked for; nobody needs to wait for that.
fn retain(cr: &HACluster, observed: &Observed) -> Stage {
    let owner = Owner::cluster(cr);
    let runs = observed.postgresql.iter();
    let runs = runs.filter(|found| found.spec["numberOfInstances"] != json!(0));
    // Where volumes go with their pods, the servers go on running: that keeps the data, too.
    let loses = observed.stateful_set.as_ref().is_some_and(scaling_deletes);
    let stop = runs.filter(|_| !loses).map(|found| {
        Write::patch(
            Kind::Postgresql,
            &found.metadata,
            json!({"spec": {"numberOfInstances": 0}}),
        )
    });
    // The policy may have been Delete a moment ago.
    let kept = secrets(observed).chain(claims(cr, observed));
    let kept = kept.filter_map(|(kind, metadata)| owner.take_back(kind, metadata));
    Stage::over(kept.chain(stop).collect())
}

fn scaling_deletes(set: &StatefulSet) -> bool {
    let policy = set.spec.as_ref().and_then(|spec| {
        spec.persistent_volume_claim_retention_policy
            .as_ref()?
            .when_scaled
            .as_deref()
    });
    policy == Some("Delete")
}

fn delete(cr: &HACluster, observed: &Observed, now: &Time) -> Stage {
    let waited = seconds_since(cr.metadata.deletion_timestamp.as_ref(), now);
    let patient = waited < PATIENCE_SECONDS;
    let owner = Owner::cluster(cr);
    if let Some(found) = &observed.postgresql {
        let mut stage = postgresql_goes(found, patient);
        let data = secrets(observed).filter(|(_, secret)| accepted(owner, secret));
        let data = data.chain(claims(cr, observed));
        let data = data.filter_map(|(kind, metadata)| owner.hand_over(kind, metadata));
        stage.writes.splice(0..0, data);
        return stage;
    }
    // That the `postgresql` was this resource's is known by what was handed over with it.
    if !secrets(observed).any(|(_, secret)| owner.controls(secret)) {
        let ours = secrets(observed).filter(|(_, secret)| accepted(owner, secret));
        let ours = ours.filter_map(|(kind, secret)| owner.hand_over(kind, secret));
        return match observed.claims.is_empty() {
            true => Stage::over(ours.collect()),
            false => Stage::kept(
                cr,
                "nothing shows whose they are, because there was no postgresql of this cluster any more when it was \
                    deleted",
            ),
        };
    }
    let acts = "The Zalando operator is to delete what it made; if it has not begun after a minute, it is deleted \
        without it.";
    let set = observed.stateful_set.as_ref();
    if let Some(set) = set.filter(|set| serves(cr, set)) {
        let instead = !patient && set.metadata.deletion_timestamp.is_none();
        let write = instead.then(|| Write::delete(Kind::StatefulSet, &set.metadata));
        let message = if instead {
            "The Zalando operator has not begun to delete what it made; it is deleted without it."
        } else {
            acts
        };
        return Stage::wait(message.to_owned(), write.into_iter().collect());
    }
    if set.is_none() && !observed.pods.is_empty() {
        return Stage::wait("The servers are stopping.".to_owned(), Vec::new());
    }
    // The operator deletes Services after everything that holds data: what is there without them, it leaves.
    let at_it = observed
        .others
        .iter()
        .any(|(kind, _)| *kind == Kind::Service);
    if at_it && patient {
        return Stage::wait(acts.to_owned(), Vec::new());
    }
    // A StatefulSet that is not ours has things of its own under these names.
    let left = observed.others.iter().filter(|_| set.is_none());
    let left = left.filter_map(|(kind, metadata)| owner.hand_over(*kind, metadata));
    Stage::over(left.collect())
}

/// Whether a StatefulSet was made by what this cluster told the Zalando operator.
fn serves(cr: &HACluster, set: &StatefulSet) -> bool {
    let spec = set.spec.as_ref();
    let template = spec.and_then(|spec| spec.template.metadata.as_ref());
    let of_cluster = template.and_then(|template| annotation(template, LABEL_HA_CLUSTER));
    of_cluster.is_some() && of_cluster == cr.metadata.name.as_deref()
}

/// The two Secrets that we make.
fn secrets(observed: &Observed) -> impl Iterator<Item = (Kind, &ObjectMeta)> {
    let secrets = [&observed.binding, &observed.user].into_iter().flatten();
    secrets.map(|secret| (Kind::Secret, &secret.metadata))
}

/// The volume claims, by their labels and by the names that the Zalando operator's StatefulSet gives them.
fn claims<'a>(
    cr: &HACluster,
    observed: &'a Observed,
) -> impl Iterator<Item = (Kind, &'a ObjectMeta)> {
    let prefix = format!(
        "pgdata-{}-",
        cr.metadata.name.as_deref().unwrap_or_default()
    );
    let claims = observed.claims.iter().map(|claim| &claim.metadata);
    let claims = claims.filter(move |claim| {
        let number = claim
            .name
            .as_deref()
            .and_then(|name| name.strip_prefix(&prefix));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    });
    claims.map(|claim| (Kind::PersistentVolumeClaim, claim))
}

fn postgresql_goes(found: &Postgresql, patient: bool) -> Stage {
    if found.metadata.deletion_timestamp.is_none() {
        let write = Write::delete(Kind::Postgresql, &found.metadata);
        return Stage::wait(
            "The Zalando operator is told to delete what it made.".to_owned(),
            vec![write],
        );
    }
    let name = found.metadata.name.as_deref().unwrap_or_default();
    let held = found
        .metadata
        .finalizers
        .clone()
        .unwrap_or_default()
        .join(", ");
    let message = format!(
        "The postgresql {name} is held by {}. The Zalando operator lets it go when it has deleted what it made, at the \
            latest at its next look (resync_period, by default half an hour). If it is gone for good: kubectl patch \
            postgresql {name} --type=merge --patch '{{\"metadata\":{{\"finalizers\":null}}}}'.",
        cut(&held, SAID)
    );
    let mut stage = Stage::wait(message, Vec::new());
    if !patient {
        stage.reason = reason::DELETION_BLOCKED;
        stage.tone = Tone::Blocked;
    }
    stage
}
