//! What is said of the Zalando operator: whether it acts, what it failed at, and which of its settings do harm.

use api::condition::{AVAILABLE, DELEGATED, READY, STALLED, reason};
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{World, kinds};
use crate::Kind;

#[test]
fn an_operator_that_does_not_act_is_told_of() {
    let mut world = World::new(json!({}));
    let plan = world.pass();
    assert_eq!(plan.requeue.unwrap().as_secs(), 3);
    world.tick(14);
    world.pass();
    assert_eq!(
        (world.reason(STALLED), world.said(DELEGATED).0),
        (String::new(), "True".into())
    );
    world.tick(1);
    world.pass();
    assert_eq!(
        world.reason(STALLED),
        reason::POSTGRES_OPERATOR_NOT_RESPONDING
    );
    assert_eq!(world.said(DELEGATED).0, "False");
    // Of what it carries out when it starts it says nothing, unless it is asked again.
    assert_eq!(world.pass().writes, vec![]);
    world.tick(29);
    assert_eq!(world.pass().writes, vec![]);
    world.tick(1);
    let plan = world.pass();
    assert_eq!(kinds(&plan.writes), [("patch", Some(Kind::Postgresql))]);
    let silent = reason::POSTGRES_OPERATOR_NOT_RESPONDING;
    assert_eq!(world.reason(STALLED), silent, "asking is no answer");
    world.carried_out("Creating");
    world.pass();
    assert_eq!(world.reason(STALLED), "");
    assert_eq!(world.said(DELEGATED).0, "True");
}

#[rstest]
#[case::with_nothing_to_wait_for(true, 180)]
#[case::for_longer_than_it_ever_waits(false, 900)]
fn an_operator_that_fell_silent_in_its_work_is_told_of(#[case] whole: bool, #[case] seconds: i64) {
    let mut world = World::serving(json!({}));
    world.carried_out("Updating");
    if !whole {
        world.observed.pods.pop();
    }
    world.tick(seconds - 1);
    world.pass();
    assert_eq!(world.reason(STALLED), "");
    world.tick(1);
    world.pass();
    assert_eq!(
        world.reason(STALLED),
        reason::POSTGRES_OPERATOR_NOT_RESPONDING
    );
    assert_eq!(world.said(AVAILABLE).0, "True");
}

#[rstest]
#[case("CreateFailed")]
#[case("UpdateFailed")]
#[case("SyncFailed")]
#[case("Invalid")]
fn what_the_operator_failed_at_is_told_in_its_words(#[case] word: &str) {
    let mut world = World::serving(json!({}));
    world.carried_out(word);
    world.observed.said = Some("could not update cluster: no such thing".to_owned());
    world.pass();
    let (_, why, message) = world.said(STALLED);
    assert_eq!(why, reason::POSTGRES_OPERATOR_FAILED);
    assert!(
        message.contains(word) && message.contains("no such thing"),
        "{message}"
    );
    assert_eq!(world.said(READY).0, "True", "all servers serve");
}

/// By itself it looks again after five minutes.
#[test]
fn what_the_operator_failed_at_it_is_asked_to_try_again_ever_more_seldom() {
    let mut world = World::serving(json!({}));
    world.carried_out("UpdateFailed");
    let begun = world.now.0.as_second();
    let mut asked = Vec::new();
    for _ in 0..3600 {
        world.tick(1);
        let plan = world.pass();
        if !plan.writes.is_empty() {
            assert_eq!(kinds(&plan.writes), [("patch", Some(Kind::Postgresql))]);
            asked.push(world.now.0.as_second() - begun);
            world.carried_out("UpdateFailed");
        }
        assert_eq!(world.reason(STALLED), reason::POSTGRES_OPERATOR_FAILED);
    }
    let pauses: Vec<i64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(asked[0], 30);
    assert!(asked.len() > 5 && pauses.is_sorted(), "{asked:?}");
    world.carried_out("Running");
    assert_eq!(world.settle().writes, vec![]);
    assert_eq!(world.reason(STALLED), "");
}

#[test]
fn a_bare_word_is_understood_too() {
    let mut world = World::serving(json!({}));
    world.observed.postgresql.as_mut().unwrap().status = json!("Running");
    assert_eq!(world.settle().writes, vec![]);
}

#[rstest]
#[case(json!({"debug": {}}), "")]
#[case(json!({}), "debug.enable_database_access")]
#[case(json!({"debug": {"enable_database_access": false}}), "debug.enable_database_access")]
#[case(json!({"debug": {}, "kubernetes": {"secret_name_template": "{username}"}}), "kubernetes.secret_name_template")]
#[case(json!({"debug": {}, "kubernetes": {"cluster_labels": {"application": "pg"}}}), "kubernetes.cluster_labels")]
#[case(json!({"debug": {}, "kubernetes": {"cluster_name_label": "cluster-name", "pod_role_label": "role"}}),
    "kubernetes.pod_role_label")]
#[case(json!({"debug": {}, "kubernetes": {"persistent_volume_claim_retention_policy": {"when_scaled": "delete"}}}),
    "when_scaled")]
#[case(json!({"debug": {}, "kubernetes": {"storage_resize_mode": "off"}}), "kubernetes.storage_resize_mode")]
#[case(json!({"debug": {}, "max_instances": 2}), "max_instances")]
#[case(json!({"debug": {}, "max_instances": -1, "min_instances": 5}), "min_instances")]
fn harmful_settings_are_named(#[case] settings: Value, #[case] named: &str) {
    let mut world = World::serving(json!({}));
    let found = json!({"metadata": {"name": "zalando", "namespace": "operators"}, "configuration": settings});
    world.observed.settings = vec![serde_json::from_value(found).unwrap()];
    let plan = world.pass();
    let (status, why, message) = world.said(DELEGATED);
    if named.is_empty() {
        assert_eq!(status, "True");
        return;
    }
    assert_eq!(
        (status.as_str(), why.as_str()),
        ("False", reason::HARMFUL_SETTING)
    );
    assert!(
        message.contains(named) && message.contains("operators/zalando"),
        "{message}"
    );
    assert!(plan.events.iter().any(|event| event.warning));
    assert_eq!(
        (world.said(READY).0.as_str(), world.reason(STALLED)),
        ("True", String::new())
    );
}
