//! What is refused, and how troubles are told: one test for each message a user could meet.

use api::Engine;
use api::condition::{READY, STALLED, reason};
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{World, credentials, our_labels};
use crate::storage_class::StorageClass;

use super::scenarios::running;

#[rstest]
#[case(Engine::Postgresql, "data_directory", "belong to the operator")]
#[case(Engine::Postgresql, "work_men", "Did you mean 'work_mem'")]
#[case(Engine::Postgresql, "Work_Mem", "is written 'work_mem'")]
#[case(Engine::Postgresql, "plperl.on_init", "belong to the operator")]
#[case(
    Engine::Postgresql,
    "basebackup_to_shell.command",
    "belong to the operator"
)]
#[case(Engine::Mysql, "datadir", "belong to the operator")]
#[case(Engine::Mysql, "skip-grant-tables", "authentication")]
#[case(Engine::Mariadb, "max-connections", "is written 'max_connections'")]
fn parameters_are_refused_by_name(#[case] engine: Engine, #[case] name: &str, #[case] why: &str) {
    let mut world = World::new(engine, json!({"parameters": {name: "1"}}));
    assert!(world.pass().writes.is_empty());
    let (_, reason, message) = world.condition(STALLED).unwrap();
    assert_eq!(reason, reason::INVALID_PARAMETER);
    assert!(message.contains(name) && message.contains(why), "{message}");
}

#[rstest]
#[case(None, reason::CREDENTIALS_NOT_FOUND)]
#[case(Some(&[("username", "app")][..]), reason::CREDENTIALS_INVALID)]
#[case(Some(&[("password", "")][..]), reason::CREDENTIALS_INVALID)]
#[case(Some(&[("password", "line\n")][..]), reason::CREDENTIALS_INVALID)]
#[case(Some(&[("username", "other"), ("password", "x")][..]), reason::CREDENTIALS_INVALID)]
fn unusable_credentials_make_nothing(
    #[case] secret: Option<&[(&str, &str)]>,
    #[case] expected: &str,
) {
    let mut world = World::new(
        Engine::Postgresql,
        json!({"credentialsSecret": {"name": "mine"}}),
    );
    world.observed.credentials = secret.map(credentials);
    let plan = world.pass();
    assert!(plan.writes.is_empty() && plan.requeue.is_some());
    assert_eq!(world.reason(STALLED), expected);
}

/// The type is the consent: else the operator would read any Secret of the namespace out to whoever may make instances.
#[rstest]
#[case(None, "Opaque")]
#[case(Some("Opaque"), "Opaque")]
#[case(Some("kubernetes.io/tls"), "kubernetes.io/tls")]
#[case(Some("servicebinding.io/postgresql"), "servicebinding.io/postgresql")]
fn a_secret_of_another_type_is_not_read(#[case] found: Option<&str>, #[case] told: &str) {
    let spec = json!({"credentialsSecret": {"name": "mine"}});
    let mut world = World::new(Engine::Postgresql, spec);
    let mut secret = credentials(&[("username", "other"), ("password", "of another")]);
    secret.type_ = found.map(str::to_owned);
    world.observed.credentials = Some(secret);
    assert!(world.pass().writes.is_empty());
    let (_, why, message) = world.condition(STALLED).unwrap();
    assert_eq!(why, reason::CREDENTIALS_INVALID);
    for word in [
        "Secret mine",
        told,
        "kubernetes.io/basic-auth",
        "delete it and create it",
    ] {
        assert!(message.contains(word), "{message}");
    }
    assert!(!message.contains("other"), "{message}");
}

#[rstest]
#[case("spec.credentialsSecret.name", |bad: &str| json!({"credentialsSecret": {"name": bad}}))]
#[case("spec.storage.className", |bad: &str| json!({"storage": {"size": "1Gi", "className": bad}}))]
#[case("spec.backup.snapshotClassName", |bad: &str| json!({"backup": {"snapshotClassName": bad}}))]
#[case("spec.scheduling.priorityClassName", |bad: &str| json!({"scheduling": {"priorityClassName": bad}}))]
#[case("spec.restoreFrom.backup.name", |bad: &str| json!({"restoreFrom": {"backup": {"name": bad}}}))]
#[case("spec.restoreFrom.backup.namespace", |bad: &str| json!({"restoreFrom": {"backup": {"name": "a",
    "namespace": bad}}}))]
