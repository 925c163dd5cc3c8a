//! A world of one namespace, kept in memory: passes change it as the API server would, and the others act when they are
//! told to.

use std::collections::BTreeMap;

use api::HACluster;
use api::condition::find;
use api::names::FIELD_MANAGER;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::catalog::Catalog;
use crate::ha_cluster::{Observed, Patroni, Plan, Served, decide};
use crate::instance::tests::world::fresh;
use crate::storage_class::StorageClass;
use crate::{Kind, Write};

pub struct World {
    pub cr: HACluster,
    pub observed: Observed,
    pub now: Time,
    uids: u32,
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// What the API server does with a merge patch.
fn merge(into: &mut Value, from: &Value) {
    match (&mut *into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        _ => *into = from.clone(),
    }
}

impl World {
    /// A cluster `shop` with the shortest spec and these changes, before its first pass.
    pub fn new(change: Value) -> Self {
        let mut spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"}});
        merge(&mut spec, &change);
        let served = ["13", "14", "15", "16", "17"].map(str::to_owned).into();
        World {
            cr: typed(json!({
                "apiVersion": "minidbaas.dev/v1alpha1", "kind": "HACluster",
                "metadata": {"name": "shop", "namespace": "demo", "uid": "cr-uid", "generation": 1}, "spec": spec,
            })),
            observed: Observed {
                catalog: Catalog::built_in(),
                served: Served::Versions(served),
                settings: Vec::new(),
                credentials: None,
                binding: None,
                user: None,
                postgresql: None,
                stateful_set: None,
                pods: Vec::new(),
                claims: Vec::new(),
                jobs: Vec::new(),
                patroni: Patroni::default(),
                storage_class: StorageClass::Found {
                    name: "fast".into(),
                    can_grow: true,
                    provisioner: "csi.example".into(),
                    access_mode: crate::storage_class::EXCLUSIVE,
                },
                warning: None,
                said: None,
                others: Vec::new(),
                namespace_is_terminating: false,
                fresh: fresh(0),
            },
            now: Time(Timestamp::from_second(1_800_000_000).unwrap()),
            uids: 0,
        }
    }

    /// A cluster that serves and is at rest.
    pub fn serving(change: Value) -> Self {
        let mut world = World::new(change);
        world.pass();
        world.tick(1);
        world.carried_out("Running");
        world.pods(world.cr.spec.replicas, 0);
        world.pass();
        world.logged_in();
        world.tick(1);
        world.settle();
        world
    }

    pub fn tick(&mut self, seconds: i64) {
        self.now = Time(Timestamp::from_second(self.now.0.as_second() + seconds).unwrap());
        self.renew();
    }

    pub fn decide(&self) -> Plan {
        decide(&self.cr, &self.observed, &self.now)
    }

    /// One pass: decides, and does what was decided.
    pub fn pass(&mut self) -> Plan {
        let plan = self.decide();
        for write in &plan.writes {
            self.take(write);
        }
        self.cr.status = Some(plan.status.clone());
        self.observed.fresh = fresh(self.uids);
        plan
    }

    /// Passes until nothing is written any more.
    pub fn settle(&mut self) -> Plan {
        for _ in 0..10 {
            let before = self.cr.status.clone();
            let plan = self.pass();
            if plan.writes.is_empty() && before == self.cr.status {
                return plan;
            }
        }
        panic!("the plan does not come to rest: {:?}", self.decide().writes);
    }

    pub fn change(&mut self, spec: Value) {
        let mut cr = json!(self.cr);
        merge(&mut cr["spec"], &spec);
        cr["metadata"]["generation"] = json!(self.cr.metadata.generation.unwrap() + 1);
        self.cr = typed(cr);
    }

