//! A world in memory: it takes the writes of a plan as an API server would, and lets a test say what the kubelet saw.

use std::collections::BTreeSet;

use api::names::{LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY};
use api::{DatabaseInstance, Engine};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::catalog::Catalog;
use crate::generated::Generated;
use crate::instance::source::Sight;
use crate::instance::{Observed, Plan, decide};
use crate::storage_class::StorageClass;
use crate::{Kind, Write};

pub struct World {
    pub cr: DatabaseInstance,
    pub observed: Observed,
    pub now: Time,
    uids: u32,
}

/// The resource as the API server hands it out: defaults filled in.
pub fn instance(engine: Engine, spec: Value) -> DatabaseInstance {
    let mut all = json!({"engine": engine.name(), "storage": {"size": "1Gi"}});
    merge(&mut all, &spec);
    serde_json::from_value(json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance",
        "metadata": {"name": "shop", "namespace": "demo", "uid": "cr-uid", "generation": 1}, "spec": all,
    }))
    .unwrap()
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

impl World {
    pub fn new(engine: Engine, spec: Value) -> Self {
        let observed = Observed {
            catalog: Catalog::built_in(),
            storage_class: StorageClass::Found {
                name: "fast".into(),
                can_grow: true,
                provisioner: "csi.example".into(),
                access_mode: crate::storage_class::EXCLUSIVE,
            },
            credentials: None,
            binding: None,
            admin: None,
            claim: None,
            config_map: None,
            scripts: None,
            all_scripts: Vec::new(),
            service: None,
            endpoints: None,
            network_policy: None,
            stateful_set: None,
            pod: None,
            jobs: Vec::new(),
            job_pods: Vec::new(),
            warning: None,
            backups: Vec::new(),
            others_backup: None,
            last_snapshot: None,
            backups_in_use: BTreeSet::new(),
            clock_skew: Some(0),
            namespace_is_terminating: false,
            origin: crate::instance::source::Seen::default(),
            fresh: fresh(0),
        };
        let now = Time(Timestamp::from_second(1_800_000_000).unwrap());
        World {
            cr: instance(engine, spec),
            observed,
            now,
            uids: 0,
        }
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
        let mut cr = serde_json::to_value(&self.cr).unwrap();
        merge(&mut cr["spec"], &spec);
        cr["metadata"]["generation"] = json!(self.cr.metadata.generation.unwrap() + 1);
        self.cr = serde_json::from_value(cr).unwrap();
    }

