//! Backups as the instance sees them: the schedule, the retention, the hold of an Offline one, and what the user reads.

mod hold;
mod retention;

use api::condition::{BACKUP_HEALTHY, READY, STALLED, reason};
use api::{DatabaseBackup, Engine};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rstest::rstest;
use serde_json::{Value, json};

use super::scenarios::running;
use super::world::{World, merge};
use crate::{Kind, Write};

pub fn time(text: &str) -> Time {
    Time(text.parse().unwrap())
}

/// A running instance with this spec.backup; it is 2027-01-15T08:00:00Z.
pub fn with_backups(backup: Value) -> World {
    running(Engine::Postgresql, json!({ "backup": backup }))
}

fn daily() -> World {
    with_backups(json!({"schedule": "0 3 * * *"}))
}

pub fn names(world: &World) -> Vec<&str> {
    let backups = world.observed.backups.iter();
    backups
        .map(|backup| backup.metadata.name.as_deref().unwrap())
        .collect()
}

fn next(world: &World) -> String {
    let next = world.cr.status.as_ref().unwrap().next_backup.clone();
    next.map_or(String::new(), |next| next.0.to_string())
}

/// Changes a backup; its status included.
pub fn edit(world: &mut World, name: &str, change: Value) {
    let found = world.observed.backups.iter_mut();
    let backup = found
        .into_iter()
        .find(|backup| backup.metadata.name.as_deref() == Some(name));
    let backup = backup.unwrap();
    let mut value = json!(backup);
    merge(&mut value, &change);
    *backup = serde_json::from_value(value).unwrap();
}

pub fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": time("2027-01-15T08:00:00Z")})
}

/// What a good backup says.
pub fn good(taken: &Time) -> Value {
    json!({"status": {"phase": "Ready", "takenAt": taken, "readyAt": taken, "conditions": [condition(READY, "True",
        "Completed", "")]}})
}

/// What a failed backup says.
pub fn failed(message: &str) -> Value {
    let conditions = [READY, STALLED].map(|type_| {
        condition(
            type_,
            if type_ == READY { "False" } else { "True" },
            "DeadlineExceeded",
            message,
        )
    });
    json!({"status": {"phase": "Failed", "conditions": conditions}})
}

/// A backup of the instance that somebody, or the schedule, made at this time.
pub fn add(world: &mut World, name: &str, at: &Time, scheduled: bool, rest: Value) {
    let mut value = json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseBackup",
        "metadata": {"name": name, "namespace": "demo", "uid": format!("uid-of-{name}"), "creationTimestamp": at,
            "labels": {"minidbaas.dev/scheduled": scheduled.to_string()}},
        "spec": {"instance": "shop"},
        "status": {"conditions": [], "source": {"instance": "shop", "uid": "cr-uid", "pvc": "shop",
            "engine": "postgresql", "version": "17", "database": "shop", "username": "app"}},
    });
    merge(&mut value, &rest);
    let backup: DatabaseBackup = serde_json::from_value(value).unwrap();
    world.observed.backups.push(backup);
}

#[test]
fn a_run_that_is_due_is_made_once_and_says_all_of_the_spec() {
    let mut world = with_backups(json!({
        "schedule": "0 3 * * *", "method": "Quiesced", "snapshotClassName": "fine", "verify": true,
        "allowedNamespaces": ["other"], "retention": {"keepLast": 3, "maxAgeDays": 30},
    }));
    assert_eq!(next(&world), "2027-01-16T03:00:00Z");
    world.now = time("2027-01-16T02:59:59Z");
    world.settle();
    assert_eq!(names(&world), [""; 0]);
    world.now = time("2027-01-16T03:00:00Z");
    let plan = world.pass();
    let [Write::Create(backup)] = &plan.writes[..] else {
        panic!("{:?}", plan.writes)
    };
    insta::assert_yaml_snapshot!("scheduled", backup.value);
    for _ in 0..3 {
        world.settle();
    }
    assert_eq!(names(&world), ["shop-20270116-0300"]);
    assert_eq!(next(&world), "2027-01-17T03:00:00Z");
    world.observed.backups.clear();
    world.settle();
    assert_eq!(
        names(&world),
        [""; 0],
        "one that was deleted is not made again"
    );
}

