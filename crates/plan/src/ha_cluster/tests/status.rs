//! What is said of a cluster follows from pods and Patroni's records, whatever the Zalando operator says.

use api::condition::{AVAILABLE, READY, RECONCILING, STALLED, STORAGE_READY, reason};
use api::ha_cluster::{HAClusterPhase, Synchronous};
use rstest::rstest;
use serde_json::{Value, json};

use super::world::World;

#[test]
fn a_failover_is_told_of_once_with_both_names() {
    let mut world = World::serving(json!({}));
    world.tick(100);
    world.pods(3, 2);
    let plan = world.pass();
    let status = world.cr.status.clone().unwrap();
    let failover = status.last_failover.unwrap();
    assert_eq!(
        (failover.from.as_str(), failover.to.as_str()),
        ("shop-0", "shop-2")
    );
    assert_eq!(failover.at, world.now);
    assert_eq!(status.primary.as_deref(), Some("shop-2"));
    let told: Vec<_> = plan
        .events
        .iter()
        .map(|event| event.reason.as_str())
        .collect();
    assert_eq!(told, [reason::FAILED_OVER]);
    assert_eq!(world.pass().events, vec![]);
}

#[test]
fn the_primary_before_a_gap_is_remembered() {
    let mut world = World::serving(json!({}));
    world.observed.pods.remove(0);
    let plan = world.pass();
    let status = world.cr.status.clone().unwrap();
    assert_eq!(
        (status.primary, status.last_primary.as_deref()),
        (None, Some("shop-0"))
    );
    assert_eq!(
        (world.reason(READY), world.reason(AVAILABLE)),
        (reason::NO_PRIMARY.into(), reason::NO_PRIMARY.into())
    );
    assert_eq!(
        world.cr.status.as_ref().unwrap().phase,
        Some(HAClusterPhase::Degraded)
    );
    assert!(
        plan.events
            .iter()
            .any(|event| event.warning && event.reason == reason::NO_PRIMARY)
    );
    world.pods(3, 1);
    world.pass();
    assert_eq!(
        world
            .cr
            .status
            .as_ref()
            .unwrap()
            .last_failover
            .as_ref()
            .unwrap()
            .from,
        "shop-0"
    );
}

/// Nothing changes when a primary freezes: only time tells.
#[test]
fn a_primary_that_does_not_renew_its_lock_is_one_no_more() {
    let mut world = World::serving(json!({}));
    let renewed = world.observed.patroni.leader["renewTime"].clone();
    let plan = world.pass();
    let look = plan.requeue.unwrap().as_secs();
    assert!((1..=40).contains(&look), "{look}");
    world.tick(i64::try_from(look).unwrap());
    world
        .observed
        .patroni
        .leader
        .insert("renewTime".into(), renewed);
    world.pass();
    assert_eq!(world.reason(AVAILABLE), reason::NO_PRIMARY);
}

#[rstest]
#[case::the_lock_is_anothers(json!({}), 1)]
#[case::its_server_does_not_run(json!({"metadata": {"annotations": {"status": r#"{"state": "crashed"}"#}}}), 0)]
#[case::it_is_not_ready(json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}), 0)]
#[case::it_is_ending(json!({"metadata": {"deletionTimestamp": "2026-05-01T10:00:00Z"}}), 0)]
#[case::it_has_no_role(json!({"metadata": {"labels": {"spilo-role": null}}}), 0)]
fn a_primary_needs_more_than_a_label(#[case] change: Value, #[case] leader: i32) {
    let mut world = World::serving(json!({}));
    world.edit_pod(0, change);
    world.lead(leader);
    world.pass();
    assert_eq!(world.reason(AVAILABLE), reason::NO_PRIMARY);
}

