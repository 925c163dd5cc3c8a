//! An instance that is being deleted: protection holds it, `deletionPolicy: Snapshot` takes a last backup before its data goes.
//!
//! Children go by garbage collection when the resource goes. The data is not owned until the last backup is good: nothing that
//! happens in between, not even a finalizer that is torn off, can lose it.

use std::time::Duration;

use api::condition::{READY, STALLED, find, reason};
use api::instance::DeletionPolicy;
use api::names::{
    FINALIZER_FINAL_BACKUP, FINALIZER_PROTECTION, FINALIZER_SNAPSHOT_COPY, LABEL_FINAL,
    final_backup,
};
use api::{DatabaseBackup, DatabaseInstance};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;

use super::backups::backup;
use super::{Observed, Plan, finalizers, holds, is_paused, pair, status};
use crate::backup::{conditions_of, is_finished, is_good};
use crate::build::owner_reference;
use crate::facts::is_bound;
use crate::{Kind, Object, Write};

/// Looks again while the last backup is under way.
const SOON: Duration = Duration::from_secs(2);
/// Looks again while it cannot be taken.
const LATER: Duration = Duration::from_secs(15);

/// Why an instance is to be held back from deletion while it is not finished with it.
pub fn reasons(cr: &DatabaseInstance) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    if cr.spec.deletion_protection {
        reasons.push(FINALIZER_PROTECTION);
    }
    if cr.spec.deletion_policy == DeletionPolicy::Snapshot {
        reasons.push(FINALIZER_FINAL_BACKUP);
    }
    reasons
}

/// What is told of an instance on its way out.
struct Stage {
    reason: &'static str,
    message: String,
    writes: Vec<Write>,
    /// Whether the last backup is done with, or none is to be taken.
    over: bool,
    recheck: Option<Duration>,
}

impl Stage {
    fn over(writes: Vec<Write>) -> Self {
        Stage {
            reason: reason::DELETING,
            message: "The resource is being deleted.".to_owned(),
            writes,
            over: true,
            recheck: None,
        }
    }
}

/// What should be done and said.
pub fn plan(cr: &DatabaseInstance, observed: &Observed, now: &Time) -> Plan {
    let stage = stage(cr, observed);
    let mut writes = stage.writes;
    let mut wanted = holds(cr, observed);
    if stage.over {
        wanted.retain(|name| *name != FINALIZER_FINAL_BACKUP);
    }
    // A volume that is still being made from another namespace's snapshot never gets any data: it goes too.
    let pair = pair::clean(cr, observed);
    if pair.remains {
        wanted.push(FINALIZER_SNAPSHOT_COPY);
        let unbound = |claim| !is_bound(claim);
        if stage.over && observed.claim.as_ref().is_some_and(unbound) {
            writes.extend(hand_over(cr, observed));
        }
        if stage.over {
            writes.extend(pair.writes.clone());
        }
    }
    // The last of all: what is to be collected must be owned by then.
    writes.extend(finalizers(cr, &wanted).map(Write::Finalizers));
    if is_paused(cr) {
        writes.clear();
    }
    let (why, message) = match pair.lacks_rights(stage.over) {
        Some(message) => (reason::CROSS_NAMESPACE_FORBIDDEN, message),
        None => (stage.reason, stage.message.as_str()),
    };
    let status = status::leaving(cr, observed, why, message, now);
    Plan {
        writes,
        notices: status::notices(cr, &status),
        status,
        requeue: stage.recheck.or(pair.recheck()),
    }
}

fn stage(cr: &DatabaseInstance, observed: &Observed) -> Stage {
    if cr.spec.deletion_protection {
        return Stage {
            reason: reason::DELETION_PROTECTED,
            message: "The resource was deleted while spec.deletionProtection is true; it is kept, and so is everything it owns. Set spec.deletionProtection to false to let it go.".to_owned(),
            writes: Vec::new(),
            over: false,
            recheck: None,
        };
    }
    let held = cr
        .metadata
        .finalizers
        .iter()
        .flatten()
        .any(|held| held == FINALIZER_FINAL_BACKUP);
    if !held {
        return Stage::over(Vec::new());
    }
    match cr.spec.deletion_policy {
        // Changed while the last backup was under way: that is the way out of it.
        DeletionPolicy::Retain => Stage::over(Vec::new()),
        DeletionPolicy::Delete => {
            let writes = hand_over(cr, observed).into_iter();
            Stage::over(writes.chain(without(cr, observed)).collect())
        }
        DeletionPolicy::Snapshot => last_backup(cr, observed),
    }
}

fn name(cr: &DatabaseInstance) -> String {
    final_backup(
        cr.metadata.name.as_deref().unwrap_or_default(),
        cr.metadata.uid.as_deref().unwrap_or_default(),
    )
}

