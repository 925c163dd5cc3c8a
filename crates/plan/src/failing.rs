//! Passes that fail again and again, told the same way of all kinds: what the status says while nothing can be read,
//! the one Event about it, and how a good pass takes it back. What it says after a failed write is each kind's own
//! `failed`.

use api::condition::{
    AVAILABLE, READY, RECONCILING, STALLED, Truth, conditions, find, reason, state,
};
use api::reported::Head;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::PlannedEvent;
use crate::report::gives;

/// Whether Ready speaks of now, or is the record of something that has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It speaks of now: what cannot be read is not known.
    OfNow,
    /// A backup that was made or failed, a restore that has ended: what was said stays true.
    OnRecord,
}

/// Reasons that only tell how the last passes went.
const OF_PASSES: [&str; 2] = [reason::READ_FAILED, reason::APPLY_FAILED];

/// The status of a resource whose world cannot be read. All that was known stays, as of the generation it was known
/// for; but whether it is so now is not known.
pub fn unread<S: Head>(
    before: Option<&S>,
    ready: Ready,
    generation: i64,
    error: &str,
    now: &Time,
) -> S {
    let mut status = before.cloned().unwrap_or_default();
    let stalled = find(status.conditions(), STALLED);
    if ready == Ready::OnRecord && stalled.is_some_and(|told| !gives(told, &OF_PASSES)) {
        // Why it failed is of more use than that its remains cannot be looked at.
        return status;
    }
    let message = format!(
        "The operator could not read what it must know, several times in a row: {error}. Nothing is changed meanwhile, \
            and it is tried again, at the latest after 30 seconds. If it lasts: see that the API server is well, that \
            the operator has the rights of its version (deploy/), and the operator's log."
    );
    let mut planned = vec![state(
        STALLED,
        Truth::True,
        reason::READ_FAILED,
        message.clone(),
    )];
    if ready == Ready::OfNow {
        let known = |type_| find(status.conditions(), type_).is_some();
        let unknown = |type_| state(type_, Truth::Unknown, reason::READ_FAILED, message.clone());
        planned.extend(known(AVAILABLE).then(|| unknown(AVAILABLE)));
        planned.insert(0, unknown(READY));
    }
    let stated = conditions(status.conditions(), &planned, generation, now);
    let kept = status
        .conditions()
        .iter()
        .filter(|old| old.type_ != RECONCILING && planned.iter().all(|new| new.type_ != old.type_));
    let all = stated.iter().chain(kept).cloned().collect();
    *status.conditions_mut() = all;
    *status.observed_generation_mut() = Some(generation);
    status
}

/// The Event about passes that fail: one, when the status begins to say so.
pub fn event<S: Head>(before: Option<&S>, status: &S) -> Vec<PlannedEvent> {
    let told = |status: &S| find(status.conditions(), STALLED).cloned();
    let (before, now) = (before.and_then(told), told(status));
    let new = now.filter(|now| before.is_none_or(|before| !gives(&before, &[&now.reason])));
    let event = new.map(|now| PlannedEvent {
        warning: true,
        reason: now.reason,
        message: now.message,
    });
    event.into_iter().collect()
}

/// The status without what it says of failed passes, if it does: a pass that goes well decides as if there had been
/// none.
pub fn without<S: Head>(status: &S) -> Option<S> {
    let told = find(status.conditions(), STALLED)?;
    gives(told, &OF_PASSES).then(|| {
        let mut status = status.clone();
        status
            .conditions_mut()
            .retain(|condition| condition.type_ != STALLED);
        status
    })
}

#[cfg(test)]
mod tests {
    use api::Engine;
    use api::condition::has;
    use serde_json::json;

    use super::*;
    use crate::backup::tests::world::World as Backup;
    use crate::ha_cluster::tests::world::World as Cluster;
    use crate::instance::tests::world::World as Instance;

    fn times_aside<S: Head>(status: &S, now: &Time) -> S {
        let mut status = status.clone();
        for condition in status.conditions_mut() {
            condition.last_transition_time = now.clone();
        }
        status
    }

    #[test]
    fn what_an_instance_was_known_to_be_stays_and_comes_back() {
        let mut world = Instance::new(Engine::Postgresql, json!({}));
        world.pass();
        world.serve();
        let well = world.settle().status;
        let failing = unread(
            Some(&well),
            Ready::OfNow,
            2,
            "get Pod shop-0: no",
            &world.now,
        );
        assert!(has(&failing.conditions, READY, Truth::Unknown));
        assert!(has(
            &failing.conditions,
            api::condition::STORAGE_READY,
            Truth::True
        ));
        assert_eq!(
            (&failing.endpoint, failing.observed_generation),
            (&well.endpoint, Some(2))
        );
        assert_eq!(event(Some(&well), &failing).len(), 1);
        assert_eq!(event(Some(&failing), &failing), []);
        world.cr.status = without(&failing);
        let again = world.decide();
        assert_eq!(again.writes, []);
        assert_eq!(
            times_aside(&again.status, &world.now),
            times_aside(&well, &world.now)
        );
    }

    #[test]
    fn whether_a_cluster_is_available_is_not_known_either() {
        let world = Cluster::serving(json!({}));
        let failing = unread(world.cr.status.as_ref(), Ready::OfNow, 1, "no", &world.now);
        assert!(has(&failing.conditions, AVAILABLE, Truth::Unknown));
        let new = unread(
            None::<&api::HAClusterStatus>,
            Ready::OfNow,
            1,
            "no",
            &world.now,
        );
        assert!(find(&new.conditions, AVAILABLE).is_none());
    }

    #[test]
    fn a_good_backup_stays_one() {
        let mut world = Backup::ready(Engine::Postgresql, json!({}));
        let well = world.settle().status;
        let failing = unread(Some(&well), Ready::OnRecord, 1, "no", &world.now);
        assert!(
            has(&failing.conditions, READY, Truth::True)
                && has(&failing.conditions, STALLED, Truth::True)
        );
        world.cr.status = Some(failing.clone());
        assert!(crate::reading::backup::is_good(&world.cr));
        world.cr.status = without(&failing);
        assert_eq!(world.decide().status, well);
    }

    #[test]
    fn why_a_backup_failed_is_not_forgotten() {
        let mut world = Backup::new(Engine::Postgresql, json!({"deadlineSeconds": 60}));
        world.pass();
        world.after(60);
        world.settle();
        let failed = world.status();
        assert_eq!(
            unread(Some(&failed), Ready::OnRecord, 1, "no", &world.now),
            failed
        );
        assert_eq!(without(&failed), None);
    }

    #[test]
    fn a_backup_is_not_given_up_for_the_time_in_which_nothing_could_be_read() {
        let mut world = Backup::new(Engine::Postgresql, json!({}));
        let failing = unread(world.cr.status.as_ref(), Ready::OfNow, 1, "no", &world.now);
        world.cr.status = without(&failing);
        world.after(3600);
        world.observed.instance = None;
        world.pass();
        assert_eq!(world.phase(), "Pending");
    }
}
