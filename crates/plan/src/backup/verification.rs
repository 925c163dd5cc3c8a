//! The proof of a backup: a throw-away instance is restored from it, looks at itself with the engine's own checks, and goes.

use std::time::Duration;

use api::backup::DatabaseBackupStatus;
use api::condition::{READY, STALLED, Statement, VERIFIED, find, reason, state};
use api::names::{LABEL_VERIFIES, verification_instance};
use api::{DatabaseBackup, DatabaseInstance};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{Observed, is_good};
use crate::build::database_instance::throw_away;
use crate::facts::{label, seconds_since};
use crate::{Kind, Write};

/// What a proof adds to a pass.
#[derive(Default)]
pub struct Proof {
    /// The throw-away instance to be made or deleted.
    pub writes: Vec<Write>,
    /// Verified, if there is something new to say of it.
    pub statement: Option<Statement>,
    /// When to look again.
    pub recheck: Option<Duration>,
}

/// A proof that has not come to its end after so many seconds says nothing.
const PATIENCE_SECONDS: i64 = 3600;
/// While another proof takes the room.
const ROOM: Duration = Duration::from_secs(5);
const DELETED: &str = "The throw-away instance was deleted before the checks had ended. Create another backup to have one proved.";
/// Whether the backup waits for its proof, or the proof is under way.
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
                    .is_none_or(|proof| proof.verified_at.is_none())
        })
}

/// The next step.
pub fn decide(
    cr: &DatabaseBackup,
    observed: &Observed,
    status: &mut DatabaseBackupStatus,
    now: &Time,
) -> Proof {
    let instance = observed
        .verification
        .as_ref()
        .filter(|instance| is_ours(cr, instance));
    if !is_open(cr) {
        // The result is on record: only now may the instance go.
        let writes = instance
            .filter(|instance| instance.metadata.deletion_timestamp.is_none())
            .map(delete);
        if let Some(proof) = &mut status.verification {
            proof.instance = instance.and_then(|instance| instance.metadata.name.clone());
        }
        return Proof {
            writes: writes.into_iter().collect(),
            ..Proof::default()
        };
    }
    let Some(instance) = instance else {
        let known = status.verification.as_mut();
        if let Some(proof) = known.filter(|proof| proof.instance.is_some()) {
            proof.instance = None;
            proof.verified_at = Some(now.clone());
            return Proof {
                statement: Some(state(VERIFIED, "Unknown", reason::NOT_CHECKED, DELETED)),
                ..Proof::default()
            };
        }
        return begin(cr, observed, status);
    };
    let mut proof = status.verification.clone().unwrap_or_default();
    proof.instance = instance.metadata.name.clone();
    proof.started_at = proof
        .started_at
        .or_else(|| instance.metadata.creation_timestamp.clone());
    let restored = instance
        .status
        .as_ref()
        .and_then(|status| status.restore.clone())
        .unwrap_or_default();
    if let (Some(from), Some(to)) = (&restored.started_at, &restored.completed_at) {
        proof.restore_seconds = Some(to.0.as_second() - from.0.as_second());
        proof.steps = restored.steps;
    }
    let result = result(instance, proof.started_at.as_ref(), now);
    if result.is_some() {
        proof.verified_at = Some(now.clone());
    }
    let under_way = || {
        state(
            VERIFIED,
            "Unknown",
            reason::VERIFYING,
            format!(
                "The backup is being restored into the throw-away instance {} and checked.",
                instance.metadata.name.as_deref().unwrap_or_default()
            ),
        )
    };
    status.verification = Some(proof);
    Proof {
        writes: Vec::new(),
        recheck: Some(ROOM),
        statement: Some(result.unwrap_or_else(under_way)),
    }
}

