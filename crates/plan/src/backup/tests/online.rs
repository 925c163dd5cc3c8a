//! Online: one snapshot, whatever happens in between.

use api::Engine;
use api::backup::DatabaseBackupStatus;
use api::condition::{READY, RECONCILING, STALLED, reason};
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{START, World, at};
use crate::{Kind, Write};

#[rstest]
#[case::postgresql(Engine::Postgresql)]
#[case::mysql(Engine::Mysql)]
#[case::mariadb(Engine::Mariadb)]
fn the_snapshot_says_whose_it_is_and_what_is_in_it(#[case] engine: Engine) {
    let plan = World::new(engine, json!({})).decide();
    let [Write::Create(snapshot)] = &plan.writes[..] else {
        panic!("{:?}", plan.writes)
    };
    insta::assert_yaml_snapshot!(format!("snapshot-{}", engine.name()), snapshot.value);
}

#[test]
fn a_ready_backup_has_all_that_a_restore_needs() {
    let mut world = World::new(Engine::Postgresql, json!({"retentionDays": 7}));
    world.pass();
    assert_eq!(world.reason(READY), reason::TAKING_SNAPSHOT);
    assert_eq!(world.reason(RECONCILING), reason::TAKING_SNAPSHOT);
    world.settle();
    world.after(1);
    world.cut();
    world.settle();
    assert_eq!(world.reason(READY), reason::COMPLETING);
    world.after(2);
    world.complete();
    world.settle();
    let status = world.status();
    assert_eq!(status.started_at, Some(at(START)));
    assert_eq!(status.taken_at, Some(at(START + 1)));
    assert_eq!(status.ready_at, Some(at(START + 3)));
    assert_eq!(status.expires_at, Some(at(START + 1 + 7 * 86400)));
    insta::assert_yaml_snapshot!("ready", status);
}

#[test]
fn a_snapshot_that_is_complete_at_once_takes_two_passes() {
    let mut world = World::new(Engine::Postgresql, json!({}));
    world.pass();
    world.cut();
    world.complete();
    world.pass();
    assert_eq!(world.consistency(), "CrashConsistent");
    world.pass();
    assert_eq!(world.phase(), "Ready");
    world.settle();
}

/// Driven from the outside: what the storage does depends only on what is there.
fn run(world: &mut World, crash_at: Option<usize>) {
    for step in 0..12 {
        if Some(step) == crash_at {
            world.pass_without_report();
        } else {
            world.pass();
        }
        let status = world
            .observed
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.status.clone());
        match status {
            Some(None) => world.cut(),
            Some(Some(status)) if status.ready_to_use != Some(true) => world.complete(),
            _ => {}
        }
    }
    world.settle();
}

#[rstest]
fn a_crash_before_any_report_ends_in_the_same_state_with_one_snapshot(
    #[values("Delete", "Retain")] policy: &str,
) {
    let end = |crash_at| -> DatabaseBackupStatus {
        let mut world = World::new(Engine::Mysql, json!({"deletionPolicy": policy}));
        run(&mut world, crash_at);
        assert_eq!((world.made, world.deleted), (1, 0));
        world.status()
    };
    let undisturbed = end(None);
    assert!(undisturbed.ready_at.is_some());
    for step in 0..8 {
        assert_eq!(end(Some(step)), undisturbed, "crash at pass {step}");
    }
}

#[test]
fn a_report_that_never_comes_makes_no_second_snapshot() {
    let mut world = World::new(Engine::Mysql, json!({}));
    for _ in 0..5 {
        world.pass_without_report();
    }
    assert_eq!(world.made, 1);
}

#[rstest]
#[case(json!(null))]
#[case(json!("0"))]
fn a_driver_that_does_not_tell_the_size_means_the_volumes(#[case] told: Value) {
    let mut world = World::new(Engine::Postgresql, json!({}));
    world.pass();
    world.cut();
    world.complete();
    world.snapshot(json!({"status": {"restoreSize": told}}));
    world.settle();
    assert_eq!(json!(world.status())["restoreSize"], "1Gi");
}

#[test]
fn a_driver_error_is_told_and_cured() {
    let mut world = World::new(Engine::Postgresql, json!({}));
    world.pass();
    world.driver_says("no space\n  left.");
    world.settle();
    assert_eq!(world.phase(), "Running");
    assert_eq!(world.reason(STALLED), reason::SNAPSHOT_FAILED);
    let (_, _, message) = world.condition(READY).unwrap();
    assert!(message.contains("no space left."), "{message}");
    assert!(message.contains("VolumeSnapshotClass"), "{message}");
    world.cut();
    world.complete();
    world.settle();
    assert_eq!(world.phase(), "Ready");
    assert_eq!(world.condition(STALLED), None);
    assert_eq!((world.made, world.deleted), (1, 0));
}

