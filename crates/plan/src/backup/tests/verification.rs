//! The verification of a backup: one throw-away instance, a result that is on record before it goes, and never a second
//! run.

use api::Engine;
use api::condition::{READY, RECONCILING, STALLED, VERIFIED, reason};
use api::names::{LABEL_VERIFIES, verification_instance};
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{START, UID, World, at, merge, typed};
use crate::backup::{Waiting, may_begin, verification_is_wanted};
use crate::reading::backup::{is_good, is_sound};
use crate::{Kind, Write};

/// A backup that is to be proved, with its throw-away instance.
fn proving() -> World {
    let mut world = World::ready(Engine::Mariadb, json!({"verify": true}));
    world.settle();
    assert!(world.observed.verification.is_some());
    restored(&mut world);
    world
}

/// The throw-away instance has the backup's data.
fn restored(world: &mut World) {
    let from = json!({"instance": "shop", "backup": "nightly", "uid": UID, "takenAt": at(START)});
    instance(world, json!({"status": {"restoredFrom": from}}));
}

fn instance(world: &mut World, change: Value) {
    let mut instance = json!(world.observed.verification);
    merge(&mut instance, &change);
    world.observed.verification = Some(typed(instance));
}

/// The throw-away instance says this.
fn says(world: &mut World, type_: &str, status: &str, reason: &str, message: &str) {
    let condition = json!({"type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": at(START)});
    instance(world, json!({"status": {"conditions": [condition]}}));
}

#[test]
fn the_instance_is_like_the_one_that_was_backed_up_and_goes_with_the_backup() {
    let mut world = World::new(Engine::Mariadb, json!({"verify": true}));
    let spec = &mut world.observed.instance.as_mut().unwrap().spec;
    spec.parameters = [("max_connections".to_owned(), "77".to_owned())].into();
    spec.resources = Some(typed(json!({"limits": {"memory": "1Gi"}})));
    world.pass();
    world.cut();
    world.complete();
    world.pass();
    world.pass();
    let plan = world.pass();
    let [Write::Create(instance)] = &plan.writes[..] else {
        panic!("{:?}", plan.writes)
    };
    assert_eq!(instance.name(), verification_instance(UID));
    assert_eq!(instance.value["metadata"]["labels"][LABEL_VERIFIES], UID);
    insta::assert_yaml_snapshot!("throw-away", instance.value);
    let parsed: api::DatabaseInstance = typed(instance.value.clone());
    assert_eq!(parsed.spec.restore_from.unwrap().backup.name, "nightly");
}

#[test]
fn it_waits_for_room_and_for_the_snapshot() {
    let mut world = World::new(Engine::Mysql, json!({"verify": true}));
    assert!(!verification_is_wanted(&world.cr));
    world.pass();
    world.cut();
    world.complete();
    world.observed.may_verify = false;
    world.settle();
    assert!(verification_is_wanted(&world.cr));
    assert!(world.observed.verification.is_none() && is_good(&world.cr));
    assert_eq!(world.reason(VERIFIED), reason::VERIFYING);
    world.observed.may_verify = true;
    world.settle();
    assert!(world.observed.verification.is_some());
}