#[test]
fn for_any_number_of_missed_runs_one_is_made() {
    let mut world = daily();
    world.now = time("2027-01-21T17:30:00Z");
    let plan = world.settle();
    assert_eq!(names(&world), ["shop-20270121-0300"]);
    assert_eq!(next(&world), "2027-01-22T03:00:00Z");
    assert_eq!(plan.requeue.unwrap().as_secs(), 34_201);
}

#[test]
fn a_refused_write_does_not_lose_the_run() {
    let mut world = daily();
    world.now = time("2027-01-16T03:00:05Z");
    let planned = world.decide().status;
    world.cr.status = Some(crate::instance::failed(
        &world.cr,
        &planned,
        "exceeded quota",
        &world.now,
    ));
    assert_eq!(next(&world), "2027-01-16T03:00:00Z");
    world.now = time("2027-01-16T03:10:00Z");
    world.settle();
    assert_eq!(names(&world), ["shop-20270116-0300"]);
}

#[test]
fn a_crash_after_the_write_makes_no_second_one() {
    let mut world = daily();
    world.now = time("2027-01-16T03:00:05Z");
    let status = world.cr.status.clone();
    world.pass();
    world.cr.status = status;
    world.settle();
    assert_eq!(names(&world), ["shop-20270116-0300"]);
    assert_eq!(next(&world), "2027-01-17T03:00:00Z");
}

#[test]
fn a_pause_keeps_the_run_for_later() {
    let mut world = daily();
    world.cr.metadata.annotations =
        Some([("minidbaas.dev/paused".to_owned(), "true".to_owned())].into());
    world.now = time("2027-01-17T03:00:05Z");
    let plan = world.settle();
    assert_eq!(
        (names(&world).len(), world.reason(STALLED).as_str()),
        (0, reason::PAUSED)
    );
    assert!(plan.requeue.unwrap().as_secs() > 60, "{:?}", plan.requeue);
    world.cr.metadata.annotations = None;
    world.settle();
    assert_eq!(names(&world), ["shop-20270117-0300"]);
}

#[test]
fn before_the_first_serving_there_is_nothing_to_back_up() {
    let mut world = World::new(
        Engine::Mysql,
        json!({"backup": {"schedule": "*/5 * * * *"}}),
    );
    world.pass();
    world.now = time("2027-01-17T03:00:00Z");
    world.settle();
    assert_eq!(names(&world), [""; 0]);
    world.serve();
    world.settle();
    assert_eq!(names(&world), [""; 0]);
    assert_eq!(next(&world), "2027-01-17T03:05:00Z");
}

#[rstest]
#[case(json!({"schedule": "0 5 * * *"}))]
#[case(json!({"timeZone": "Europe/Berlin"}))]
fn a_changed_schedule_does_not_run_at_once(#[case] change: Value) {
    let mut world = daily();
    world.now = time("2027-01-16T04:00:00Z");
    world.change(json!({ "backup": change }));
    world.settle();
    assert_eq!(names(&world), [""; 0]);
    assert!(next(&world).as_str() > "2027-01-16T04:00:00Z");
    world.change(json!({"backup": null}));
    world.settle();
    assert_eq!(
        (next(&world), world.condition(BACKUP_HEALTHY)),
        (String::new(), None)
    );
}

