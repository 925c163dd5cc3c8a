//! An instance that is deleted with the policy Snapshot: the data is owned, and so can go, only after its last backup
//! is good.

mod not_own;

use api::Engine;
use api::condition::{READY, STALLED, reason};
use api::external::snapshot::VolumeSnapshot;
use api::names::{FINALIZER_FINAL_BACKUP, FINALIZER_PROTECTION};
use rstest::rstest;
use serde_json::{Value, json};

use super::backups::{condition, edit, failed, good, names, time};
use super::scenarios::running;
use super::world::World;
use crate::{Kind, Write};

const LAST: &str = "shop-final-cr-uid";

fn deleted(spec: Value) -> World {
    let mut all = json!({"deletionPolicy": "Snapshot"});
    super::world::merge(&mut all, &spec);
    let mut world = running(Engine::Mysql, all);
    assert_eq!(json!(world.cr.status)["deletionPolicy"], "Snapshot");
    world.cr.metadata.deletion_timestamp = Some(world.now.clone());
    world
}

fn finalizers(world: &World) -> Vec<String> {
    world.cr.metadata.finalizers.clone().unwrap_or_default()
}

/// How many of claim, binding and administrator's Secret go with the instance.
fn owned(world: &World) -> usize {
    let observed = &world.observed;
    let metadata = [
        observed.claim.as_ref().map(|o| &o.metadata),
        observed.binding.as_ref().map(|o| &o.metadata),
        observed.admin.as_ref().map(|o| &o.metadata),
    ];
    let owners = metadata
        .iter()
        .flatten()
        .filter_map(|m| m.owner_references.as_ref());
    owners.filter(|owners| !owners.is_empty()).count()
}

/// The last backup is complete: it says so, and so does its snapshot.
fn is_good(world: &mut World) {
    let mut change = good(&time("2027-01-15T08:00:00Z"));
    change["status"]["source"] = json!({
        "instance": "shop", "uid": world.cr.metadata.uid, "pvc": "shop", "engine": "mysql", "version": "8.0",
            "database": "shop",
        "username": "app",
    });
    edit(world, LAST, change);
    let backups = world.observed.backups.iter();
    let uid = backups.last().and_then(|last| last.metadata.uid.clone());
    world.observed.last_snapshot = Some(snapshot(
        json!({"metadata": {"annotations": {"minidbaas.dev/backup-uid": uid}}}),
    ));
}

fn snapshot(change: Value) -> VolumeSnapshot {
    let mut value = json!({
        "metadata": {"name": LAST, "uid": "snapshot"}, "spec": {"source": {"persistentVolumeClaimName": "shop"}},
        "status": {"readyToUse": true},
    });
    super::world::merge(&mut value, &change);
    serde_json::from_value(value).unwrap()
}

fn replicas(world: &World) -> Value {
    json!(world.observed.stateful_set)["spec"]["replicas"].clone()
}

#[test]
fn the_server_is_stopped_and_one_last_backup_is_taken() {
    let mut world = deleted(
        json!({"backup": {"snapshotClassName": "fine", "allowedNamespaces": ["other"], "schedule": "0 3 * * *"}}),
    );
    world.now = time("2027-03-01T00:00:00Z");
    let plan = world.pass();
    let [Write::Patch(set), Write::Create(backup)] = &plan.writes[..] else {
        panic!("{:?}", plan.writes)
    };
    assert_eq!(
        (set.kind, &set.value["spec"]["replicas"]),
        (Kind::StatefulSet, &json!(0))
    );
    insta::assert_yaml_snapshot!("last", backup.value);
    assert_eq!(replicas(&world), 0);
    for _ in 0..3 {
        let plan = world.settle();
        assert!(plan.requeue.is_some());
    }
    assert_eq!(names(&world), [LAST], "no schedule runs any more");
    assert_eq!(
        (world.reason(READY).as_str(), owned(&world)),
        (reason::FINAL_BACKUP, 0)
    );
    assert_eq!(finalizers(&world), [FINALIZER_FINAL_BACKUP]);
}

#[test]
fn the_data_is_handed_over_after_it_is_good_and_the_finalizer_goes_last() {
    let mut world = deleted(json!({}));
    world.settle();
    is_good(&mut world);
    let plan = world.pass();
    let kinds: Vec<Option<Kind>> = plan
        .writes
        .iter()
        .map(|write| match write {
            Write::Patch(object) => Some(object.kind),
            Write::Finalizers(left) if left.is_empty() => None,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            Some(Kind::PersistentVolumeClaim),
            Some(Kind::Secret),
            Some(Kind::Secret),
            None
        ]
    );
    assert_eq!(owned(&world), 3);
    assert_eq!(world.settle().writes, vec![]);
}