#[rstest]
#[case::good("True", "Checked", "3 tables", "True", reason::CHECKED)]
#[case::damaged("False", "CheckFailed", "a page is bad", "False", reason::CHECK_FAILED)]
#[case::unfinished("Unknown", "NotChecked", "no room", "Unknown", reason::NOT_CHECKED)]
fn a_result_is_on_record_before_the_instance_goes(
    #[case] status: &str,
    #[case] said: &str,
    #[case] message: &str,
    #[case] expected: &str,
    #[case] expected_reason: &str,
) {
    let mut world = proving();
    assert!(verification_is_wanted(&world.cr));
    instance(
        &mut world,
        json!({"status": {"restore": {"startedAt": at(START + 10), "completedAt": at(START + 14),
        "steps": [{"name": "Volume", "seconds": 1}]}}}),
    );
    world.settle();
    assert_eq!(world.reason(VERIFIED), reason::VERIFYING);
    says(&mut world, VERIFIED, status, said, message);
    world.after(30);
    let plan = world.pass();
    assert_eq!(plan.writes, vec![]);
    assert_eq!(plan.events.len(), 1);
    assert_eq!(plan.events[0].warning, status == "False");
    let (result, reason, told) = world.condition(VERIFIED).unwrap();
    assert_eq!(
        (result.as_str(), reason.as_str()),
        (expected, expected_reason)
    );
    assert!(told.contains(message), "{told}");
    assert!(!verification_is_wanted(&world.cr));
    assert!(matches!(
        &world.pass_without_report().writes[..],
        [Write::Delete {
            kind: Kind::DatabaseInstance,
            ..
        }]
    ));
    world.settle();
    let verification = world.status().verification.unwrap();
    assert_eq!(
        (verification.instance, verification.restore_seconds),
        (None, Some(4))
    );
    assert_eq!(
        (verification.verified_at, verification.steps.len()),
        (Some(world.now.clone()), 1)
    );
    assert!(world.observed.verification.is_none(), "a second run");
    assert_eq!(world.reason(VERIFIED), expected_reason);
    assert!(is_good(&world.cr));
    assert_eq!(is_sound(&world.cr), status != "False");
}

#[test]
fn a_restored_server_that_ends_again_and_again_means_damage() {
    let mut world = proving();
    says(
        &mut world,
        STALLED,
        "True",
        reason::CRASH_LOOP,
        "MariaDB ends again and again.",
    );
    world.settle();
    let (status, _, message) = world.condition(VERIFIED).unwrap();
    assert_eq!(status, "False");
    assert!(
        message.contains("ends again and again. Do not rely"),
        "{message}"
    );
    assert!(world.observed.verification.is_none());
}

#[rstest]
fn trouble_of_the_cluster_says_nothing_of_the_backup(
    #[values(
        reason::UNSCHEDULABLE,
        reason::QUOTA_EXCEEDED,
        reason::IMAGE_PULL_FAILED
    )]
    trouble: &str,
) {
    let mut world = proving();
    world.settle();
    says(&mut world, STALLED, "True", trouble, "no");
    world.settle();
    assert_eq!(world.reason(VERIFIED), reason::VERIFYING);
    assert!(world.observed.verification.is_some());
}

#[rstest]
fn an_instance_that_someone_deletes_is_not_made_again(#[values(false, true)] at_once: bool) {
    let mut world = proving();
    if at_once {
        world.observed.verification = None;
    } else {
        instance(
            &mut world,
            json!({"metadata": {"deletionTimestamp": at(START)}}),
        );
    }
    world.settle();
    world.observed.verification = None;
    world.settle();
    assert_eq!(world.reason(VERIFIED), reason::NOT_CHECKED);
    assert!(world.observed.verification.is_none());
    assert!(!verification_is_wanted(&world.cr));
}

#[rstest]
#[case::no_node(reason::UNSCHEDULABLE, true)]
#[case::no_quota(reason::QUOTA_EXCEEDED, true)]
#[case::forbidden(reason::POD_FORBIDDEN, true)]
#[case::may_come(reason::IMAGE_PULL_FAILED, false)]
fn a_proof_without_a_place_is_given_up_after_five_minutes(
    #[case] trouble: &str,
    #[case] ends: bool,
) {
    let mut world = proving();
    world.now = at(START + 299);
    says(&mut world, STALLED, "True", trouble, "No room.");
    world.settle();
    assert_eq!(world.reason(VERIFIED), reason::VERIFYING);
    world.after(1);
    world.settle();
    let (status, reason, message) = world.condition(VERIFIED).unwrap();
    assert_eq!(
        (status.as_str(), reason == reason::NOT_CHECKED),
        ("Unknown", ends)
    );
    assert_eq!(message.contains("within 5 minutes: No room."), ends);
    assert_eq!(world.observed.verification.is_none(), ends);
}

