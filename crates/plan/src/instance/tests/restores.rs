//! Instances that start from a backup: refused before anything is made, restored once, and at rest ever after.

mod imported_snapshot;

use api::Engine;
use api::condition::{READY, RECONCILING, STALLED, VERIFIED, reason};
use api::external::snapshot::VolumeSnapshotContent;
use api::instance::Phase;
use api::names::LABEL_VERIFIES;
use proptest::prelude::{any, proptest};
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{World, merge};
use crate::instance::source::Sight;
use crate::origin::Source;
use crate::reading::instance::{awaits_backup, uses_backup};
use crate::restore::tests::found;
use crate::{Kind, Write};

fn restored(engine: Engine, spec: Value) -> World {
    let mut all =
        json!({"restoreFrom": {"backup": {"name": "nightly"}}, "storage": {"size": "2Gi"}});
    merge(&mut all, &spec);
    let mut world = World::new(engine, all);
    world.observed.origin.backup = Some(found(engine, json!({}), json!({})));
    world
}

/// The backup is in the namespace `source`, which allows `demo`.
fn crossing() -> World {
    let spec = json!({"restoreFrom": {"backup": {"namespace": "source"}}});
    let mut world = restored(Engine::Postgresql, spec);
    let consent =
        json!({"metadata": {"namespace": "source"}, "spec": {"allowedNamespaces": ["demo"]}});
    world.observed.origin.backup = Some(found(Engine::Postgresql, consent, json!({})));
    original(&mut world, json!({}));
    world
}

/// The content of the backup's snapshot, with these changes.
fn original(world: &mut World, change: Value) {
    let of = json!({"namespace": "source", "name": "nightly", "uid": "snapshot-uid"});
    let mut content = json!({
        "metadata": {"name": "content"}, "status": {"snapshotHandle": "handle-1"},
        "spec": {"driver": "csi.example", "deletionPolicy": "Delete", "volumeSnapshotRef": of,
            "sourceVolumeMode": "Filesystem"},
    });
    super::world::merge(&mut content, &change);
    let content: VolumeSnapshotContent = serde_json::from_value(content).unwrap();
    world.observed.origin.content = Sight::Found(Box::new(content));
}

fn phase(world: &World) -> Option<Phase> {
    world.cr.status.as_ref()?.phase
}

fn kinds(writes: &[Write]) -> Vec<(&'static str, Kind)> {
    writes
        .iter()
        .filter_map(|write| match write {
            Write::Create(object) => Some(("create", object.kind)),
            Write::Apply(object) => Some(("apply", object.kind)),
            Write::Patch(object) => Some(("patch", object.kind)),
            Write::Delete { kind, .. } => Some(("delete", *kind)),
            Write::Finalizers(_) => None,
        })
        .collect()
}

/// What a kubelet says of the first start on a restored volume.
fn first_start(world: &mut World) {
    world.cr.metadata.creation_timestamp =
        serde_json::from_value(json!("2026-05-01T09:59:59Z")).unwrap();
    world.edit_claim(json!({"metadata": {"creationTimestamp": "2026-05-01T10:00:00Z"}}));
    world.serve();
    let mut pod = json!(world.observed.pod);
    pod["status"]["conditions"] = json!([
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-05-01T10:00:02Z"},
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-05-01T10:00:09Z"},
    ]);
    pod["status"]["initContainerStatuses"][0]["state"] = json!({"terminated": {
        "exitCode": 0, "startedAt": "2026-05-01T10:00:03Z", "finishedAt": "2026-05-01T10:00:07Z",
    }});
    world.pod(pod);
}

#[rstest]
fn a_restore_takes_no_more_writes_than_a_creation() {
    for engine in Engine::ALL {
        let mut world = restored(engine, json!({}));
        let plan = world.pass();
        assert_eq!(plan.writes.len(), 8);
        assert_eq!(world.reason(READY), reason::RESTORING);
        assert_eq!(phase(&world), Some(Phase::Restoring));
        assert!(awaits_backup(&world.cr) && uses_backup(&world.cr));
        assert_eq!(json!(world.observed.config_map)["metadata"]["name"], "shop");
        let first = world.cr.status.clone();
        world.observed.origin.backup = None;
        world.pod(json!({"status": {"phase": "Pending"}}));
        assert!(world.pass().writes.is_empty());
        assert_eq!(world.cr.status, first, "a state on the way was written");
        first_start(&mut world);
        assert!(world.pass().writes.is_empty());
        let second = world.cr.status.clone();
        world.settle();
        assert_eq!(world.cr.status, second);
        assert!(!awaits_backup(&world.cr) && !uses_backup(&world.cr));
        if engine == Engine::Postgresql {
            let claim = json!(world.observed.claim);
            insta::assert_yaml_snapshot!(
                "restored-claim",
                json!([claim["metadata"], claim["spec"]])
            );
            insta::assert_yaml_snapshot!("restored-status", world.cr.status);
        }
    }
}

