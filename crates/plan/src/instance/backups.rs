//! An instance's backups: the schedule that makes them, the retention that deletes them, the hold of an Offline one,
//! and what the user reads of all that.

mod retention;

use std::time::Duration;

use api::backup::BackupPhase;
use api::condition::{
    BACKUP_HEALTHY, PlannedCondition, STALLED, Truth, VERIFIED, has, reason, state,
};
use api::instance::{Backup, LastBackup};
use api::names::{
    ANNOTATION_HOLD, FIELD_MANAGER, LABEL_MANAGED_BY, LABEL_SCHEDULED, MANAGED_BY, scheduled_backup,
};
use api::reported::Reported;
use api::{DatabaseBackup, DatabaseInstance, DatabaseInstanceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::{Decision, Observed};
use crate::build::stateful_set::Hold;
use crate::engine;
use crate::reading::backup::{is_finished, is_good, is_sound, wants_server_down};
use crate::reading::instance::has_served;
use crate::schedule::{Field, Schedule};
use crate::step::{Standing, Step};
use crate::{Invalid, Kind, Object, Write, still_going};
use retention::{is_scheduled, over};

pub use retention::{MOST_AT_A_TIME, due_to_go};

/// What a pass does and says about backups.
pub struct Backups {
    /// The Offline backup for which the server is to be held back.
    pub hold: Option<Hold>,
    /// The run that is due, and the backups whose time is over.
    pub writes: Vec<Write>,
    /// Why the schedule cannot be carried out.
    pub invalid: Option<Invalid>,
    planned: Option<PlannedCondition>,
    /// The run that status.nextBackup tells: one that is due stays there until its backup was seen.
    next: Option<Time>,
    /// When there is something to do without an event.
    wake: Option<Time>,
    /// Whether a restore uses one whose time is over, or something has the name of one that is to be made.
    is_blocked: bool,
    /// Whether there are more whose time is over than go in one pass.
    more_to_go: bool,
}

/// How soon it is noticed that a restore needs its backup no more, or a name is free.
const BLOCKED_REQUEUE: Duration = Duration::from_secs(60);

/// When the next of many that are to go are deleted.
const MORE_TO_GO: Duration = Duration::from_secs(5);

/// Decides about the backups of an instance that is not being deleted.
pub fn plan(cr: &DatabaseInstance, observed: &Observed, now: &Time) -> Backups {
    let mut backups = Backups {
        hold: hold(cr, observed, now),
        writes: Vec::new(),
        invalid: None,
        planned: None,
        next: None,
        wake: None,
        is_blocked: !observed.backups_in_use.is_empty(),
        more_to_go: false,
    };
    let schedule = match schedule(cr) {
        Ok(schedule) => schedule,
        Err(invalid) => {
            let message = invalid.message.clone();
            let unhealthy = state(BACKUP_HEALTHY, Truth::False, invalid.reason, message);
            backups.planned = Some(unhealthy.warning());
            backups.invalid = Some(invalid);
            return backups;
        }
    };
    if let (Some(schedule), Some(spec)) = (&schedule, &cr.spec.backup) {
        backups.wake = schedule.next_after(now.0).map(Time);
        backups.next = backups.wake.clone();
        backups.planned = Some(health(observed, backups.wake.as_ref()));
        if let Some(name) = due(cr, schedule, now) {
            let mut named = observed.backups.iter();
            let there = named.any(|backup| backup.metadata.name.as_deref() == Some(&name));
            if !there {
                backups.next = cr.last_status().next_backup;
            }
            if let Some(others) = observed.others_backup_named(&name) {
                let (why, message) = match &others.deletion_timestamp {
                    Some(_) => {
                        let message = still_going("DatabaseBackup", &name);
                        (reason::WAITING_FOR_DELETION, message)
                    }
                    None => {
                        let message = format!(
                            "There is a DatabaseBackup {name} of another instance, and the scheduled one would have \
                                this name. Delete it; else the run is left out when the next one is due."
                        );
                        (reason::NAME_TAKEN, message)
                    }
                };
                let taken = state(BACKUP_HEALTHY, Truth::False, why, message);
                backups.planned = Some(taken.warning());
                backups.is_blocked = true;
            } else if !there {
                let run = scheduled(cr, spec, &name);
                backups.writes.push(Write::Create(run));
            }
        }
    }
    let (gone, more) = over(cr, observed, now);
    backups.writes.extend(gone);
    backups.more_to_go = more;
    backups
}

/// The schedule, if there is one and it parses.
pub fn schedule(cr: &DatabaseInstance) -> Decision<Option<Schedule>> {
    let Some(spec) = &cr.spec.backup else {
        return Ok(None);
    };
    let Some(cron) = &spec.schedule else {
        return Ok(None);
    };
    Schedule::parse(cron, &spec.time_zone)
        .map(Some)
        .map_err(|error| match error.field {
            Field::Schedule => Invalid::spec(
                reason::INVALID_SCHEDULE,
                format!("spec.backup.schedule: {}", error.message),
            ),
            Field::TimeZone => Invalid::spec(
                reason::INVALID_TIME_ZONE,
                format!("spec.backup.timeZone: {}", error.message),
            ),
        })
}

/// The name of the backup that is due by the schedule.
pub fn due_name(cr: &DatabaseInstance, now: &Time) -> Option<String> {
    due(cr, schedule(cr).ok()?.as_ref()?, now)
}

/// The backup of the run that is due: the latest one since status.nextBackup, for any number of them. A schedule that
/// has just been changed owes only what it would have run itself.
fn due(cr: &DatabaseInstance, schedule: &Schedule, now: &Time) -> Option<String> {
    let planned = cr.last_status().next_backup?;
    if planned.0 > now.0 || !has_served(cr) || !schedule.matches(planned.0) {
        return None;
    }
    let run = schedule
        .latest_at_or_before(now.0, planned.0)
        .unwrap_or(planned.0);
    let name = cr.metadata.name.as_deref().unwrap_or_default();
    let time = run.strftime("%Y%m%d-%H%M").to_string();
    Some(scheduled_backup(name, &time))
}

fn scheduled(cr: &DatabaseInstance, spec: &Backup, name: &str) -> Object {
    let mut wanted = json!({
        "instance": cr.metadata.name, "method": spec.method, "verify": spec.verify,
    });
    if let Some(class) = &spec.snapshot_class_name {
        wanted["snapshotClassName"] = json!(class);
    }
    if let Some(days) = spec
        .retention
        .as_ref()
        .and_then(|retention| retention.max_age_days)
    {
        // So that its age ends it also when the instance is gone.
        wanted["retentionDays"] = json!(days);
    }
    if !spec.allowed_namespaces.is_empty() {
        wanted["allowedNamespaces"] = json!(spec.allowed_namespaces);
    }
    backup(cr, name, json!({LABEL_SCHEDULED: "true"}), wanted)
}

/// A DatabaseBackup that the operator makes; owned by nobody, because backups outlive their instance.
pub fn backup(cr: &DatabaseInstance, name: &str, more_labels: Value, spec: Value) -> Object {
    let (api_version, kind, _) = Kind::DatabaseBackup.api();
    let mut labels =
        json!({LABEL_MANAGED_BY: MANAGED_BY, "app.kubernetes.io/part-of": FIELD_MANAGER});
    if let (Value::Object(labels), Value::Object(more)) = (&mut labels, more_labels) {
        labels.extend(more);
    }
    Object {
        kind: Kind::DatabaseBackup,
        value: json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "namespace": cr.metadata.namespace, "labels": labels}, "spec": spec,
        }),
    }
}

