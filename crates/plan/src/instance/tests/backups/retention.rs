//! Retention: which of the schedule's backups stay.

use rstest::rstest;
use serde_json::{Value, json};

use super::{World, add, condition, edit, failed, good, names, time, with_backups};
use crate::Write;

/// Good backups of the schedule, one for each day of January until the 15th.
fn with_history(retention: Value, days: std::ops::RangeInclusive<u32>) -> World {
    let mut world = with_backups(json!({"schedule": "0 3 * * *"}));
    for day in days {
        let at = time(&format!("2027-01-{day:02}T03:00:00Z"));
        add(&mut world, &format!("day-{day:02}"), &at, true, good(&at));
    }
    world.change(json!({"backup": {"retention": retention}}));
    world
}

#[test]
fn of_twenty_backups_the_last_three_stay() {
    let mut world = with_backups(json!({"schedule": "0 3 * * *", "retention": {"keepLast": 3}}));
    for minute in 10..30 {
        let at = time(&format!("2027-01-15T07:{minute}:00Z"));
        add(&mut world, &format!("m-{minute}"), &at, true, good(&at));
    }
    let plan = world.pass();
    // Never more in one pass, the oldest first; the next pass comes soon.
    let deleted = plan.writes.iter().map(|write| match write {
        Write::Delete { name, uid, .. } if uid == &format!("uid-of-{name}") => name.as_str(),
        other => panic!("{other:?}"),
    });
    assert_eq!(
        deleted.collect::<Vec<_>>(),
        ["m-10", "m-11", "m-12", "m-13", "m-14"]
    );
    assert!(plan.requeue.is_some_and(|wait| wait.as_secs() <= 10));
    world.settle();
    assert_eq!(names(&world), ["m-27", "m-28", "m-29"]);
}

/// A former instance of this name had other data: its backups may be the last that is left of that.
#[test]
fn backups_of_a_former_instance_are_left_alone() {
    let mut world = with_history(json!({"keepLast": 1}), 1..=5);
    let made = |world: &mut World, at: &str| {
        world.edit_claim(json!({"metadata": {"creationTimestamp": at}}));
    };
    for backup in &mut world.observed.backups {
        let source = &mut backup.status.as_mut().unwrap().source;
        source.as_mut().unwrap().uid = "former".to_owned();
    }
    made(&mut world, "2027-01-04T00:00:00Z");
    world.settle();
    // The volume is from the fourth: what was backed up before was another one.
    assert_eq!(names(&world), ["day-01", "day-02", "day-03", "day-05"]);
}

#[test]
fn without_a_retention_the_last_seven_stay() {
    let mut world = with_history(Value::Null, 1..=15);
    world.settle();
    assert_eq!(names(&world).len(), 7);
    assert_eq!(names(&world)[0], "day-09");
}

#[test]
fn without_spec_backup_nothing_goes() {
    let mut world = with_history(json!({"keepLast": 100}), 1..=15);
    world.settle();
    world.change(json!({"backup": null}));
    world.settle();
    assert_eq!(names(&world).len(), 15);
}

#[test]
fn one_that_a_restore_uses_stays_until_it_is_free() {
    let mut world = with_history(json!({"keepLast": 1}), 10..=13);
    world.observed.backups_in_use = ["day-11".to_owned()].into();
    // No event of this instance says that the restore is done.
    let requeue = world.settle().requeue.map(|wait| wait.as_secs());
    assert!(requeue.is_some_and(|seconds| seconds <= 60), "{requeue:?}");
    assert_eq!(names(&world), ["day-11", "day-13"]);
    world.observed.backups_in_use.clear();
    world.settle();
    assert_eq!(names(&world), ["day-13"]);
}

#[test]
fn manual_and_unfinished_ones_are_left_alone() {
    let mut world = with_history(json!({"keepLast": 1}), 12..=13);
    let at = time("2027-01-02T00:00:00Z");
    add(&mut world, "by-hand", &at, false, good(&at));
    add(&mut world, "by-hand-failed", &at, false, failed("no"));
    add(
        &mut world,
        "under-way",
        &at,
        true,
        json!({"status": {"phase": "Running"}}),
    );
    world.settle();
    assert_eq!(
        names(&world),
        ["day-13", "by-hand", "by-hand-failed", "under-way"]
    );
}

#[test]
fn a_damaged_backup_does_not_take_the_place_of_a_good_one() {
    let mut world = with_history(json!({"keepLast": 1}), 12..=13);
    let conditions = [
        condition("Ready", "True", "Completed", ""),
        condition("Verified", "False", "CheckFailed", ""),
    ];
    edit(
        &mut world,
        "day-13",
        json!({"status": {"conditions": conditions}}),
    );
    world.settle();
    assert_eq!(names(&world), ["day-12", "day-13"]);
    let at = time("2027-01-14T03:00:00Z");
    add(&mut world, "day-14", &at, true, good(&at));
    world.settle();
    assert_eq!(names(&world), ["day-14"]);
}

#[rstest]
#[case::the_last_good_one(false, 1)]
#[case::unless_a_newer_manual_one_is_good(true, 0)]
fn past_the_maximum_age_the_last_good_one_stays(#[case] manual: bool, #[case] left: usize) {
    let mut world = with_history(json!({"maxAgeDays": 2}), 10..=12);
    if manual {
        let at = time("2027-01-14T00:00:00Z");
        add(&mut world, "by-hand", &at, false, good(&at));
    }
    world.settle();
    let scheduled = names(&world)
        .iter()
        .filter(|name| name.starts_with("day"))
        .count();
    assert_eq!(scheduled, left);
}

#[rstest]
#[case::a_year_ahead(Some(31_536_000))]
#[case::unknown(None)]
fn age_ends_nothing_while_the_clocks_differ(#[case] skew: Option<i64>) {
    let mut world = with_history(json!({"keepLast": 3, "maxAgeDays": 2}), 5..=12);
    world.observed.clock_skew = skew;
    world.settle();
    assert_eq!(names(&world), ["day-10", "day-11", "day-12"]);
    world.observed.clock_skew = Some(-300);
    world.settle();
    assert_eq!(names(&world), ["day-12"]);
}

#[test]
fn a_schedule_that_cannot_be_read_deletes_nothing() {
    let mut world = with_history(json!({"keepLast": 1}), 10..=12);
    world.change(json!({"backup": {"timeZone": "Mars/Olympus"}}));
    world.settle();
    assert_eq!(names(&world).len(), 3);
}