#[test]
fn a_crash_at_any_step_ends_in_the_same_state() {
    for crash_at in 0..6 {
        let mut world = deleted(json!({}));
        for step in 0..8 {
            let status = world.cr.status.clone();
            world.pass();
            if step == crash_at {
                world.cr.status = status;
            }
            if step == 2 {
                is_good(&mut world);
            }
        }
        assert_eq!((names(&world), owned(&world)), (vec![LAST], 3));
        assert_eq!(finalizers(&world), [""; 0]);
    }
}

fn stuck() -> World {
    let mut world = deleted(json!({}));
    world.settle();
    edit(&mut world, LAST, failed("no space."));
    world.settle();
    let (_, reason, message) = world.condition(STALLED).unwrap();
    assert_eq!(reason, reason::FINAL_BACKUP_FAILED);
    for word in [
        LAST,
        "no space.",
        "spec.deletionPolicy to Retain or Delete",
        "Delete that DatabaseBackup",
    ] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!((owned(&world), finalizers(&world).len()), (0, 1));
    world
}

#[rstest]
#[case::retain("Retain", 0)]
#[case::delete("Delete", 3)]
fn a_failed_last_backup_keeps_the_data_until_the_policy_changes(
    #[case] policy: &str,
    #[case] expected: usize,
) {
    let mut world = stuck();
    world.change(json!({"deletionPolicy": policy}));
    let mut writes = world.pass().writes.into_iter();
    // One that fails would hold the volume for as long as it is tried again.
    let deletes = writes.any(|write| {
        matches!(write, Write::Delete { kind: Kind::DatabaseBackup, name,
        .. } if name == LAST)
    });
    assert_eq!(deletes, policy == "Delete");
    world.settle();
    assert_eq!((owned(&world), finalizers(&world).len()), (expected, 0));
    assert_eq!(world.condition(STALLED), None);
}

#[test]
fn a_good_last_backup_is_not_deleted_for_being_stalled() {
    let mut world = deleted(json!({}));
    world.settle();
    let mut stalled = good(&time("2027-01-15T08:00:00Z"));
    let conditions = stalled["status"]["conditions"].as_array_mut().unwrap();
    conditions.push(condition(
        STALLED,
        "True",
        reason::READ_FAILED,
        "No answer.",
    ));
    edit(&mut world, LAST, stalled);
    world.change(json!({"deletionPolicy": "Delete"}));
    let mut writes = world.pass().writes.into_iter();
    assert!(!writes.any(|write| matches!(
        write,
        Write::Delete {
            kind: Kind::DatabaseBackup,
            ..
        }
    )));
}

#[test]
fn a_failed_last_backup_that_is_deleted_is_tried_again() {
    let mut world = stuck();
    edit(
        &mut world,
        LAST,
        json!({"metadata": {"deletionTimestamp": time("2027-01-15T08:00:00Z")}}),
    );
    world.settle();
    assert_eq!((owned(&world), names(&world).len()), (0, 1));
    world.observed.backups.clear();
    world.settle();
    assert_eq!(
        (names(&world), world.reason(READY).as_str()),
        (vec![LAST], reason::FINAL_BACKUP)
    );
    is_good(&mut world);
    world.settle();
    assert_eq!((owned(&world), finalizers(&world).len()), (3, 0));
}

#[test]
fn a_last_backup_that_lost_its_snapshot_is_not_good() {
    let mut world = deleted(json!({}));
    world.settle();
    is_good(&mut world);
    edit(
        &mut world,
        LAST,
        failed("The VolumeSnapshot of this backup is gone."),
    );
    world.settle();
    assert_eq!(
        (owned(&world), world.reason(STALLED).as_str()),
        (0, reason::FINAL_BACKUP_FAILED)
    );
}

#[test]
fn an_instance_that_never_served_has_nothing_to_back_up() {
    let mut world = World::new(Engine::Mysql, json!({"deletionPolicy": "Snapshot"}));
    world.settle();
    assert_eq!(finalizers(&world), [FINALIZER_FINAL_BACKUP]);
    world.cr.metadata.deletion_timestamp = Some(world.now.clone());
    world.settle();
    assert_eq!((names(&world).len(), owned(&world)), (0, 3));
    assert_eq!(finalizers(&world), [""; 0]);
}

/// A volume may come, and a server that takes rows, between a look at the claim and its going.
#[test]
fn a_server_that_may_still_come_up_is_stopped_before_an_empty_claim_goes() {
    let mut world = World::new(Engine::Mysql, json!({"deletionPolicy": "Snapshot"}));
    world.settle();
    world.pod(json!({"status": {"phase": "Pending"}}));
    world.cr.metadata.deletion_timestamp = Some(world.now.clone());
    world.settle();
    assert_eq!((replicas(&world), owned(&world)), (json!(0), 0));
    assert_eq!(finalizers(&world), [FINALIZER_FINAL_BACKUP]);
    world.observed.pod = None;
    world.edit_claim(json!({"metadata": {"resourceVersion": "7"}}));
    let writes = world.decide().writes;
    let claim = writes.iter().find_map(|write| match write {
        Write::Patch(object) if object.kind == Kind::PersistentVolumeClaim => Some(&object.value),
        _ => None,
    });
    let claim = claim.unwrap();
    assert_eq!(claim["metadata"]["resourceVersion"], "7", "{claim}");
    world.settle();
    assert_eq!(owned(&world), 3);
}

