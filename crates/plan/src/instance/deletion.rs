//! An instance that is being deleted: protection holds it, `deletionPolicy: Snapshot` takes a last backup before its
//! data goes.
//!
//! Children go by garbage collection when the resource goes. The data is not owned until the last backup is good:
//! nothing that happens in between, not even a finalizer that is torn off, can lose it. And only what this very
//! resource had accepted is ever handed over: under its name may lie what is somebody else's, or the data of a former
//! instance that it did not fit.

use std::time::Duration;

use api::DatabaseInstance;
use api::condition::{READY, STALLED, reason};
use api::instance::DeletionPolicy;
use api::names::{FINALIZER_FINAL_BACKUP, FINALIZER_PROTECTION};
use api::reported::Reported;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;

use super::validate::kept_children;
use super::{CUSTOMS, Observed, Plan, imported_snapshot, last_backup, status};
use crate::child::Owner;
use crate::facts::is_bound;
use crate::reading::backup::{is_finished, is_good};
use crate::reading::instance::has_served;
use crate::report::{report, was_told};
use crate::step::Tone;
use crate::{Invalid, Kind, Write, still_going};

/// Looks again while the last backup is under way.
const SOON: Duration = Duration::from_secs(2);
/// Looks again while it cannot be taken.
const LATER: Duration = Duration::from_secs(15);
/// What stays is told one pass before the resource goes.
const TOLD: Duration = Duration::from_secs(1);

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
    tone: Tone,
    requeue: Option<Duration>,
}

impl Stage {
    fn over(writes: Vec<Write>) -> Self {
        Stage {
            reason: reason::DELETING,
            message: "The resource is being deleted.".to_owned(),
            writes,
            over: true,
            tone: Tone::Quiet,
            requeue: None,
        }
    }

    /// The resource goes, and data stays that its policy would not keep. That is told before nobody is left to be
    /// asked.
    fn kept(cr: &DatabaseInstance, why: &str) -> Self {
        let name = cr.metadata.name.as_deref().unwrap_or_default();
        let over = was_told(cr, READY, reason::DATA_KEPT);
        Stage {
            reason: reason::DATA_KEPT,
            message: format!(
                "The PersistentVolumeClaim {name} and its Secrets stay: {why}. Apply an instance {name} that fits to \
                    use them; delete them if they are not needed."
            ),
            writes: Vec::new(),
            over,
            tone: Tone::Warns,
            requeue: (!over).then_some(TOLD),
        }
    }
}

/// What should be done and said.
pub fn plan(cr: &DatabaseInstance, observed: &Observed, now: &Time) -> Plan {
    let stage = stage(cr, observed);
    let imported = imported_snapshot::clean(cr, observed, now);
    let lacks = imported.lacks_rights(stage.over);
    let why = match lacks {
        Some(message) => (reason::CROSS_NAMESPACE_FORBIDDEN, message),
        None => (stage.reason, stage.message.as_str()),
    };
    let tone = lacks.map_or(stage.tone, |_| Tone::Blocked);
    let (mut step, status) = status::deleting(cr, observed, why, tone);
    step = step.writing(stage.writes).again(stage.requeue);
    let mut of_imported = imported.step();
    if !stage.over {
        of_imported.writes.clear();
    } else if imported.remains
        && observed
            .claim
            .as_ref()
            .is_some_and(|claim| !may_bear_data(cr, claim))
    {
        // A volume that is still being made from another namespace's snapshot never gets any data: it goes too.
        step = step.writing(hand_over(cr, observed));
    }
    step = step.and(of_imported);
    step.finalizers.extend(reasons(cr));
    step.finalizers
        .retain(|name| *name != FINALIZER_FINAL_BACKUP);
    step.finalizers
        .extend((!stage.over).then_some(FINALIZER_FINAL_BACKUP));
    let paused = |paused: &Invalid, _| {
        let told = (paused.reason, paused.message.as_str());
        status::deleting(cr, observed, told, Tone::Blocked)
    };
    report(cr, &CUSTOMS, (step, status), paused, now)
}

