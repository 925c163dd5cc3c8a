//! A world in memory with a running instance `shop`: it takes the writes of a plan as an API server would.

use api::condition::{READY, STALLED};
use api::names::{ANNOTATION_HOLD, ANNOTATION_VERSION};
use api::{DatabaseBackup, DatabaseBackupStatus, Engine};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::backup::{Observed, Plan, SnapshotClasses, decide};
use crate::catalog::Catalog;
use crate::{Kind, Object, Write};

pub const START: i64 = 1_800_000_000;
pub const UID: &str = "b0000000-0000-4000-8000-000000000001";

#[derive(Clone)]
pub struct World {
    pub cr: DatabaseBackup,
    pub observed: Observed,
    pub now: Time,
    /// How many VolumeSnapshots were made, and how many deleted.
    pub made: u32,
    pub deleted: u32,
    /// The backup deleted itself.
    pub gone: bool,
    uids: u32,
}

pub fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                if value.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (into, change) => *into = change.clone(),
    }
}

pub fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

pub fn class(name: &str, driver: &str, is_default: bool) -> Value {
    json!({"metadata": {"name": name,
        "annotations": {"snapshot.storage.kubernetes.io/is-default-class": is_default.to_string()}},
        "driver": driver, "deletionPolicy": "Delete"})
}

/// A backup that was ready with a snapshot of this time.
pub fn good(name: &str, taken: i64) -> DatabaseBackup {
    typed(json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseBackup",
        "metadata": {"name": name, "namespace": "demo", "uid": format!("uid-of-{name}")}, "spec": {"instance": "shop"},
        "status": {"phase": "Ready", "takenAt": at(taken), "readyAt": at(taken), "conditions": [
            {"type": READY, "status": "True", "reason": "Completed", "message": "", "lastTransitionTime": at(taken)}]},
    }))
}

impl World {
    pub fn new(engine: Engine, spec: Value) -> Self {
        let mut all = json!({"instance": "shop"});
        merge(&mut all, &spec);
        let observed = Observed {
            catalog: Catalog::built_in(),
            instance: Some(typed(json!({
                "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance",
                "metadata": {"name": "shop", "namespace": "demo", "uid": "instance-uid"},
                "spec": {"engine": engine.name(), "storage": {"size": "1Gi"}},
                "status": {"version": Catalog::built_in().default_version(engine), "storage": {"requested": "1Gi",
                    "capacity": "1Gi"}},
            }))),
            claim: Some(typed(json!({
                "metadata": {"name": "shop", "uid": "claim-uid", "annotations": {
                    ANNOTATION_VERSION: Catalog::built_in().default_version(engine),
                        "volume.kubernetes.io/storage-provisioner": "csi.example"}},
                "spec": {"storageClassName": "fast"}, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
            }))),
            provisioner: Some("csi.example".into()),
            classes: SnapshotClasses::Found(vec![typed(class("snapshots", "csi.example", false))]),
            snapshot: None,
            stateful_set: Some(typed(
                json!({"metadata": {"name": "shop"}, "spec": {"replicas": 1, "selector": {}, "template": {}}}),
            )),
            pod: Some(typed(
                json!({"metadata": {"name": "shop-0"}, "status": {"conditions": [{"type": "Ready",
                    "status": "True"}]}}),
            )),
            job: None,
            job_pod: None,
            last_words: None,
            peers: None,
            verification: None,
            may_verify: true,
            clock_skew: Some(0),
        };
        World {
            cr: typed(json!({
                "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseBackup",
                "metadata": {"name": "nightly", "namespace": "demo", "uid": UID, "generation": 1,
                    "creationTimestamp": at(START)},
                "spec": all,
            })),
            observed,
            now: at(START),
            made: 0,
            deleted: 0,
            gone: false,
            uids: 0,
        }
    }

