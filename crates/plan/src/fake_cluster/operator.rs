//! The operator: passes of the deciders, one write after the other, so that it can be killed, refused and overtaken at
//! any of them.

use std::collections::BTreeMap;
use std::rc::Rc;

use api::reported::Reported;
use api::{DatabaseBackup, DatabaseInstance, DatabaseRestore, HACluster};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::api_server::{Cluster, Key, Objects, Refusal, Stored, key};
use super::observe::Reads;
use crate::catalog::Catalog;
use crate::generated::Generated;
use crate::{Plan, Write, backup, failing, ha_cluster, instance, report, restore};
use api::names::quiesce_job;

/// The kinds that are reconciled.
pub const KINDS: [&str; 4] = [
    "DatabaseInstance",
    "DatabaseBackup",
    "DatabaseRestore",
    "HACluster",
];

/// A pass that has decided.
#[derive(Clone)]
struct Pass {
    /// UID and version of the resource as it was read.
    uid: String,
    version: u64,
    before: Value,
    writes: Vec<Write>,
    next: usize,
    status: Value,
    /// When it is looked again.
    due: i64,
    refused: Rc<dyn Fn() -> Value>,
}

/// How a step of a pass ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// A write was done, or refused by the API server's own rules.
    Wrote(String),
    /// The pass is over.
    Over,
}

#[derive(Clone)]
pub struct Operator {
    catalog: Catalog,
    passes: BTreeMap<Key, Pass>,
    /// When it looks again at a resource that does not change.
    due: BTreeMap<Key, i64>,
    /// Versions of resources whose status was written anew.
    overtaken: BTreeMap<String, u64>,
    /// Last words of holds.
    heard: BTreeMap<String, String>,
    /// How many seconds its clock is ahead.
    pub skew: i64,
    /// Whether it knows that.
    pub knows_skew: bool,
    fresh: u32,
    /// All writes.
    pub log: Vec<String>,
}

