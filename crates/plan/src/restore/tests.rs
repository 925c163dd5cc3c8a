//! What a restore refuses, and how it goes.

use std::sync::LazyLock;

use api::condition::{READY, RECONCILING, STALLED, reason};
use api::restore::{BackupReference, RestorePhase};
use api::{DatabaseInstance, DatabaseRestore, Engine};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use proptest::prelude::proptest;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Observed, Plan, decide};
use crate::catalog::Catalog;
use crate::origin::{Facts, Snapshot, Source, Wanted, check};
use crate::storage_class::StorageClass;
use crate::{Invalid, Kind, Write};

pub const NOW: &str = "2026-05-01T10:00:00Z";

pub fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change.clone(),
    }
}

/// The backup demo/nightly of an engine's default version and its snapshot, with these differences.
pub fn found(engine: Engine, backup: Value, snapshot: Value) -> Source {
    let version = Catalog::built_in()
        .default_version(engine)
        .unwrap()
        .to_owned();
    let mut all = json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseBackup",
        "metadata": {"name": "nightly", "namespace": "demo", "uid": "backup-uid"},
        "spec": {"instance": "old"},
        "status": {
            "phase": "Ready", "takenAt": "2026-05-01T03:00:00Z", "restoreSize": "2Gi",
            "conditions": [{"type": "Ready", "status": "True", "reason": "Completed", "message": "Good.",
                "lastTransitionTime": NOW}],
            "snapshot": {"name": "nightly", "driver": "csi.example", "contentName": "content"},
            "source": {
                "instance": "old", "uid": "old-uid", "pvc": "old", "engine": engine.name(), "version": version,
                "database": "orders", "username": "app", "storageClass": "fast",
                    "parameters": {"max_connections": "50"},
            },
        },
    });
    merge(&mut all, &backup);
    let mut copied = json!({
        "metadata": {
            "name": "nightly", "namespace": "demo", "uid": "snapshot-uid",
                "annotations": {"minidbaas.dev/backup-uid": "backup-uid"},
        },
        "status": {"readyToUse": true, "restoreSize": "2Gi", "boundVolumeSnapshotContentName": "content"},
    });
    let snapshot = if snapshot.is_null() {
        Snapshot::Missing
    } else {
        merge(&mut copied, &snapshot);
        Snapshot::Found(serde_json::from_value(copied).unwrap())
    };
    Source::Found {
        backup: serde_json::from_value(all).unwrap(),
        snapshot,
    }
}

static NIGHTLY: LazyLock<BackupReference> = LazyLock::new(|| BackupReference {
    name: "nightly".into(),
    namespace: Some("demo".into()),
});

fn checked<'a>(
    namespace: &'a str,
    source: &Source,
    change: impl FnOnce(&mut Wanted<'a>),
) -> Result<Facts, Invalid> {
    let mut wanted = Wanted {
        namespace,
        backup: &NIGHTLY,
        field: "spec.restoreFrom.backup",
        fields: "spec",
        engine: Some(Engine::Postgresql),
        version: None,
        database: None,
        username: Some("app"),
        size: Some("2Gi"),
        provisioner: Some("csi.example"),
    };
    change(&mut wanted);
    check(&wanted, source, &Catalog::built_in())
}

#[rstest]
#[case::pending(json!({"status": {"phase": "Pending", "conditions": []}}), json!({}), reason::BACKUP_NOT_READY,
    "by itself")]
#[case::running(json!({"status": {"phase": "Running", "conditions": []}}), json!({}), reason::BACKUP_NOT_READY,
    "nightly")]
#[case::new(json!({"status": null}), json!({}), reason::BACKUP_NOT_READY, "nightly")]
#[case::failed(json!({"status": {"phase": "Failed", "conditions": []}}), json!({}), reason::BACKUP_UNUSABLE,
    "Restore another")]
#[case::leaving(json!({"metadata": {"deletionTimestamp": NOW}}), json!({}), reason::BACKUP_UNUSABLE, "being deleted")]
#[case::no_snapshot(json!({}), Value::Null, reason::BACKUP_UNUSABLE, "VolumeSnapshot is gone")]
#[case::other_snapshot(json!({}), json!({"metadata": {"annotations": {"minidbaas.dev/backup-uid": "x"}}}),
    reason::BACKUP_UNUSABLE, "not its own")]
#[case::broken_snapshot(json!({}), json!({"status": {"readyToUse": false, "error": {"message": "disk on fire."}}}),
    reason::BACKUP_UNUSABLE, "disk on fire")]