    /// One that is Ready.
    pub fn ready(engine: Engine, spec: Value) -> Self {
        let mut world = World::new(engine, spec);
        world.pass();
        world.after(1);
        world.cut();
        world.complete();
        world.settle();
        assert_eq!(world.phase(), "Ready", "{:?}", world.condition(READY));
        world
    }

    pub fn decide(&self) -> Plan {
        decide(&self.cr, &self.observed, &self.now)
    }

    /// One pass: decides, and does what was decided.
    pub fn pass(&mut self) -> Plan {
        let plan = self.pass_without_report();
        self.cr.status = Some(plan.status.clone());
        plan
    }

    /// The operator dies before it reports.
    pub fn pass_without_report(&mut self) -> Plan {
        let plan = self.decide();
        for write in &plan.writes {
            self.take(write);
        }
        plan
    }

    /// Passes until nothing moves, and checks the law: nothing is left to do, and there is the same to say.
    pub fn settle(&mut self) -> Plan {
        for _ in 0..10 {
            let before = self.cr.status.clone();
            let plan = self.pass();
            if plan.writes.is_empty() && before == self.cr.status {
                assert_eq!(plan.events, vec![]);
                return plan;
            }
        }
        panic!("the plan does not come to rest: {:?}", self.decide());
    }

    fn take(&mut self, write: &Write) {
        match write {
            Write::Create(object) => self.create(object),
            Write::Patch(object) => {
                assert_eq!(object.kind, Kind::VolumeSnapshot);
                let mut snapshot = json!(self.observed.snapshot);
                assert_eq!(object.value["metadata"]["uid"], snapshot["metadata"]["uid"]);
                merge(&mut snapshot, &object.value);
                self.observed.snapshot = Some(typed(snapshot));
            }
            Write::Delete { kind, uid, .. } => {
                let observed = &mut self.observed;
                let found = match kind {
                    Kind::VolumeSnapshot => {
                        self.deleted += 1;
                        observed.snapshot.take().unwrap().metadata.uid
                    }
                    Kind::Job => observed.job.take().unwrap().metadata.uid,
                    Kind::DatabaseInstance => observed.verification.take().unwrap().metadata.uid,
                    Kind::DatabaseBackup => {
                        self.gone = true;
                        self.cr.metadata.uid.clone()
                    }
                    kind => panic!("a backup deletes no {kind:?}"),
                };
                assert_eq!(found.as_ref(), Some(uid));
            }
            other => panic!("{other:?}"),
        }
    }