trait Kind:
    Reported<Status: Serialize + PartialEq> + Serialize + DeserializeOwned + Clone + 'static
{
    type Observed;
    fn observe(&self, reads: &Reads<'_>) -> Self::Observed;
    fn decide(&self, observed: &Self::Observed, now: &Time) -> Plan<Self::Status>;
    fn refused(&self, planned: &Self::Status, now: &Time) -> Self::Status;
}

const REFUSAL: &str = "admission webhook said no";

macro_rules! kind {
    ($type:ty, $module:ident, $method:ident, $failed:path) => {
        impl Kind for $type {
            type Observed = $module::Observed;
            fn observe(&self, reads: &Reads<'_>) -> Self::Observed {
                reads.$method(self)
            }
            fn decide(&self, observed: &Self::Observed, now: &Time) -> Plan<Self::Status> {
                $module::decide(self, observed, now)
            }
            fn refused(&self, planned: &Self::Status, now: &Time) -> Self::Status {
                $failed(self, planned, REFUSAL, now)
            }
        }
    };
}
kind!(DatabaseInstance, instance, instance, instance::failed);
kind!(DatabaseBackup, backup, backup, report::refused);
kind!(DatabaseRestore, restore, restore, restore::failed);
kind!(HACluster, ha_cluster, ha_cluster, ha_cluster::failed);

impl Operator {
    pub fn new() -> Self {
        Operator {
            catalog: Catalog::built_in(),
            passes: BTreeMap::new(),
            due: BTreeMap::new(),
            overtaken: BTreeMap::new(),
            heard: BTreeMap::new(),
            skew: 0,
            knows_skew: true,
            fresh: 0,
            log: Vec::new(),
        }
    }

    /// It dies, and another one takes its place, which knows nothing.
    pub fn kill(&mut self) {
        self.passes.clear();
        self.overtaken.clear();
        self.heard.clear();
    }

    pub fn is_at(&self, resource: &Key) -> bool {
        self.passes.contains_key(resource)
    }

    /// Whether it is time to look at a resource again.
    pub fn is_due(&self, cluster: &Cluster, resource: &Key) -> bool {
        self.due.get(resource).is_none_or(|due| *due <= cluster.now)
    }

    /// It watches the pods of holds.
    pub fn listen(&mut self, cluster: &Cluster) {
        for (key, pod) in cluster.of_kind("Pod") {
            let labels = &pod.value["metadata"]["labels"];
            let typed = || -> k8s_openapi::api::core::v1::Pod { pod.typed() };
            if labels["app.kubernetes.io/component"] == "quiesce"
                && !cluster.strangers.contains(&key)
                && let Some(words) = backup::last_words(&typed())
            {
                let job = labels["batch.kubernetes.io/job-name"]
                    .as_str()
                    .unwrap_or_default();
                self.heard.insert(job.to_owned(), words);
            }
        }
    }

    /// Reads and decides. `resource` is from the cache, so it may be an older one; `before` is the world of a moment
    /// ago, of which `torn` says what is read.
    pub fn begin(
        &mut self,
        cluster: &Cluster,
        at: &Key,
        resource: &Stored,
        before: &Objects,
        torn: u64,
    ) {
        if self.overtaken.get(resource.uid()) == Some(&resource.version) {
            return;
        }
        match at.0 {
            "DatabaseInstance" => {
                self.decide::<DatabaseInstance>(cluster, at, resource, before, torn)
            }
            "DatabaseBackup" => self.decide::<DatabaseBackup>(cluster, at, resource, before, torn),
            "DatabaseRestore" => {
                self.decide::<DatabaseRestore>(cluster, at, resource, before, torn)
            }
            _ => self.decide::<HACluster>(cluster, at, resource, before, torn),
        }
    }

    fn decide<K: Kind>(
        &mut self,
        cluster: &Cluster,
        at: &Key,
        resource: &Stored,
        before: &Objects,
        torn: u64,
    ) {
        let mut cr: K = resource.typed();
        if let Some(status) = cr.status().and_then(failing::without) {
            *cr.status_mut() = Some(status);
        }
        self.fresh += 1;
        let id = format!("{:08x}", 0xf000_0000 + self.fresh);
        let uid = resource.uid();
        let reads = Reads {
            now: &cluster.objects,
            before,
            torn: torn.into(),
            catalog: &self.catalog,
            time: Time(Timestamp::from_second(cluster.now + self.skew).unwrap()),
            clock_skew: self.knows_skew.then_some(self.skew),
            fresh: Generated {
                password: format!("password-{id}"),
                admin_password: format!("administrator-{id}"),
                id,
            },
            heard: self.heard.get(&quiesce_job(uid)).cloned(),
        };
        let observed = cr.observe(&reads);
        let plan = cr.decide(&observed, &reads.time);
        let (planned, now) = (plan.status.clone(), reads.time);
        let pause = plan.requeue.map_or(600, |pause| pause.as_secs());
        let pause = i64::try_from(pause).unwrap();
        let pass = Pass {
            uid: uid.to_owned(),
            version: resource.version,
            before: resource.value["status"].clone(),
            writes: plan.writes,
            next: 0,
            status: json!(plan.status),
            due: cluster.now + pause.max(1),
            refused: Rc::new(move || json!(cr.refused(&planned, &now))),
        };
        self.passes.insert(at.clone(), pass);
    }

    /// The next write of a pass, at the end the status. With `refuse`, the API server says no.
    pub fn step(&mut self, cluster: &mut Cluster, at: &Key, refuse: bool) -> Stepped {
        let Some(mut pass) = self.passes.remove(at) else {
            return Stepped::Over;
        };
        let Some(write) = pass.writes.get(pass.next).cloned() else {
            let status = std::mem::take(&mut pass.status);
            self.due.insert(at.clone(), pass.due);
            self.report(cluster, at, &pass, status);
            return Stepped::Over;
        };
        pass.next += 1;
        if refuse {
            let status = (pass.refused)();
            self.report(cluster, at, &pass, status);
            return Stepped::Over;
        }
        let (told, answer) = self.write(cluster, at, &pass, &write);
        if answer.is_ok() {
            self.passes.insert(at.clone(), pass);
        }
        let told = format!("{told}: {answer:?}");
        self.log.push(told.clone());
        Stepped::Wrote(told)
    }

    fn write(
        &self,
        cluster: &mut Cluster,
        at: &Key,
        pass: &Pass,
        write: &Write,
    ) -> (String, Result<(), Refusal>) {
        let namespace = at.1.clone();
        let place = |kind: &'static str, name: &str| {
            let global = kind == "VolumeSnapshotContent";
            key(kind, if global { "" } else { &namespace }, name)
        };
        let told = |verb: &str, key: &Key| format!("{}/{} {verb} {}/{}", at.0, at.2, key.0, key.2);
        let kind = |object: &crate::Object| object.kind.api().1;
        match write {
            Write::Create(object) => {
                let answer = cluster.create(kind(object), &namespace, object.value.clone());
                (told("creates", &place(kind(object), object.name())), answer)
            }
            Write::Apply(object) => {
                let key = place(kind(object), object.name());
                let answer = cluster.apply(kind(object), &namespace, &object.value);
                assert!(
                    answer.is_err() || !cluster.strangers.contains(&key),
                    "{}",
                    told("applies", &key)
                );
                (told("applies", &key), answer)
            }
            Write::Patch(object) => {
                let key = place(kind(object), object.name());
                assert!(
                    !cluster.strangers.contains(&key),
                    "{}",
                    told("patches", &key)
                );
                let answer = cluster.patch(kind(object), &namespace, &object.value);
                (
                    format!("{} {}", told("patches", &key), object.value),
                    answer,
                )
            }
            Write::Delete { kind, name, uid } => {
                let key = place(kind.api().1, name);
                assert!(
                    !cluster.strangers.contains(&key),
                    "{}",
                    told("deletes", &key)
                );
                if key.0 == "DatabaseBackup" {
                    super::laws::may_delete_backup(cluster, &key);
                }
                let answer = cluster.delete_uid(kind.api().1, &namespace, name, uid);
                (told("deletes", &key), answer)
            }
            Write::Finalizers(finalizers) => {
                let change = json!({"metadata": {"name": at.2.as_ref(), "uid": pass.uid,
                    "resourceVersion": pass.version.to_string(), "finalizers": finalizers}});
                let answer = cluster.patch(at.0, &namespace, &change);
                (format!("{} {finalizers:?}", told("holds", at)), answer)
            }
        }
    }

    fn report(&mut self, cluster: &mut Cluster, at: &Key, pass: &Pass, status: Value) {
        let there = cluster
            .objects
            .get(at)
            .is_some_and(|found| found.uid() == pass.uid);
        if !there || pass.before == status {
            return;
        }
        let before = cluster.version;
        cluster.edit(at, |value| value["status"] = status);
        if cluster.version != before {
            self.overtaken.insert(pass.uid.clone(), pass.version);
        }
    }
}