#[case::engine(json!({"status": {"source": {"engine": "mysql"}}}), json!({}), reason::RESTORE_MISMATCH,
    "spec.engine: mysql")]
#[case::unserved(json!({"status": {"source": {"version": "17.3"}}}), json!({}), reason::UNKNOWN_VERSION,
    "set spec.version")]
#[case::username(json!({"status": {"source": {"username": "eve"}}}), json!({}), reason::RESTORE_MISMATCH,
    "spec.username: eve")]
#[case::size(json!({"status": {"restoreSize": "3Gi"}}), json!({}), reason::VOLUME_TOO_SMALL, "at least 3Gi")]
#[case::driver(json!({"status": {"snapshot": {"driver": "other"}}}), json!({}), reason::SNAPSHOT_UNSUPPORTED,
    "spec.storage.className")]
fn a_backup_that_does_not_do_is_refused_by_name(
    #[case] backup: Value,
    #[case] snapshot: Value,
    #[case] expected: &str,
    #[case] said: &str,
) {
    let source = found(Engine::Postgresql, backup, snapshot);
    let invalid = checked("demo", &source, |_| {}).unwrap_err();
    assert_eq!(invalid.reason, expected);
    assert!(invalid.message.contains(said), "{}", invalid.message);
}

#[rstest]
#[case("16", Some(reason::RESTORE_MISMATCH))]
#[case("18", Some(reason::RESTORE_MISMATCH))]
#[case("17.1", Some(reason::RESTORE_MISMATCH))]
#[case("17.9", Some(reason::UNKNOWN_VERSION))]
#[case("17", None)]
fn versions_move_forward_within_a_major(#[case] version: &str, #[case] expected: Option<&str>) {
    let backup = json!({"status": {"source": {"version": "17.5"}}});
    let source = found(Engine::Postgresql, backup, json!({}));
    let result = checked("demo", &source, |wanted| wanted.version = Some(version));
    assert_eq!(result.err().map(|invalid| invalid.reason), expected);
}

#[test]
fn another_database_is_refused_and_the_api_may_be_missing() {
    let source = found(Engine::Postgresql, json!({}), json!({}));
    let other = checked("demo", &source, |wanted| wanted.database = Some("other"));
    assert_eq!(other.unwrap_err().reason, reason::RESTORE_MISMATCH);
    let Source::Found { backup, .. } = source else {
        unreachable!()
    };
    let snapshot = Snapshot::NoApi;
    let none = checked("demo", &Source::Found { backup, snapshot }, |_| {});
    assert_eq!(none.unwrap_err().reason, reason::SNAPSHOT_API_MISSING);
}

#[test]
fn a_backup_that_is_due_to_go_is_still_good() {
    let backup = json!({"status": {"phase": "Expired"}});
    let facts = checked(
        "demo",
        &found(Engine::Postgresql, backup, json!({})),
        |_| {},
    );
    assert_eq!(facts.unwrap().restored_from.namespace, None);
}

proptest! {
    /// Whatever a backup is like: without consent nothing of it is told, not even that it exists.
    #[test]
    fn without_consent_there_is_no_trace_of_a_backup(
        allowed in proptest::collection::vec("[a-c]|\\*", 0..3),
        asking in "[a-c]",
        phase in proptest::sample::select(vec!["Pending", "Ready", "Failed", "Expired"]),
        engine in proptest::sample::select(Engine::ALL.to_vec()),
    ) {
        let consents = allowed.iter().any(|name| *name == asking || name == "*");
        let backup = json!({"spec": {"allowedNamespaces": allowed}, "status": {"phase": phase}});
        let answer = checked(&asking, &found(engine, backup, json!({})), |_| {});
        let nothing = checked(&asking, &Source::Unavailable, |_| {}).unwrap_err();
        assert_eq!(nothing.reason, reason::BACKUP_NOT_AVAILABLE);
        assert_eq!(answer.err().as_ref() == Some(&nothing), !consents);
    }
}

struct World {
    cr: DatabaseRestore,
    observed: Observed,
    now: Time,
}

impl World {
    fn new(overrides: Value) -> Self {
        let spec =
            json!({"backup": {"name": "nightly"}, "instance": "shop", "overrides": overrides});
        World {
            cr: serde_json::from_value(json!({
                "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseRestore",
                "metadata": {"name": "again", "namespace": "demo", "uid": "restore-uid", "generation": 1}, "spec": spec,
            }))
            .unwrap(),
            observed: Observed {
                catalog: Catalog::built_in(),
                source: found(Engine::Postgresql, json!({}), json!({})),
                instance: None,
                retained: None,
                storage_class: StorageClass::Found {
                    name: "fast".into(),
                    can_grow: true,
                    provisioner: "csi.example".into(),
                    access_mode: crate::storage_class::EXCLUSIVE,
                },
            },
            now: serde_json::from_value(json!(NOW)).unwrap(),
        }
    }

