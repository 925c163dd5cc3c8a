//! What is not the instance's own, or was not proved to be kept elsewhere, stays when the instance goes.

use api::Engine;
use api::condition::{READY, STALLED, reason};
use api::names::FINALIZER_FINAL_BACKUP;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::backups::{edit, names};
use super::super::scenarios::running;
use super::super::world::World;
use super::{LAST, deleted, finalizers, is_good, owned};
use crate::Write;

/// A claim of a conflict and its Secrets lie under the names of an instance that the operator never accepted them for.
#[rstest]
fn what_is_not_the_instances_is_not_handed_over(
    #[values("Snapshot", "Delete")] policy: &str,
    #[values(false, true)] bound: bool,
) {
    let mut world = World::new(Engine::Mysql, json!({"deletionPolicy": policy}));
    let conflict = json!({"metadata": {"name": "shop", "uid": "theirs"}, "status": {"phase": if bound {
        "Bound" } else { "Pending" }}});
    world.observed.claim = serde_json::from_value(conflict.clone()).unwrap();
    world.observed.binding =
        serde_json::from_value(json!({"metadata": conflict["metadata"]})).unwrap();
    world.observed.admin =
        serde_json::from_value(json!({"metadata": conflict["metadata"]})).unwrap();
    world.settle();
    assert_eq!(world.reason(READY), reason::NAME_TAKEN);
    // Anybody who may write the resource may set a finalizer.
    world.cr.metadata.finalizers = Some(vec![FINALIZER_FINAL_BACKUP.into()]);
    world.cr.metadata.deletion_timestamp = Some(world.now.clone());
    assert_eq!(world.pass().writes, [Write::Finalizers(vec![])]);
    assert_eq!(owned(&world), 0);
}

/// Data that was retained, and a spec with a typing error: it was never this resource's to lose.
#[rstest]
fn retained_data_that_the_spec_did_not_fit_stays(#[values("Snapshot", "Delete")] policy: &str) {
    let mut world = running(Engine::Mysql, json!({}));
    world.delete_and_apply_again();
    world.cr.spec.database = Some("shpo".into());
    world.change(json!({"deletionPolicy": policy}));
    world.settle();
    assert_eq!(world.reason(STALLED), reason::RETAINED_DATA_MISMATCH);
    world.cr.metadata.finalizers = Some(vec![FINALIZER_FINAL_BACKUP.into()]);
    world.cr.metadata.deletion_timestamp = Some(world.now.clone());
    assert_eq!(
        world.pass().writes,
        vec![],
        "it is told before the resource goes"
    );
    let (_, reason, message) = world.condition(READY).unwrap();
    assert_eq!(reason, reason::DATA_KEPT);
    assert!(
        message.contains("PersistentVolumeClaim shop") && message.contains("stay"),
        "{message}"
    );
    world.settle();
    assert_eq!(
        (owned(&world), names(&world).len(), finalizers(&world).len()),
        (0, 0, 0)
    );
}

/// A server may have served, and nobody have seen it: the operator was away, or the status was written by somebody
/// else.
#[test]
fn a_bound_volume_of_which_no_backup_can_be_taken_stays() {
    let mut world = deleted(json!({}));
    world.cr.status.as_mut().unwrap().storage = None;
    let told = world.pass();
    assert_eq!(told.writes, vec![], "it is told before the resource goes");
    assert_eq!(world.reason(READY), reason::DATA_KEPT);
    assert!(
        told.events
            .iter()
            .any(|event| event.warning && event.reason == reason::DATA_KEPT)
    );
    assert_eq!(world.pass().writes, [Write::Finalizers(vec![])]);
    assert_eq!(owned(&world), 0);
}

#[rstest]
#[case::it_has_no_snapshot(|world: &mut World| world.observed.last_snapshot = None)]
#[case::its_snapshot_is_not_ready(|world: &mut World| change_snapshot(world, json!({"status": {"readyToUse": false}})))]
#[case::its_snapshot_is_of_another_volume(|world: &mut World| change_snapshot(world,
    json!({"spec": {"source": {"persistentVolumeClaimName": "other"}}})))]
#[case::its_snapshot_is_another_backups(|world: &mut World| change_snapshot(world,
    json!({"metadata": {"annotations": {"minidbaas.dev/backup-uid": "x"}}})))]
#[case::its_snapshot_goes(|world: &mut World| change_snapshot(world,
    json!({"metadata": {"deletionTimestamp": "2027-01-15T08:00:00Z"}})))]
