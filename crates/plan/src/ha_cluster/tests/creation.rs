//! A new cluster: what is made, and when it is said to serve.

use api::condition::{AVAILABLE, DELEGATED, READY, RECONCILING, STALLED, STORAGE_READY, reason};
use api::ha_cluster::HAClusterPhase;
use api::names::FINALIZER_HA_CLUSTER;
use rstest::rstest;
use serde_json::json;

use super::world::{World, kinds};
use crate::ha_cluster::versions;
use crate::{Kind, Write};

#[test]
fn the_finalizer_comes_first_and_secrets_before_the_operator_is_told() {
    let mut world = World::new(json!({}));
    let plan = world.pass();
    assert_eq!(
        plan.writes[0],
        Write::Finalizers(vec![FINALIZER_HA_CLUSTER.into()])
    );
    let secret = ("create", Some(Kind::Secret));
    assert_eq!(
        kinds(&plan.writes)[1..],
        [secret, secret, ("apply", Some(Kind::Postgresql))]
    );
    let objects: Vec<_> = plan.writes[1..]
        .iter()
        .map(|write| match write {
            Write::Create(object) | Write::Apply(object) => &object.value,
            other => panic!("{other:?}"),
        })
        .collect();
    insta::assert_yaml_snapshot!("created", objects);
    assert_eq!(world.settle().writes, vec![], "waits");
}

#[test]
fn a_tuned_cluster_is_handed_over_to_the_last_field() {
    let mut world = World::new(json!({
        "version": "16", "replicas": 5, "database": "orders", "username": "orders_app", "storage": {"size": "1500Mi",
            "className": "fast"},
        "resources": {"requests": {"cpu": "4", "memory": "1Gi"}}, "maxConnections": 200, "sharedBuffers": "256Mi",
        "effectiveCacheSize": "768MB", "parameters": {"work_mem": "8MB"}, "synchronous": "Strict", "teamId": "shopping",
    }));
    world.pass();
    insta::assert_yaml_snapshot!("tuned", world.postgresql());
}

/// The Zalando operator says Running when pods are asked for; Patroni says that all stream; nobody has a database yet.
#[test]
fn it_is_ready_when_a_client_could_log_in_and_not_before() {
    let mut world = World::new(json!({}));
    world.pass();
    world.tick(1);
    world.carried_out("Creating");
    world.pass();
    assert_eq!(world.reason(READY), reason::PROVISIONING);
    assert_eq!(world.said(DELEGATED).0, "True");
    world.pods(3, 0);
    world.carried_out("Running");
    let plan = world.pass();
    assert_eq!(kinds(&plan.writes), [("create", Some(Kind::Job))]);
    let Write::Create(job) = &plan.writes[0] else {
        unreachable!()
    };
    insta::assert_yaml_snapshot!("login", job.value);
    assert_eq!(
        world.cr.status.as_ref().unwrap().ready.as_deref(),
        Some("3/3")
    );
    assert_eq!(
        (world.reason(READY), world.reason(AVAILABLE)),
        (reason::PROVISIONING.into(), reason::PROVISIONING.into())
    );
    assert_eq!(world.settle().writes, vec![], "waits for the login");
    world.logged_in();
    world.pass();
    assert_eq!(
        (world.said(READY).0, world.said(AVAILABLE).0),
        ("True".into(), "True".into())
    );
    assert_eq!(kinds(&world.pass().writes), [("delete", Some(Kind::Job))]);
    assert_eq!(world.settle().writes, vec![]);
    assert_eq!(
        world.cr.status.as_ref().unwrap().phase,
        Some(HAClusterPhase::Running)
    );
    assert_eq!(
        (world.reason(RECONCILING), world.reason(STALLED)),
        (String::new(), String::new())
    );
    assert_eq!(world.said(STORAGE_READY).0, "True");
    insta::assert_yaml_snapshot!("serving", world.cr.status);
}