fn waiting(namespace: &str, uid: &str, began: bool, is_stalled: bool) -> Waiting {
    let taken_at = Some(at(START).0);
    Waiting {
        namespace: namespace.to_owned(),
        uid: uid.to_owned(),
        began,
        is_stalled,
        taken_at,
        last_turn: 0,
    }
}

#[test]
fn nobody_waits_for_the_proofs_of_another_namespace() {
    let begins = |uid: &str, all: &[Waiting]| may_begin(uid, all);
    let many: Vec<Waiting> = (0..9)
        .map(|n| waiting("greedy", &format!("a-{n}"), n < 2, false))
        .collect();
    let mut all = many;
    all.push(waiting("demo", "z", false, false));
    assert!(begins("z", &all));
    assert!(begins("a-0", &all) && !begins("a-1", &all) && !begins("a-2", &all));
    // Two of other namespaces are under way: these take the room, unless they do not go on.
    all.push(waiting("other", "b", true, false));
    assert!(!begins("z", &all));
    all[0].is_stalled = true;
    all[1].is_stalled = true;
    assert!(begins("z", &all) && !begins("a-2", &all));
    assert!(!begins("unknown", &all));
}

/// Two namespaces with many each, all of them older than the one of a third.
#[test]
fn a_namespace_waits_for_one_of_each_other_one_at_most() {
    let mut all: Vec<Waiting> = (0..50)
        .flat_map(|n| ["one", "two"].map(|of| waiting(of, &format!("{of}-{n:02}"), false, false)))
        .collect();
    all.push(Waiting {
        taken_at: Some(at(START + 1000).0),
        ..waiting("victim", "v", false, false)
    });
    let (mut turn, mut rounds) = (0, 0);
    while !may_begin("v", &all) {
        rounds += 1;
        // Who has a turn is done with it at once.
        let begin: Vec<Waiting> = all
            .iter()
            .filter(|one| may_begin(&one.uid, &all))
            .cloned()
            .collect();
        all.retain(|one| !begin.contains(one));
        for one in begin {
            turn += 1;
            let of = all
                .iter_mut()
                .filter(|other| other.namespace == one.namespace);
            of.for_each(|other| other.last_turn = turn);
        }
        assert!(rounds < 3, "it waits for all of them");
    }
}

#[rstest]
#[case::not_owned(json!({"metadata": {"ownerReferences": []}}))]
#[case::owned_by_another(json!({"metadata": {"ownerReferences": [
    {"apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseBackup", "name": "nightly", "uid": "other",
        "controller": true}]}}))]
#[case::of_other_data(json!({"spec": {"restoreFrom": {"backup": {"name": "other"}}}}))]
#[case::of_another_namespace(json!({"spec": {"restoreFrom": {"backup": {"namespace": "other"}}}}))]
fn an_instance_that_only_looks_like_the_proof_proves_nothing(#[case] forged: Value) {
    let mut world = proving();
    instance(&mut world, forged);
    world.cr.status.as_mut().unwrap().verification = None;
    says(&mut world, VERIFIED, "True", "Checked", "all is well");
    let plan = world.settle();
    assert_eq!(plan.writes, vec![]);
    assert_eq!(world.reason(VERIFIED), reason::NAME_TAKEN);
    assert!(world.observed.verification.is_some());
}

#[test]
fn a_proof_is_given_up_after_an_hour() {
    let mut world = proving();
    says(
        &mut world,
        READY,
        "False",
        "Restoring",
        "The first start is under way.",
    );
    world.after(3599);
    world.settle();
    assert_eq!(world.reason(VERIFIED), reason::VERIFYING);
    world.after(1);
    world.settle();
    let (_, reason, message) = world.condition(VERIFIED).unwrap();
    assert_eq!(reason, reason::NOT_CHECKED);
    assert!(
        message.contains("60 minutes: The first start is under way."),
        "{message}"
    );
    assert!(world.observed.verification.is_none());
}