#[case::it_is_of_a_namesake(|world: &mut World| edit(world, LAST, json!({"status": {"source": {"uid": "former"}}})))]
#[case::it_is_older_than_the_deletion(|world: &mut World| edit(world, LAST,
    json!({"metadata": {"creationTimestamp": "2020-01-15T08:00:00Z"}})))]
#[case::it_was_made_by_a_user(|world: &mut World| edit(world, LAST,
    json!({"metadata": {"labels": {"minidbaas.dev/final": null}}})))]
#[case::it_was_not_cut_offline(|world: &mut World| edit(world, LAST, json!({"spec": {"method": "Online"}})))]
fn a_last_backup_that_only_says_it_is_good_is_not(#[case] forge: fn(&mut World)) {
    let mut world = deleted(json!({}));
    world.settle();
    is_good(&mut world);
    forge(&mut world);
    world.settle();
    assert_eq!((owned(&world), finalizers(&world).len()), (0, 1));
    assert_eq!(world.reason(STALLED), reason::FINAL_BACKUP_FAILED);
}

fn change_snapshot(world: &mut World, change: Value) {
    let mut all = json!(world.observed.last_snapshot);
    super::super::world::merge(&mut all, &change);
    world.observed.last_snapshot = serde_json::from_value(all).unwrap();
}

/// A StatefulSet of somebody else is not scaled.
#[test]
fn only_the_instances_own_server_is_stopped() {
    let mut world = deleted(json!({}));
    let set = world.observed.stateful_set.as_mut().unwrap();
    set.metadata.owner_references = None;
    let plan = world.pass();
    assert!(
        matches!(&plan.writes[..], [Write::Create(_)]),
        "{:?}",
        plan.writes
    );
}

/// The claim and its Secrets were made by a version that marked nothing, and nothing but this deletion was seen by this
/// one.
#[rstest]
#[case::the_server_runs_on_it("08:00:00", "cr-uid", true)]
#[case::the_volume_came_after_the_server("09:00:00", "cr-uid", false)]
#[case::the_server_is_a_former_instances("08:00:00", "former", false)]
fn data_of_before_there_was_a_mark_is_the_instances_whose_server_runs_on_it(
    #[case] claim: &str,
    #[case] controller: &str,
    #[case] ours: bool,
) {
    let mut world = deleted(json!({}));
    let made = |at: &str| json!({"metadata": {"creationTimestamp": format!("2026-01-15T{at}Z")}});
    let unmarked = json!({"metadata": {"annotations": {"minidbaas.dev/accepted-by": null}}});
    let mut change = made(claim);
    super::super::world::merge(&mut change, &unmarked);
    world.edit_claim(change);
    for secret in [&mut world.observed.binding, &mut world.observed.admin] {
        let mut all = json!(secret);
        super::super::world::merge(&mut all, &unmarked);
        super::super::world::merge(&mut all, &made("08:00:00"));
        *secret = serde_json::from_value(all).unwrap();
    }
    let mut set = made("08:30:00");
    set["metadata"]["ownerReferences"] = json!([{"apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance",
        "name": "shop", "uid": controller}]);
    world.edit_set(set);
    world.settle();
    assert_eq!(
        names(&world).len(),
        usize::from(ours),
        "a last backup is taken"
    );
    if ours {
        is_good(&mut world);
        world.settle();
    }
    assert_eq!(owned(&world), if ours { 3 } else { 0 });
}

/// A backup of another instance has the name of the last one.
#[test]
fn a_last_backup_whose_name_is_taken_is_told() {
    let mut world = deleted(json!({}));
    world.observed.others_backup = serde_json::from_value(json!({"name": LAST})).unwrap();
    world.settle();
    assert_eq!(world.reason(STALLED), reason::FINAL_BACKUP_FAILED);
    assert_eq!(
        (owned(&world), names(&world).len(), finalizers(&world).len()),
        (0, 0, 1)
    );
    let going = json!({"name": LAST, "deletionTimestamp": "2026-01-01T00:00:00Z"});
    world.observed.others_backup = serde_json::from_value(going).unwrap();
    world.settle();
    assert_eq!(world.reason(READY), reason::WAITING_FOR_DELETION);
    assert_eq!(world.reason(STALLED), "");
    world.observed.others_backup = None;
    world.settle();
    assert_eq!(names(&world), [LAST]);
}
