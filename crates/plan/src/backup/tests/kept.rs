//! A backup that was complete once: it tells when that changes, and goes when its time is over.

use api::Engine;
use api::condition::{READY, STALLED, reason};
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{START, World, at, good, typed};
use crate::backup::{Peers, is_due};
use crate::reading::backup::is_good;
use crate::{Kind, Write};

const DAY: i64 = 86400;

fn ready(spec: Value) -> World {
    World::ready(Engine::Postgresql, spec)
}

#[rstest]
#[case::vanished("vanished", reason::SNAPSHOT_LOST)]
#[case::leaving("leaving", reason::SNAPSHOT_LOST)]
#[case::conflict("conflict", reason::SNAPSHOT_LOST)]
#[case::error("error", reason::SNAPSHOT_FAILED)]
#[case::not_ready("not ready", reason::SNAPSHOT_FAILED)]
fn a_snapshot_that_goes_bad_later_is_told_and_one_that_comes_back_too(
    #[case] what: &str,
    #[case] expected: &str,
) {
    let mut world = ready(json!({}));
    let (good_status, snapshot) = (world.status(), world.observed.snapshot.clone());
    world.after(100);
    match what {
        "vanished" => world.observed.snapshot = None,
        "leaving" => world.snapshot(json!({"metadata": {"deletionTimestamp": world.now}})),
        "conflict" => {
            world.snapshot(json!({"metadata": {"annotations": {"minidbaas.dev/backup-uid": "x"}}}))
        }
        "error" => {
            world.driver_says("gone bad");
            world.snapshot(json!({"status": {"readyToUse": false}}));
        }
        _ => world.snapshot(json!({"status": {"readyToUse": false}})),
    }
    let events = world.pass().events;
    assert!(events[0].warning && events[0].reason == expected);
    world.settle();
    assert_eq!(
        (world.phase().as_str(), world.reason(READY).as_str()),
        ("Failed", expected)
    );
    assert_eq!(world.reason(STALLED), expected);
    assert!(!is_good(&world.cr) && world.deleted == 0);
    world.observed.snapshot = snapshot;
    world.settle();
    let mut after = world.status();
    assert_eq!(
        (world.phase().as_str(), world.condition(STALLED)),
        ("Ready", None)
    );
    after.conditions[0].last_transition_time =
        good_status.conditions[0].last_transition_time.clone();
    assert_eq!(after, good_status);
}

#[test]
fn the_deletion_policy_decides_who_owns_the_snapshot() {
    let mut world = ready(json!({}));
    let owners = |world: &World| {
        let owners = world
            .observed
            .snapshot
            .as_ref()
            .unwrap()
            .metadata
            .owner_references
            .clone();
        owners.unwrap_or_default().len()
    };
    assert_eq!(owners(&world), 1);
    for (policy, expected) in [("Retain", 0), ("Delete", 1), ("Retain", 0)] {
        world.change(json!({"deletionPolicy": policy}));
        let plan = world.pass();
        assert!(
            matches!(&plan.writes[..], [Write::Patch(_)]),
            "{:?}",
            plan.writes
        );
        world.settle();
        assert_eq!(
            (owners(&world), world.phase().as_str()),
            (expected, "Ready")
        );
    }
}

#[test]
fn a_retained_snapshot_is_owned_by_nobody_from_the_beginning() {
    let mut world = World::new(Engine::Mysql, json!({"deletionPolicy": "Retain"}));
    world.pass();
    let snapshot = json!(world.observed.snapshot);
    assert_eq!(snapshot["metadata"]["ownerReferences"], json!([]));
}

#[test]
fn a_backup_that_is_deleted_leaves_the_rest_to_the_cluster() {
    let mut world = ready(json!({}));
    world.cr.metadata.deletion_timestamp = Some(at(START));
    world.settle();
    assert_eq!((world.phase().as_str(), world.deleted), ("Deleting", 0));
    assert!(!is_good(&world.cr));
}

fn peers(siblings: &[(&str, i64)]) -> Peers {
    Peers {
        siblings: siblings
            .iter()
            .map(|(name, taken)| good(name, *taken))
            .collect(),
        ..Peers::default()
    }
}

/// A backup whose time is over.
fn due(who: Peers) -> World {
    let mut world = ready(json!({"retentionDays": 2}));
    world.after(2 * DAY - 1);
    world.settle();
    assert!(!is_due(&world.cr, &world.now));
    assert_eq!(world.phase(), "Ready");
    world.after(1);
    assert!(is_due(&world.cr, &world.now));
    world.observed.peers = Some(who);
    world
}