#[rstest]
#[case::streaming(json!({"state": "running", "version": "4.0.7", "replication_state": "streaming"}), true)]
#[case::behind(json!({"state": "running", "version": "4.0.7", "replication_state": "in archive recovery"}), false)]
#[case::without_a_source(json!({"state": "running", "version": "4.0.7"}), false)]
#[case::of_a_patroni_that_does_not_say(json!({"state": "running", "version": "3.0.2"}), true)]
#[case::starting(json!({"state": "starting", "version": "4.0.7"}), false)]
fn a_replica_counts_while_it_streams(#[case] member: Value, #[case] counts: bool) {
    let mut world = World::serving(json!({}));
    world.edit_pod(
        2,
        json!({"metadata": {"annotations": {"status": member.to_string()}}}),
    );
    world.tick(200);
    world.pass();
    let expected = if counts {
        reason::RUNNING
    } else {
        reason::REPLICAS_MISSING
    };
    assert_eq!(world.reason(READY), expected);
    assert_eq!(world.said(AVAILABLE).0, "True");
    assert_eq!(
        world.cr.status.as_ref().unwrap().ready_replicas,
        Some(2 + i32::from(counts))
    );
    assert_eq!(world.said(READY).2.contains("shop-2"), !counts);
}

fn pending(number: i32, now: &Value) -> Value {
    json!({
        "metadata": {"name": format!("shop-{number}"), "labels": {"controller-revision-hash": "shop-1",
            "spilo-role": null}, "annotations": {"status": null}},
        "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": now,
             "message": "0/1 nodes are available: 1 Insufficient memory."},
        ]},
    })
}

/// Zalando's issues 2864, 2338 and 2101.
#[test]
fn pods_that_no_node_takes_are_told_of_although_the_operator_says_running() {
    let mut world = World::serving(json!({}));
    assert_eq!(
        world.observed.postgresql.as_ref().unwrap().word(),
        "Running"
    );
    let since = json!(world.now);
    world.edit_pod(2, pending(2, &since));
    world.tick(10);
    world.pass();
    let (status, why, message) = world.said(READY);
    assert_eq!(
        (status.as_str(), why.as_str()),
        ("False", reason::UNSCHEDULABLE)
    );
    assert!(
        message.starts_with("2 of 3 servers serve. The pod shop-2: No node can take the pod"),
        "{message}"
    );
    assert_eq!(world.reason(STALLED), reason::UNSCHEDULABLE);
    assert_eq!(world.said(AVAILABLE).0, "True");
    // It replaces no pod while one has no address, its own among them.
    world.edit_pod(
        2,
        json!({"metadata": {"labels": {"controller-revision-hash": "shop-0"}}}),
    );
    world.pass();
    assert!(
        world.said(READY).2.ends_with("kubectl delete pod shop-2."),
        "{}",
        world.said(READY).2
    );
}

#[rstest]
#[case(
    "pods \"shop-2\" is forbidden: violates PodSecurity \"restricted:latest\"",
    reason::POD_FORBIDDEN,
    "enforce: baseline"
)]
#[case(
    "pods \"shop-2\" is forbidden: exceeded quota: small",
    reason::QUOTA_EXCEEDED,
    "ResourceQuota"
)]
fn pods_that_may_not_be_made_are_told_of(
    #[case] warning: &str,
    #[case] why: &str,
    #[case] words: &str,
) {
    let mut world = World::serving(json!({}));
    world.observed.pods.pop();
    world.observed.warning = Some(warning.to_owned());
    world.pass();
    assert_eq!(world.reason(STALLED), why);
    assert!(
        world.said(READY).2.contains(words),
        "{}",
        world.said(READY).2
    );
}

#[test]
fn servers_that_were_just_added_are_starting_and_not_missing() {
    let mut world = World::serving(json!({}));
    world.change(json!({"replicas": 4}));
    world.tick(1);
    world.pass();
    world.tick(1);
    world.carried_out("Running");
    world.tick(1);
    world.pass();
    assert_eq!(
        (world.reason(READY), world.reason(RECONCILING)),
        (reason::UPDATING.into(), reason::UPDATING.into())
    );
    world.tick(200);
    world.pass();
    assert_eq!(world.reason(READY), reason::REPLICAS_MISSING);
}