#[rstest]
fn the_names_and_the_version_are_the_backups() {
    let mut world = restored(Engine::Postgresql, json!({}));
    let old = json!({"status": {"source": {"version": "16"}}});
    world.observed.origin.backup = Some(found(Engine::Postgresql, old, json!({})));
    world.pass();
    world.serve();
    world.settle();
    let text = |key| World::secret_text(world.observed.binding.as_ref(), key);
    assert_eq!(text("database"), "orders");
    assert_eq!(json!(world.cr.status)["version"], "16");
    let prepare =
        json!(world.observed.stateful_set)["spec"]["template"]["spec"]["initContainers"][0].clone();
    let env = prepare["env"].as_array().unwrap();
    assert!(env.contains(&json!({"name": "RESTORED_FROM", "value": "backup-uid"})));
    // The backup is gone, and another one is the catalog's default: nothing moves.
    world.observed.origin.backup = None;
    assert_eq!(world.decide().writes, vec![]);
}

#[rstest]
#[case::absent(json!({}), false, reason::BACKUP_NOT_AVAILABLE)]
#[case::size(json!({"storage": {"size": "1Gi"}}), true, reason::VOLUME_TOO_SMALL)]
#[case::username(json!({"username": "eve"}), true, reason::RESTORE_MISMATCH)]
#[case::database(json!({"database": "eve"}), true, reason::RESTORE_MISMATCH)]
#[case::version(json!({"version": "18"}), true, reason::RESTORE_MISMATCH)]
fn what_cannot_be_restored_makes_nothing(
    #[case] spec: Value,
    #[case] exists: bool,
    #[case] expected: &str,
) {
    let mut world = restored(Engine::Postgresql, spec);
    if !exists {
        world.observed.origin.backup = Some(Source::Unavailable);
    }
    assert!(world.pass().writes.is_empty());
    assert_eq!(world.reason(STALLED), expected);
    assert_eq!(phase(&world), Some(Phase::Pending));
    assert!(awaits_backup(&world.cr) && !uses_backup(&world.cr));
}

#[rstest]
fn a_backup_under_way_is_waited_for() {
    let mut world = restored(Engine::Mysql, json!({"restoreFrom": {"ifExists": true}}));
    let running = json!({"status": {"phase": "Running", "conditions": []}});
    world.observed.origin.backup = Some(found(Engine::Mysql, running, json!({})));
    let plan = world.pass();
    assert!(plan.writes.is_empty() && plan.requeue.is_some());
    assert_eq!(world.reason(RECONCILING), reason::BACKUP_NOT_READY);
    assert_eq!(world.reason(STALLED), "");
    world.observed.origin.backup = Some(found(Engine::Mysql, json!({}), json!({})));
    assert_eq!(world.pass().writes.len(), 8);
    assert!(json!(world.observed.claim)["spec"]["dataSource"].is_object());
}

#[rstest]
fn without_a_backup_a_manifest_for_both_starts_empty() {
    let mut world = restored(Engine::Mariadb, json!({"restoreFrom": {"ifExists": true}}));
    world.observed.origin.backup = Some(Source::Unavailable);
    world.pass();
    world.serve();
    world.settle();
    assert_eq!(world.reason(READY), reason::RUNNING);
    assert!(json!(world.observed.claim)["spec"]["dataSource"].is_null());
    assert_eq!(json!(world.cr.status)["restoredFrom"], Value::Null);
}

