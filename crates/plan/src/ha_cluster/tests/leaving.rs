//! Deletion: what stays, what goes, and who is waited for.

use api::condition::{READY, STALLED, reason};
use api::names::FINALIZER_HA_CLUSTER;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{World, kinds, text};
use crate::{Kind, Write};

const RELEASED: (&str, Option<Kind>) = ("finalizers", None);

#[test]
fn with_retain_the_servers_stop_and_nobody_is_waited_for() {
    let mut world = World::serving(json!({}));
    let plan = world.delete();
    assert_eq!(
        kinds(&plan.writes),
        [("patch", Some(Kind::Postgresql)), RELEASED]
    );
    assert_eq!(world.postgresql()["numberOfInstances"], 0);
    assert_eq!(world.cr.metadata.finalizers, Some(vec![]));
}

#[test]
fn volumes_that_would_go_with_their_pods_keep_them() {
    let mut world = World::serving(json!({}));
    let set = world
        .observed
        .stateful_set
        .as_mut()
        .unwrap()
        .spec
        .as_mut()
        .unwrap();
    set.persistent_volume_claim_retention_policy =
        serde_json::from_value(json!({"whenScaled": "Delete"})).unwrap();
    assert_eq!(kinds(&world.delete().writes), [RELEASED]);
    assert_eq!(world.postgresql()["numberOfInstances"], 3);
}

#[test]
fn applied_again_it_goes_on_with_the_same_password() {
    let mut world = World::serving(json!({}));
    let password = text(world.observed.binding.as_ref(), "password");
    world.delete();
    world.cr.metadata.deletion_timestamp = None;
    world.cr.metadata.uid = Some("another-uid".into());
    world.cr.status = None;
    world.observed.pods.clear();
    world.observed.patroni.leader.clear();
    world.tick(60);
    world.carried_out("Running");
    world.tick(1);
    let plan = world.pass();
    assert_eq!(
        kinds(&plan.writes),
        [RELEASED, ("apply", Some(Kind::Postgresql))]
    );
    assert_eq!(world.postgresql()["numberOfInstances"], 3);
    assert_eq!(text(world.observed.binding.as_ref(), "password"), password);
    world.tick(1);
    world.carried_out("Running");
    world.pods(3, 1);
    assert_eq!(
        kinds(&world.pass().writes),
        [("create", Some(Kind::Job))],
        "the database is proved again"
    );
    world.logged_in();
    world.tick(1);
    world.settle();
    assert_eq!(world.said(READY).0, "True");
}

#[rstest]
#[case(json!({"username": "other"}), "spec.username")]
#[case(json!({"database": "other"}), "spec.database")]
#[case(json!({"teamId": "other"}), "spec.teamId")]
#[case(json!({"storage": {"className": "slow"}}), "spec.storage.className")]
fn other_data_than_is_asked_for_is_not_started(#[case] change: Value, #[case] field: &str) {
    let mut world = World::serving(json!({}));
    world.delete();
    world.cr.metadata.deletion_timestamp = None;
    world.cr.status = None;
    world.observed.user = world
        .observed
        .user
        .take()
        .filter(|_| change["username"].is_null());
    world.change(change);
    assert_eq!(world.pass().writes, vec![]);
    assert_eq!(world.reason(STALLED), reason::RETAINED_DATA_MISMATCH);
    assert!(
        world.said(READY).2.starts_with(field),
        "{}",
        world.said(READY).2
    );
}

fn left(kind: Kind, name: &str) -> (Kind, ObjectMeta) {
    (
        kind,
        serde_json::from_value(json!({"name": name, "uid": name})).unwrap(),
    )
}

fn deleting() -> World {
    let mut world = World::serving(json!({"deletionPolicy": "Delete"}));
    let plan = world.delete();
    assert_eq!(kinds(&plan.writes), [("delete", Some(Kind::Postgresql))]);
    world
}