#[test]
fn volumes_that_are_yet_to_grow_are_told_of() {
    let mut world = World::serving(json!({}));
    world.change(json!({"storage": {"size": "2Gi"}}));
    world.tick(1);
    world.pass();
    assert_eq!(world.postgresql()["volume"]["size"], "2Gi");
    world.tick(1);
    world.carried_out("Running");
    world.tick(1);
    world.pass();
    assert_eq!(world.reason(STORAGE_READY), reason::RESIZING);
    world.pods(3, 0);
    world.settle();
    assert_eq!(world.said(STORAGE_READY).0, "True");
    assert_eq!(
        world
            .cr
            .status
            .as_ref()
            .unwrap()
            .storage
            .as_ref()
            .unwrap()
            .capacity
            .as_ref()
            .unwrap()
            .0,
        "2Gi"
    );
}

#[rstest]
#[case(json!({}), "", Synchronous::Off, &[])]
#[case(json!({"synchronous_mode": true}), "shop-1, shop-2", Synchronous::On, &["shop-1", "shop-2"])]
#[case(json!({"synchronous_mode": true, "synchronous_mode_strict": true}), "", Synchronous::Strict, &[])]
fn who_confirms_writes_is_what_patroni_has(
    #[case] config: Value,
    #[case] standby: &str,
    #[case] mode: Synchronous,
    #[case] standbys: &[&str],
) {
    let mut world = World::serving(json!({}));
    world
        .observed
        .patroni
        .config
        .insert("config".into(), config.to_string());
    world.confirm(standby);
    let plan = world.pass();
    let found = world.cr.status.clone().unwrap().synchronous.unwrap();
    assert_eq!(
        (found.mode, found.standbys.as_slice()),
        (
            mode,
            standbys
                .iter()
                .map(|s| (*s).to_owned())
                .collect::<Vec<_>>()
                .as_slice()
        )
    );
    // One that is yet to be chosen is looked for soon.
    assert_eq!(
        plan.requeue.unwrap().as_secs() <= 3,
        mode == Synchronous::Strict
    );
}

/// Patroni makes none the primary that confirmed nothing, so the next failure would take the service down.
#[rstest]
#[case::synchronous(json!({}), reason::NO_SYNCHRONOUS_STANDBY)]
#[case::one_server(json!({"replicas": 1}), reason::RUNNING)]
#[case::replicas_may_lag(json!({"synchronous": "Off"}), reason::RUNNING)]
fn a_cluster_is_ready_when_a_replica_could_take_over(#[case] spec: Value, #[case] why: &str) {
    let mut world = World::serving(spec);
    if world.cr.spec.synchronous == Synchronous::Off {
        world.observed.patroni.config.clear();
    }
    world.confirm("");
    let plan = world.pass();
    assert_eq!(world.reason(READY), why);
    assert_eq!(world.said(AVAILABLE).0, "True");
    assert!(!plan.events.iter().any(|event| event.warning));
    world.confirm("shop-1");
    world.pass();
    assert_eq!(world.reason(READY), reason::RUNNING);
}

#[test]
fn more_servers_than_asked_for_are_counted_as_such() {
    let mut world = World::serving(json!({}));
    world.change(json!({"replicas": 2}));
    world.pass();
    let (status, _, message) = world.said(READY);
    assert_eq!(status, "True");
    assert!(
        message.starts_with("3 servers serve, 2 are asked for: the primary shop-0"),
        "{message}"
    );
}

/// Patroni writes how far it is into the annotations of its pods, all the time.
#[test]
fn how_far_a_server_is_brings_no_pass() {
    let world = World::serving(json!({}));
    let pod = &world.observed.pods[1];
    let signs = crate::ha_cluster::signs(pod);
    let with = |change: &str, by: &str| {
        let mut pod = pod.clone();
        let annotations = pod.metadata.annotations.as_mut().unwrap();
        let status = annotations.get_mut("status").unwrap();
        *status = status.replace(change, by);
        crate::ha_cluster::signs(&pod)
    };
    assert_eq!(
        signs,
        with("\"version\"", "\"xlog_location\":42,\"version\"")
    );
    assert_ne!(signs, with("streaming", "in archive recovery"));
}