#[rstest]
fn retained_data_is_not_restored_over_and_lost_data_not_a_second_time() {
    let mut world = restored(Engine::Postgresql, json!({}));
    world.pass();
    first_start(&mut world);
    world.settle();
    world.delete_and_apply_again();
    world.cr.metadata.creation_timestamp =
        serde_json::from_value(json!("2026-05-02T10:00:00Z")).unwrap();
    let plan = world.pass();
    assert!(!kinds(&plan.writes).contains(&("create", Kind::PersistentVolumeClaim)));
    assert_eq!(world.reason(READY), reason::PROVISIONING);
    world.serve();
    world.settle();
    let status = json!(world.cr.status);
    assert_eq!(status["restoredFrom"]["backup"], "nightly");
    assert_eq!(status["restore"], Value::Null);
    world.observed.claim = None;
    assert!(world.pass().writes.is_empty());
    assert_eq!(world.reason(STALLED), reason::VOLUME_LOST);
}

fn copy_is_ready(world: &mut World) {
    let mut copy = json!(world.observed.origin.copy);
    copy["status"] = json!({"readyToUse": true});
    world.observed.origin.copy = Some(serde_json::from_value(copy).unwrap());
}

fn verification() -> World {
    let mut world = restored(Engine::Postgresql, json!({"deletionPolicy": "Delete"}));
    let label = (LABEL_VERIFIES.to_owned(), "backup-uid".to_owned());
    world.cr.metadata.labels = Some([label].into());
    world.pass();
    assert_eq!(world.reason(VERIFIED), reason::VERIFYING);
    world
}

#[rstest]
fn a_throw_away_instance_lets_nobody_in_but_its_check() {
    let mut world = verification();
    let from = json!(world.observed.network_policy)["spec"]["ingress"][0]["from"].clone();
    assert_eq!(from.as_array().unwrap().len(), 1);
    assert_eq!(
        from[0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"],
        "check"
    );
    world.serve();
    world.pass();
    let mut job = json!(world.observed.jobs[0]);
    job["spec"]["template"]["spec"]["volumes"] = Value::Null;
    insta::assert_yaml_snapshot!("check-job", job["spec"]);
}

#[rstest]
#[case(
    "Complete",
    "",
    "orders: 12 tables",
    "True",
    reason::CHECKED,
    "12 tables"
)]
#[case(
    "Failed",
    "PodFailurePolicy",
    "page 3 is torn",
    "False",
    reason::CHECK_FAILED,
    "torn"
)]
#[case(
    "Failed",
    "BackoffLimitExceeded",
    "no route",
    "Unknown",
    reason::NOT_CHECKED,
    "no route. This"
)]
fn the_check_is_made_once_and_its_result_stays(
    #[case] condition: &str,
    #[case] why: &str,
    #[case] words: &str,
    #[case] status: &str,
    #[case] reason: &str,
    #[case] said: &str,
) {
    let mut world = verification();
    world.serve();
    world.settle();
    assert_eq!(world.observed.jobs.len(), 1);
    world.end_job(condition, why, words);
    world.settle();
    assert_eq!(world.observed.jobs.len(), 1, "the Job is kept");
    world.observed.job_pods.clear();
    if status != "Unknown" {
        world.settle();
    }
    let verified = world.condition(VERIFIED).unwrap();
    assert_eq!((verified.0.as_str(), verified.1.as_str()), (status, reason));
    assert!(verified.2.contains(said), "{}", verified.2);
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(24))]
    /// Wherever the backup is, whatever else happens to it in the middle: one volume is made from it, and then there is
    /// rest.
    #[test]
    fn a_restore_comes_to_rest(engine in proptest::sample::select(Engine::ALL.to_vec()), crosses in any::<bool>(),
        vanishes in any::<bool>()) {
        let mut world = restored(engine, json!({}));
        if crosses {
            let other = crossing();
            world.cr.spec.restore_from = other.cr.spec.restore_from;
            world.observed.origin.content = other.observed.origin.content;
            let consent = json!({"spec": {"allowedNamespaces": ["*"]}});
            world.observed.origin.backup = Some(found(engine, consent, json!({})));
            world.settle();
            assert!(world.observed.claim.is_none() && world.observed.admin.is_none());
            copy_is_ready(&mut world);
        }
        world.settle();
        if vanishes {
            world.observed.origin.backup = Some(Source::Unavailable);
            world.settle();
        }
        world.serve();
        let plan = world.settle();
        assert_eq!(plan.events, vec![]);
        assert_eq!(world.reason(READY), reason::RUNNING);
        assert!(world.observed.origin.copy.is_none() && world.cr.metadata.finalizers.iter().flatten().next().is_none());
        assert_eq!(Some(&world.decide().status), world.cr.status.as_ref());
    }
}
