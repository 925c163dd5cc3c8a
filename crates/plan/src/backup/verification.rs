//! The verification of a backup: a throw-away instance is restored from it, looks at itself with the engine's own
//! checks, and goes.

use std::collections::BTreeMap;
use std::time::Duration;

use api::backup::DatabaseBackupStatus;
use api::condition::{PlannedCondition, READY, STALLED, Truth, VERIFIED, find, has, reason, state};
use api::names::{LABEL_VERIFIES, verification_instance};
use api::{DatabaseBackup, DatabaseInstance};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::Observed;
use crate::build::database_instance::throw_away;
use crate::child::is_controlled_by;
use crate::facts::{label, seconds_since};
use crate::reading::backup::is_good;
use crate::report::gives;
use crate::step::{Standing, Step};
use crate::{Kind, Write};

/// How many verifications are under way at a time, of different namespaces.
const PROOFS: usize = 2;
/// A verification for which there is no place in the cluster is given up after so many seconds.
const PLACE_SECONDS: i64 = 300;
/// A verification that has not come to its end after so many seconds says nothing.
const PATIENCE_SECONDS: i64 = 3600;
/// While another verification takes the room.
const ROOM: Duration = Duration::from_secs(5);
/// Why the throw-away instance cannot even be tried.
const NO_PLACE: [&str; 3] = [
    reason::UNSCHEDULABLE,
    reason::QUOTA_EXCEEDED,
    reason::POD_FORBIDDEN,
];
const STOPPED: &str = "The throw-away instance was stopped before the checks had ended. Create another backup to have \
    one proved.";
const DELETED: &str = "The throw-away instance was deleted before the checks had ended. Create another backup to have \
    one proved.";

/// Whether the backup waits for its verification, or the verification is under way.
pub fn is_wanted(cr: &DatabaseBackup) -> bool {
    is_open(cr) && is_good(cr)
}

/// Whether there is no result yet.
fn is_open(cr: &DatabaseBackup) -> bool {
    let status = cr.status.as_ref();
    cr.spec.verify
        && cr.metadata.deletion_timestamp.is_none()
        && status.is_some_and(|status| {
            status.ready_at.is_some()
                && status
                    .verification
                    .as_ref()
                    .is_none_or(|verification| verification.verified_at.is_none())
        })
}

/// A backup that waits for its verification, or whose verification is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// Whether the throw-away instance was made.
    pub began: bool,
    /// Whether that instance is stalled, and so takes nothing from the cluster.
    pub is_stalled: bool,
    /// The moment whose data it holds.
    pub taken_at: Option<Timestamp>,
    /// When its namespace had its last turn, by a count that only the operator keeps; 0: never.
    pub last_turn: u64,
}

/// Whether the verification of the backup with this UID has its turn among all that wait. In each namespace one
/// verification is under way at a time, so that nobody waits for the many of another namespace; in the cluster two,
/// those that are stalled not counted, so that nobody waits for what does not go on. Who began goes on. Then the next
/// is of the namespace whose last turn was the longest ago, so that a namespace waits for one of each other one at
/// most, however many they have; in it, the oldest.
pub fn may_begin(uid: &str, all: &[Waiting]) -> bool {
    let rank = |waiting: &Waiting| {
        let turn = (!waiting.began, waiting.last_turn);
        (turn, waiting.taken_at, waiting.uid.clone())
    };
    let mut first_of: BTreeMap<&str, &Waiting> = BTreeMap::new();
    for waiting in all {
        let first = first_of.entry(&waiting.namespace).or_insert(waiting);
        if rank(waiting) < rank(first) {
            *first = waiting;
        }
    }
    let Some(own) = first_of.values().find(|waiting| waiting.uid == uid) else {
        return false;
    };
    let others = first_of.values().filter(|other| !other.is_stalled);
    others.filter(|other| rank(other) < rank(own)).count() < PROOFS
}

