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
    let (secret, postgresql) = (("patch", Some(Kind::Secret)), Some(Kind::Postgresql));
    assert_eq!(
        kinds(&world.pass().writes),
        [RELEASED, secret, secret, ("patch", postgresql)],
        "they are this resource's from now on"
    );
    assert_eq!(kinds(&world.pass().writes), [("apply", postgresql)]);
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
    let [claim, secret] =
        [Kind::PersistentVolumeClaim, Kind::Secret].map(|kind| ("patch", Some(kind)));
    let postgresql = ("delete", Some(Kind::Postgresql));
    assert_eq!(
        kinds(&plan.writes),
        [secret, secret, claim, claim, claim, postgresql],
        "what holds data is handed over while it is known whose it is"
    );
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
    let plan = world.pass();
    let secret = ("patch", Some(Kind::Secret));
    let slice = ("patch", Some(Kind::EndpointSlice));
    assert_eq!(kinds(&plan.writes), [secret, slice, RELEASED]);
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
    world.delete();
    assert_eq!(world.pass().writes, vec![]);
    assert_eq!(world.reason(READY), reason::DELETING);
    world.tick(60);
    world.pass();
    assert_eq!(world.pass().requeue.unwrap().as_secs(), 15);
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
    let conflict =
        json!({"metadata": {"name": "shop", "uid": "theirs"}, "spec": {"numberOfInstances": 1}});
    world.observed.postgresql = Some(serde_json::from_value(conflict).unwrap());
    world.pass();
    assert_eq!(world.reason(STALLED), reason::NAME_TAKEN);
    assert_eq!(world.delete().writes, vec![]);
}

/// Another team's cluster of the same name, which the Zalando operator made: a finalizer that anybody may set proves
/// nothing.
#[rstest]
fn what_the_zalando_operator_made_for_others_is_left_alone(
    #[values(false, true)] has_postgresql: bool,
) {
    let mut theirs = World::serving(json!({}));
    let mut world = World::new(json!({"deletionPolicy": "Delete"}));
    std::mem::swap(&mut world.observed, &mut theirs.observed);
    let observed = &mut world.observed;
    (observed.binding, observed.user) = (None, None);
    let set = observed
        .stateful_set
        .as_mut()
        .unwrap()
        .spec
        .as_mut()
        .unwrap();
    set.template.metadata = None;
    observed.postgresql.as_mut().unwrap().metadata.labels = None;
    observed.postgresql.take_if(|_| !has_postgresql);
    observed.others = vec![
        left(Kind::Secret, "postgres.shop"),
        left(Kind::Service, "shop"),
    ];
    world.pass();
    assert_eq!(world.reason(STALLED), reason::NAME_TAKEN);
    world.cr.metadata.finalizers = Some(vec![FINALIZER_HA_CLUSTER.into()]);
    let first = world.delete();
    world.tick(300);
    let writes = [first.writes, world.pass().writes].concat();
    assert_eq!(kinds(&writes), [RELEASED]);
}

#[rstest]
fn what_a_former_cluster_left_stays_if_the_spec_did_not_fit_it(
    #[values("Delete", "Retain")] policy: &str,
) {
    let mut world = World::serving(json!({}));
    world.delete();
    world.cr.metadata.deletion_timestamp = None;
    world.cr.metadata.uid = Some("another-uid".into());
    world.cr.status = None;
    world.change(json!({"database": "shpo", "deletionPolicy": policy}));
    world.pass();
    assert_eq!(world.reason(STALLED), reason::RETAINED_DATA_MISMATCH);
    world.cr.metadata.finalizers = Some(vec![FINALIZER_HA_CLUSTER.into()]);
    let told = world.delete();
    if policy == "Delete" {
        assert_eq!(told.writes, vec![]);
        assert_eq!(world.reason(READY), reason::DATA_KEPT);
        assert!(
            told.events.iter().any(|event| event.warning),
            "{:?}",
            told.events
        );
        assert_eq!(kinds(&world.pass().writes), [RELEASED]);
    } else {
        assert_eq!(kinds(&told.writes), [RELEASED]);
    }
}