/// The Offline backup that wants the server down; one at a time, the first that began.
pub fn holder<'a>(
    cr: &DatabaseInstance,
    backups: &'a [DatabaseBackup],
) -> Option<&'a DatabaseBackup> {
    let wanted = backups
        .iter()
        .filter(|backup| !cr.spec.stopped && wants_server_down(backup));
    wanted.min_by_key(|backup| {
        let status = backup.status.as_ref();
        let started = status.and_then(|status| status.started_at.as_ref().map(|at| at.0));
        (started, backup.metadata.name.clone())
    })
}

/// The hold for that backup. It has its time from when its turn comes, which may be long after the backup began; the
/// template remembers.
fn hold(cr: &DatabaseInstance, observed: &Observed, now: &Time) -> Option<Hold> {
    let backup = holder(cr, &observed.backups)?;
    let backup_uid = backup.metadata.uid.clone()?;
    let template = json!(observed.stateful_set)["spec"]["template"].take();
    let is_in_force = template["metadata"]["annotations"][ANNOTATION_HOLD] == *backup_uid;
    let value = |list: &Value, name: &str, key: &str| {
        let mut list = list.as_array().into_iter().flatten();
        let found = list.find(|item| item["name"] == name);
        found.map(|item| item[key].clone()).unwrap_or_default()
    };
    let env = value(&template["spec"]["initContainers"], "hold", "env");
    let until = value(&env, "HOLD_UNTIL", "value");
    let until = until.as_str().and_then(|until| until.parse().ok());
    let seconds = i64::from(backup.spec.hold_seconds);
    // The stop itself may take its time; a pod that starts later than this does not wait at all.
    let latest = now.0.as_second() + engine::of(cr.spec.engine).grace_seconds() + seconds;
    Some(Hold {
        backup_name: backup.metadata.name.clone()?,
        backup_uid,
        seconds,
        until: until.filter(|_| is_in_force).unwrap_or(latest),
    })
}

