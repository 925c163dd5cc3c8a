//! From what the rules say to what is written and what the user reads: conditions, generation, transition times,
//! Events, the pause, finalizers; once for all kinds. The only place that looks at a reason: whether it is another one
//! than before.

use api::condition::reason;
use api::condition::{
    News, PlannedCondition, READY, RECONCILING, STALLED, Truth, conditions, find, has, state,
};
use api::names::ANNOTATION_PAUSED;
use api::reported::{Head, Reported};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};

use crate::facts::{annotation, quota_trouble};
use crate::step::{Standing, Step};
use crate::{Invalid, Plan, PlannedEvent, Write};

/// What differs between kinds.
pub struct Customs {
    /// The conditions of whose new reasons Events tell.
    pub told: &'static [&'static str],
    /// The conditions that stay as they were while nobody says anything of them.
    pub kept: &'static [&'static str],
    /// The finalizers that are ours.
    pub finalizers: &'static [&'static str],
}

/// The plan of a pass. `status` has the fields of the kind; its head is filled in here. If the resource is paused and
/// there is something to do, it is not done, and `paused` says how the resource stands then, of what it would have
/// been.
pub fn report<R: Reported>(
    cr: &R,
    customs: &Customs,
    (mut step, status): (Step, R::Status),
    paused: impl FnOnce(&Invalid, (Step, R::Status)) -> (Step, R::Status),
    now: &Time,
) -> Plan<R::Status> {
    let mut writes = std::mem::take(&mut step.writes);
    put_finalizers(cr, customs, &step.finalizers, &mut writes);
    let is_deleted = cr.metadata().deletion_timestamp.is_some();
    // What is next of a deletion depends on what was told last, and a pause tells that it is one: so it comes before
    // any step of it.
    let is_held_back = !writes.is_empty() || is_deleted && has_finalizer(cr, customs);
    let (step, mut status) = match is_paused(cr.metadata()) && is_held_back {
        true => {
            writes.clear();
            paused(&Invalid::paused(is_deleted), (step, status))
        }
        false => (step, status),
    };
    let said = said(step.says, &step.standing);
    let generation = cr.metadata().generation.unwrap_or_default();
    let before = cr.conditions();
    let mut list = conditions(before, &said, generation, now);
    let kept = before.iter().filter(|old| {
        customs.kept.contains(&old.type_.as_str()) && find(&list, &old.type_).is_none()
    });
    let kept: Vec<Condition> = kept
        .map(|condition| Condition {
            observed_generation: Some(generation),
            ..condition.clone()
        })
        .collect();
    list.extend(kept);
    *status.conditions_mut() = list;
    *status.observed_generation_mut() = Some(generation);
    Plan {
        writes,
        events: events(before, &said, customs.told),
        status,
        requeue: step.requeue,
    }
}

/// Whether the resource's annotation holds back everything that is to be done.
fn is_paused(metadata: &ObjectMeta) -> bool {
    annotation(metadata, ANNOTATION_PAUSED) == Some("true")
}

/// Whether a finalizer of ours is there.
fn has_finalizer<R: Reported>(cr: &R, customs: &Customs) -> bool {
    let mut there = cr.metadata().finalizers.iter().flatten();
    there.any(|held| customs.finalizers.contains(&held.as_str()))
}

/// All statements: those of the rules, and the one that the standing is.
fn said(mut says: Vec<PlannedCondition>, standing: &Standing) -> Vec<PlannedCondition> {
    says.extend(match standing {
        Standing::AtRest => None,
        Standing::UnderWay { reason, message } => Some(state(
            RECONCILING,
            Truth::True,
            reason.clone(),
            message.clone(),
        )),
        Standing::Blocked { reason, message } => {
            Some(state(STALLED, Truth::True, reason.clone(), message.clone()))
        }
    });
    says
}

/// Adds the finalizers to the writes if they are not as they should be: first where something is made, because they
/// must be there before it, and last where the resource goes, because what is to be collected must be owned by then.
fn put_finalizers<R: Reported>(
    cr: &R,
    customs: &Customs,
    wanted: &[&str],
    writes: &mut Vec<Write>,
) {
    let before = cr.metadata().finalizers.clone().unwrap_or_default();
    let mut finalizers = before.clone();
    finalizers.retain(|held| {
        !customs.finalizers.contains(&held.as_str()) || wanted.contains(&held.as_str())
    });
    let is_deleted = cr.metadata().deletion_timestamp.is_some();
    if !is_deleted {
        // A resource that is being deleted takes no new ones.
        for wanted in wanted {
            if !finalizers.iter().any(|held| held == wanted) {
                finalizers.push((*wanted).to_owned());
            }
        }
    }
    if finalizers != before {
        let write = Write::Finalizers(finalizers);
        match is_deleted {
            true => writes.push(write),
            false => writes.insert(0, write),
        }
    }
}

/// An Event for each statement whose condition had another reason before; one for a reason.
fn events(before: &[Condition], said: &[PlannedCondition], told: &[&str]) -> Vec<PlannedEvent> {
    let stalled = said.iter().find(|said| said.type_ == STALLED);
    let mut events: Vec<PlannedEvent> = Vec::new();
    for said in said {
        let known = find(before, said.type_).is_some_and(|old| old.reason == said.reason);
        let twice = events.iter().any(|event| event.reason == said.reason);
        if known || twice || said.event == News::Silent || !told.contains(&said.type_) {
            continue;
        }
        let stalls = stalled.is_some_and(|stalled| stalled.reason == said.reason);
        events.push(PlannedEvent {
            warning: stalls || said.event == News::Warning,
            reason: said.reason.clone().into_owned(),
            message: said.message.clone(),
        });
    }
    events
}

/// Whether a condition gives one of these reasons. For what is told by a reason alone, such as the trouble of another
/// resource.
pub fn gives(condition: &Condition, reasons: &[&str]) -> bool {
    reasons.contains(&condition.reason.as_str())
}

/// Whether the condition said this the last time.
pub fn was_told<R: Reported>(cr: &R, type_: &str, reason: &str) -> bool {
    cr.condition(type_)
        .is_some_and(|told| gives(told, &[reason]))
}

/// The status when a write was refused: what is true stays, and the refusal is said. `planned` is the status of the
/// pass.
pub fn refused<R: Reported>(cr: &R, planned: &R::Status, error: &str, now: &Time) -> R::Status {
    let (why, message) = match quota_trouble(error) {
        Some(trouble) => (trouble.reason, trouble.message),
        None => (
            reason::APPLY_FAILED,
            format!(
                "A write failed: {error}. It is tried again, at the latest after 30 seconds; `kubectl describe` of the \
                    object and the operator's log show more."
            ),
        ),
    };
    let ready = has(planned.conditions(), READY, Truth::True);
    let mut says = vec![state(STALLED, Truth::True, why, message.clone())];
    if !ready {
        says.insert(0, state(READY, Truth::False, why, message));
    }
    let generation = cr.metadata().generation.unwrap_or_default();
    let added = conditions(cr.conditions(), &says, generation, now);
    let mut status = planned.clone();
    let list = status.conditions_mut();
    list.retain(|old| old.type_ != RECONCILING && find(&added, &old.type_).is_none());
    list.extend(added);
    status
}
