//! Restores from another namespace: the imported snapshot, a pair of objects, that makes its snapshot readable is made,
//! used and gone.

use api::Engine;
use api::condition::{RECONCILING, STALLED, reason};
use api::names::FINALIZER_IMPORTED_SNAPSHOT;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use super::{copy_is_ready, crossing, kinds, original};
use crate::instance::source::Sight;
use crate::origin::Source;
use crate::reading::instance::uses_backup;
use crate::restore::tests::found;
use crate::{Kind, Write};

/// A status can be written in the snapshot's namespace; what a content belongs to cannot.
#[rstest]
#[case::of_another_namespace(json!({"spec": {"volumeSnapshotRef": {"namespace": "victim"}}}))]
#[case::of_another_snapshot(json!({"spec": {"volumeSnapshotRef": {"name": "other"}}}))]
#[case::of_a_former_snapshot_of_the_name(json!({"spec": {"volumeSnapshotRef": {"uid": "former"}}}))]
#[case::of_nobody(json!({"spec": {"volumeSnapshotRef": null}}))]
#[case::it_is_being_deleted(json!({"metadata": {"deletionTimestamp": "2026-05-01T03:00:00Z"}}))]
fn a_content_that_does_not_belong_to_the_snapshot_is_not_copied(#[case] change: Value) {
    let mut world = crossing();
    original(&mut world, change);
    let writes = world.pass().writes;
    assert!(
        !kinds(&writes).iter().any(|(verb, _)| *verb == "create"),
        "{writes:?}"
    );
    assert_eq!(world.reason(STALLED), reason::BACKUP_UNUSABLE);
    let (_, _, message) = world.condition(STALLED).unwrap();
    assert!(!message.contains("victim"), "{message}");
}

#[test]
fn a_snapshot_that_goes_is_not_restored() {
    let mut world = crossing();
    let consent = json!({"spec": {"allowedNamespaces": ["demo"]}});
    let goes = json!({"metadata": {"deletionTimestamp": "2026-05-01T03:00:00Z"}});
    world.observed.origin.backup = Some(found(Engine::Postgresql, consent, goes));
    let writes = world.pass().writes;
    assert!(
        !kinds(&writes).iter().any(|(verb, _)| *verb == "create"),
        "{writes:?}"
    );
    assert_eq!(world.reason(STALLED), reason::BACKUP_UNUSABLE);
}

#[rstest]
fn another_namespaces_snapshot_is_read_by_a_pair_that_goes() {
    let mut world = crossing();
    let plan = world.pass();
    assert_eq!(
        plan.writes[0],
        Write::Finalizers(vec![FINALIZER_IMPORTED_SNAPSHOT.into()])
    );
    assert_eq!(
        kinds(&plan.writes),
        [
            ("create", Kind::VolumeSnapshotContent),
            ("create", Kind::VolumeSnapshot)
        ]
    );
    let Write::Create(content) = &plan.writes[1] else {
        unreachable!()
    };
    insta::assert_yaml_snapshot!("snapshot-content-copy", content.value);
    assert_eq!(world.reason(RECONCILING), reason::RESTORING);
    assert_eq!(world.settle().writes, vec![], "waits for the snapshot");
    assert!(uses_backup(&world.cr));
    copy_is_ready(&mut world);
    assert_eq!(world.pass().writes.len(), 8);
    let claim = json!(world.observed.claim);
    assert!(
        claim["spec"]["dataSource"]["name"]
            .as_str()
            .unwrap()
            .starts_with("shop-copy-")
    );
    assert_eq!(world.settle().writes, vec![], "waits for the volume");
    world.edit_claim(json!({"status": {"phase": "Bound", "capacity": {"storage": "2Gi"}}}));
    assert_eq!(
        kinds(&world.pass().writes),
        [
            ("delete", Kind::VolumeSnapshot),
            ("delete", Kind::VolumeSnapshotContent)
        ]
    );
    assert_eq!(world.pass().writes, [Write::Finalizers(vec![])]);
    world.serve();
    world.settle();
    assert_eq!(
        json!(world.cr.status)["restoredFrom"]["namespace"],
        "source"
    );
}

#[rstest]
#[case::early(false)]
#[case::late(true)]
fn an_instance_deleted_in_the_middle_leaves_no_pair(#[case] claimed: bool) {
    let mut world = crossing();
    world.pass();
    if claimed {
        copy_is_ready(&mut world);
        world.pass();
    }
    world.cr.metadata.deletion_timestamp = Some(world.now.clone());
    let plan = world.pass();
    assert!(plan.requeue.is_some());
    let writes = kinds(&plan.writes);
    assert!(writes.contains(&("delete", Kind::VolumeSnapshot)));
    assert!(writes.contains(&("delete", Kind::VolumeSnapshotContent)));
    let owners = json!(world.observed.claim)["metadata"]["ownerReferences"].clone();
    assert_eq!(owners.as_array().map_or(0, Vec::len), usize::from(claimed));
    assert_eq!(world.pass().writes, [Write::Finalizers(vec![])]);
}

