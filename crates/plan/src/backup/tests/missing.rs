//! What a backup needs and does not find: nothing is made, and the message names the field and the remedy.

use api::Engine;
use api::condition::{READY, STALLED, reason};
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{World, class, merge, typed};
use crate::backup::SnapshotClasses;

fn classes(world: &mut World, list: &[Value]) {
    world.observed.classes = SnapshotClasses::Found(list.iter().cloned().map(typed).collect());
}

fn no_api(world: &mut World) {
    world.observed.classes = SnapshotClasses::NoApi;
}

fn named(world: &mut World) {
    world.cr.spec.snapshot_class_name = Some("fine".into());
}

fn of_another_driver(world: &mut World) {
    named(world);
    classes(world, &[class("fine", "other.example", true)]);
}

fn none_of_the_driver(world: &mut World) {
    classes(world, &[class("fine", "other.example", true)]);
}

fn several(world: &mut World) {
    let list = ["a", "b"].map(|name| class(name, "csi.example", false));
    classes(world, &list);
}

fn local_volume(world: &mut World) {
    let claim = world.observed.claim.as_mut().unwrap();
    claim.metadata.annotations = None;
    world.observed.provisioner = Some("kubernetes.io/no-provisioner".into());
}

fn no_driver(world: &mut World) {
    local_volume(world);
    world.observed.provisioner = None;
}

fn no_instance(world: &mut World) {
    world.observed.instance = None;
}

fn never_served(world: &mut World) {
    let instance = world.observed.instance.as_mut().unwrap();
    let status = instance.status.as_mut().unwrap();
    status.storage.as_mut().unwrap().capacity = None;
}

fn no_status(world: &mut World) {
    world.observed.instance.as_mut().unwrap().status = None;
}

fn no_claim(world: &mut World) {
    world.observed.claim = None;
}

fn unbound(world: &mut World) {
    let claim = world.observed.claim.as_mut().unwrap();
    claim.status.as_mut().unwrap().phase = Some("Pending".into());
}

fn name_taken(world: &mut World) {
    world.observed.snapshot = Some(typed(json!({
        "metadata": {"name": "nightly", "uid": "conflict", "annotations": {"minidbaas.dev/backup-uid": "another"}},
        "status": {"creationTime": world.now, "readyToUse": true},
    })));
}

/// The snapshot of a former backup of this name, which is about to be gone.
#[rstest]
#[case::deleted(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}))]
#[case::collected(json!({"ownerReferences": [{"apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseBackup",
    "name": "nightly", "uid": "another"}]}))]
fn a_predecessors_snapshot_is_waited_for(#[case] going: Value) {
    let mut world = World::new(Engine::Postgresql, json!({}));
    name_taken(&mut world);
    let mut snapshot = json!(world.observed.snapshot);
    merge(&mut snapshot["metadata"], &going);
    world.observed.snapshot = Some(typed(snapshot));
    let plan = world.pass();
    assert!(plan.writes.is_empty() && plan.requeue.is_some());
    assert_eq!(world.reason(READY), reason::WAITING_FOR_DELETION);
    assert_eq!(world.reason(STALLED), "");
}

type Spoil = fn(&mut World);

#[rstest]
#[case::no_api(no_api, reason::SNAPSHOT_API_MISSING, &["snapshot.storage.k8s.io/v1", "Install",
    "external-snapshotter"])]
#[case::no_class_named(named, reason::SNAPSHOT_CLASS_NOT_FOUND, &["spec.snapshotClassName", "fine",
    "kubectl get volumesnapshotclass"])]
#[case::of_another_driver(of_another_driver, reason::SNAPSHOT_UNSUPPORTED, &["spec.snapshotClassName",
    "other.example", "csi.example"])]
#[case::none_of_the_driver(none_of_the_driver, reason::SNAPSHOT_CLASS_NOT_FOUND, &["csi.example", "fast",
    "Create one"])]
#[case::several(several, reason::SNAPSHOT_CLASS_NOT_FOUND, &["a, b", "is-default-class", "spec.snapshotClassName"])]
#[case::local_volume(local_volume, reason::SNAPSHOT_UNSUPPORTED, &["fast", "no CSI driver", "Move"])]
#[case::no_driver(no_driver, reason::SNAPSHOT_UNSUPPORTED, &["fast", "no CSI driver", "Move"])]
#[case::no_instance(no_instance, reason::INSTANCE_NOT_FOUND, &["spec.instance", "shop", "kubectl get dbinstances"])]
#[case::never_served(never_served, reason::INSTANCE_NOT_READY, &["spec.instance", "accepted connections",
    "kubectl get dbinstance shop"])]