fn stage(cr: &DatabaseInstance, observed: &Observed) -> Stage {
    if cr.spec.deletion_protection {
        return Stage {
            reason: reason::DELETION_PROTECTED,
            message: "The resource was deleted while spec.deletionProtection is true; it is kept, and so is everything \
                it owns. Set spec.deletionProtection to false to let it go.".to_owned(),
            writes: keep(cr, observed),
            over: false,
            tone: Tone::Blocked,
            requeue: None,
        };
    }
    let is_retained = cr.spec.deletion_policy == DeletionPolicy::Retain;
    let held = cr
        .metadata
        .finalizers
        .iter()
        .flatten()
        .any(|held| held == FINALIZER_FINAL_BACKUP);
    if !held && !is_retained {
        return Stage::over(Vec::new());
    }
    match cr.spec.deletion_policy {
        // Changed while the last backup was under way: that is the way out of it.
        DeletionPolicy::Retain => Stage::over(keep(cr, observed)),
        DeletionPolicy::Delete => {
            let writes = hand_over(cr, observed).into_iter();
            let writes = writes.chain(without(cr, observed)).collect();
            unaccepted(cr, observed).unwrap_or_else(|| Stage::over(writes))
        }
        DeletionPolicy::Snapshot => last(cr, observed),
    }
}

/// Deletes a last backup that fails and is tried again: Kubernetes keeps a volume for as long as a snapshot of it is
/// being made.
fn without(cr: &DatabaseInstance, observed: &Observed) -> Option<Write> {
    let last = last_backup::taken(cr, observed)?;
    // A good one may be stalled as well: paused, or what becomes of it cannot be read.
    let fails = !is_good(last) && last.condition(STALLED).is_some();
    (fails && last_backup::is_ours(cr, last) && last.metadata.deletion_timestamp.is_none())
        .then(|| Write::delete(Kind::DatabaseBackup, &last.metadata))
}

/// Stops the server, takes the last backup, and then lets the data go.
fn last(cr: &DatabaseInstance, observed: &Observed) -> Stage {
    // With the namespace goes everything that is in it, backups included; nothing new can be made in it.
    if observed.namespace_is_terminating {
        return Stage::over(Vec::new());
    }
    let claim = observed.claim.as_ref();
    let Some(claim) = claim.filter(|claim| accepted(cr, observed, &claim.metadata)) else {
        return unaccepted(cr, observed).unwrap_or_else(|| Stage::over(hand_over(cr, observed)));
    };
    if !may_bear_data(cr, claim) {
        return empty(cr, observed);
    }
    if !has_served(cr) {
        let why = "no last backup can be taken of a database that was not seen to accept connections, and the volume \
            may hold data";
        return Stage::kept(cr, why);
    }
    backed_up(cr, observed)
}

/// A claim without a volume. It may get one, and a server that writes to it, until no pod wants it any more.
fn empty(cr: &DatabaseInstance, observed: &Observed) -> Stage {
    let stop = stop(cr, observed);
    if stop.is_none() && observed.pod.is_none() {
        return Stage::over(hand_over(cr, observed));
    }
    Stage {
        reason: reason::DELETING,
        message: "The database is being stopped before it has served; then the resource goes."
            .to_owned(),
        writes: stop.into_iter().collect(),
        over: false,
        tone: Tone::Quiet,
        requeue: Some(SOON),
    }
}

/// Data of a former instance that this resource's spec did not fit. That of a conflict is none of the resource's
/// business.
fn unaccepted(cr: &DatabaseInstance, observed: &Observed) -> Option<Stage> {
    let owner = Owner::instance(cr);
    let claim = &observed.claim.as_ref()?.metadata;
    let why = "they are a former instance's, and this one did not take them over, as a rule because its spec did not \
        fit them";
    (owner.is_namesakes(claim) && !accepted(cr, observed, claim)).then(|| Stage::kept(cr, why))
}

/// Whether what is kept was accepted by this very resource. What came before there was a mark is accepted if the server
/// of this resource runs on it: its StatefulSet is controlled by the resource, and made later than the volume that it
/// mounts by name.
fn accepted(cr: &DatabaseInstance, observed: &Observed, metadata: &ObjectMeta) -> bool {
    let owner = Owner::instance(cr);
    let set = observed.stateful_set.as_ref().map(|set| &set.metadata);
    let served = set.is_some_and(|set| {
        let made = set.creation_timestamp.as_ref();
        let before = metadata.creation_timestamp.as_ref();
        owner.controls(set)
            && matches!((before, made), (Some(before), Some(made)) if before.0 <= made.0)
    });
    owner.accepted(metadata) || owner.is_unmarked(metadata) && served
}