/// What may bear data stays, also if it is not bound any more.
#[test]
fn a_claim_that_had_a_volume_does_not_go_with_its_pair() {
    let mut world = crossing();
    world.pass();
    copy_is_ready(&mut world);
    world.pass();
    world.edit_claim(json!({"status": {"phase": "Lost"}, "spec": {"volumeName": "pv-1"}}));
    world.cr.metadata.deletion_timestamp = Some(world.now.clone());
    world.pass();
    let owners = json!(world.observed.claim)["metadata"]["ownerReferences"].clone();
    assert_eq!(owners.as_array().map_or(0, Vec::len), 0);
}

#[rstest]
fn consent_that_is_withdrawn_takes_the_pair_away() {
    let mut world = crossing();
    world.pass();
    let elsewhere = json!({"metadata": {"namespace": "source"}});
    world.observed.origin.backup = Some(found(Engine::Postgresql, elsewhere, json!({})));
    let plan = world.pass();
    assert_eq!(kinds(&plan.writes).len(), 2);
    assert_eq!(world.reason(STALLED), reason::BACKUP_NOT_AVAILABLE);
    let message = world.condition(STALLED).unwrap().2;
    world.pass();
    world.observed.origin.backup = Some(Source::Unavailable);
    assert_eq!(world.pass().writes, vec![]);
    assert_eq!(world.condition(STALLED).unwrap().2, message);
    assert_eq!(world.cr.metadata.finalizers, Some(vec![]));
}

#[rstest]
fn a_strangers_pair_is_not_taken_and_missing_rights_are_told() {
    let mut world = crossing();
    world.observed.origin.copy =
        Some(serde_json::from_value(json!({"metadata": {"name": "shop-copy-cr-uid"}})).unwrap());
    assert!(world.pass().writes.is_empty());
    assert_eq!(world.reason(STALLED), reason::NAME_TAKEN);
    let mut world = crossing();
    world.observed.origin.imported_content = Sight::Forbidden;
    assert!(world.pass().writes.is_empty());
    assert_eq!(world.reason(STALLED), reason::CROSS_NAMESPACE_FORBIDDEN);
}

#[rstest]
fn a_pair_that_may_not_be_seen_any_more_is_told_of() {
    let mut world = crossing();
    world.pass();
    world.observed.origin.imported_content = Sight::Forbidden;
    world.cr.metadata.deletion_timestamp = Some(world.now.clone());
    world.pass();
    world.settle();
    assert_eq!(world.reason(STALLED), reason::CROSS_NAMESPACE_FORBIDDEN);
    world.observed.origin.imported_content = Sight::Absent;
    assert_eq!(world.pass().writes, [Write::Finalizers(vec![])]);
}

#[rstest]
fn a_former_pair_on_its_way_out_is_not_used() {
    let mut world = crossing();
    world.pass();
    copy_is_ready(&mut world);
    let mut copy = json!(world.observed.origin.copy);
    copy["metadata"]["deletionTimestamp"] = json!("2026-05-01T10:00:00Z");
    world.observed.origin.copy = Some(serde_json::from_value(copy).unwrap());
    let plan = world.pass();
    assert!(plan.writes.is_empty() && plan.requeue.is_some());
    world.observed.origin.copy = None;
    assert_eq!(
        kinds(&world.pass().writes),
        [("create", Kind::VolumeSnapshot)]
    );
}

/// Somebody's finalizer may hold it for ever: it is not looked at each second for ever.
#[test]
fn what_does_not_go_is_looked_at_less_often() {
    let mut world = crossing();
    world.pass();
    copy_is_ready(&mut world);
    let mut copy = json!(world.observed.origin.copy);
    copy["metadata"]["deletionTimestamp"] = json!(world.now);
    world.observed.origin.copy = Some(serde_json::from_value(copy).unwrap());
    let mut pauses = Vec::new();
    for deleted in [false, true] {
        let going = world.now.clone();
        world.cr.metadata.deletion_timestamp = deleted.then_some(going);
        pauses.push(world.pass().requeue.unwrap().as_secs());
    }
    world.now = Time(world.now.0 + SignedDuration::from_secs(61));
    pauses.push(world.pass().requeue.unwrap().as_secs());
    world.cr.metadata.deletion_timestamp = None;
    pauses.push(world.pass().requeue.unwrap().as_secs());
    assert_eq!(pauses, [3, 1, 15, 15]);
}