    fn pass(&mut self) -> Plan {
        let plan = decide(&self.cr, &self.observed, &self.now);
        for write in &plan.writes {
            let Write::Create(object) = write else {
                panic!("{write:?}")
            };
            assert_eq!(object.kind, Kind::DatabaseInstance);
            let mut value = object.value.clone();
            value["metadata"]["creationTimestamp"] = json!(NOW);
            self.observed.instance = Some(serde_json::from_value(value).unwrap());
        }
        self.cr.status = Some(plan.status.clone());
        let again = decide(&self.cr, &self.observed, &self.now);
        if plan.writes.is_empty() {
            assert_eq!((again.writes, again.status), (vec![], plan.status.clone()));
            assert_eq!(again.events, vec![]);
        }
        plan
    }

    /// The instance says this of itself.
    fn instance(&mut self, conditions: &[(&str, &str, &str, &str)], status: Value) {
        let mut instance = json!(self.observed.instance);
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(type_, status, reason, message)| {
                json!({"type": type_, "status": status, "reason": reason,
                "message": message, "lastTransitionTime": "2026-05-01T10:01:12Z"})
            })
            .collect();
        instance["status"] = status;
        instance["status"]["conditions"] = json!(conditions);
        let instance: DatabaseInstance = serde_json::from_value(instance).unwrap();
        self.observed.instance = Some(instance);
    }

    fn said(&self, type_: &str) -> Option<(String, String)> {
        let status = self.cr.status.as_ref()?;
        let mut conditions = status.conditions.iter();
        let found = conditions.find(|condition| condition.type_ == type_)?;
        Some((found.reason.clone(), found.message.clone()))
    }

    fn reason(&self, type_: &str) -> String {
        self.said(type_).unwrap_or_default().0
    }

    fn phase(&self) -> Option<RestorePhase> {
        self.cr.status.as_ref()?.phase
    }
}

#[test]
fn a_restore_makes_one_instance_and_follows_it() {
    let mut world = World::new(json!({}));
    let plan = world.pass();
    let [Write::Create(object)] = &plan.writes[..] else {
        panic!("{:?}", plan.writes)
    };
    insta::assert_yaml_snapshot!("restored-instance", object.value);
    assert_eq!(world.reason(RECONCILING), reason::RESTORING);
    assert!(world.pass().writes.is_empty());
    world.instance(
        &[
            (READY, "False", reason::UNSCHEDULABLE, "No room."),
            (STALLED, "True", reason::UNSCHEDULABLE, "No room."),
        ],
        json!({}),
    );
    world.pass();
    assert_eq!(
        world.said(STALLED),
        Some((
            reason::UNSCHEDULABLE.into(),
            "The instance shop: No room.".into()
        ))
    );
    assert_eq!(world.phase(), Some(RestorePhase::Running));
    world.instance(
        &[(READY, "True", reason::RUNNING, "It serves.")],
        json!({
            "restore": {"startedAt": NOW, "completedAt": "2026-05-01T10:01:12Z", "steps": [{"name": "Volume",
                "seconds": 3}]},
            "restoredFrom": {"instance": "old", "backup": "nightly", "uid": "backup-uid",
                "takenAt": "2026-05-01T03:00:00Z"},
        }),
    );
    world.pass();
    insta::assert_yaml_snapshot!("finished-restore", world.cr.status);
    world.observed.instance = None;
    world.pass();
    assert_eq!(world.phase(), Some(RestorePhase::Ready));
}

#[test]
fn overrides_come_before_what_was_backed_up() {
    let mut world = World::new(json!({
        "storage": {"size": "5Gi", "className": "slow"}, "version": "17",
        "resources": {"limits": {"memory": "1Gi"}}, "credentialsSecret": {"name": "mine"},
    }));
    world.pass();
    let spec = json!(world.observed.instance)["spec"].clone();
    assert_eq!(spec["storage"], json!({"size": "5Gi", "className": "slow"}));
    assert_eq!(spec["resources"]["limits"]["memory"], "1Gi");
    assert_eq!(spec["credentialsSecret"]["name"], "mine");
}