fn names_that_no_object_has_are_told_of(#[case] field: &str, #[case] spec: fn(&str) -> Value) {
    for bad in ["a b", "a?b#c", "../../x", "Upper", ""] {
        let mut world = World::new(Engine::Postgresql, spec(bad));
        world.observed.origin.backup = Some(crate::origin::Source::Unavailable);
        assert!(world.pass().writes.is_empty());
        let (_, why, message) = world.condition(STALLED).unwrap();
        assert_eq!(why, reason::INVALID_NAME, "{message}");
        assert!(message.starts_with(field), "{message}");
    }
}

#[rstest]
#[case(json!({"engine": "mariadb"}), "minidbaas.dev/engine")]
#[case(json!({"database": "other"}), "minidbaas.dev/database")]
#[case(json!({"username": "other"}), "minidbaas.dev/username")]
fn retained_data_of_another_kind_is_left_alone(#[case] spec: Value, #[case] annotation: &str) {
    let mut world = running(Engine::Mysql, json!({}));
    world.delete_and_apply_again();
    world.change(spec);
    assert!(
        world
            .observed
            .claim
            .as_ref()
            .unwrap()
            .metadata
            .annotations
            .as_ref()
            .unwrap()
            .contains_key(annotation)
    );
    assert!(world.pass().writes.is_empty());
    let stalled = world.reason(STALLED);
    assert!(
        [reason::RETAINED_DATA_MISMATCH, reason::MAJOR_VERSION_CHANGE].contains(&stalled.as_str()),
        "{stalled}"
    );
}

#[rstest]
#[case("16", reason::MAJOR_VERSION_CHANGE)]
#[case("17.1", reason::VERSION_DOWNGRADE)]
#[case("17.9", reason::UNKNOWN_VERSION)]
fn versions_move_forward_within_a_major(#[case] version: &str, #[case] expected: &str) {
    let mut world = running(Engine::Postgresql, json!({}));
    world.edit_claim(json!({"metadata": {"annotations": {"minidbaas.dev/version": "17.5"}}}));
    world.change(json!({"version": version}));
    assert!(world.pass().writes.is_empty());
    assert_eq!(world.reason(STALLED), expected);
    assert_eq!(world.reason(READY), reason::RUNNING);
}

#[rstest]
fn strangers_are_not_taken_over() {
    let conflict = json!({"metadata": {"name": "shop", "uid": "x"}});
    let ours = json!({"metadata": {"name": "shop", "uid": "x", "labels": our_labels(),
        "ownerReferences": [{"apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance", "name": "shop",
        "uid": "former"}]}});
    let going = json!({"metadata": {"name": "shop", "uid": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
    for (object, expected) in [
        (conflict, reason::NAME_TAKEN),
        (going, reason::WAITING_FOR_DELETION),
        (ours, reason::WAITING_FOR_DELETION),
    ] {
        let mut worlds: Vec<World> = (0..4)
            .map(|_| World::new(Engine::Postgresql, json!({})))
            .collect();
        worlds[0].observed.service = Some(serde_json::from_value(object.clone()).unwrap());
        worlds[1].observed.claim = Some(serde_json::from_value(object.clone()).unwrap());
        worlds[2].observed.binding = Some(serde_json::from_value(object.clone()).unwrap());
        worlds[3].observed.stateful_set = Some(serde_json::from_value(object).unwrap());
        for mut world in worlds {
            assert!(world.pass().writes.is_empty());
            assert_eq!(world.reason(READY), expected);
        }
    }
}

/// Endpoints without a Service are Patroni's records of a cluster whose name is the beginning of this one.
#[rstest]
#[case::a_record(json!({"application": "spilo", "cluster-name": "shop"}), reason::NAME_TAKEN)]
#[case::left_by_our_service(our_labels(), reason::PROVISIONING)]
fn records_of_a_cluster_are_not_taken_over(#[case] labels: Value, #[case] expected: &str) {
    let mut world = World::new(Engine::Postgresql, json!({}));
    let found = json!({"name": "shop", "labels": labels});
    world.observed.endpoints = serde_json::from_value(found).unwrap();
    world.pass();
    assert_eq!(world.reason(READY), expected);
}

#[rstest]
#[case(json!({"storage": {"className": "none"}}), StorageClass::Missing, reason::STORAGE_CLASS_NOT_FOUND)]
#[case(json!({"version": "9.9"}), StorageClass::Unread, reason::UNKNOWN_VERSION)]
#[case(json!({"resources": {"limits": {"memory": "1Mi"}}}), StorageClass::Unread, reason::INVALID_RESOURCES)]
#[case(json!({"resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "2Gi"}}}), StorageClass::Unread,
    reason::INVALID_RESOURCES)]
#[case(json!({"engine": "mysql", "database": "_".repeat(33)}), StorageClass::Unread, reason::INVALID_NAME)]
#[case(json!({"engine": "mariadb", "database": "漢".repeat(52)}), StorageClass::Unread, reason::INVALID_NAME)]
fn what_cannot_be_makes_nothing(
    #[case] spec: Value,
    #[case] class: StorageClass,
    #[case] expected: &str,
) {
    let mut world = World::new(Engine::Postgresql, spec);
    world.observed.storage_class = class;
    assert!(world.pass().writes.is_empty());
    assert_eq!(world.reason(STALLED), expected);
}

#[rstest]
fn a_lost_volume_is_not_replaced_by_an_empty_one() {
    let mut world = running(Engine::Postgresql, json!({}));
    world.observed.claim = None;
    assert!(world.pass().writes.is_empty());
    assert_eq!(world.reason(STALLED), reason::VOLUME_LOST);
}

#[rstest]
#[case(json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
    "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient memory.",
    "lastTransitionTime": "2020-01-01T00:00:00Z"}]}), reason::UNSCHEDULABLE, "spec.resources.requests.memory")]