    pub fn take(&mut self, write: &Write) {
        let object = match write {
            Write::Create(object) | Write::Apply(object) | Write::Patch(object) => object,
            Write::Delete {
                kind: Kind::VolumeSnapshot,
                ..
            } => return self.observed.origin.copy = None,
            Write::Delete {
                kind: Kind::VolumeSnapshotContent,
                ..
            } => return self.observed.origin.imported_content = Sight::Absent,
            Write::Delete {
                kind: Kind::DatabaseBackup,
                uid,
                ..
            } => {
                let backups = &mut self.observed.backups;
                return backups.retain(|backup| backup.metadata.uid.as_ref() != Some(uid));
            }
            Write::Delete {
                kind: Kind::ConfigMap,
                uid,
                ..
            } => {
                let all = &mut self.observed.all_scripts;
                return all.retain(|metadata| metadata.uid.as_ref() != Some(uid));
            }
            Write::Delete { name, .. } => {
                return self
                    .observed
                    .jobs
                    .retain(|job| job.metadata.name.as_ref() != Some(name));
            }
            Write::Finalizers(finalizers) => {
                return self.cr.metadata.finalizers = Some(finalizers.clone());
            }
        };
        let mut value = match (write, self.existing(object.kind, object.name())) {
            (Write::Patch(_), Some(mut existing)) => {
                merge(&mut existing, &object.value);
                existing
            }
            (_, existing) => {
                let mut value = object.value.clone();
                if object.kind == Kind::StatefulSet
                    && let Some(existing) = existing
                {
                    value["status"] = existing["status"].clone();
                    let generation = existing["metadata"]["generation"].as_i64().unwrap_or(1);
                    value["metadata"]["generation"] = json!(generation + 1);
                }
                value
            }
        };
        if value["metadata"]["uid"].is_null() {
            self.uids += 1;
            value["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
        }
        if object.kind == Kind::DatabaseBackup {
            value["metadata"]["creationTimestamp"] = json!(self.now);
        }
        self.put(object.kind, object.name(), value);
    }

    fn existing(&self, kind: Kind, name: &str) -> Option<Value> {
        let observed = &self.observed;
        let value = match kind {
            Kind::Secret if name.ends_with("-admin") => json!(observed.admin),
            Kind::Secret => json!(observed.binding),
            Kind::PersistentVolumeClaim => json!(observed.claim),
            Kind::StatefulSet => json!(observed.stateful_set),
            _ => Value::Null,
        };
        (!value.is_null()).then_some(value)
    }

    fn put(&mut self, kind: Kind, name: &str, value: Value) {
        fn typed<T: serde::de::DeserializeOwned>(value: Value) -> Option<T> {
            Some(serde_json::from_value(value).unwrap())
        }
        let observed = &mut self.observed;
        match kind {
            Kind::Secret => {
                let mut secret: Secret = typed(value).unwrap();
                let mut data = secret.data.take().unwrap_or_default();
                for (key, text) in secret.string_data.take().unwrap_or_default() {
                    data.insert(key, ByteString(text.into_bytes()));
                }
                secret.data = Some(data);
                *(if name.ends_with("-admin") {
                    &mut observed.admin
                } else {
                    &mut observed.binding
                }) = Some(secret);
            }
            Kind::PersistentVolumeClaim => observed.claim = typed(value),
            Kind::ConfigMap if name.contains("-scripts-") => {
                observed.scripts = typed(value);
                let metadata = observed.scripts.as_ref().unwrap().metadata.clone();
                observed.all_scripts.push(metadata);
            }
            Kind::ConfigMap => observed.config_map = typed(value),
            Kind::Service => observed.service = typed(value),
            Kind::StatefulSet => observed.stateful_set = typed(value),
            Kind::NetworkPolicy => observed.network_policy = typed(value),
            Kind::Job => observed.jobs.push(typed(value).unwrap()),
            Kind::DatabaseBackup => observed.backups.push(typed(value).unwrap()),
            Kind::VolumeSnapshot => observed.origin.copy = typed(value),
            Kind::VolumeSnapshotContent => {
                observed.origin.imported_content = Sight::Found(Box::new(typed(value).unwrap()));
            }
            Kind::DatabaseInstance
            | Kind::HACluster
            | Kind::Postgresql
            | Kind::Endpoints
            | Kind::EndpointSlice
            | Kind::ControllerRevision
            | Kind::PodDisruptionBudget => {}
        }
    }

    /// The volume is bound and the server accepts connections, in a pod of the newest revision.
    pub fn serve(&mut self) {
        let size = self
            .observed
            .claim
            .as_ref()
            .and_then(crate::facts::requested)
            .unwrap()
            .to_owned();
        self.edit_claim(
            json!({"spec": {"storageClassName": "fast"}, "status": {"phase": "Bound",
            "capacity": {"storage": size}}}),
        );
        let set = json!(self.observed.stateful_set);
        let revision = crate::difference::hash(&set["spec"]["template"]);
        self.edit_set(json!({"status": {"replicas": 1, "updateRevision": revision,
            "observedGeneration": set["metadata"]["generation"]}}));
        let image = set["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        self.pod(json!({"metadata": {"labels": {"controller-revision-hash": revision}},
            "spec": {"containers": [{"name": "database", "image": image}]}, "status": {
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "initContainerStatuses": [{"name": "prepare", "image": image, "imageID": "sha256:1", "ready": true,
                "restartCount": 0}],
        }}));
    }

    pub fn pod(&mut self, pod: Value) {
        let mut all = json!({"metadata": {"name": "shop-0", "uid": "pod-uid"}});
        merge(&mut all, &pod);
        self.observed.pod = Some(serde_json::from_value(all).unwrap());
    }

    pub fn edit_claim(&mut self, change: Value) {
        let mut claim = json!(self.observed.claim);
        merge(&mut claim, &change);
        self.observed.claim = Some(serde_json::from_value(claim).unwrap());
    }

    pub fn edit_set(&mut self, change: Value) {
        let mut set = json!(self.observed.stateful_set);
        merge(&mut set, &change);
        self.observed.stateful_set = Some(serde_json::from_value(set).unwrap());
    }

    /// The only Job ends like this; with last words, its pod refused with exit code 1.
    pub fn end_job(&mut self, condition: &str, reason: &str, words: &str) {
        let mut job = json!(self.observed.jobs[0]);
        merge(
            &mut job,
            &json!({"status": {"conditions": [{"type": condition, "status": "True", "reason": reason}]}}),
        );
        let uid = job["metadata"]["uid"].clone();
        let container = job["spec"]["template"]["spec"]["containers"][0]["name"].clone();
        self.observed.jobs[0] = serde_json::from_value(job).unwrap();
        let pod = json!({"metadata": {"ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "j",
            "uid": uid}]},
            "status": {"containerStatuses": [{"name": container, "image": "i", "imageID": "", "ready": false,
                "restartCount": 0,
                "state": {"terminated": {"exitCode": 1, "message": words}}}]}});
        self.observed.job_pods = vec![serde_json::from_value(pod).unwrap()];
    }

    /// The resource is deleted and what it owns is collected; then it is applied again.
    pub fn delete_and_apply_again(&mut self) {
        let kept = |owners: Option<&Vec<_>>| owners.is_none_or(Vec::is_empty);
        let observed = &mut self.observed;
        observed
            .binding
            .take_if(|o| !kept(o.metadata.owner_references.as_ref()));
        observed
            .admin
            .take_if(|o| !kept(o.metadata.owner_references.as_ref()));
        observed
            .claim
            .take_if(|o| !kept(o.metadata.owner_references.as_ref()));
        (
            observed.config_map,
            observed.scripts,
            observed.service,
            observed.network_policy,
            observed.stateful_set,
            observed.pod,
        ) = (None, None, None, None, None, None);
        self.cr.status = None;
        self.cr.metadata.uid = Some("cr-uid-2".into());
    }

    pub fn condition(&self, type_: &str) -> Option<(String, String, String)> {
        let conditions = &self.cr.status.as_ref()?.conditions;
        let found = conditions
            .iter()
            .find(|condition| condition.type_ == type_)?;
        Some((
            found.status.clone(),
            found.reason.clone(),
            found.message.clone(),
        ))
    }

    pub fn reason(&self, type_: &str) -> String {
        self.condition(type_)
            .map(|(_, reason, _)| reason)
            .unwrap_or_default()
    }

    pub fn secret_text(secret: Option<&Secret>, key: &str) -> String {
        String::from_utf8(secret.unwrap().data.as_ref().unwrap()[key].0.clone()).unwrap()
    }
}

pub fn fresh(n: u32) -> Generated {
    Generated {
        password: format!("generated-{n}"),
        admin_password: format!("administrator-{n}"),
        id: format!("{n:08x}"),
    }
}

/// A user's Secret.
pub fn credentials(data: &[(&str, &str)]) -> Secret {
    let data = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())))
        .collect();
    Secret {
        type_: Some("kubernetes.io/basic-auth".into()),
        data: Some(data),
        ..Secret::default()
    }
}

/// For a snapshot, which is to stay the same when a script changes.
pub fn without_hash_of_scripts(value: &Value, cr: &DatabaseInstance) -> Value {
    let name = crate::instance::scripts_name(cr);
    let text = value.to_string().replace(&name, "shop-scripts-HASH");
    serde_json::from_str(&text).unwrap()
}

/// Labels by which an object is ours.
pub fn our_labels() -> Value {
    json!({LABEL_MANAGED_BY: MANAGED_BY, LABEL_INSTANCE: "shop"})
}