fn assert_goes(world: &mut World) {
    let plan = world.pass();
    let [Write::Delete { kind, uid, .. }] = &plan.writes[..] else {
        panic!("{plan:?}")
    };
    assert_eq!(
        (*kind, Some(uid)),
        (Kind::DatabaseBackup, world.cr.metadata.uid.as_ref())
    );
    assert!(
        world.gone && world.deleted == 0,
        "the cluster deletes the snapshot"
    );
}

#[test]
fn a_backup_that_is_due_deletes_itself() {
    assert_goes(&mut due(peers(&[("newer", START + DAY)])));
}

#[test]
fn nothing_goes_as_long_as_the_peers_are_not_known() {
    let mut world = due(Peers::default());
    world.observed.peers = None;
    let plan = world.settle();
    assert_eq!(world.phase(), "Ready");
    assert_eq!(plan.requeue.unwrap().as_secs(), 1);
}

#[rstest]
#[case::alone(vec![])]
#[case::only_older_ones(vec![good("older", START - DAY)])]
#[case::the_newer_one_failed(vec![typed({
    let mut failed = json!(good("newer", START + DAY));
    failed["status"]["conditions"][0]["status"] = json!("False");
    failed
})])]
#[case::the_newer_one_is_damaged(vec![typed({
    let mut damaged = json!(good("newer", START + DAY));
    let mut verified = damaged["status"]["conditions"][0].clone();
    (verified["type"], verified["status"]) = (json!("Verified"), json!("False"));
    damaged["status"]["conditions"].as_array_mut().unwrap().push(verified);
    damaged
})])]
#[case::the_newer_one_is_leaving(vec![typed({
    let mut leaving = json!(good("newer", START + DAY));
    leaving["metadata"]["deletionTimestamp"] = json!(at(START + DAY));
    leaving
})])]
fn the_last_good_one_of_a_living_instance_stays(#[case] siblings: Vec<api::DatabaseBackup>) {
    let mut world = due(Peers {
        siblings,
        ..Peers::default()
    });
    let plan = world.settle();
    assert_eq!(
        (world.phase().as_str(), world.reason(READY).as_str()),
        ("Expired", reason::LAST_GOOD_BACKUP)
    );
    assert!(is_good(&world.cr) && plan.requeue.is_some());
    world.observed.peers = Some(peers(&[("newer", START + 2 * DAY)]));
    assert_goes(&mut world);
}

#[rstest]
fn without_a_living_instance_also_the_last_one_goes(#[values(false, true)] leaving: bool) {
    let mut world = due(Peers::default());
    if leaving {
        let instance = world.observed.instance.as_mut().unwrap();
        instance.metadata.deletion_timestamp = Some(at(START));
    } else {
        world.observed.instance = None;
    }
    assert_goes(&mut world);
}

fn copy(namespace: &str, status: Value) -> api::DatabaseInstance {
    typed(json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance", "metadata": {"name": "copy",
            "namespace": namespace, "creationTimestamp": at(START + 2 * DAY)},
        "spec": {"engine": "postgresql", "storage": {"size": "2Gi"}, "restoreFrom": {"backup": {"name": "nightly",
            "namespace": "demo"}}},
        "status": status,
    }))
}

/// A restore that has not come to its end.
fn restore(namespace: &str) -> api::DatabaseRestore {
    typed(json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseRestore", "metadata": {"name": "r",
            "namespace": namespace, "creationTimestamp": at(START + 2 * DAY)},
        "spec": {"backup": {"name": "nightly", "namespace": "demo"}, "instance": "copy"},
    }))
}

/// Peers that have yet to read the backup: an instance, or a DatabaseRestore.
fn users(namespace: &str, restoring: bool) -> Peers {
    let copies = vec![copy(namespace, json!({"phase": "Restoring"}))];
    Peers {
        restores: restoring.then(|| restore(namespace)).into_iter().collect(),
        copies: if restoring { Vec::new() } else { copies },
        ..peers(&[("newer", START + DAY)])
    }
}

#[rstest]
fn one_that_a_restore_uses_stays(#[values(false, true)] restoring: bool) {
    let mut world = due(users("demo", restoring));
    world.settle();
    assert_eq!(
        (world.phase().as_str(), world.reason(READY).as_str()),
        ("Expired", reason::IN_USE)
    );
    let (_, _, message) = world.condition(READY).unwrap();
    assert!(
        message.contains("kubectl get dbinstances,dbrestores -A"),
        "{message}"
    );
    let served = json!({"phase": "Running", "storage": {"requested": "2Gi", "capacity": "2Gi"},
        "restore": {"completedAt": at(START)}});
    world.observed.peers = Some(Peers {
        copies: vec![copy("demo", served)],
        ..peers(&[("newer", START + DAY)])
    });
    assert_goes(&mut world);
}