#[rstest]
fn after_the_deadline_the_backup_fails_and_leaves_nothing(
    #[values(false, true)] is_cut: bool,
    #[values(false, true)] says: bool,
) {
    let mut world = World::new(Engine::Postgresql, json!({"deadlineSeconds": 60}));
    world.pass();
    if is_cut {
        world.cut();
    }
    if says {
        world.driver_says("no space left");
    }
    world.settle();
    world.after(59);
    world.settle();
    assert_eq!(world.phase(), "Running");
    world.after(1);
    let message = world.assert_failed(reason::DEADLINE_EXCEEDED);
    assert!(message.contains("spec.deadlineSeconds (60 s)"), "{message}");
    assert_eq!(message.contains("no space left"), says, "{message}");
    assert_eq!(world.deleted, 1);
}

#[test]
fn why_it_failed_is_on_record_before_anything_is_deleted() {
    let mut world = World::new(Engine::Postgresql, json!({"deadlineSeconds": 60}));
    world.pass();
    world.after(60);
    let plan = world.pass();
    assert!(plan.writes.is_empty() && plan.requeue.is_some());
    assert_eq!(world.phase(), "Failed");
    let plan = world.pass_without_report();
    assert!(matches!(
        &plan.writes[..],
        [Write::Delete {
            kind: Kind::VolumeSnapshot,
            ..
        }]
    ));
    world.assert_failed(reason::DEADLINE_EXCEEDED);
}

#[test]
fn a_failed_backup_is_never_made_anew_and_follows_its_generation() {
    let mut world = World::new(Engine::Postgresql, json!({"deadlineSeconds": 60}));
    world.pass();
    world.after(60);
    world.assert_failed(reason::DEADLINE_EXCEEDED);
    world.change(json!({"retentionDays": 3}));
    world.assert_failed(reason::DEADLINE_EXCEEDED);
    let status = world.status();
    assert_eq!(status.observed_generation, Some(2));
    assert!(
        status
            .conditions
            .iter()
            .all(|c| c.observed_generation == Some(2))
    );
}

#[rstest]
fn a_snapshot_that_goes_before_it_is_complete_is_lost(#[values(false, true)] at_once: bool) {
    let mut world = World::new(Engine::Postgresql, json!({}));
    world.pass();
    world.settle();
    if at_once {
        world.observed.snapshot = None;
    } else {
        world.snapshot(json!({"metadata": {"deletionTimestamp": world.now}}));
        world.cut();
        world.complete();
        world.settle();
        world.observed.snapshot = None;
    }
    world.settle();
    assert_eq!((world.phase().as_str(), world.made), ("Failed", 1));
    assert_eq!(world.reason(READY), reason::SNAPSHOT_LOST);
}

#[test]
fn a_snapshot_of_which_nobody_knows_what_is_in_it_is_no_backup() {
    let mut world = World::new(Engine::Postgresql, json!({}));
    world.pass_without_report();
    world.observed.instance = None;
    world.cut();
    world.complete();
    world.assert_failed(reason::INSTANCE_NOT_FOUND);
}

#[test]
fn an_instance_that_goes_later_does_not_matter() {
    let mut world = World::new(Engine::Postgresql, json!({}));
    world.pass();
    (
        world.observed.instance,
        world.observed.claim,
        world.observed.pod,
    ) = (None, None, None);
    world.cut();
    world.complete();
    world.settle();
    assert_eq!(world.phase(), "Ready");
    assert!(world.status().source.is_some());
}

#[test]
fn a_paused_backup_makes_nothing_and_says_so() {
    let mut world = World::new(Engine::Postgresql, json!({}));
    world.cr.metadata.annotations =
        Some([("minidbaas.dev/paused".to_owned(), "true".to_owned())].into());
    world.settle();
    assert_eq!(
        (world.made, world.reason(STALLED).as_str()),
        (0, reason::PAUSED)
    );
    world.cr.metadata.annotations = None;
    run(&mut world, None);
    assert_eq!((world.made, world.phase().as_str()), (1, "Ready"));
}

#[test]
fn what_is_under_way_is_no_event() {
    let mut world = World::new(Engine::Postgresql, json!({}));
    assert_eq!(world.pass().events, vec![]);
    world.cut();
    assert_eq!(world.pass().events, vec![]);
    world.complete();
    let events = world.pass().events;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].reason.as_str(), events[0].warning),
        (reason::COMPLETED, false)
    );
}
