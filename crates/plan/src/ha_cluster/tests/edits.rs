//! Changes are handed over one at a time, when the Zalando operator is ready for one.

use api::condition::{READY, RECONCILING, STALLED, reason};
use api::ha_cluster::HAClusterPhase;
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{World, kinds, text};
use crate::instance::tests::world::credentials;
use crate::{Kind, Write};

/// The part of the spec that an edit has changed.
fn edited(before: &Value, after: &Value) -> Vec<&'static str> {
    let parts = [
        "/users",
        "/volume",
        "/resources",
        "/postgresql",
        "/patroni",
        "/numberOfInstances",
    ];
    parts
        .into_iter()
        .filter(|part| before.pointer(part) != after.pointer(part))
        .collect()
}

/// One pass; what it has edited.
fn pass(world: &mut World) -> Vec<&'static str> {
    let before = world.postgresql().clone();
    world.pass();
    edited(&before, world.postgresql())
}

#[test]
fn everything_at_once_becomes_one_edit_after_another() {
    let mut world = World::serving(json!({}));
    world.observed.credentials = Some(credentials(&[("password", "mine")]));
    world.change(json!({
        "replicas": 5, "storage": {"size": "2Gi"}, "maxConnections": 50, "resources": {"limits": {"memory": "1Gi"}},
        "synchronous": "Off", "credentialsSecret": {"name": "mine"},
    }));
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(pass(&mut world));
        assert_eq!(world.reason(RECONCILING), reason::UPDATING);
        assert_eq!(
            world.cr.status.as_ref().unwrap().phase,
            Some(HAClusterPhase::Updating)
        );
        // Neither before it has begun, nor while it is at it, nor in the second in which it is done.
        assert!(pass(&mut world).is_empty());
        world.tick(1);
        world.carried_out("Updating");
        assert!(pass(&mut world).is_empty());
        world.tick(1);
        world.carried_out("Running");
        assert!(pass(&mut world).is_empty());
        world.tick(1);
    }
    assert_eq!(
        order,
        [
            vec!["/users"],
            vec!["/volume"],
            vec!["/resources", "/postgresql", "/patroni"],
            vec!["/numberOfInstances"]
        ]
    );
    world.pods(5, 0);
    world.tick(200);
    world.settle();
}

#[test]
fn a_setting_that_is_not_asked_for_any_more_goes() {
    let mut world = World::serving(json!({"parameters": {"work_mem": "8MB"}}));
    assert_eq!(
        world.postgresql()["postgresql"]["parameters"]["work_mem"],
        "8MB"
    );
    let mut spec = json!(world.cr.spec);
    spec["parameters"] = json!({});
    world.cr.spec = serde_json::from_value(spec).unwrap();
    assert_eq!(pass(&mut world), ["/postgresql"]);
    assert!(world.postgresql()["postgresql"]["parameters"]["work_mem"].is_null());
}

#[test]
fn what_others_have_added_stays() {
    let mut world = World::serving(json!({}));
    let found = world.observed.postgresql.as_mut().unwrap();
    found.spec["users"]["reporting"] = json!(["nologin"]);
    found.spec["databases"]["archive"] = json!("app");
    found.spec["enableConnectionPooler"] = json!(true);
    assert_eq!(world.settle().writes, vec![]);
}

#[rstest]
#[case::after_a_failure("UpdateFailed", true)]
#[case::in_a_creation("Creating", false)]
#[case::with_a_word_that_is_new("Pondering", false)]
fn an_edit_needs_an_operator_at_rest(#[case] word: &str, #[case] made: bool) {
    let mut world = World::serving(json!({}));
    world.carried_out(word);
    world.tick(1);
    world.change(json!({"replicas": 4}));
    assert_eq!(!pass(&mut world).is_empty(), made);
}

