//! What cannot be delegated is refused with the field and the remedy, and nothing is made.

use api::condition::{AVAILABLE, DELEGATED, READY, RECONCILING, STALLED, reason};
use api::ha_cluster::HAClusterPhase;
use rstest::rstest;
use serde_json::{Value, json};

use super::world::World;
use crate::Kind;
use crate::ha_cluster::Served;
use crate::instance::tests::world::credentials;
use crate::storage_class::StorageClass;

#[rstest]
#[case(json!({"version": "9"}), reason::UNKNOWN_VERSION, "It serves 13, 14, 15, 16, 17")]
#[case(json!({"sharedBuffers": "513MB"}), reason::INVALID_PARAMETER, "spec.sharedBuffers: 513MB is more than")]
#[case(json!({"effectiveCacheSize": "1Ti"}), reason::INVALID_PARAMETER, "spec.effectiveCacheSize")]
#[case(json!({"resources": {"limits": {"memory": "64Mi"}}}), reason::INVALID_RESOURCES, "at least 128Mi")]
#[case(json!({"resources": {"limits": {"memory": "512Mi"}, "requests": {"memory": "1Gi"}}}),
    reason::INVALID_RESOURCES, "is greater than")]
#[case(json!({"parameters": {"work_men": "1MB"}}), reason::INVALID_PARAMETER, "Did you mean 'work_mem'?")]
#[case(json!({"parameters": {"ssl": "off"}}), reason::INVALID_PARAMETER, "authentication")]
#[case(json!({"parameters": {"cluster_name": "x"}}), reason::INVALID_PARAMETER, "replication belongs to Patroni")]
#[case(json!({"credentialsSecret": {"name": "none"}}), reason::CREDENTIALS_NOT_FOUND, "there is no Secret none")]
fn a_bad_spec_makes_nothing(#[case] change: Value, #[case] why: &str, #[case] words: &str) {
    let mut world = World::new(change);
    assert_eq!(world.pass().writes, vec![]);
    assert_eq!(
        (world.reason(READY), world.reason(STALLED)),
        (why.into(), why.into())
    );
    assert!(
        world.said(STALLED).2.contains(words),
        "{}",
        world.said(STALLED).2
    );
    assert_eq!(
        world.cr.status.as_ref().unwrap().phase,
        Some(HAClusterPhase::Pending)
    );
}

#[rstest]
#[case(json!({"sharedBuffers": "513MB"}))]
#[case(json!({"version": "16"}))]
#[case(json!({"storage": {"size": "500Mi"}}))]
#[case(json!({"username": "other"}))]
fn a_bad_change_takes_nothing_down(#[case] change: Value) {
    let mut world = World::serving(json!({"storage": {"size": "2Gi"}}));
    world.change(change);
    assert_eq!(world.pass().writes, vec![]);
    assert_eq!(
        (
            world.said(READY).0.as_str(),
            world.said(AVAILABLE).0.as_str()
        ),
        ("True", "True")
    );
    assert_ne!(world.reason(STALLED), "");
    // Taken back, all is as before.
    world.change(json!({"sharedBuffers": null, "version": null, "storage": {"size": "2Gi"}, "username": "app"}));
    assert_eq!(world.settle().writes, vec![]);
    assert_eq!(world.reason(STALLED), "");
}

#[test]
fn without_the_operators_definition_nothing_is_made_until_it_is_there() {
    let mut world = World::new(json!({}));
    let served = std::mem::replace(&mut world.observed.served, Served::Missing);
    let plan = world.pass();
    assert!(plan.writes.is_empty() && plan.requeue.is_some_and(|again| again.as_secs() <= 30));
    assert_eq!(
        (world.reason(STALLED), world.reason(DELEGATED)),
        (
            reason::POSTGRES_OPERATOR_MISSING.into(),
            reason::POSTGRES_OPERATOR_MISSING.into()
        )
    );
    assert!(world.said(STALLED).2.contains("postgresqls.acid.zalan.do"));
    world.observed.served = served;
    assert_eq!(world.pass().writes.len(), 4);
}

#[rstest]
#[case("", reason::CREDENTIALS_INVALID)]
#[case("two\nlines", reason::CREDENTIALS_INVALID)]
fn an_unusable_password_is_refused(#[case] password: &str, #[case] why: &str) {
    let mut world = World::new(json!({"credentialsSecret": {"name": "mine"}}));
    world.observed.credentials = Some(credentials(&[("password", password)]));
    assert_eq!(world.pass().writes, vec![]);
    assert_eq!(world.reason(STALLED), why);
}

#[test]
fn classes_must_be_there_and_grow() {
    let mut world = World::new(json!({}));
    world.observed.storage_class = StorageClass::Missing;
    assert_eq!(world.pass().writes, vec![]);
    assert_eq!(world.reason(STALLED), reason::STORAGE_CLASS_NOT_FOUND);
    let mut world = World::serving(json!({}));
    world.observed.storage_class = StorageClass::Found {
        name: "fixed".into(),
        can_grow: false,
        provisioner: "x".into(),
        access_mode: crate::storage_class::EXCLUSIVE,
    };
    assert_eq!(world.settle().writes, vec![], "it need not grow");
    world.change(json!({"storage": {"size": "2Gi"}}));
    assert_eq!(world.pass().writes, vec![]);
    assert_eq!(world.reason(STALLED), reason::STORAGE_CLASS_CANNOT_GROW);
}