/// The next step.
pub fn decide(
    cr: &DatabaseBackup,
    observed: &Observed,
    status: &mut DatabaseBackupStatus,
    now: &Time,
) -> Step {
    let instance = observed
        .verification
        .as_ref()
        .filter(|instance| is_ours(cr, instance));
    if !is_open(cr) {
        // The result is on record: only now may the instance go.
        let writes = instance
            .filter(|instance| instance.metadata.deletion_timestamp.is_none())
            .map(delete);
        if let Some(verification) = &mut status.verification {
            verification.instance = instance.and_then(|instance| instance.metadata.name.clone());
        }
        return Step::default().writing(writes);
    }
    let Some(instance) = instance else {
        let known = status.verification.as_mut();
        if let Some(verification) = known.filter(|verification| verification.instance.is_some()) {
            verification.instance = None;
            verification.verified_at = Some(now.clone());
            let deleted = state(VERIFIED, Truth::Unknown, reason::NOT_CHECKED, DELETED);
            return Step::says([deleted], Standing::AtRest);
        }
        return begin(cr, observed, status);
    };
    let mut verification = status.verification.clone().unwrap_or_default();
    verification.instance = instance.metadata.name.clone();
    verification.started_at = verification
        .started_at
        .or_else(|| instance.metadata.creation_timestamp.clone());
    let restored = instance
        .status
        .as_ref()
        .and_then(|status| status.restore.clone())
        .unwrap_or_default();
    if let (Some(from), Some(to)) = (&restored.started_at, &restored.completed_at) {
        verification.restore_seconds = Some(to.0.as_second() - from.0.as_second());
        verification.steps = restored.steps;
    }
    let result = result(cr, instance, verification.started_at.as_ref(), now);
    if result.is_some() {
        verification.verified_at = Some(now.clone());
    }
    let under_way = || {
        state(
            VERIFIED,
            Truth::Unknown,
            reason::VERIFYING,
            format!(
                "The backup is being restored into the throw-away instance {} and checked.",
                instance.metadata.name.as_deref().unwrap_or_default()
            ),
        )
        .silent()
    };
    status.verification = Some(verification);
    let said = result.unwrap_or_else(under_way);
    Step::says([said], Standing::AtRest).again(Some(ROOM))
}

/// The snapshot cannot be restored now: a verification without a result is given up, and begins anew when it can.
pub fn set_aside(
    cr: &DatabaseBackup,
    observed: &Observed,
    status: &mut DatabaseBackupStatus,
) -> Step {
    let instance = observed.verification.iter();
    let ours = instance.filter(|i| is_ours(cr, i) && i.metadata.deletion_timestamp.is_none());
    let step = Step::default().writing(ours.map(delete));
    if !is_open(cr) {
        return step;
    }
    status.verification = None;
    step.and(waits(
        "The verification begins when the snapshot can be restored.",
    ))
}

/// There is no result yet; that is no news.
fn waits(message: &str) -> Step {
    let verified = state(VERIFIED, Truth::Unknown, reason::VERIFYING, message);
    Step::says([verified.silent()], Standing::AtRest)
}

fn begin(cr: &DatabaseBackup, observed: &Observed, status: &DatabaseBackupStatus) -> Step {
    let name = verification_instance(cr.metadata.uid.as_deref().unwrap_or_default());
    if observed.verification.is_some() {
        let message = format!(
            "There is a DatabaseInstance {name} that was not made for this verification. Delete it."
        );
        let taken = state(VERIFIED, Truth::Unknown, reason::NAME_TAKEN, message);
        return Step::says([taken], Standing::AtRest).again(Some(ROOM));
    }
    if !observed.may_verify {
        return waits("The verification waits until others are done.").again(Some(ROOM));
    }
    let source = status.source.as_ref();
    let made = source.map(|source| throw_away(cr, source, status.restore_size.as_ref()));
    waits("The backup is about to be restored into a throw-away instance.")
        .writing(made.map(Write::Create))
        .again(Some(ROOM))
}