    fn create(&mut self, object: &Object) {
        self.uids += 1;
        let mut value = object.value.clone();
        value["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
        value["metadata"]["creationTimestamp"] = json!(self.now);
        let observed = &mut self.observed;
        match object.kind {
            Kind::VolumeSnapshot => {
                assert!(observed.snapshot.is_none(), "AlreadyExists");
                self.made += 1;
                observed.snapshot = Some(typed(value));
            }
            Kind::Job => {
                assert!(observed.job.is_none(), "AlreadyExists");
                observed.job = Some(typed(value));
            }
            Kind::DatabaseInstance => {
                assert!(observed.verification.is_none(), "AlreadyExists");
                observed.verification = Some(typed(value));
            }
            kind => panic!("a backup makes no {kind:?}"),
        }
    }

    pub fn after(&mut self, seconds: i64) {
        self.now = at(self.now.0.as_second() + seconds);
    }

    pub fn change(&mut self, spec: Value) {
        let mut cr = json!(self.cr);
        merge(&mut cr["spec"], &spec);
        cr["metadata"]["generation"] = json!(self.cr.metadata.generation.unwrap() + 1);
        self.cr = typed(cr);
    }

    pub fn snapshot(&mut self, change: Value) {
        let mut snapshot = json!(self.observed.snapshot);
        merge(&mut snapshot, &change);
        self.observed.snapshot = Some(typed(snapshot));
    }

    /// The storage makes the cut now.
    pub fn cut(&mut self) {
        let status = json!({"boundVolumeSnapshotContentName": "content", "creationTime": self.now,
            "readyToUse": false});
        self.snapshot(json!({ "status": status }));
    }

    /// The storage has completed the snapshot.
    pub fn complete(&mut self) {
        self.snapshot(json!({"status": {"readyToUse": true, "restoreSize": "2Gi", "error": null}}));
    }

    pub fn driver_says(&mut self, message: &str) {
        self.snapshot(json!({"status": {"error": {"message": message}}}));
    }

    /// The kubelet shows the Job's pod like this; with words, its container has ended.
    pub fn job_pod(&mut self, ready: bool, words: Option<&str>) {
        let state = match words {
            Some(words) => json!({"terminated": {"exitCode": 1, "message": words}}),
            None => json!({"running": {}}),
        };
        let job = self
            .observed
            .job
            .as_ref()
            .map(|job| job.metadata.clone())
            .unwrap_or_default();
        let name = api::names::quiesce_job(self.cr.metadata.uid.as_deref().unwrap());
        let uid = job.uid.unwrap_or_default();
        let owners = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": true}]);
        self.observed.job_pod = Some(typed(
            json!({"metadata": {"name": "quiesce", "ownerReferences": owners}, "status": {
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
                "containerStatuses": [{"name": "quiesce", "image": "i", "imageID": "", "ready": ready,
                    "restartCount": 0, "state": state}],
            }}),
        ));
    }

    /// The Job let go at this Unix second, after so many milliseconds, and its pod is gone.
    pub fn let_go(&mut self, released: i64, held: i64) {
        self.observed.job_pod = None;
        self.observed.last_words = Some(words(released, held));
    }

    /// The server's pod, with the container that holds the server back for this backup in this state.
    pub fn holder(&mut self, backup: &str, state: Value) {
        self.observed.pod = Some(typed(json!({
            "metadata": {"name": "shop-0", "annotations": {ANNOTATION_HOLD: backup}},
            "status": {"initContainerStatuses": [
                {"name": "hold", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state}]},
        })));
    }

    /// No pod runs, as asked.
    pub fn stop(&mut self) {
        self.observed.pod = None;
        self.observed.stateful_set = Some(typed(
            json!({"metadata": {"name": "shop"}, "spec": {"replicas": 0, "selector": {}, "template": {}}}),
        ));
    }

    pub fn status(&self) -> DatabaseBackupStatus {
        self.cr.status.clone().unwrap_or_default()
    }

    pub fn phase(&self) -> String {
        format!("{:?}", self.status().phase.unwrap())
    }

    pub fn consistency(&self) -> String {
        let consistency = self.status().consistency;
        consistency.map_or(String::new(), |consistency| format!("{consistency:?}"))
    }

    /// Status, reason and message.
    pub fn condition(&self, type_: &str) -> Option<(String, String, String)> {
        let conditions = self.status().conditions;
        let found = conditions.into_iter().find(|c| c.type_ == type_)?;
        Some((found.status, found.reason, found.message))
    }

    pub fn reason(&self, type_: &str) -> String {
        self.condition(type_)
            .map(|(_, reason, _)| reason)
            .unwrap_or_default()
    }

    /// The backup has failed for this reason, and nothing of it is left.
    pub fn assert_failed(&mut self, reason: &str) -> String {
        self.settle();
        assert_eq!(self.phase(), "Failed");
        assert_eq!(self.reason(READY), reason);
        assert_eq!(self.reason(STALLED), reason);
        assert!(self.observed.snapshot.is_none() && self.observed.job.is_none());
        assert_eq!(self.made, self.deleted);
        let status = self.status();
        assert!(
            status.snapshot.is_none() && status.taken_at.is_none() && status.consistency.is_none()
        );
        self.condition(READY).unwrap().2
    }
}

/// The last words of the Job's pod.
pub fn words(released: i64, held: i64) -> String {
    let released = released * 1000;
    json!({"acquired": released - held, "released": released, "held": held}).to_string()
}