#[rstest]
#[case::instance(|world: &mut World| {
    let other = json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance", "metadata": {"name": "shop"},
        "spec": {"engine": "mysql", "storage": {"size": "1Gi"}},
    });
    world.observed.instance = Some(serde_json::from_value(other).unwrap());
}, reason::INSTANCE_EXISTS)]
#[case::volume(|world: &mut World| world.observed.retained = kept(json!({})), reason::INSTANCE_EXISTS)]
#[case::class(|world: &mut World| world.observed.storage_class = StorageClass::Missing,
    reason::STORAGE_CLASS_NOT_FOUND)]
#[case::backup(|world: &mut World| world.observed.source = Source::Unavailable, reason::BACKUP_NOT_AVAILABLE)]
#[case::paused(|world: &mut World| world.cr.metadata.annotations = Some([(api::names::ANNOTATION_PAUSED.to_owned(),
    "true".to_owned())].into()), reason::PAUSED)]
fn what_cannot_work_makes_nothing(#[case] spoil: fn(&mut World), #[case] expected: &str) {
    let mut world = World::new(json!({}));
    spoil(&mut world);
    assert!(world.pass().writes.is_empty());
    assert_eq!(world.reason(STALLED), expected);
    assert_eq!(world.phase(), Some(RestorePhase::Pending));
}

fn kept(more: Value) -> Option<(Kind, ObjectMeta)> {
    let mut claim = json!({"name": "shop", "uid": "claim"});
    merge(&mut claim, &more);
    Some((
        Kind::PersistentVolumeClaim,
        serde_json::from_value(claim).unwrap(),
    ))
}

/// A predecessor on its way out is nobody's mistake.
#[rstest]
#[case::instance(|world: &mut World| {
    let other = json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance",
        "metadata": {"name": "shop", "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"engine": "mysql", "storage": {"size": "1Gi"}},
    });
    world.observed.instance = Some(serde_json::from_value(other).unwrap());
})]
#[case::volume(|world: &mut World| world.observed.retained =
    kept(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})))]
#[case::collected(|world: &mut World| world.observed.retained = kept(json!({"ownerReferences": [
    {"apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance", "name": "shop", "uid": "former"}]})))]
fn a_predecessor_that_goes_is_waited_for(#[case] spoil: fn(&mut World)) {
    let mut world = World::new(json!({}));
    spoil(&mut world);
    let plan = world.pass();
    assert!(plan.writes.is_empty() && plan.requeue.is_some());
    assert_eq!(world.reason(RECONCILING), reason::WAITING_FOR_DELETION);
    assert_eq!(world.reason(STALLED), "");
}

#[test]
fn a_backup_under_way_is_waited_for() {
    let mut world = World::new(json!({}));
    let running = json!({"status": {"phase": "Running", "conditions": []}});
    world.observed.source = found(Engine::Postgresql, running, json!({}));
    let plan = world.pass();
    assert!(plan.writes.is_empty() && plan.requeue.is_some());
    assert_eq!(world.reason(RECONCILING), reason::BACKUP_NOT_READY);
    assert_eq!(world.reason(STALLED), "");
    world.observed.source = found(Engine::Postgresql, json!({}), json!({}));
    assert_eq!(world.pass().writes.len(), 1);
}

#[test]
fn a_restore_ends_when_its_instance_goes_or_takes_too_long() {
    let mut world = World::new(json!({}));
    world.pass();
    world.observed.instance = None;
    assert!(world.pass().writes.is_empty());
    assert_eq!(world.reason(STALLED), reason::INSTANCE_NOT_FOUND);
    assert_eq!(world.phase(), Some(RestorePhase::Failed));

    let mut world = World::new(json!({}));
    world.pass();
    world.now = serde_json::from_value(json!("2026-05-01T11:00:00Z")).unwrap();
    world.pass();
    assert_eq!(world.reason(STALLED), reason::DEADLINE_EXCEEDED);
    assert_eq!(world.phase(), Some(RestorePhase::Failed));
}

#[test]
fn a_refused_write_is_told_and_tried_again() {
    let mut world = World::new(json!({}));
    let planned = decide(&world.cr, &world.observed, &world.now).status;
    assert_eq!(planned.phase, Some(RestorePhase::Running));
    let failed = super::failed(&world.cr, &planned, "admission says no", &world.now);
    world.cr.status = Some(failed);
    assert_eq!(world.reason(STALLED), reason::APPLY_FAILED);
    assert_eq!(world.said(RECONCILING), None);
    assert_eq!(world.pass().writes.len(), 1);
}
