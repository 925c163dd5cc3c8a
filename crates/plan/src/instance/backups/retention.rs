//! Which of an instance's scheduled backups have served their time; the choice itself is in `plan::retention`.

use std::collections::BTreeSet;

use api::names::LABEL_SCHEDULED;
use api::{DatabaseBackup, DatabaseInstance};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::tz::TimeZone;

use super::schedule;
use crate::clock;
use crate::facts::label;
use crate::instance::Observed;
use crate::reading::backup::{is_finished, is_sound};
use crate::retention::{self, Candidate, State};
use crate::{Kind, Write};

/// What is kept when spec.backup.retention is missing: so many good ones.
const KEEP_LAST: u32 = 7;

/// So many backups are deleted in one pass at most, the oldest first: a wrong turn is seen before all are gone.
pub const MOST_AT_A_TIME: usize = 5;

/// Whether a backup of an instance of this name is of this one's data: its own, or of its very volume, which a former
/// instance may have left to it. Those of a former instance with other data are nobody's to delete here.
fn is_of_this_data(
    cr: &DatabaseInstance,
    claim: Option<&PersistentVolumeClaim>,
    backup: &DatabaseBackup,
) -> bool {
    let source = backup
        .status
        .as_ref()
        .and_then(|status| status.source.as_ref());
    let is_own = source.is_some_and(|source| Some(&source.uid) == cr.metadata.uid.as_ref());
    let created = |metadata: &ObjectMeta| metadata.creation_timestamp.as_ref().map(|at| at.0);
    let since = claim.and_then(|claim| created(&claim.metadata));
    is_own || since.is_some_and(|since| created(&backup.metadata) >= Some(since))
}

/// The names of scheduled backups whose time is over, as far as `in_use` allows; by age only while the clocks agree.
pub fn due_to_go(
    cr: &DatabaseInstance,
    claim: Option<&PersistentVolumeClaim>,
    backups: &[DatabaseBackup],
    in_use: &BTreeSet<String>,
    clock_skew: Option<i64>,
    now: &Time,
) -> Vec<String> {
    let Ok(schedule) = schedule(cr) else {
        return Vec::new();
    };
    let Some(spec) = &cr.spec.backup else {
        return Vec::new();
    };
    let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let policy = match &spec.retention {
        Some(rules) => retention::Policy {
            keep_last: number(rules.keep_last),
            keep_daily: number(rules.keep_daily),
            keep_monthly: number(rules.keep_monthly),
            max_age_days: number(rules.max_age_days).filter(|_| clock::is_trusted(clock_skew)),
        },
        None => retention::Policy {
            keep_last: Some(KEEP_LAST),
            ..retention::Policy::default()
        },
    };
    let zone = schedule.map_or(TimeZone::UTC, |schedule| schedule.zone().clone());
    let backups: Vec<&DatabaseBackup> = backups
        .iter()
        .filter(|backup| is_of_this_data(cr, claim, backup))
        .collect();
    let scheduled = backups.iter().filter(|backup| is_scheduled(backup));
    let candidates: Vec<Candidate<'_>> = scheduled
        .filter_map(|backup| candidate(backup, in_use))
        .collect();
    let newest = |good: &dyn Fn(&&DatabaseBackup) -> bool| {
        backups
            .iter()
            .copied()
            .filter(|backup| is_sound(backup))
            .filter(good)
            .filter_map(taken)
            .max()
    };
    let other_good =
        newest(&|backup| !is_scheduled(backup)) > newest(&|backup| is_scheduled(backup));
    retention::expired(&policy, &candidates, other_good, &zone, now.0)
        .into_iter()
        .map(str::to_owned)
        .collect()
}

fn taken(backup: &DatabaseBackup) -> Option<k8s_openapi::jiff::Timestamp> {
    backup.status.as_ref()?.taken_at.as_ref().map(|at| at.0)
}

fn candidate<'a>(backup: &'a DatabaseBackup, in_use: &BTreeSet<String>) -> Option<Candidate<'a>> {
    let name = backup.metadata.name.as_deref()?;
    Some(Candidate {
        name,
        taken_at: taken(backup),
        created_at: backup.metadata.creation_timestamp.as_ref()?.0,
        state: if is_sound(backup) {
            State::Good
        } else if is_finished(backup) {
            State::Failed
        } else {
            State::Unfinished
        },
        in_use: in_use.contains(name),
    })
}

/// Whether the instance's schedule made it, and it stays.
pub fn is_scheduled(backup: &DatabaseBackup) -> bool {
    label(&backup.metadata, LABEL_SCHEDULED) == Some("true")
        && backup.metadata.deletion_timestamp.is_none()
}

/// Deletes them; whether there are more.
pub fn over(cr: &DatabaseInstance, observed: &Observed, now: &Time) -> (Vec<Write>, bool) {
    let backups = &observed.backups;
    let skew = observed.clock_skew;
    let claim = observed.claim.as_ref();
    let mut names = due_to_go(cr, claim, backups, &observed.backups_in_use, skew, now);
    let more = names.len() > MOST_AT_A_TIME;
    names.truncate(MOST_AT_A_TIME);
    let gone = backups.iter().filter(|backup| {
        backup
            .metadata
            .name
            .as_ref()
            .is_some_and(|name| names.contains(name))
    });
    let writes = gone.map(|backup| Write::delete(Kind::DatabaseBackup, &backup.metadata));
    (writes.collect(), more)
}