/// `login` is what a user has anyway; that it comes or goes makes the operator read the Secret.
#[test]
fn a_new_password_reaches_the_binding_when_it_is_in_force() {
    let mut world = World::serving(json!({}));
    let generated = text(world.observed.binding.as_ref(), "password");
    world.observed.credentials = Some(credentials(&[("password", "first:mine")]));
    world.change(json!({"credentialsSecret": {"name": "mine"}}));
    for (password, flags) in [("first:mine", json!(["login"])), ("second", json!([]))] {
        world.observed.credentials =
            Some(credentials(&[("username", "app"), ("password", password)]));
        let plan = world.pass();
        assert_eq!(
            kinds(&plan.writes),
            [
                ("patch", Some(Kind::Secret)),
                ("apply", Some(Kind::Postgresql))
            ]
        );
        assert_eq!(text(world.observed.user.as_ref(), "password"), password);
        assert_eq!(world.postgresql()["users"]["app"], flags);
        let plan = world.pass();
        assert_eq!(
            kinds(&plan.writes),
            [("create", Some(Kind::Job))],
            "the login is tried from now on"
        );
        assert_ne!(text(world.observed.binding.as_ref(), "password"), password);
        world.tick(1);
        world.carried_out("Running");
        world.pass();
        assert_eq!(
            world.reason(RECONCILING),
            reason::UPDATING,
            "the operator's word is no proof"
        );
        world.logged_in();
        let plan = world.pass();
        assert_eq!(kinds(&plan.writes), [("patch", Some(Kind::Secret))]);
        assert_eq!(text(world.observed.binding.as_ref(), "password"), password);
        world.tick(1);
        world.settle();
        assert_eq!(world.said(READY).0, "True");
        assert!(world.observed.jobs.is_empty());
    }
    let uri = text(world.observed.binding.as_ref(), "uri");
    assert_eq!(
        uri,
        "postgresql://app:second@shop.demo.svc:5432/shop?sslmode=require"
    );
    assert_ne!(generated, "second");
}

#[rstest]
#[case::the_binding(true)]
#[case::the_users(false)]
fn a_lost_secret_is_made_anew_with_the_password_that_is_in_force(#[case] binding: bool) {
    let mut world = World::serving(json!({}));
    let password = text(world.observed.binding.as_ref(), "password");
    if binding {
        world.observed.binding = None;
    } else {
        world.observed.user = None;
    }
    world.pass();
    assert_eq!(text(world.observed.binding.as_ref(), "password"), password);
    assert_eq!(text(world.observed.user.as_ref(), "password"), password);
}

#[test]
fn a_binding_that_was_changed_by_hand_is_repaired() {
    let mut world = World::serving(json!({}));
    let binding = world.observed.binding.as_mut().unwrap();
    let data = binding.data.as_mut().unwrap();
    data.insert(
        "host".into(),
        k8s_openapi::ByteString(b"elsewhere".to_vec()),
    );
    assert_eq!(kinds(&world.pass().writes), [("patch", Some(Kind::Secret))]);
    assert_eq!(
        text(world.observed.binding.as_ref(), "host"),
        "shop.demo.svc"
    );
}

/// Without a pod, no edit is put off for one.
#[test]
fn a_cluster_that_was_stopped_is_started_with_all_changes_at_once() {
    let mut world = World::serving(json!({}));
    world.observed.postgresql.as_mut().unwrap().spec["numberOfInstances"] = json!(0);
    world.observed.pods.clear();
    world.change(json!({"storage": {"size": "3Gi"}, "maxConnections": 50}));
    assert_eq!(
        pass(&mut world),
        ["/volume", "/postgresql", "/numberOfInstances"]
    );
}

#[test]
fn a_paused_cluster_is_told_of_and_not_touched() {
    let mut world = World::serving(json!({}));
    let paused = [("minidbaas.dev/paused".to_owned(), "true".to_owned())];
    world.cr.metadata.annotations = Some(paused.into());
    assert_eq!(
        world.reason(STALLED),
        "",
        "at rest there is nothing to hold back"
    );
    world.change(json!({"replicas": 4}));
    assert_eq!(world.pass().writes, Vec::<Write>::new());
    assert_eq!(world.reason(STALLED), reason::PAUSED);
    assert_eq!(world.said(READY).0, "False", "a server is missing");
}