#[case(json!({"phase": "Pending", "initContainerStatuses": [{"name": "prepare", "image": "postgres:0", "imageID": "",
    "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]}),
    reason::IMAGE_PULL_FAILED, "postgres:0")]
#[case(json!({"phase": "Running", "containerStatuses": [{"name": "database", "image": "i", "imageID": "",
    "ready": false, "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}), reason::OUT_OF_MEMORY,
    "spec.resources.limits.memory")]
#[case(json!({"phase": "Running", "containerStatuses": [{"name": "database", "image": "i", "imageID": "",
    "ready": false, "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 1, "message": "LOG:  x\nFATAL:  the disk is full\n"}}}]}),
    reason::CRASH_LOOP, "the disk is full")]
fn troubles_of_the_pod_are_explained(
    #[case] status: Value,
    #[case] expected: &str,
    #[case] said: &str,
) {
    let mut world = World::new(Engine::Postgresql, json!({}));
    world.pass();
    world.pod(json!({"status": status}));
    world.pass();
    let (_, reason, message) = world.condition(READY).unwrap();
    assert_eq!(reason, expected);
    assert!(message.contains(said), "{message}");
    assert_eq!(world.reason(STALLED), expected);
}

#[rstest]
#[case(
    "create Pod shop-0 in StatefulSet shop failed error: pods \"shop-0\" is forbidden: exceeded quota: q, requested: \
        limits.memory=256Mi",
    reason::QUOTA_EXCEEDED
)]
#[case(
    "create Pod shop-0 failed error: pods \"shop-0\" is forbidden: violates PodSecurity \"restricted:latest\": x",
    reason::POD_FORBIDDEN
)]
fn a_pod_that_may_not_be_is_explained(#[case] warning: &str, #[case] expected: &str) {
    let mut world = World::new(Engine::Postgresql, json!({}));
    world.pass();
    world.observed.warning = Some(warning.to_owned());
    world.pass();
    assert_eq!(world.reason(READY), expected);
}

/// The same trouble in other words, or at another time, is not another status.
#[rstest]
fn a_trouble_that_comes_again_is_told_in_the_same_words() {
    let waiting = |reason: &str, message: &str| json!({"state": {"waiting": {"reason": reason, "message": message}}});
    let ended = |message: &str| {
        json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "message": message}}})
    };
    let pairs = [
        (
            waiting("ErrImagePull", "failed to pull: not found"),
            waiting(
                "ImagePullBackOff",
                "Back-off pulling image \"postgres:0\": ErrImagePull: failed to pull: not found",
            ),
        ),
        (
            ended("2026-11-24 00:08:32 UTC [1] FATAL:  the disk is full\n"),
            ended("2026-11-24 00:09:13 UTC [9] FATAL:  the disk is full\n"),
        ),
        (
            ended(
                "2026-11-24 00:08:32 UTC [1] LOG:  invalid value for parameter \"work_mem\": \"lots\"\n",
            ),
            ended(
                "2026-11-24 00:09:13 UTC [9] LOG:  invalid value for parameter \"work_mem\": \"lots\"\n",
            ),
        ),
    ];
    for (first, second) in pairs {
        let mut world = World::new(Engine::Postgresql, json!({}));
        world.pass();
        let [first, second] = [first, second].map(|mut container| {
            for (key, value) in [
                ("name", json!("database")),
                ("image", json!("postgres:0")),
                ("imageID", json!("")),
                ("ready", json!(false)),
                ("restartCount", json!(2)),
            ] {
                container[key] = value;
            }
            world.pod(json!({"status": {"phase": "Running", "containerStatuses": [container]}}));
            world.pass();
            world.cr.status.clone()
        });
        assert_eq!(first, second);
    }
}