#[test]
fn a_policy_that_turns_to_retain_takes_back_what_was_handed_over() {
    let mut world = deleting();
    world.observed.postgresql = World::serving(json!({})).observed.postgresql;
    world.change(json!({"deletionPolicy": "Retain"}));
    world.pass();
    let metadata = world.observed.claims.iter().map(|claim| &claim.metadata);
    let secrets = [&world.observed.binding, &world.observed.user];
    let metadata = metadata.chain(
        secrets
            .iter()
            .map(|secret| &secret.as_ref().unwrap().metadata),
    );
    let owned =
        metadata.filter(|metadata| metadata.owner_references.iter().flatten().next().is_some());
    assert_eq!(owned.count(), 0);
}

/// Whose the volumes are was told by a `postgresql` that somebody has deleted.
#[test]
fn volumes_of_which_nothing_shows_whose_they_are_stay() {
    let mut world = World::serving(json!({"deletionPolicy": "Delete"}));
    (world.observed.postgresql, world.observed.stateful_set) = (None, None);
    world.observed.pods.clear();
    assert_eq!(world.delete().writes, vec![]);
    assert_eq!(world.reason(READY), reason::DATA_KEPT);
    assert_eq!(kinds(&world.pass().writes), [RELEASED]);
}

/// A status says that the cluster served, and nothing else does: claims of another one are not started.
#[test]
fn a_forged_status_does_not_make_claims_the_clusters() {
    let mut world = World::new(json!({}));
    let theirs = World::serving(json!({}));
    world.observed.claims = theirs.observed.claims;
    world.cr.status = theirs.cr.status;
    assert_eq!(world.pass().writes, vec![]);
    assert_eq!(world.reason(STALLED), reason::NAME_TAKEN);
}

#[test]
fn a_pause_holds_a_deletion_back_and_is_told() {
    let mut world = World::serving(json!({"deletionPolicy": "Delete"}));
    world.cr.metadata.annotations =
        Some([("minidbaas.dev/paused".to_owned(), "true".to_owned())].into());
    assert_eq!(world.delete().writes, vec![]);
    assert_eq!(world.reason(STALLED), reason::PAUSED);
}

/// A Job that says it logged in, made by somebody else under the name of ours.
#[test]
fn a_login_that_others_report_proves_nothing() {
    let mut world = World::new(json!({}));
    world.pass();
    world.tick(1);
    world.carried_out("Running");
    world.pods(3, 0);
    world.pass();
    world.logged_in();
    world.observed.jobs[0].metadata.owner_references = None;
    let uid = world.observed.jobs[0].metadata.uid.clone();
    let plan = world.pass();
    assert_ne!(world.said(READY).0, "True");
    let touched = plan
        .writes
        .iter()
        .any(|write| matches!(write, Write::Delete { uid: of, .. } if Some(of) == uid.as_ref()));
    assert!(!touched, "{:?}", plan.writes);
}

#[rstest]
#[case(json!({}))]
#[case(json!({"deletionPolicy": "Delete"}))]
fn in_a_namespace_that_goes_nothing_is_waited_for(#[case] change: Value) {
    let mut world = World::serving(change);
    world.observed.namespace_is_terminating = true;
    assert_eq!(kinds(&world.delete().writes), [RELEASED]);
}

#[test]
fn finalizers_of_others_stay() {
    let mut world = World::serving(json!({}));
    world.cr.metadata.finalizers = Some(vec!["theirs".into(), FINALIZER_HA_CLUSTER.into()]);
    world.delete();
    assert_eq!(world.cr.metadata.finalizers, Some(vec!["theirs".into()]));
}

/// The `postgresql` was made by a version that marked nothing, and nothing but this deletion was seen by this one.
#[rstest]
#[case::made_for_this_cluster("2026-01-15T09:00:00Z", true)]
#[case::of_a_former_cluster("2026-01-15T07:00:00Z", false)]
fn a_cluster_of_before_there_was_a_mark_is_told_by_its_age(#[case] made: &str, #[case] ours: bool) {
    let mut world = World::serving(json!({}));
    let time = |at: &str| serde_json::from_value(json!(at)).unwrap();
    world.cr.metadata.creation_timestamp = Some(time("2026-01-15T08:00:00Z"));
    let metadata = &mut world.observed.postgresql.as_mut().unwrap().metadata;
    metadata.annotations = None;
    metadata.creation_timestamp = Some(time(made));
    world.delete();
    let stopped = world.postgresql()["numberOfInstances"] == 0;
    assert_eq!(stopped, ours);
}
