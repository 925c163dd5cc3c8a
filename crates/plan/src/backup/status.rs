//! What the user reads about a backup, as a function of what was observed.

use std::time::Duration;

use api::backup::BackupPhase;
use api::condition::{
    READY, RECONCILING, STALLED, Statement, VERIFIED, conditions, find, has, reason, state,
};
use api::{DatabaseBackup, DatabaseBackupStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{LATER, SOON};
use crate::{Invalid, Notice, Write};

/// Writes, a status, and when to look again at things that are not watched.
pub struct Verdict {
    /// What to write.
    pub writes: Vec<Write>,
    /// The whole status.
    pub status: DatabaseBackupStatus,
    /// `None`: only when something changes.
    pub recheck: Option<Duration>,
}

impl Verdict {
    /// Nothing more to say.
    pub fn rest(status: DatabaseBackupStatus, writes: Vec<Write>) -> Self {
        Verdict {
            writes,
            status,
            recheck: None,
        }
    }

    /// The work goes on.
    pub fn running(
        cr: &DatabaseBackup,
        status: DatabaseBackupStatus,
        (reason, message): (&'static str, String),
        writes: Vec<Write>,
        now: &Time,
    ) -> Self {
        let statements = [
            state(READY, "False", reason, message.clone()),
            state(RECONCILING, "True", reason, message),
        ];
        Verdict {
            writes,
            status: finish(
                cr,
                DatabaseBackupStatus {
                    phase: Some(BackupPhase::Running),
                    ..status
                },
                &statements,
                now,
            ),
            recheck: Some(SOON),
        }
    }
}

/// Not Ready, and a person is needed.
pub fn unwell(reason: &'static str, message: &str) -> [Statement; 2] {
    [
        state(READY, "False", reason, message),
        state(STALLED, "True", reason, message),
    ]
}

/// The status as it was written last.
pub fn before(cr: &DatabaseBackup) -> DatabaseBackupStatus {
    cr.status.clone().unwrap_or_default()
}

/// Puts conditions into a status; one that is not stated is gone, but for the result of a proof.
pub fn finish(
    cr: &DatabaseBackup,
    status: DatabaseBackupStatus,
    statements: &[Statement],
    now: &Time,
) -> DatabaseBackupStatus {
    let generation = cr.metadata.generation.unwrap_or_default();
    let old = before(cr).conditions;
    let mut list = conditions(&old, statements, generation, now);
    let stated = statements
        .iter()
        .any(|statement| statement.type_ == VERIFIED);
    let kept = old
        .into_iter()
        .filter(|condition| condition.type_ == VERIFIED && !stated);
    list.extend(kept.map(|condition| Condition {
        observed_generation: Some(generation),
        ..condition
    }));
    DatabaseBackupStatus {
        observed_generation: Some(generation),
        conditions: list,
        ..status
    }
}

/// Something is missing, nothing was made.
pub fn invalid(cr: &DatabaseBackup, invalid: &Invalid, now: &Time) -> Verdict {
    let statements = unwell(invalid.reason, &invalid.message);
    let status = DatabaseBackupStatus {
        phase: before(cr).phase.or(Some(BackupPhase::Pending)),
        ..before(cr)
    };
    Verdict {
        writes: Vec::new(),
        status: finish(cr, status, &statements, now),
        recheck: Some(LATER),
    }
}

/// Something is wrong that is being tried again.
pub fn stalled(
    cr: &DatabaseBackup,
    status: DatabaseBackupStatus,
    reason: &'static str,
    message: &str,
    now: &Time,
) -> Verdict {
    let status = DatabaseBackupStatus {
        phase: Some(BackupPhase::Running),
        ..status
    };
    Verdict {
        writes: Vec::new(),
        status: finish(cr, status, &unwell(reason, message), now),
        recheck: Some(SOON),
    }
}

/// The backup has failed for good.
pub fn given_up(
    cr: &DatabaseBackup,
    status: DatabaseBackupStatus,
    reason: &'static str,
    message: &str,
    now: &Time,
) -> Verdict {
    let status = DatabaseBackupStatus {
        phase: Some(BackupPhase::Failed),
        ..status
    };
    Verdict::rest(
        finish(cr, status, &unwell(reason, message), now),
        Vec::new(),
    )
}

/// The backup has failed before: what was said stays.
pub fn settled(cr: &DatabaseBackup, writes: Vec<Write>) -> Verdict {
    let mut status = before(cr);
    status.observed_generation = Some(cr.metadata.generation.unwrap_or_default());
    for condition in &mut status.conditions {
        condition.observed_generation = status.observed_generation;
    }
    Verdict::rest(status, writes)
}

/// A pause holds back what is to be done with a backup that has come to its end; what is true of its snapshot stays.
pub fn held(cr: &DatabaseBackup, verdict: Verdict, why: &str, now: &Time) -> Verdict {
    let mut status = verdict.status;
    if find(&status.conditions, STALLED).is_none() {
        let statement = [state(STALLED, "True", reason::PAUSED, why)];
        let generation = cr.metadata.generation.unwrap_or_default();
        let stalled = conditions(&before(cr).conditions, &statement, generation, now);
        status.conditions.extend(stalled);
    }
    Verdict {
        writes: Vec::new(),
        status,
        recheck: verdict.recheck,
    }
}

/// The resource is being deleted; Kubernetes collects what it owns.
pub fn leaving(cr: &DatabaseBackup, now: &Time) -> Verdict {
    let statement = state(
        READY,
        "False",
        reason::DELETING,
        "The resource is being deleted.",
    );
    let status = DatabaseBackupStatus {
        phase: Some(BackupPhase::Deleting),
        ..before(cr)
    };
    Verdict::rest(finish(cr, status, &[statement], now), Vec::new())
}

/// The status when a write was refused: what is true of the snapshot stays, and the refusal is said.
pub fn failed(
    cr: &DatabaseBackup,
    planned: &DatabaseBackupStatus,
    error: &str,
    now: &Time,
) -> DatabaseBackupStatus {
    let quota = error.contains("exceeded quota");
    let reason = if quota {
        reason::QUOTA_EXCEEDED
    } else {
        reason::APPLY_FAILED
    };
    let message = format!(
        "The API server refused a write: {error}. It is tried again; the operator's log shows more."
    );
    let ready = has(&planned.conditions, READY, "True");
    let mut statements = vec![state(STALLED, "True", reason, message.clone())];
    if ready {
        statements.push(state(
            READY,
            "True",
            reason::COMPLETED,
            "The snapshot is complete and can be restored.",
        ));
    } else {
        statements.push(state(READY, "False", reason, message));
    }
    let mut status = finish(cr, planned.clone(), &statements, now);
    // The result of a proof is told once; it must not be lost.
    let proved = planned.conditions.iter().filter(|c| c.type_ == VERIFIED);
    status.conditions.retain(|c| c.type_ != VERIFIED);
    status.conditions.extend(proved.cloned());
    status
}

/// An Event for each condition whose reason is a new one; what is only under way is no news.
pub fn notices(cr: &DatabaseBackup, status: &DatabaseBackupStatus) -> Vec<Notice> {
    let old = before(cr).conditions;
    let is_new = |condition: &&Condition| {
        !old.iter()
            .any(|old| old.type_ == condition.type_ && old.reason == condition.reason)
    };
    let is = |type_: &str| find(&status.conditions, type_).is_some();
    let (stalled, goes_on) = (is(STALLED), is(RECONCILING));
    status
        .conditions
        .iter()
        .filter(|condition| match condition.type_.as_str() {
            READY => !goes_on,
            VERIFIED => condition.reason != reason::VERIFYING,
            _ => false,
        })
        .filter(is_new)
        .map(|condition| Notice {
            warning: condition.status == "False" && (stalled || condition.type_ == VERIFIED),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        })
        .collect()
}
