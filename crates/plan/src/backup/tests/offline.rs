//! Offline: the cut is made while the right pod's container `hold` keeps the server down.

use api::Engine;
use api::condition::{READY, reason};
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{START, UID, World, at};
use crate::reading::backup::wants_server_down;

fn offline() -> World {
    World::new(
        Engine::Postgresql,
        json!({"method": "Offline", "holdSeconds": 20}),
    )
}

fn running() -> Value {
    json!({"running": {"startedAt": at(START)}})
}

fn ended() -> Value {
    json!({"terminated": {"exitCode": 0}})
}

/// The server is held back, and the snapshot is asked for.
fn asked() -> World {
    let mut world = offline();
    world.pass();
    world.holder(UID, running());
    world.pass();
    assert_eq!(world.made, 1);
    world
}

#[test]
fn the_server_is_wanted_down_from_the_beginning_until_the_cut_is_on_record() {
    let mut world = offline();
    assert!(!wants_server_down(&world.cr));
    world.settle();
    assert!(wants_server_down(&world.cr));
    world.holder(UID, running());
    world.settle();
    assert!(wants_server_down(&world.cr));
    world.after(1);
    world.cut();
    world.pass();
    assert_eq!(world.consistency(), "Offline");
    assert!(!wants_server_down(&world.cr));
    world.complete();
    world.settle();
    assert_eq!(world.phase(), "Ready");
    assert!(!wants_server_down(&world.cr));
}

#[rstest]
#[case::no_pod(None)]
#[case::not_yet(Some((UID, json!({"waiting": {}}))))]
#[case::for_another_backup(Some(("other", running())))]
fn nothing_is_cut_unless_this_backups_hold_runs(#[case] pod: Option<(&str, Value)>) {
    let mut world = offline();
    world.observed.pod = None;
    if let Some((backup, state)) = pod {
        world.holder(backup, state);
    }
    world.settle();
    assert_eq!(
        (world.made, world.reason(READY).as_str()),
        (0, reason::HOLDING)
    );
    world.after(600);
    let message = world.assert_failed(reason::DEADLINE_EXCEEDED);
    assert!(message.contains("being stopped for the cut"), "{message}");
    assert!(!wants_server_down(&world.cr));
}

#[test]
fn a_pod_on_its_way_out_is_no_hold() {
    let mut world = offline();
    world.holder(UID, running());
    world
        .observed
        .pod
        .as_mut()
        .unwrap()
        .metadata
        .deletion_timestamp = Some(at(START));
    world.settle();
    assert_eq!(world.made, 0);
}

#[test]
fn a_hold_that_was_over_before_the_snapshot_was_asked_for_was_too_short() {
    let mut world = offline();
    world.pass();
    world.holder(UID, ended());
    world.assert_failed(reason::HOLD_EXCEEDED);
    assert_eq!(world.made, 0);
    assert!(!wants_server_down(&world.cr));
}

#[rstest]
fn a_hold_that_ends_before_the_cut_fails_and_deletes_the_snapshot(
    #[values(false, true)] cut: bool,
) {
    let mut world = asked();
    world.holder(UID, ended());
    if cut {
        world.after(5);
        world.cut();
        world.complete();
    }
    world.assert_failed(reason::HOLD_EXCEEDED);
    assert_eq!(world.deleted, 1);
    assert!(!wants_server_down(&world.cr));
}

#[test]
fn a_stopped_database_is_cut_at_once() {
    let mut world = offline();
    world.stop();
    world.pass();
    assert_eq!(world.made, 1);
    world.cut();
    world.complete();
    world.settle();
    assert_eq!(
        (world.phase().as_str(), world.consistency().as_str()),
        ("Ready", "Offline")
    );
    assert_eq!(world.status().held_milliseconds, None);
}

#[test]
fn a_stopped_database_that_starts_before_the_cut_fails_it() {
    let mut world = offline();
    world.stop();
    world.pass();
    let started = offline().observed;
    (world.observed.pod, world.observed.stateful_set) = (started.pod, started.stateful_set);
    world.cut();
    world.assert_failed(reason::HOLD_EXCEEDED);
}

#[test]
fn a_pod_that_is_still_shutting_down_is_waited_for() {
    let mut world = offline();
    let pod = world.observed.pod.clone();
    world.stop();
    world.observed.pod = pod;
    world.settle();
    assert_eq!(world.made, 0);
    world.observed.pod = None;
    world.pass();
    assert_eq!(world.made, 1);
}

/// The pod was lost after its hold was over and its server had worked; the next one is held again.
#[test]
fn a_hold_that_began_after_the_cut_says_nothing_of_it() {
    let mut world = asked();
    world.after(30);
    world.cut();
    world.complete();
    world.after(10);
    world.holder(UID, json!({"running": {"startedAt": at(START + 35)}}));
    world.assert_failed(reason::HOLD_EXCEEDED);
}