#[test]
fn whatever_has_its_names_already_is_not_taken_over() {
    let metadata = || serde_json::from_value(json!({"name": "shop"})).unwrap();
    let object = json!({"metadata": {"name": "shop"}});
    let cases: [fn(&mut World, &Value); 5] = [
        |world, object| world.observed.postgresql = serde_json::from_value(object.clone()).unwrap(),
        |world, object| world.observed.binding = serde_json::from_value(object.clone()).unwrap(),
        |world, object| world.observed.user = serde_json::from_value(object.clone()).unwrap(),
        |world, object| {
            world.observed.stateful_set = serde_json::from_value(object.clone()).unwrap()
        },
        |world, object| {
            world.observed.claims = vec![serde_json::from_value(object.clone()).unwrap()]
        },
    ];
    for case in cases {
        let mut world = World::new(json!({}));
        case(&mut world, &object);
        assert_eq!(world.pass().writes, vec![]);
        assert_eq!(world.reason(STALLED), reason::NAME_TAKEN);
        let mut world = World::new(json!({}));
        let mut going = object.clone();
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        case(&mut world, &going);
        assert_eq!(world.pass().writes, vec![]);
        assert_eq!(world.reason(RECONCILING), reason::WAITING_FOR_DELETION);
    }
    let mut world = World::new(json!({}));
    world.observed.others = vec![(Kind::Service, metadata())];
    assert_eq!(world.pass().writes, vec![]);
    assert!(world.said(STALLED).2.contains("There is a Service shop"));
}

/// The Zalando operator's StatefulSet takes a claim by its name, whoever's data it bears; also for a further server.
#[test]
fn a_claim_that_only_has_the_name_is_not_taken() {
    let claim = |number: u8| {
        let claim = json!({"name": format!("pgdata-shop-{number}"), "uid": "theirs"});
        vec![(
            Kind::PersistentVolumeClaim,
            serde_json::from_value(claim).unwrap(),
        )]
    };
    let mut world = World::new(json!({}));
    world.observed.others = claim(0);
    assert_eq!(world.pass().writes, vec![]);
    assert!(world.said(STALLED).2.contains("pgdata-shop-0"));
    let mut world = World::serving(json!({}));
    world.observed.others = claim(3);
    world.change(json!({"replicas": 5}));
    assert_eq!(world.pass().writes, vec![]);
    assert!(world.said(STALLED).2.contains("pgdata-shop-3"));
    assert_eq!(world.reason(STALLED), reason::NAME_TAKEN);
    // Nor is it when the `postgresql` was deleted by somebody, and is to be made once more.
    let mut world = World::serving(json!({}));
    world.observed.postgresql = None;
    world.observed.stateful_set = None;
    world.observed.pods.clear();
    world.observed.claims.pop();
    world.observed.others = claim(2);
    assert_eq!(world.pass().writes, vec![]);
    assert!(world.said(STALLED).2.contains("pgdata-shop-2"));
}

/// Somebody has deleted the `postgresql` of a cluster that served.
#[test]
fn an_empty_database_never_takes_the_place_of_a_lost_one() {
    let mut world = World::serving(json!({}));
    world.observed.postgresql = None;
    assert_eq!(world.pass().writes, vec![]);
    assert_eq!(world.reason(RECONCILING), reason::WAITING_FOR_DELETION);
    world.observed.stateful_set = None;
    world.observed.pods.clear();
    let claims = std::mem::take(&mut world.observed.claims);
    assert_eq!(world.pass().writes, vec![]);
    assert_eq!(world.reason(STALLED), reason::VOLUME_LOST);
    assert_eq!(
        world.cr.status.as_ref().unwrap().phase,
        Some(HAClusterPhase::Failed)
    );
    // Kept by the operator's settings, the volumes are used again.
    world.observed.claims = claims;
    world.pass();
    assert_eq!(world.postgresql()["numberOfInstances"], 3);
}

/// With its setting enable_owner_references, the Zalando operator makes the `postgresql` the owner of the user's
/// Secret.
#[rstest]
#[case::the_clusters_own(true)]
#[case::another(false)]
fn a_secret_may_belong_to_the_clusters_postgresql(#[case] own: bool) {
    let mut world = World::serving(json!({}));
    let postgresql = world.observed.postgresql.as_ref().unwrap();
    let postgresql = postgresql.metadata.uid.clone().unwrap();
    let uid = if own {
        postgresql
    } else {
        "another".to_owned()
    };
    let owner = json!([{"apiVersion": "acid.zalan.do/v1", "kind": "postgresql", "name": "shop", "uid": uid,
        "controller": true}]);
    let user = world.observed.user.as_mut().unwrap();
    user.metadata.owner_references = serde_json::from_value(owner).unwrap();
    let plan = world.pass();
    assert_eq!(plan.writes, vec![]);
    assert_eq!(world.reason(STALLED) == reason::NAME_TAKEN, !own);
}