/// The last backup of a volume with data: asked for, under way, good or failed.
fn backed_up(cr: &DatabaseInstance, observed: &Observed) -> Stage {
    let name = last_backup::name(cr);
    let stop: Vec<Write> = stop(cr, observed).into_iter().collect();
    let under_way = |writes| Stage {
        reason: reason::FINAL_BACKUP,
        message: format!("The last backup, {name}, is being taken before the data goes."),
        writes,
        over: false,
        tone: Tone::Quiet,
        requeue: Some(SOON),
    };
    let failed = |why: &str, writes| Stage {
        reason: reason::FINAL_BACKUP_FAILED,
        message: format!(
            "The last backup, {name}, is not good, so the data stays: {why} Delete that DatabaseBackup to have it \
                tried again, or set spec.deletionPolicy to Retain or Delete to go without it."
        ),
        writes,
        over: false,
        tone: Tone::Blocked,
        requeue: Some(LATER),
    };
    let others = observed.others_backup_named(&name);
    let last = last_backup::taken(cr, observed);
    let named = others.or(last.map(|last| &last.metadata));
    if named.is_some_and(|backup| backup.deletion_timestamp.is_some()) {
        return Stage {
            reason: reason::WAITING_FOR_DELETION,
            message: still_going("DatabaseBackup", &name),
            ..under_way(stop.into_iter().collect())
        };
    }
    let taken = "there was a DatabaseBackup of this name before.";
    if others.is_some() {
        return failed(taken, stop);
    }
    let Some(last) = last else {
        let create = Write::Create(last_backup::wanted(cr, &name));
        return under_way(stop.into_iter().chain([create]).collect());
    };
    if !last_backup::is_ours(cr, last) {
        return failed(taken, stop);
    }
    if last_backup::is_proved(cr, observed, last) {
        return Stage::over(hand_over(cr, observed));
    }
    let said = |type_: &str| last.condition(type_);
    if is_good(last) {
        return failed(
            "it says so, but its VolumeSnapshot is not there, not complete, or not of this instance's volume.",
            stop,
        );
    }
    if is_finished(last) || said(STALLED).is_some() {
        let why = said(READY).map(|condition| condition.message.clone());
        return failed(&why.unwrap_or_default(), stop);
    }
    under_way(stop)
}

/// No pod works on the volume any more, and none is made anew.
fn stop(cr: &DatabaseInstance, observed: &Observed) -> Option<Write> {
    let set = observed.stateful_set.as_ref()?;
    let runs = set.spec.as_ref().and_then(|spec| spec.replicas) != Some(0);
    let ours = Owner::instance(cr).controls(&set.metadata);
    (runs && ours && set.metadata.deletion_timestamp.is_none()).then(|| {
        Write::patch(
            Kind::StatefulSet,
            &set.metadata,
            json!({"spec": {"replicas": 0}}),
        )
    })
}

/// Whether there was ever a volume. A claim that lost it is not bound either.
fn may_bear_data(cr: &DatabaseInstance, claim: &PersistentVolumeClaim) -> bool {
    let spec = claim.spec.as_ref();
    is_bound(claim) || has_served(cr) || spec.is_some_and(|spec| spec.volume_name.is_some())
}

/// The data stays after all: the policy may have been another one a moment ago.
fn keep(cr: &DatabaseInstance, observed: &Observed) -> Vec<Write> {
    let claim = observed.claim.as_ref();
    if claim.is_some_and(|claim| !may_bear_data(cr, claim)) {
        return Vec::new();
    }
    let owner = Owner::instance(cr);
    let children = kept_children(observed).into_iter();
    children
        .filter_map(|(kind, metadata)| owner.take_back(kind, metadata))
        .collect()
}

/// From now on the data goes when the resource goes: what this very resource had accepted, and nothing else.
fn hand_over(cr: &DatabaseInstance, observed: &Observed) -> Vec<Write> {
    let owner = Owner::instance(cr);
    kept_children(observed)
        .into_iter()
        .filter(|(_, metadata)| accepted(cr, observed, metadata))
        .filter_map(|(kind, metadata)| owner.hand_over(kind, metadata))
        .collect()
}