/// A user may write the throw-away instance's spec, and nobody else is to wait for that.
#[test]
fn a_proof_that_someone_stops_is_given_up() {
    let mut world = proving();
    let now = world.now.clone();
    let room = |world: &World| {
        let instance = world.observed.verification.as_ref().unwrap();
        crate::backup::takes_no_room(instance, &now)
    };
    assert!(!room(&world));
    instance(&mut world, json!({"spec": {"stopped": true}}));
    assert!(room(&world));
    world.settle();
    assert_eq!(world.reason(VERIFIED), reason::NOT_CHECKED);
    assert!(world.observed.verification.is_none());
}

#[test]
fn verify_may_be_set_later() {
    let mut world = World::ready(Engine::Postgresql, json!({}));
    assert_eq!(world.condition(VERIFIED), None);
    world.change(json!({"verify": true}));
    world.settle();
    assert!(world.observed.verification.is_some());
    assert_eq!(world.reason(VERIFIED), reason::VERIFYING);
    assert_eq!(
        (world.phase().as_str(), world.condition(RECONCILING)),
        ("Ready", None)
    );
}

#[rstest]
fn a_crash_before_any_report_makes_one_instance(#[values(0, 1, 2, 3, 4)] crash_at: usize) {
    let mut world = World::ready(Engine::Mysql, json!({}));
    world.change(json!({"verify": true}));
    let mut made = 0;
    for step in 0..8 {
        let plan = if step == crash_at {
            world.pass_without_report()
        } else {
            world.pass()
        };
        made += plan
            .writes
            .iter()
            .filter(|write| matches!(write, Write::Create(_)))
            .count();
        if step == 1 {
            restored(&mut world);
            says(&mut world, VERIFIED, "True", "Checked", "fine");
        }
    }
    world.settle();
    assert_eq!(
        (made, world.reason(VERIFIED).as_str()),
        (1, reason::CHECKED)
    );
    assert!(world.observed.verification.is_none());
}

#[test]
fn a_strangers_instance_is_left_alone() {
    let mut world = World::ready(Engine::Mysql, json!({}));
    world.change(json!({"verify": true}));
    let mut conflict = json!(world.observed.instance);
    conflict["metadata"]["name"] = json!(verification_instance(UID));
    world.observed.verification = Some(typed(conflict));
    world.settle();
    assert_eq!(world.reason(VERIFIED), reason::NAME_TAKEN);
    assert!(world.observed.verification.is_some());
}

/// Otherwise it would hold the room of others for ever.
#[test]
fn a_proof_ends_when_the_snapshot_is_lost_and_begins_anew_when_it_is_back() {
    let mut world = proving();
    let snapshot = world.observed.snapshot.take();
    world.settle();
    assert!(world.observed.verification.is_none());
    assert!(!verification_is_wanted(&world.cr));
    assert_eq!(world.reason(READY), reason::SNAPSHOT_LOST);
    world.observed.snapshot = snapshot;
    world.settle();
    assert!(verification_is_wanted(&world.cr) && world.observed.verification.is_some());
    assert_eq!(world.reason(VERIFIED), reason::VERIFYING);
}

#[test]
fn a_refused_write_does_not_lose_the_result() {
    let mut world = proving();
    says(&mut world, VERIFIED, "True", "Checked", "fine");
    let planned = world.decide().status;
    world.cr.status = Some(crate::report::refused(
        &world.cr, &planned, "no", &world.now,
    ));
    assert_eq!(world.reason(VERIFIED), reason::CHECKED);
    world.settle();
    assert_eq!(world.reason(VERIFIED), reason::CHECKED);
}

/// Under its name lay a retained volume: then restoreFrom has no meaning.
#[rstest]
#[case(Value::Null)]
#[case(json!({"instance": "shop", "backup": "nightly", "uid": "other", "takenAt": at(START)}))]
fn the_check_of_other_data_proves_nothing(#[case] from: Value) {
    let mut world = proving();
    instance(&mut world, json!({"status": {"restoredFrom": from}}));
    says(&mut world, VERIFIED, "True", "Checked", "all is well");
    world.pass();
    assert_eq!(world.reason(VERIFIED), reason::VERIFYING);
}