/// BackupHealthy: how the last scheduled backup went. One that is under way says nothing yet.
fn health(observed: &Observed, next: Option<&Time>) -> PlannedCondition {
    let last = observed
        .backups
        .iter()
        .filter(|backup| is_scheduled(backup))
        .max_by_key(|backup| {
            (
                is_finished(backup) || backup.condition(STALLED).is_some(),
                backup.metadata.creation_timestamp.as_ref().map(|at| at.0),
                backup.metadata.name.clone(),
            )
        });
    let next = next
        .map(|next| format!(" The next one is due at {}.", next.0))
        .unwrap_or_default();
    let Some(last) = last else {
        return state(
            BACKUP_HEALTHY,
            Truth::True,
            reason::BACKUPS_SUCCEED,
            format!("No scheduled backup was due yet.{next}"),
        );
    };
    let name = last.metadata.name.as_deref().unwrap_or_default();
    let find = |type_: &str| last.condition(type_);
    let phase = last.status.as_ref().and_then(|status| status.phase);
    let unhealthy =
        |reason, message: String| state(BACKUP_HEALTHY, Truth::False, reason, message).warning();
    match (phase, find(STALLED), find(VERIFIED)) {
        (Some(BackupPhase::Failed), Some(why), _) => unhealthy(
            reason::BACKUP_FAILED,
            format!("The last scheduled backup, {name}, failed: {}", why.message),
        ),
        (_, Some(why), _) if !is_good(last) => unhealthy(
            reason::BACKUP_WAITING,
            format!(
                "The last scheduled backup, {name}, cannot be taken: {}",
                why.message
            ),
        ),
        (_, _, Some(verification)) if Truth::False.is(verification) => unhealthy(
            reason::CHECK_FAILED,
            format!(
                "The last scheduled backup, {name}, is damaged: {}",
                verification.message
            ),
        ),
        _ => state(
            BACKUP_HEALTHY,
            Truth::True,
            reason::BACKUPS_SUCCEED,
            format!("The last scheduled backup is {name}.{next}"),
        ),
    }
}

/// Puts what is known of backups into the status.
pub fn tell(observed: &Observed, backups: &Backups, status: &mut DatabaseInstanceStatus) {
    let newest = |wanted: &dyn Fn(&DatabaseBackup) -> bool| {
        let found = observed
            .backups
            .iter()
            .filter(|backup| is_sound(backup) && wanted(backup))
            .filter_map(|backup| {
                Some(LastBackup {
                    name: backup.metadata.name.clone()?,
                    taken_at: backup.status.as_ref()?.taken_at.clone()?,
                })
            });
        found.max_by_key(|last| (last.taken_at.0, last.name.clone()))
    };
    let is_verified = |backup: &DatabaseBackup| has(backup.conditions(), VERIFIED, Truth::True);
    status.last_backup = newest(&|_| true);
    status.last_verified_backup = newest(&is_verified);
    status.next_backup = backups.next.clone();
}

/// What is done and said about backups.
pub fn step(backups: &Backups, now: &Time) -> Step {
    let step = Step::says(backups.planned.clone(), Standing::AtRest);
    step.writing(backups.writes.clone())
        .again(requeue(backups, now))
}

/// When the next run is due, or a backup may be free to go.
fn requeue(backups: &Backups, now: &Time) -> Option<Duration> {
    let wake = backups.wake.as_ref().map(|wake| {
        let seconds = wake.0.as_second() - now.0.as_second();
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0) + 1)
    });
    let free = backups.is_blocked.then_some(BLOCKED_REQUEUE);
    let more = backups.more_to_go.then_some(MORE_TO_GO);
    [wake, free, more].into_iter().flatten().min()
}
