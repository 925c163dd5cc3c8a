//! A cluster that is being deleted.
//!
//! Retain: no server runs any more, and everything else stays, the `postgresql` included. Nothing is deleted, so whatever the
//! Zalando operator's settings say about deletion does not matter. Delete: the `postgresql` goes, and the Zalando operator deletes what
//! it made; what it leaves is handed to garbage collection, as is everything if it does not act at all.

use std::time::Duration;

use api::HACluster;
use api::condition::reason;
use api::external::zalando::Postgresql;
use api::instance::DeletionPolicy;
use api::names::{ANNOTATION_PAUSED, FINALIZER_HA_CLUSTER};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;

use super::{Observed, Plan, is_held, is_ours, status};
use crate::build::owner_reference;
use crate::difference::change_owners;
use crate::facts::{annotation, seconds_since};
use crate::{Kind, Write};

/// Looks again while others are at it.
const SOON: Duration = Duration::from_secs(2);
/// The Zalando operator begins within a second; after so many, it is not waited for.
const PATIENCE_SECONDS: i64 = 60;

/// What is told of a cluster on its way out.
struct Stage {
    reason: &'static str,
    message: String,
    writes: Vec<Write>,
    /// Whether nothing more is to be done.
    over: bool,
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
        }
    }
}

/// What should be done and said.
pub fn plan(cr: &HACluster, observed: &Observed, now: &Time) -> Plan {
    // Without the finalizer, nothing was made.
    let stage = if is_held(cr) {
        stage(cr, observed, now)
    } else {
        Stage::over(Vec::new())
    };
    let mut writes = stage.writes;
    if stage.over && is_held(cr) {
        let finalizers = cr.metadata.finalizers.iter().flatten();
        let others = finalizers
            .filter(|name| *name != FINALIZER_HA_CLUSTER)
            .cloned();
        writes.push(Write::Finalizers(others.collect()));
    }
    if annotation(&cr.metadata, ANNOTATION_PAUSED) == Some("true") {
        writes.clear();
    }
    let status = status::leaving(cr, observed, stage.reason, &stage.message, now);
    Plan {
        writes,
        notices: status::notices(cr, &status),
        status,
        requeue: (!stage.over).then_some(SOON),
    }
}

fn stage(cr: &HACluster, observed: &Observed, now: &Time) -> Stage {
    // With the namespace goes everything that is in it.
    if observed.namespace_is_leaving {
        return Stage::over(Vec::new());
    }
    let name = cr.metadata.name.as_deref().unwrap_or_default();
    let postgresql = observed.postgresql.as_ref();
    let postgresql = postgresql.filter(|found| is_ours(&found.metadata, name));
    match cr.spec.deletion_policy {
        DeletionPolicy::Delete => delete(cr, postgresql, observed, now),
        DeletionPolicy::Retain | DeletionPolicy::Snapshot => retain(postgresql, observed),
    }
}

/// The Zalando operator stops the servers when it sees that none is asked for; nobody needs to wait for that.
fn retain(postgresql: Option<&Postgresql>, observed: &Observed) -> Stage {
    let runs = postgresql.filter(|found| found.spec["numberOfInstances"] != json!(0));
    // Where volumes go with their pods, the servers go on running: that keeps the data, too.
    let loses = observed.stateful_set.as_ref().is_some_and(scaling_deletes);
    let stop = runs.filter(|_| !loses).map(|found| {
        Write::patch(
            Kind::Postgresql,
            &found.metadata,
            json!({"spec": {"numberOfInstances": 0}}),
        )
    });
    Stage::over(stop.into_iter().collect())
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

fn delete(
    cr: &HACluster,
    postgresql: Option<&Postgresql>,
    observed: &Observed,
    now: &Time,
) -> Stage {
    let waited = seconds_since(cr.metadata.deletion_timestamp.as_ref(), now);
    let patient = waited < PATIENCE_SECONDS;
    if let Some(found) = postgresql {
        return postgresql_goes(found, patient);
    }
    let acts = "The Zalando operator is to delete what it made; if it has not begun after a minute, it is deleted without it.";
    if let Some(set) = &observed.stateful_set {
        let instead = !patient && set.metadata.deletion_timestamp.is_none();
        let write = instead.then(|| Write::delete(Kind::StatefulSet, &set.metadata));
        let message = if instead {
            "The Zalando operator has not begun to delete what it made; it is deleted without it."
        } else {
            acts
        };
        return Stage::wait(message.to_owned(), write.into_iter().collect());
    }
    if !observed.pods.is_empty() {
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
    Stage::over(hand_over(cr, observed))
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
        "The postgresql {name} is held by {held}. The Zalando operator lets it go when it has deleted what it made, at the latest at its next look (resync_period, by default half an hour). If it is gone for good: kubectl patch postgresql {name} --type=merge --patch '{{\"metadata\":{{\"finalizers\":null}}}}'."
    );
    let mut stage = Stage::wait(message, Vec::new());
    if !patient {
        stage.reason = reason::DELETION_BLOCKED;
    }
    stage
}

/// From now on everything that is left goes when the resource goes.
fn hand_over(cr: &HACluster, observed: &Observed) -> Vec<Write> {
    let owners = json!([owner_reference(Kind::HACluster, &cr.metadata)]);
    let secret = |secret: &Option<k8s_openapi::api::core::v1::Secret>| {
        secret
            .as_ref()
            .map(|secret| (Kind::Secret, secret.metadata.clone()))
    };
    let claims = observed.claims.iter();
    let claims = claims.map(|claim| (Kind::PersistentVolumeClaim, claim.metadata.clone()));
    let left: Vec<(Kind, ObjectMeta)> = claims
        .chain(secret(&observed.binding))
        .chain(secret(&observed.user))
        .chain(observed.others.iter().cloned())
        .collect();
    left.into_iter()
        .filter(|(_, metadata)| metadata.deletion_timestamp.is_none())
        .filter_map(|(kind, metadata)| change_owners(kind, &metadata, owners.clone()))
        .collect()
}