    fn take(&mut self, write: &Write) {
        match write {
            Write::Finalizers(finalizers) => {
                self.cr.metadata.finalizers = Some(finalizers.clone());
            }
            Write::Delete { kind, name, .. } => match kind {
                Kind::Job => self
                    .observed
                    .jobs
                    .retain(|job| job.metadata.name.as_ref() != Some(name)),
                Kind::Postgresql => self.observed.postgresql = None,
                Kind::StatefulSet => self.observed.stateful_set = None,
                other => panic!("{other:?} is deleted"),
            },
            Write::Create(object) | Write::Apply(object) | Write::Patch(object) => {
                let is_patch = matches!(write, Write::Patch(_));
                let found = self.existing(object.kind, object.name());
                let mut value = match found {
                    Some(mut found) if is_patch || object.kind == Kind::Postgresql => {
                        // Of an applied object, settings that are not asked for any more go.
                        if !is_patch {
                            found["spec"]["postgresql"]["parameters"] = json!({});
                        }
                        merge(&mut found, &object.value);
                        found
                    }
                    _ => object.value.clone(),
                };
                if value["metadata"]["uid"].is_null() {
                    self.uids += 1;
                    value["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
                }
                let applied = !is_patch && object.kind == Kind::Postgresql;
                self.put(object.kind, object.name(), value, applied);
            }
        }
    }

    fn existing(&self, kind: Kind, name: &str) -> Option<Value> {
        let value = match kind {
            Kind::Secret if name == "shop" => json!(self.observed.binding),
            Kind::Secret => json!(self.observed.user),
            Kind::Postgresql => json!(self.observed.postgresql),
            Kind::PersistentVolumeClaim => {
                let mut claims = self.observed.claims.iter();
                json!(claims.find(|claim| claim.metadata.name.as_deref() == Some(name)))
            }
            _ => Value::Null,
        };
        (!value.is_null()).then_some(value)
    }

    fn put(&mut self, kind: Kind, name: &str, mut value: Value, applied: bool) {
        match kind {
            Kind::Secret => {
                let mut secret: Secret = typed(value);
                let mut data = secret.data.take().unwrap_or_default();
                for (key, text) in secret.string_data.take().unwrap_or_default() {
                    data.insert(key, ByteString(text.into_bytes()));
                }
                secret.data = Some(data);
                if name == "shop" {
                    self.observed.binding = Some(secret);
                } else {
                    self.observed.user = Some(secret);
                }
            }
            Kind::Postgresql => {
                let mut entries = value["metadata"]["managedFields"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                if applied {
                    entries.retain(|entry| entry["manager"] != FIELD_MANAGER);
                    entries.push(
                        json!({"manager": FIELD_MANAGER, "operation": "Apply", "time": self.now}),
                    );
                }
                value["metadata"]["managedFields"] = json!(entries);
                self.observed.postgresql = Some(typed(value));
            }
            Kind::Job => self.observed.jobs.push(typed(value)),
            Kind::PersistentVolumeClaim => {
                let claims = self.observed.claims.iter_mut();
                let claim = claims
                    .into_iter()
                    .find(|claim| claim.metadata.name.as_deref() == Some(name))
                    .unwrap();
                *claim = typed(value);
            }
            // Owners of what is left.
            _ => {}
        }
    }

    /// The Zalando operator has written this word.
    pub fn carried_out(&mut self, word: &str) {
        let mut found = json!(self.observed.postgresql);
        found["status"] = json!({"PostgresClusterStatus": word});
        let mut entries = found["metadata"]["managedFields"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        entries.retain(|entry| entry["subresource"] != "status");
        entries.push(
            json!({"manager": "postgres-operator", "operation": "Update", "subresource": "status",
            "time": self.now}),
        );
        found["metadata"]["managedFields"] = json!(entries);
        self.observed.postgresql = Some(typed(found));
    }

    /// So many pods serve, and this one is the primary.
    pub fn pods(&mut self, count: i32, primary: i32) {
        self.observed.pods = (0..count)
            .map(|number| typed(self.pod(number, number == primary)))
            .collect();
        let size = self
            .observed
            .postgresql
            .as_ref()
            .map_or(json!("1Gi"), |found| found.spec["volume"]["size"].clone());
        self.observed.claims = (0..count)
            .map(|number| {
                typed(json!({
                    "metadata": {"name": format!("pgdata-shop-{number}"), "uid": format!("claim-{number}")},
                    "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": size}}},
                    "status": {"phase": "Bound", "capacity": {"storage": size}},
                }))
            })
            .collect();
        self.observed.stateful_set = Some(typed(json!({
            "metadata": {"name": "shop", "uid": "set-uid", "generation": 1},
            "spec": {
                "replicas": count, "serviceName": "shop", "selector": {},
                "template": {"metadata": {"annotations": {"minidbaas.dev/ha-cluster": "shop"}},
                    "spec": {"containers": [{"name": "postgres", "image": "spilo:17"}]}},
            },
            "status": {"replicas": count, "observedGeneration": 1, "updateRevision": "shop-1"},
        })));
        self.lead(primary);
    }