#[test]
fn with_its_namespace_it_goes_without_a_backup() {
    let mut world = deleted(json!({}));
    world.observed.namespace_is_terminating = true;
    let plan = world.pass();
    assert_eq!(plan.writes, [Write::Finalizers(vec![])]);
    assert_eq!(world.settle().writes, vec![]);
}

#[rstest]
fn protection_comes_first(#[values(false, true)] namespace: bool) {
    let mut world = deleted(json!({"deletionProtection": true}));
    world.observed.namespace_is_terminating = namespace;
    world.settle();
    assert_eq!(
        (names(&world).len(), world.reason(STALLED).as_str()),
        (0, reason::DELETION_PROTECTED)
    );
    assert_eq!(replicas(&world), 1);
    assert_eq!(
        finalizers(&world),
        [FINALIZER_PROTECTION, FINALIZER_FINAL_BACKUP]
    );
    world.observed.namespace_is_terminating = false;
    world.change(json!({"deletionProtection": false}));
    world.settle();
    assert_eq!(
        (names(&world), finalizers(&world)),
        (vec![LAST], vec![FINALIZER_FINAL_BACKUP.to_owned()])
    );
}

#[test]
fn a_pause_holds_everything_back() {
    let mut world = deleted(json!({}));
    world.cr.metadata.annotations =
        Some([("minidbaas.dev/paused".to_owned(), "true".to_owned())].into());
    world.settle();
    assert_eq!(
        (names(&world).len(), replicas(&world), owned(&world)),
        (0, json!(1), 0)
    );
    assert_eq!(finalizers(&world), [FINALIZER_FINAL_BACKUP]);
    let (_, reason, message) = world.condition(STALLED).unwrap();
    assert_eq!(reason, reason::PAUSED);
    assert!(message.contains("minidbaas.dev/paused"), "{message}");
    world.cr.metadata.annotations = None;
    world.settle();
    assert_eq!(world.reason(READY), reason::FINAL_BACKUP);
}

#[test]
fn the_finalizer_follows_the_policy() {
    let mut world = running(Engine::Mysql, json!({}));
    for (policy, expected) in [
        ("Snapshot", 1),
        ("Retain", 0),
        ("Snapshot", 1),
        ("Delete", 0),
    ] {
        world.change(json!({"deletionPolicy": policy}));
        world.settle();
        assert_eq!(finalizers(&world).len(), expected);
        assert_eq!(json!(world.cr.status)["deletionPolicy"], policy);
        assert_eq!(owned(&world), if policy == "Delete" { 3 } else { 0 });
    }
}

/// What is told last decides what is done next, and a pause is told, too.
#[test]
fn a_paused_deletion_comes_to_rest() {
    let mut world = deleted(json!({}));
    world.cr.status.as_mut().unwrap().storage = None;
    world.cr.metadata.annotations =
        Some([("minidbaas.dev/paused".to_owned(), "true".to_owned())].into());
    let plan = world.settle();
    assert_eq!(
        (world.reason(READY), plan.events),
        (reason::PAUSED.to_owned(), vec![])
    );
    assert_eq!(finalizers(&world), [FINALIZER_FINAL_BACKUP]);
    world.cr.metadata.annotations = None;
    world.settle();
    assert_eq!((finalizers(&world).len(), owned(&world)), (0, 0));
}

/// The operator died after it had handed the data over, and then the policy was changed once more.
#[rstest]
fn data_that_was_handed_over_stays_when_it_is_to_be_retained(#[values(false, true)] held: bool) {
    let mut world = deleted(json!({}));
    world.change(json!({"deletionPolicy": "Delete"}));
    let plan = world.decide();
    for write in plan
        .writes
        .iter()
        .filter(|write| !matches!(write, Write::Finalizers(_)))
    {
        world.take(write);
    }
    assert_eq!(owned(&world), 3);
    if !held {
        world.cr.metadata.finalizers = Some(vec!["example.org/theirs".to_owned()]);
    }
    world.change(json!({"deletionPolicy": "Retain"}));
    world.settle();
    assert_eq!(owned(&world), 0);
}

/// A claim that lost its volume is not bound, and had data.
#[test]
fn a_claim_that_lost_its_volume_is_not_let_go() {
    let mut world = deleted(json!({}));
    world.edit_claim(json!({"status": {"phase": "Lost"}, "spec": {"volumeName": "pv-1"}}));
    world.settle();
    assert_eq!(owned(&world), 0);
    assert_eq!(finalizers(&world), [FINALIZER_FINAL_BACKUP]);
}