/// The last backup, if it was begun.
fn taken<'a>(cr: &DatabaseInstance, observed: &'a Observed) -> Option<&'a DatabaseBackup> {
    let name = name(cr);
    let mut backups = observed.backups.iter();
    backups.find(|backup| backup.metadata.name.as_ref() == Some(&name))
}

/// Deletes a last backup that fails and is tried again: Kubernetes keeps a volume for as long as a snapshot of it is being made.
fn without(cr: &DatabaseInstance, observed: &Observed) -> Option<Write> {
    let last = taken(cr, observed)?;
    let fails = find(conditions_of(last), STALLED).is_some();
    (fails && last.metadata.deletion_timestamp.is_none())
        .then(|| Write::delete(Kind::DatabaseBackup, &last.metadata))
}

/// Stops the server, takes the backup, and then lets the data go.
fn last_backup(cr: &DatabaseInstance, observed: &Observed) -> Stage {
    // With the namespace goes everything that is in it, backups included; nothing new can be made in it.
    if observed.namespace_is_leaving {
        return Stage::over(Vec::new());
    }
    let served = super::conditions::has_served(cr) && observed.claim.as_ref().is_some_and(is_bound);
    if !served {
        return Stage::over(hand_over(cr, observed));
    }
    let name = name(cr);
    let under_way = |message: String, writes| Stage {
        reason: reason::FINAL_BACKUP,
        message,
        writes,
        over: false,
        recheck: Some(SOON),
    };
    let Some(last) = taken(cr, observed) else {
        let writes = stop(observed)
            .into_iter()
            .chain([Write::Create(wanted(cr, &name))]);
        return under_way(
            format!("The last backup, {name}, is being taken before the data goes."),
            writes.collect(),
        );
    };
    if is_good(last) {
        return Stage::over(hand_over(cr, observed));
    }
    let said = |type_: &str| find(conditions_of(last), type_);
    if is_finished(last) || said(STALLED).is_some() {
        let why = said(READY)
            .map(|condition| condition.message.clone())
            .unwrap_or_default();
        return Stage {
            reason: reason::FINAL_BACKUP_FAILED,
            message: format!(
                "The last backup, {name}, is not good, so the data stays: {why} Delete that DatabaseBackup to have it tried again, or set spec.deletionPolicy to Retain or Delete to go without it."
            ),
            writes: stop(observed).into_iter().collect(),
            over: false,
            recheck: Some(LATER),
        };
    }
    under_way(
        format!("The last backup, {name}, is being taken before the data goes."),
        stop(observed).into_iter().collect(),
    )
}

fn wanted(cr: &DatabaseInstance, name: &str) -> Object {
    let mut spec = json!({"instance": cr.metadata.name, "method": "Offline"});
    if let Some(scheduled) = &cr.spec.backup {
        if let Some(class) = &scheduled.snapshot_class_name {
            spec["snapshotClassName"] = json!(class);
        }
        if !scheduled.allowed_namespaces.is_empty() {
            spec["allowedNamespaces"] = json!(scheduled.allowed_namespaces);
        }
    }
    backup(cr, name, json!({LABEL_FINAL: "true"}), spec)
}

/// No pod works on the volume any more, and none is made anew.
fn stop(observed: &Observed) -> Option<Write> {
    let set = observed.stateful_set.as_ref()?;
    let runs = set.spec.as_ref().and_then(|spec| spec.replicas) != Some(0);
    (runs && set.metadata.deletion_timestamp.is_none()).then(|| {
        Write::patch(
            Kind::StatefulSet,
            &set.metadata,
            json!({"spec": {"replicas": 0}}),
        )
    })
}

/// From now on the data goes when the resource goes.
fn hand_over(cr: &DatabaseInstance, observed: &Observed) -> Vec<Write> {
    let owners = json!([owner_reference(Kind::DatabaseInstance, &cr.metadata)]);
    let children = [
        (
            Kind::PersistentVolumeClaim,
            observed.claim.as_ref().map(|o| &o.metadata),
        ),
        (Kind::Secret, observed.binding.as_ref().map(|o| &o.metadata)),
        (Kind::Secret, observed.admin.as_ref().map(|o| &o.metadata)),
    ];
    let unowned = |metadata: &&ObjectMeta| {
        metadata
            .owner_references
            .as_deref()
            .unwrap_or_default()
            .is_empty()
    };
    children
        .into_iter()
        .filter_map(|(kind, metadata)| Some((kind, metadata.filter(unowned)?)))
        .map(|(kind, metadata)| {
            Write::patch(
                kind,
                metadata,
                json!({"metadata": {"ownerReferences": owners}}),
            )
        })
        .collect()
}