#[rstest]
#[case(json!({"schedule": "61 * * * *"}), reason::INVALID_SCHEDULE, "spec.backup.schedule")]
#[case(json!({"schedule": "@daily"}), reason::INVALID_SCHEDULE, "spec.backup.schedule")]
#[case(json!({"timeZone": "Mars/Olympus"}), reason::INVALID_TIME_ZONE, "spec.backup.timeZone")]
fn a_schedule_that_cannot_be_read_is_told_and_the_database_stays(
    #[case] change: Value,
    #[case] expected: &str,
    #[case] field: &str,
) {
    let mut world = daily();
    let children = json!([world.observed.stateful_set, world.observed.config_map]);
    world.change(json!({ "backup": change }));
    world.now = time("2027-01-18T03:00:00Z");
    world.settle();
    let (_, reason, message) = world.condition(STALLED).unwrap();
    assert_eq!(reason, expected);
    assert!(
        message.starts_with(field) && message.contains("write") || message.contains("fields are"),
        "{message}"
    );
    assert_eq!(
        (
            world.reason(READY).as_str(),
            world.reason(BACKUP_HEALTHY).as_str()
        ),
        (reason::RUNNING, expected)
    );
    assert_eq!(
        json!([world.observed.stateful_set, world.observed.config_map]),
        children
    );
    assert_eq!((names(&world).len(), next(&world)), (0, String::new()));
    world.change(json!({"backup": {"schedule": "0 3 * * *", "timeZone": "UTC"}}));
    world.settle();
    assert_eq!(
        (world.condition(STALLED), next(&world).as_str()),
        (None, "2027-01-19T03:00:00Z")
    );
}

