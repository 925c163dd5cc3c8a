//! An instance's backups: the schedule that makes them, the retention that deletes them, the hold of an Offline one, and what
//! the user reads of all that.

mod retention;

use std::time::Duration;

use api::backup::BackupPhase;
use api::condition::{
    BACKUP_HEALTHY, STALLED, Statement, VERIFIED, conditions, find, has, reason, state,
};
use api::instance::{Backup, LastBackup};
use api::names::{
    ANNOTATION_HOLD, FIELD_MANAGER, LABEL_MANAGED_BY, LABEL_SCHEDULED, MANAGED_BY, scheduled_backup,
};
use api::{DatabaseBackup, DatabaseInstance, DatabaseInstanceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::conditions::{before, has_served};
use super::{Decision, Observed};
use crate::backup::{conditions_of, is_finished, is_good, is_sound, wants_server_down};
use crate::build::stateful_set::Hold;
use crate::engine;
use crate::schedule::{Field, Schedule};
use crate::{Invalid, Kind, Object, Write};
use retention::{is_scheduled, over};

pub use retention::due_to_go;

/// What a pass does and says about backups.
pub struct Backups {
    /// The Offline backup for which the server is to be held back.
    pub hold: Option<Hold>,
    /// The run that is due, and the backups whose time is over.
    pub writes: Vec<Write>,
    /// Why the schedule cannot be carried out.
    pub invalid: Option<Invalid>,
    statement: Option<Statement>,
    /// The run that status.nextBackup tells: one that is due stays there until its backup was seen.
    next: Option<Time>,
    /// When there is something to do without an event.
    wake: Option<Time>,
    /// Whether a restore uses one whose time is over.
    held_back: bool,
}

/// How soon it is noticed that a restore needs its backup no more.
const IN_USE_RECHECK: Duration = Duration::from_secs(60);

/// Decides about the backups of an instance that is not being deleted.
pub fn plan(cr: &DatabaseInstance, observed: &Observed, now: &Time) -> Backups {
    let mut backups = Backups {
        hold: hold(cr, observed, now),
        writes: Vec::new(),
        invalid: None,
        statement: None,
        next: None,
        wake: None,
        held_back: !observed.backups_in_use.is_empty(),
    };
    let schedule = match schedule(cr) {
        Ok(schedule) => schedule,
        Err(invalid) => {
            backups.statement = Some(state(
                BACKUP_HEALTHY,
                "False",
                invalid.reason,
                invalid.message.clone(),
            ));
            backups.invalid = Some(invalid);
            return backups;
        }
    };
    if let (Some(schedule), Some(spec)) = (&schedule, &cr.spec.backup) {
        backups.wake = schedule.next_after(now.0).map(Time);
        backups.next = backups.wake.clone();
        backups.statement = Some(health(observed, backups.wake.as_ref()));
        if let Some(run) = due(cr, schedule, now) {
            let name = scheduled_backup(
                cr.metadata.name.as_deref().unwrap_or_default(),
                &run.0.strftime("%Y%m%d-%H%M").to_string(),
            );
            let there = observed
                .backups
                .iter()
                .any(|backup| backup.metadata.name.as_deref() == Some(&name));
            if !there {
                backups
                    .writes
                    .push(Write::Create(scheduled(cr, spec, &name)));
                backups.next = before(cr).next_backup;
            }
        }
    }
    backups
        .writes
        .extend(over(cr, &observed.backups, &observed.backups_in_use, now));
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

/// The run that is due: the latest one since status.nextBackup, for any number of them. A schedule that has just been changed
/// owes only what it would have run itself.
fn due(cr: &DatabaseInstance, schedule: &Schedule, now: &Time) -> Option<Time> {
    let planned = before(cr).next_backup?;
    if planned.0 > now.0 || !has_served(cr) || !schedule.matches(planned.0) {
        return None;
    }
    let run = schedule
        .latest_at_or_before(now.0, planned.0)
        .unwrap_or(planned.0);
    Some(Time(run))
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

/// The hold for that backup. It has its time from when its turn comes, which may be long after the backup began; the template
/// remembers.
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
fn health(observed: &Observed, next: Option<&Time>) -> Statement {
    let last = observed
        .backups
        .iter()
        .filter(|backup| is_scheduled(backup))
        .max_by_key(|backup| {
            (
                is_finished(backup) || find(conditions_of(backup), STALLED).is_some(),
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
            "True",
            reason::BACKUPS_SUCCEED,
            format!("No scheduled backup was due yet.{next}"),
        );
    };
    let name = last.metadata.name.as_deref().unwrap_or_default();
    let find = |type_: &str| find(conditions_of(last), type_);
    let phase = last.status.as_ref().and_then(|status| status.phase);
    let unhealthy = |reason, message: String| state(BACKUP_HEALTHY, "False", reason, message);
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
        (_, _, Some(proof)) if proof.status == "False" => unhealthy(
            reason::CHECK_FAILED,
            format!(
                "The last scheduled backup, {name}, is damaged: {}",
                proof.message
            ),
        ),
        _ => state(
            BACKUP_HEALTHY,
            "True",
            reason::BACKUPS_SUCCEED,
            format!("The last scheduled backup is {name}.{next}"),
        ),
    }
}

/// Puts what is known of backups into the status.
pub fn tell(
    cr: &DatabaseInstance,
    observed: &Observed,
    backups: &Backups,
    status: &mut DatabaseInstanceStatus,
    now: &Time,
) {
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
    let is_proved = |backup: &DatabaseBackup| has(conditions_of(backup), VERIFIED, "True");
    status.last_backup = newest(&|_| true);
    status.last_verified_backup = newest(&is_proved);
    status.next_backup = backups.next.clone();
    status
        .conditions
        .retain(|condition| condition.type_ != BACKUP_HEALTHY);
    let generation = cr.metadata.generation.unwrap_or_default();
    status.conditions.extend(conditions(
        &before(cr).conditions,
        backups.statement.as_slice(),
        generation,
        now,
    ));
}

/// When the next run is due, or a backup may be free to go.
pub fn recheck(backups: &Backups, now: &Time) -> Option<Duration> {
    let wake = backups.wake.as_ref().map(|wake| {
        let seconds = wake.0.as_second() - now.0.as_second();
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0) + 1)
    });
    let free = backups.held_back.then_some(IN_USE_RECHECK);
    [wake, free].into_iter().flatten().min()
}