    fn pod(&self, number: i32, primary: bool) -> Value {
        let role = if primary { "master" } else { "replica" };
        let mut member = json!({"state": "running", "role": role, "version": "4.0.7"});
        if !primary {
            member["replication_state"] = json!("streaming");
        }
        json!({
            "metadata": {
                "name": format!("shop-{number}"), "uid": format!("pod-{number}"), "creationTimestamp": self.now,
                "labels": {"spilo-role": role, "controller-revision-hash": "shop-1"},
                "annotations": {"status": member.to_string()},
            },
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True",
                "lastTransitionTime": self.now}]},
        })
    }

    /// Changes a pod.
    pub fn edit_pod(&mut self, number: usize, change: Value) {
        let mut pod = json!(self.observed.pods[number]);
        merge(&mut pod, &change);
        self.observed.pods[number] = typed(pod);
    }

    /// This pod holds the leader's lock.
    pub fn lead(&mut self, number: i32) {
        let record = |pairs: &[(&str, String)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect()
        };
        self.observed.patroni.leader = record(&[
            ("leader", format!("shop-{number}")),
            ("acquireTime", self.now.0.to_string()),
            ("ttl", "20".to_owned()),
        ]);
        self.observed.patroni.config =
            record(&[("config", json!({"synchronous_mode": true}).to_string())]);
        self.observed.patroni.sync = record(&[("sync_standby", "shop-1,shop-2".to_owned())]);
        self.renew();
    }

    /// These replicas confirm writes.
    pub fn confirm(&mut self, standbys: &str) {
        let sync = &mut self.observed.patroni.sync;
        sync.insert("sync_standby".to_owned(), standbys.to_owned());
    }

    fn renew(&mut self) {
        let leader = &mut self.observed.patroni.leader;
        if !leader.is_empty() {
            leader.insert("renewTime".to_owned(), self.now.0.to_string());
        }
    }

    /// The only Job has logged in.
    pub fn logged_in(&mut self) {
        let mut job = json!(self.observed.jobs[0]);
        job["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        self.observed.jobs[0] = typed(job);
    }

    pub fn delete(&mut self) -> Plan {
        self.cr.metadata.deletion_timestamp = Some(self.now.clone());
        self.pass()
    }

    pub fn postgresql(&self) -> &Value {
        &self.observed.postgresql.as_ref().unwrap().spec
    }

    /// Status, reason and message of a condition.
    pub fn said(&self, type_: &str) -> (String, String, String) {
        let conditions = &self.cr.status.as_ref().unwrap().conditions;
        find(conditions, type_).map_or_else(Default::default, |found| {
            (
                found.status.clone(),
                found.reason.clone(),
                found.message.clone(),
            )
        })
    }

    pub fn reason(&self, type_: &str) -> String {
        self.said(type_).1
    }
}

/// A key of a Secret.
pub fn text(secret: Option<&Secret>, key: &str) -> String {
    crate::facts::text(secret.unwrap(), key).unwrap()
}

/// Kinds of writes, in order.
pub fn kinds(writes: &[Write]) -> Vec<(&'static str, Option<Kind>)> {
    writes
        .iter()
        .map(|write| match write {
            Write::Create(object) => ("create", Some(object.kind)),
            Write::Apply(object) => ("apply", Some(object.kind)),
            Write::Patch(object) => ("patch", Some(object.kind)),
            Write::Delete { kind, .. } => ("delete", Some(*kind)),
            Write::Finalizers(_) => ("finalizers", None),
        })
        .collect()
}