#[rstest]
fn of_another_namespace_only_what_is_allowed_counts(#[values(false, true)] restoring: bool) {
    let users = users("elsewhere", restoring);
    assert_goes(&mut due(users.clone()));
    let mut asked = due(users);
    asked.cr.spec.allowed_namespaces = vec!["elsewhere".to_owned()];
    asked.settle();
    assert_eq!(asked.reason(READY), reason::IN_USE);
    assert!(!asked.gone);
    // It was asked for when the backup was about to go.
    asked.after(DAY / 2);
    asked.settle();
    assert!(!asked.gone);
    asked.after(DAY / 2);
    assert_goes(&mut asked);
}

#[rstest]
#[case::a_year_ahead(Some(365 * DAY))]
#[case::behind(Some(-301))]
#[case::unknown(None)]
fn nothing_goes_by_a_clock_that_differs(
    #[case] skew: Option<i64>,
    #[values(false, true)] lost: bool,
) {
    let mut world = due(peers(&[("newer", START + DAY)]));
    world.observed.clock_skew = skew;
    if lost {
        world.observed.snapshot = None;
    }
    world.settle();
    assert!(!world.gone);
    if !lost {
        assert_eq!(world.reason(READY), reason::CLOCK_DIFFERS);
        assert!(is_good(&world.cr));
    }
    world.observed.clock_skew = Some(300);
    assert_goes(&mut world);
}

#[test]
fn one_whose_snapshot_is_lost_goes_when_it_is_due() {
    let mut world = due(Peers::default());
    world.observed.snapshot = None;
    assert_goes(&mut world);
    let mut used = due(Peers {
        restores: vec![restore("demo")],
        ..Peers::default()
    });
    used.observed.snapshot = None;
    used.settle();
    assert!(!used.gone);
}

#[test]
fn a_changed_retention_moves_the_end() {
    let mut world = ready(json!({}));
    assert_eq!(world.status().expires_at, None);
    world.change(json!({"retentionDays": 3}));
    world.settle();
    let taken = world.status().taken_at.unwrap().0.as_second();
    assert_eq!(world.status().expires_at, Some(at(taken + 3 * DAY)));
    world.change(json!({"retentionDays": null}));
    world.settle();
    assert_eq!(world.status().expires_at, None);
}

#[test]
fn a_pause_holds_back_the_end_and_not_the_truth() {
    let mut world = due(peers(&[("newer", START + DAY)]));
    world.cr.metadata.annotations =
        Some([("minidbaas.dev/paused".to_owned(), "true".to_owned())].into());
    world.settle();
    assert!(!world.gone && is_good(&world.cr));
    assert_eq!(world.reason(STALLED), reason::PAUSED);
    world.cr.metadata.annotations = None;
    assert_goes(&mut world);
    assert_eq!(world.condition(STALLED), None);
}

#[test]
fn a_pause_does_not_hide_why_a_backup_failed() {
    let mut world = World::new(Engine::Postgresql, json!({"deadlineSeconds": 60}));
    world.pass();
    world.after(60);
    world.pass();
    world.cr.metadata.annotations =
        Some([("minidbaas.dev/paused".to_owned(), "true".to_owned())].into());
    world.settle();
    assert_eq!(
        (world.deleted, world.reason(READY).as_str()),
        (0, reason::DEADLINE_EXCEEDED)
    );
    world.cr.metadata.annotations = None;
    world.assert_failed(reason::DEADLINE_EXCEEDED);
}

#[rstest]
fn a_refused_write_is_told_and_the_truth_stays(#[values(false, true)] quota: bool) {
    let error = if quota { "exceeded quota: q" } else { "no" };
    let expected = if quota {
        reason::QUOTA_EXCEEDED
    } else {
        reason::APPLY_FAILED
    };
    let mut world = World::new(Engine::Postgresql, json!({}));
    let planned = world.decide().status;
    world.cr.status = Some(crate::report::refused(
        &world.cr, &planned, error, &world.now,
    ));
    assert_eq!(
        (world.reason(READY).as_str(), world.reason(STALLED).as_str()),
        (expected, expected)
    );
    let mut world = ready(json!({}));
    let planned = world.decide().status;
    world.cr.status = Some(crate::report::refused(
        &world.cr, &planned, error, &world.now,
    ));
    assert!(is_good(&world.cr));
    assert_eq!(world.reason(STALLED), expected);
}