#[test]
fn with_delete_the_operator_is_let_do_its_work_and_what_it_leaves_is_collected() {
    let mut world = deleting();
    world.observed.others = vec![
        left(Kind::Service, "shop"),
        left(Kind::Secret, "postgres.shop"),
    ];
    world.tick(5);
    assert_eq!(world.pass().writes, vec![], "it has 60 s to begin");
    world.observed.stateful_set = None;
    assert_eq!(world.pass().writes, vec![], "servers are stopping");
    world.observed.pods.clear();
    assert_eq!(world.pass().writes, vec![], "it deletes Services last");
    world.observed.others = vec![
        left(Kind::Secret, "postgres.shop"),
        left(Kind::EndpointSlice, "shop-repl-x"),
    ];
    world.observed.claims[0].metadata.deletion_timestamp = Some(world.now.clone());
    let plan = world.pass();
    let (claim, secret) = (
        ("patch", Some(Kind::PersistentVolumeClaim)),
        ("patch", Some(Kind::Secret)),
    );
    let slice = ("patch", Some(Kind::EndpointSlice));
    assert_eq!(
        kinds(&plan.writes),
        [claim, claim, secret, secret, secret, slice, RELEASED]
    );
    let Write::Patch(object) = &plan.writes[0] else {
        unreachable!()
    };
    insta::assert_yaml_snapshot!("handed-over", object.value);
}

#[test]
fn an_operator_that_does_not_delete_is_not_waited_for() {
    let mut world = deleting();
    world.observed.others = vec![
        left(Kind::Service, "shop"),
        left(Kind::PodDisruptionBudget, "postgres-shop-pdb"),
    ];
    world.tick(59);
    assert_eq!(world.pass().writes, vec![]);
    world.tick(1);
    assert_eq!(
        kinds(&world.pass().writes),
        [("delete", Some(Kind::StatefulSet))]
    );
    assert_eq!(world.pass().writes, vec![], "servers are stopping");
    world.observed.pods.clear();
    let writes = world.pass().writes;
    assert!(kinds(&writes).contains(&("patch", Some(Kind::PodDisruptionBudget))));
    assert_eq!(kinds(&writes).last(), Some(&RELEASED));
}

#[test]
fn a_postgresql_that_is_held_is_told_of_with_the_way_out() {
    let mut world = World::serving(json!({"deletionPolicy": "Delete"}));
    let found = &mut world.observed.postgresql.as_mut().unwrap().metadata;
    found.finalizers = Some(vec!["postgres-operator.acid.zalan.do".into()]);
    found.deletion_timestamp = Some(world.now.clone());
    assert_eq!(world.delete().writes, vec![]);
    assert_eq!(world.reason(READY), reason::DELETING);
    world.tick(60);
    assert!(world.pass().requeue.is_some());
    let (_, why, message) = world.said(STALLED);
    assert_eq!(why, reason::DELETION_BLOCKED);
    assert!(
        message.contains("kubectl patch postgresql shop")
            && message.contains("postgres-operator.acid.zalan.do"),
        "{message}"
    );
}

#[test]
fn of_a_cluster_that_never_was_nothing_is_touched() {
    let mut world = World::new(json!({"deletionPolicy": "Delete"}));
    let stranger =
        json!({"metadata": {"name": "shop", "uid": "theirs"}, "spec": {"numberOfInstances": 1}});
    world.observed.postgresql = Some(serde_json::from_value(stranger).unwrap());
    world.pass();
    assert_eq!(world.reason(STALLED), reason::NAME_TAKEN);
    assert_eq!(world.delete().writes, vec![]);
}

#[rstest]
#[case(json!({}))]
#[case(json!({"deletionPolicy": "Delete"}))]
fn in_a_namespace_that_goes_nothing_is_waited_for(#[case] change: Value) {
    let mut world = World::serving(change);
    world.observed.namespace_is_leaving = true;
    assert_eq!(kinds(&world.delete().writes), [RELEASED]);
}

#[test]
fn finalizers_of_others_stay() {
    let mut world = World::serving(json!({}));
    world.cr.metadata.finalizers = Some(vec!["theirs".into(), FINALIZER_HA_CLUSTER.into()]);
    world.delete();
    assert_eq!(world.cr.metadata.finalizers, Some(vec!["theirs".into()]));
}