#[case::no_status(no_status, reason::INSTANCE_NOT_READY, &["spec.instance", "accepted connections"])]
#[case::no_claim(no_claim, reason::INSTANCE_NOT_READY, &["spec.instance", "no volume yet"])]
#[case::unbound(unbound, reason::INSTANCE_NOT_READY, &["spec.instance", "no volume yet"])]
#[case::name_taken(name_taken, reason::NAME_TAKEN, &["VolumeSnapshot nightly", "Rename or delete it"])]
fn nothing_is_made(
    #[case] spoil: Spoil,
    #[case] expected: &str,
    #[case] said: &[&str],
    #[values("Online", "Quiesced", "Offline")] method: &str,
) {
    let mut world = World::new(Engine::Postgresql, json!({ "method": method }));
    let sound = world.observed.clone();
    spoil(&mut world);
    let plan = world.settle();
    assert!(plan.requeue.is_some());
    assert_eq!((world.phase().as_str(), world.made), ("Pending", 0));
    for type_ in [READY, STALLED] {
        let (_, reason, message) = world.condition(type_).unwrap();
        assert_eq!(reason, expected);
        for word in said {
            assert!(message.contains(word), "{word}: {message}");
        }
    }
    assert!(world.status().started_at.is_none());

    // Cured: it begins.
    let mut cured = world.clone();
    cured.observed = sound;
    classes(&mut cured, &[class("fine", "csi.example", true)]);
    cured.after(599);
    cured.pass();
    assert_eq!(
        (cured.phase().as_str(), cured.condition(STALLED)),
        ("Running", None)
    );

    // Not cured: it is given up.
    world.after(599);
    world.settle();
    assert_eq!(world.phase(), "Pending");
    world.after(1);
    world.settle();
    assert_eq!(
        (world.phase().as_str(), world.reason(READY).as_str()),
        ("Failed", expected)
    );
    let (_, _, message) = world.condition(READY).unwrap();
    assert!(message.contains("Given up after 10 minutes"), "{message}");
    assert_eq!(
        (world.made, world.deleted),
        (0, 0),
        "a conflict's snapshot is left alone"
    );
}

#[test]
fn who_was_not_looked_at_for_long_is_not_given_up_at_once() {
    let mut world = World::new(Engine::Postgresql, json!({}));
    world.after(3600);
    no_instance(&mut world);
    world.settle();
    assert_eq!(world.phase(), "Pending");
}

/// Thousands that look every other second would take the operator from all others.
#[test]
fn one_that_waits_for_its_begin_is_looked_at_less_often() {
    let mut world = World::new(Engine::Postgresql, json!({"method": "Offline"}));
    let mut pauses = Vec::new();
    for seconds in [0, 30, 1] {
        world.after(seconds);
        pauses.push(world.pass().requeue.unwrap().as_secs());
    }
    assert_eq!(pauses, [2, 2, 10]);
}

#[rstest]
#[case::the_only_one(&[class("a", "csi.example", false), class("b", "other.example", true)], None, "a")]
#[case::the_default(&[class("a", "csi.example", false), class("b", "csi.example", true)], None, "b")]
#[case::the_named(&[class("a", "csi.example", false), class("b", "csi.example", true)], Some("a"), "a")]
fn the_class_is_the_named_else_the_default_else_the_only(
    #[case] list: &[Value],
    #[case] wanted: Option<&str>,
    #[case] expected: &str,
) {
    let mut world = World::new(Engine::Postgresql, json!({"snapshotClassName": wanted}));
    classes(&mut world, list);
    world.settle();
    let snapshot = json!(world.observed.snapshot);
    assert_eq!(snapshot["spec"]["volumeSnapshotClassName"], expected);
    assert_eq!(json!(world.status())["snapshot"]["driver"], "csi.example");
}

#[rstest]
#[case::annotation(None, Some("volume.kubernetes.io/storage-provisioner"))]
#[case::former_annotation(None, Some("volume.beta.kubernetes.io/storage-provisioner"))]
#[case::class(Some("csi.example"), None)]
fn the_driver_is_the_claims_or_its_classs(
    #[case] provisioner: Option<&str>,
    #[case] annotation: Option<&str>,
) {
    let mut world = World::new(Engine::Postgresql, json!({}));
    world.observed.provisioner = provisioner.map(str::to_owned);
    let claim = world.observed.claim.as_mut().unwrap();
    claim.metadata.annotations =
        annotation.map(|name| [(name.to_owned(), "csi.example".to_owned())].into());
    world.settle();
    assert_eq!(world.made, 1);
}

#[test]
fn what_goes_missing_while_a_hold_is_waited_for_fails_the_backup() {
    let mut world = World::new(Engine::Postgresql, json!({"method": "Quiesced"}));
    world.pass();
    assert!(world.observed.job.is_some());
    world.observed.instance = None;
    world.assert_failed(reason::INSTANCE_NOT_FOUND);
}