/// The snapshot cannot be restored now: a proof without a result is given up, and begins anew when it can.
pub fn set_aside(
    cr: &DatabaseBackup,
    observed: &Observed,
    status: &mut DatabaseBackupStatus,
) -> Proof {
    let instance = observed.verification.iter();
    let ours = instance.filter(|i| is_ours(cr, i) && i.metadata.deletion_timestamp.is_none());
    let mut proof = Proof {
        writes: ours.map(delete).collect(),
        ..Proof::default()
    };
    if is_open(cr) {
        status.verification = None;
        let message = "The proof begins when the snapshot can be restored.";
        proof.statement = Some(state(VERIFIED, "Unknown", reason::VERIFYING, message));
    }
    proof
}

fn begin(cr: &DatabaseBackup, observed: &Observed, status: &DatabaseBackupStatus) -> Proof {
    let name = verification_instance(cr.metadata.uid.as_deref().unwrap_or_default());
    if observed.verification.is_some() {
        let message = format!(
            "There is a DatabaseInstance {name} that was not made for this proof. Delete it."
        );
        return Proof {
            statement: Some(state(VERIFIED, "Unknown", reason::NAME_TAKEN, message)),
            recheck: Some(ROOM),
            writes: Vec::new(),
        };
    }
    let waits = |message: &str| Some(state(VERIFIED, "Unknown", reason::VERIFYING, message));
    if !observed.may_verify {
        return Proof {
            statement: waits("The proof waits until others are done."),
            recheck: Some(ROOM),
            writes: Vec::new(),
        };
    }
    let source = status.source.as_ref();
    let made = source.map(|source| throw_away(cr, source, status.restore_size.as_ref()));
    Proof {
        writes: made.map(Write::Create).into_iter().collect(),
        statement: waits("The backup is about to be restored into a throw-away instance."),
        recheck: Some(ROOM),
    }
}

/// What the throw-away instance tells of the backup, once it does.
fn result(instance: &DatabaseInstance, started: Option<&Time>, now: &Time) -> Option<Statement> {
    let condition =
        |type_: &str| -> Option<&Condition> { find(&instance.status.as_ref()?.conditions, type_) };
    match condition(VERIFIED) {
        Some(c) if c.status == "True" => {
            return Some(state(
                VERIFIED,
                "True",
                reason::CHECKED,
                format!("Restored and found good: {}", sentence(&c.message)),
            ));
        }
        Some(c) if c.status == "False" => {
            return Some(state(
                VERIFIED,
                "False",
                reason::CHECK_FAILED,
                format!(
                    "Restored and found damaged: {} Do not rely on this backup; take another.",
                    sentence(&c.message)
                ),
            ));
        }
        Some(c) if c.reason == reason::NOT_CHECKED => {
            return Some(state(
                VERIFIED,
                "Unknown",
                reason::NOT_CHECKED,
                c.message.clone(),
            ));
        }
        _ => {}
    }
    // Of all that can keep it from serving, this alone is the backup's fault and not the cluster's.
    if let Some(stalled) = condition(STALLED).filter(|c| c.reason == reason::CRASH_LOOP) {
        return Some(state(
            VERIFIED,
            "False",
            reason::CHECK_FAILED,
            format!(
                "The restored database does not start: {} Do not rely on this backup; take another.",
                sentence(&stalled.message)
            ),
        ));
    }
    if instance.metadata.deletion_timestamp.is_some() {
        return Some(state(VERIFIED, "Unknown", reason::NOT_CHECKED, DELETED));
    }
    (seconds_since(started, now) >= PATIENCE_SECONDS && started.is_some()).then(|| {
        let said = condition(READY)
            .map(|c| c.message.clone())
            .unwrap_or_default();
        state(
            VERIFIED,
            "Unknown",
            reason::NOT_CHECKED,
            format!(
                "The proof did not come to its end within {} minutes: {said}",
                PATIENCE_SECONDS / 60
            ),
        )
    })
}

fn sentence(text: &str) -> String {
    format!("{}.", text.trim().trim_end_matches('.'))
}

fn is_ours(cr: &DatabaseBackup, instance: &DatabaseInstance) -> bool {
    label(&instance.metadata, LABEL_VERIFIES) == cr.metadata.uid.as_deref()
}

fn delete(instance: &DatabaseInstance) -> Write {
    Write::delete(Kind::DatabaseInstance, &instance.metadata)
}