/// What the throw-away instance tells of the backup, once it does.
fn result(
    cr: &DatabaseBackup,
    instance: &DatabaseInstance,
    started: Option<&Time>,
    now: &Time,
) -> Option<PlannedCondition> {
    let condition =
        |type_: &str| -> Option<&Condition> { find(&instance.status.as_ref()?.conditions, type_) };
    match condition(VERIFIED) {
        Some(c) if Truth::True.is(c) && is_of_backup(cr, instance) => {
            return Some(state(
                VERIFIED,
                Truth::True,
                reason::CHECKED,
                format!("Restored and found good: {}", sentence(&c.message)),
            ));
        }
        Some(c) if Truth::False.is(c) => {
            return Some(
                state(
                    VERIFIED,
                    Truth::False,
                    reason::CHECK_FAILED,
                    format!(
                        "Restored and found damaged: {} Do not rely on this backup; take another.",
                        sentence(&c.message)
                    ),
                )
                .warning(),
            );
        }
        Some(c) if gives(c, &[reason::NOT_CHECKED]) => {
            return Some(state(
                VERIFIED,
                Truth::Unknown,
                reason::NOT_CHECKED,
                sentence(&c.message),
            ));
        }
        _ => {}
    }
    // Of all that can keep it from serving, this alone is the backup's fault and not the cluster's.
    if let Some(stalled) = condition(STALLED).filter(|c| gives(c, &[reason::CRASH_LOOP])) {
        return Some(state(
            VERIFIED,
            Truth::False,
            reason::CHECK_FAILED,
            format!(
                "The restored database does not start: {} Do not rely on this backup; take another.",
                sentence(&stalled.message)
            ),
        )
        .warning());
    }
    let ended = match instance.metadata.deletion_timestamp {
        Some(_) => Some(DELETED),
        None => instance.spec.stopped.then_some(STOPPED),
    };
    if let Some(why) = ended {
        return Some(state(VERIFIED, Truth::Unknown, reason::NOT_CHECKED, why));
    }
    let no_place = condition(STALLED).filter(|c| {
        gives(c, &NO_PLACE) && seconds_since(Some(&c.last_transition_time), now) >= PLACE_SECONDS
    });
    if let Some(stalled) = no_place {
        let message = format!(
            "There was no place for the throw-away instance within {} minutes: {} Make room and create another backup \
                to have one proved.",
            PLACE_SECONDS / 60,
            sentence(&stalled.message)
        );
        return Some(state(
            VERIFIED,
            Truth::Unknown,
            reason::NOT_CHECKED,
            message,
        ));
    }
    (seconds_since(started, now) >= PATIENCE_SECONDS && started.is_some()).then(|| {
        let said = condition(READY)
            .map(|c| sentence(&c.message))
            .unwrap_or_default();
        state(
            VERIFIED,
            Truth::Unknown,
            reason::NOT_CHECKED,
            format!(
                "The verification did not come to its end within {} minutes: {said}",
                PATIENCE_SECONDS / 60
            ),
        )
    })
}

fn sentence(text: &str) -> String {
    format!("{}.", crate::facts::sentence(text))
}

/// Whether the data of the instance is this backup's, by what its volume says.
fn is_of_backup(cr: &DatabaseBackup, instance: &DatabaseInstance) -> bool {
    let status = instance.status.as_ref();
    let from = status.and_then(|status| status.restored_from.as_ref());
    from.is_some_and(|from| Some(&from.uid) == cr.metadata.uid.as_ref())
}

/// Whether a throw-away instance takes no room of the cluster: it does not get on, or its time is over.
pub fn takes_no_room(instance: &DatabaseInstance, now: &Time) -> bool {
    let status = instance.status.as_ref();
    let age = seconds_since(instance.metadata.creation_timestamp.as_ref(), now);
    status.is_some_and(|status| has(&status.conditions, STALLED, Truth::True))
        || instance.spec.stopped
        || age >= PATIENCE_SECONDS
}

/// Whether the instance was made to prove this very backup: it says so, the backup owns it, and its data is this
/// backup's.
pub fn is_ours(cr: &DatabaseBackup, instance: &DatabaseInstance) -> bool {
    let uid = cr.metadata.uid.as_deref().unwrap_or_default();
    let from = instance.spec.restore_from.as_ref();
    label(&instance.metadata, LABEL_VERIFIES) == Some(uid)
        && is_controlled_by(&instance.metadata, uid)
        && from.is_some_and(|from| {
            from.backup.namespace.is_none() && Some(&from.backup.name) == cr.metadata.name.as_ref()
        })
}

fn delete(instance: &DatabaseInstance) -> Write {
    Write::delete(Kind::DatabaseInstance, &instance.metadata)
}