/// The clocks of Berlin go forward on 28 March 2027 and back on 31 October.
#[rstest]
#[case::forward("2027-03-27T00:00:00Z", &["shop-20270327-0130", "shop-20270328-0100", "shop-20270329-0030"])]
#[case::back("2027-10-30T00:00:00Z", &["shop-20271030-0030", "shop-20271031-0030", "shop-20271101-0130"])]
fn a_change_of_clocks_neither_loses_nor_doubles_a_run(
    #[case] from: &str,
    #[case] expected: &[&str],
) {
    let mut world = daily();
    world.now = time(from);
    world.settle();
    world.observed.backups.clear();
    world.change(json!({"backup": {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin"}}));
    world.settle();
    for _ in 0..6 * 66 {
        world.now = Time(world.now.0 + k8s_openapi::jiff::SignedDuration::from_mins(10));
        world.pass();
    }
    assert_eq!(names(&world), expected);
}

#[test]
fn a_window_missed_over_a_change_of_clocks_takes_one_run() {
    let mut world = daily();
    world.change(json!({"backup": {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin"}}));
    world.settle();
    world.now = time("2027-03-28T12:00:00Z");
    world.settle();
    assert_eq!(names(&world), ["shop-20270328-0100"]);
    assert_eq!(next(&world), "2027-03-29T00:30:00Z");
}

#[test]
fn the_health_is_that_of_the_last_scheduled_backup_that_tells() {
    let mut world = daily();
    let health = |world: &mut World| {
        world.settle();
        let (status, reason, message) = world.condition(BACKUP_HEALTHY).unwrap();
        assert_eq!(
            status == "True",
            reason == reason::BACKUPS_SUCCEED,
            "{message}"
        );
        reason
    };
    assert_eq!(health(&mut world), reason::BACKUPS_SUCCEED);
    let day =
        |n: i64| Time(world_start().0 + k8s_openapi::jiff::SignedDuration::from_hours(24 * n));
    add(&mut world, "one", &day(-5), true, json!({}));
    assert_eq!(health(&mut world), reason::BACKUPS_SUCCEED);
    edit(&mut world, "one", failed("no space"));
    assert_eq!(health(&mut world), reason::BACKUP_FAILED);
    let (_, _, message) = world.condition(BACKUP_HEALTHY).unwrap();
    assert!(
        message.contains("one") && message.contains("no space"),
        "{message}"
    );
    add(&mut world, "two", &day(-4), true, json!({}));
    assert_eq!(
        health(&mut world),
        reason::BACKUP_FAILED,
        "one that is under way says nothing yet"
    );
    let waits = json!({"status": {"phase": "Pending", "conditions": [condition(STALLED, "True", "SnapshotApiMissing",
        "no API")]}});
    edit(&mut world, "two", waits);
    assert_eq!(health(&mut world), reason::BACKUP_WAITING);
    edit(&mut world, "two", good(&day(-4)));
    assert_eq!(health(&mut world), reason::BACKUPS_SUCCEED);
    add(&mut world, "by-hand", &day(-3), false, failed("no"));
    assert_eq!(
        health(&mut world),
        reason::BACKUPS_SUCCEED,
        "a manual one is nobody's schedule"
    );
    add(&mut world, "three", &day(-2), true, good(&day(-2)));
    let damaged = condition("Verified", "False", "CheckFailed", "a page is bad");
    edit(
        &mut world,
        "three",
        json!({"status": {"conditions": [condition(READY, "True", "Completed", ""), damaged]}}),
    );
    assert_eq!(health(&mut world), reason::CHECK_FAILED);
}

fn world_start() -> Time {
    time("2027-01-15T08:00:00Z")
}

#[test]
fn the_newest_good_and_the_newest_proved_backup_are_told() {
    let mut world = daily();
    let last = |world: &World| {
        let status = json!(world.cr.status);
        [
            &status["lastBackup"]["name"],
            &status["lastVerifiedBackup"]["name"],
        ]
        .map(Value::clone)
    };
    world.settle();
    assert_eq!(last(&world), [Value::Null, Value::Null]);
    let verified = |status: &str| {
        json!({"status": {"conditions": [condition(READY, "True", "Completed", ""),
        condition("Verified", status, "r", "")]}})
    };
    for (name, day, scheduled) in [
        ("a", 10, true),
        ("b", 11, true),
        ("c", 12, false),
        ("d", 13, true),
    ] {
        let at = time(&format!("2027-01-{day}T03:00:00Z"));
        add(&mut world, name, &at, scheduled, good(&at));
    }
    edit(&mut world, "a", verified("True"));
    world.settle();
    assert_eq!(last(&world), [json!("d"), json!("a")]);
    edit(&mut world, "d", verified("False"));
    edit(&mut world, "c", verified("True"));
    world.settle();
    assert_eq!(
        last(&world),
        [json!("c"), json!("c")],
        "a damaged one is no good one"
    );
    assert!(
        world
            .decide()
            .writes
            .iter()
            .all(|write| !matches!(write, Write::Create(o) if o.kind == Kind::DatabaseBackup))
    );
}

/// The name is another instance's backup's: nobody's data is touched, the user is told, and the run is made when the
/// name is free.
#[test]
fn a_run_whose_name_is_taken_waits_for_it() {
    let mut world = daily();
    world.now = time("2027-01-16T03:00:00Z");
    let other = json!({"name": "shop-20270116-0300"});
    world.observed.others_backup = serde_json::from_value(other).unwrap();
    let plan = world.settle();
    assert_eq!(world.reason(BACKUP_HEALTHY), reason::NAME_TAKEN);
    assert!(plan.requeue.is_some_and(|requeue| requeue.as_secs() <= 60));
    assert_eq!(next(&world), "2027-01-16T03:00:00Z");
    assert_eq!(
        crate::instance::backup_to_make(&world.cr, &world.now).unwrap(),
        "shop-20270116-0300"
    );
    let going = json!({"name": "shop-20270116-0300", "deletionTimestamp": "2027-01-16T03:00:00Z"});
    world.observed.others_backup = serde_json::from_value(going).unwrap();
    world.settle();
    assert_eq!(world.reason(BACKUP_HEALTHY), reason::WAITING_FOR_DELETION);
    world.observed.others_backup = None;
    world.settle();
    assert_eq!(names(&world), ["shop-20270116-0300"]);
    assert_eq!(world.reason(BACKUP_HEALTHY), reason::BACKUPS_SUCCEED);
}