/// That replicas are yet to be made is no failure.
#[test]
fn it_is_provisioning_until_it_is_whole() {
    let mut world = World::new(json!({}));
    world.pass();
    world.tick(1);
    world.carried_out("Creating");
    world.pods(1, 0);
    world.confirm("");
    world.pass();
    world.logged_in();
    let mut provisioning = |pods: i32| {
        world.pods(pods, 0);
        world.confirm("");
        let plan = world.pass();
        assert_eq!(world.said(AVAILABLE).0, "True");
        assert_eq!(
            (world.reason(READY), world.reason(RECONCILING)),
            (reason::PROVISIONING.into(), reason::PROVISIONING.into())
        );
        let phase = world.cr.status.as_ref().unwrap().phase;
        assert_eq!(phase, Some(HAClusterPhase::Provisioning));
        assert!(!plan.events.iter().any(|event| event.warning));
    };
    provisioning(1);
    provisioning(2);
    provisioning(3);
    world.confirm("shop-1");
    world.carried_out("Running");
    world.settle();
    assert_eq!(world.reason(READY), reason::RUNNING);
    // From now on a replica that is not there is missing.
    world.tick(200);
    world.pods(2, 0);
    world.pass();
    assert_eq!(world.reason(READY), reason::REPLICAS_MISSING);
}

#[test]
fn a_login_that_took_too_long_is_tried_anew() {
    let mut world = World::new(json!({}));
    world.pass();
    world.pods(3, 0);
    world.pass();
    let mut job = json!(world.observed.jobs[0]);
    job["status"] =
        json!({"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]});
    world.observed.jobs[0] = serde_json::from_value(job).unwrap();
    assert_eq!(kinds(&world.pass().writes), [("delete", Some(Kind::Job))]);
    assert_eq!(kinds(&world.pass().writes), [("create", Some(Kind::Job))]);
}

#[rstest]
#[case(json!({}), json!({"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "512Mi"}}))]
#[case(json!({"requests": {"cpu": "3"}}), json!({"requests": {"cpu": "3", "memory": "512Mi"}, "limits": {"cpu": "3",
    "memory": "512Mi"}}))]
#[case(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), json!({"requests": {"memory": "1Gi"}, "limits": {"cpu": "1",
    "memory": "1Gi"}}))]
fn the_operator_gets_no_chance_to_choose_limits(
    #[case] asked: serde_json::Value,
    #[case] handed: serde_json::Value,
) {
    let mut world = World::new(json!({"resources": asked}));
    world.pass();
    assert_eq!(world.postgresql()["resources"], handed);
}

#[rstest]
#[case("900Mi", "1Gi")]
#[case("1Gi", "1Gi")]
#[case("1025Mi", "2Gi")]
#[case("20G", "19Gi")]
fn volumes_are_of_whole_gibibytes(#[case] asked: &str, #[case] handed: &str) {
    let mut world = World::new(json!({"storage": {"size": asked}}));
    world.pass();
    assert_eq!(world.postgresql()["volume"]["size"], handed);
}

#[rstest]
#[case(Some("16"), &["16", "17"], "16")]
#[case(None, &["16", "17", "18"], "17")]
#[case(None, &["14", "15"], "15")]
#[case(None, &[], "17")]
fn the_version_is_the_catalogs_if_it_is_served(
    #[case] asked: Option<&str>,
    #[case] served: &[&str],
    #[case] version: &str,
) {
    let mut world = World::new(json!({"version": asked}));
    let served = served.iter().map(|version| (*version).to_owned()).collect();
    world.observed.served = crate::ha_cluster::Served::Versions(served);
    world.pass();
    assert_eq!(world.postgresql()["postgresql"]["version"], version);
    assert_eq!(
        world.cr.status.as_ref().unwrap().version.as_deref(),
        Some(version)
    );
}

#[test]
fn versions_are_read_from_the_installed_definition() {
    let definition = |version: serde_json::Value| {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "postgresql": {"type": "object", "properties": {"version": version}}}}}});
        serde_json::from_value(json!({
            "metadata": {}, "spec": {
                "group": "acid.zalan.do", "scope": "Namespaced", "names": {"kind": "postgresql",
                    "plural": "postgresqls"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
            },
        }))
        .unwrap()
    };
    let listed = definition(json!({"type": "string", "enum": ["16", "17"]}));
    assert_eq!(versions(&listed), ["16", "17"]);
    assert!(versions(&definition(json!({"type": "string"}))).is_empty());
}
