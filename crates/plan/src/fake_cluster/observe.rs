//! What a pass reads, as the controllers of crate `minidbaas` do: from the cluster of now, or of a moment ago.

use std::cell::Cell;
use std::collections::BTreeSet;

use api::external::zalando::{
    LABEL_CLUSTER, SYSTEM_USERS, patroni, replica_service, secret as user_secret, volume_claims,
};
use api::instance::DeletionPolicy;
use api::names::{
    COMPONENT_APPLY, COMPONENT_CHECK, COMPONENT_LOGIN, COMPONENT_SCRIPTS, LABEL_COMPONENT,
    LABEL_HA_CLUSTER, LABEL_INSTANCE, admin_secret, imported_content_name, imported_snapshot, pod,
    quiesce_job, verification_instance,
};
use api::reported::Reported;
use api::restore::BackupReference;
use api::{DatabaseBackup, DatabaseInstance, DatabaseRestore, HACluster};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::api_server::{Key, Objects, Stored, key};
use super::machines::is_ready;
use crate::backup::{self, Peers, SnapshotClasses, copies_from, restores_from};
use crate::catalog::Catalog;
use crate::generated::Generated;
use crate::ha_cluster::{Patroni, Served};
use crate::instance::source::{Seen, Sight, needs_backup, needs_copy};
use crate::origin::{Snapshot, Source};
use crate::storage_class::{EXCLUSIVE, StorageClass};
use crate::{Kind, ha_cluster, instance, restore};

/// The reads of one pass. Each is of now, or of the moment before when the next bit of `torn` says so: a pass reads one
/// object after the other, and the world goes on meanwhile.
pub struct Reads<'a> {
    pub now: &'a Objects,
    pub before: &'a Objects,
    pub torn: Cell<u64>,
    pub catalog: &'a Catalog,
    /// What the pass takes for the time.
    pub time: Time,
    pub clock_skew: Option<i64>,
    pub fresh: Generated,
    /// The last words of a hold that the operator has heard.
    pub heard: Option<String>,
}

impl Reads<'_> {
    fn objects(&self) -> &Objects {
        let bits = self.torn.get();
        self.torn.set(bits.rotate_right(1));
        if bits & 1 == 1 { self.before } else { self.now }
    }

    fn get<T: DeserializeOwned + Clone + 'static>(
        &self,
        kind: &'static str,
        namespace: &str,
        name: &str,
    ) -> Option<T> {
        let found = self.objects().get(&key(kind, namespace, name));
        found.map(|stored| stored.typed())
    }

    fn metadata(&self, kind: &'static str, namespace: &str, name: &str) -> Option<ObjectMeta> {
        let found = self.objects().get(&key(kind, namespace, name));
        found.map(|stored| metadata(stored))
    }

    /// Those of a namespace (of all, if it is empty) that a test holds for.
    fn list<T: DeserializeOwned + Clone + 'static>(
        &self,
        kind: &'static str,
        namespace: &str,
        test: impl Fn(&Key, &Value) -> bool,
    ) -> Vec<T> {
        let all = self.objects().range(key(kind, namespace, "")..);
        let all = all
            .take_while(|(key, _)| key.0 == kind && (namespace.is_empty() || *key.1 == *namespace));
        let all = all.filter(|(key, stored)| test(key, &stored.value));
        all.map(|(_, stored)| stored.typed()).collect()
    }

    /// Of several Jobs and pods no spec is read.
    fn jobs(&self, namespace: &str, test: impl Fn(&Key, &Value) -> bool) -> Vec<Job> {
        let mut jobs: Vec<Job> = self.list("Job", namespace, test);
        jobs.iter_mut().for_each(|job| job.spec = None);
        jobs
    }

    fn pods(&self, namespace: &str, test: impl Fn(&Key, &Value) -> bool) -> Vec<Pod> {
        let mut pods: Vec<Pod> = self.list("Pod", namespace, test);
        pods.iter_mut().for_each(|pod| pod.spec = None);
        pods
    }

    fn backups(&self, namespace: &str, instance: &str) -> Vec<DatabaseBackup> {
        self.list("DatabaseBackup", namespace, |_, value| {
            value["spec"]["instance"] == instance
        })
    }

    /// Who has yet to read the backup, and may.
    fn users(&self, cr: &DatabaseBackup) -> (Vec<DatabaseInstance>, Vec<DatabaseRestore>) {
        let name = cr.metadata.name.as_deref().unwrap_or_default();
        let mut copies: Vec<DatabaseInstance> = self.list("DatabaseInstance", "", |_, value| {
            value["spec"]["restoreFrom"]["backup"]["name"] == name
        });
        copies.retain(|copy| copies_from(cr, copy, &self.time));
        let mut restores: Vec<DatabaseRestore> = self.list("DatabaseRestore", "", |_, value| {
            value["spec"]["backup"]["name"] == name
        });
        restores.retain(|restore| restores_from(cr, restore, &self.time));
        (copies, restores)
    }

    fn class(&self) -> StorageClass {
        StorageClass::Found {
            name: "fast".into(),
            can_grow: true,
            provisioner: "csi.example".into(),
            access_mode: EXCLUSIVE,
        }
    }

    fn source(&self, namespace: &str, reference: &BackupReference) -> Source {
        let namespace = reference.namespace.as_deref().unwrap_or(namespace);
        let Some(backup) = self.get("DatabaseBackup", namespace, &reference.name) else {
            return Source::Unavailable;
        };
        let snapshot = self.get("VolumeSnapshot", namespace, &reference.name);
        let snapshot = snapshot.map_or(Snapshot::Missing, |found| Snapshot::Found(Box::new(found)));
        Source::Found {
            backup: Box::new(backup),
            snapshot,
        }
    }

    fn sight(&self, name: &str) -> Sight {
        let found = self.get("VolumeSnapshotContent", "", name);
        found.map_or(Sight::Absent, |content| Sight::Found(Box::new(content)))
    }

    pub fn instance(&self, cr: &DatabaseInstance) -> instance::Observed {
        let (name, namespace) = names(&cr.metadata);
        let claim = self.get("PersistentVolumeClaim", namespace, name);
        let is_job = |_: &Key, value: &Value| {
            let labels = &value["metadata"]["labels"];
            let component = labels[LABEL_COMPONENT].as_str().unwrap_or_default();
            labels[LABEL_INSTANCE] == name
                && [COMPONENT_APPLY, COMPONENT_CHECK].contains(&component)
        };
        let all_scripts = self.list("ConfigMap", namespace, |_, value| {
            let labels = &value["metadata"]["labels"];
            labels[LABEL_INSTANCE] == name && labels[LABEL_COMPONENT] == COMPONENT_SCRIPTS
        });
        let all_scripts = all_scripts.into_iter();
        let all_scripts =
            all_scripts.map(|map: k8s_openapi::api::core::v1::ConfigMap| map.metadata);
        let service = self.get("Service", namespace, name);
        let endpoints = match service {
            None => self.metadata("Endpoints", namespace, name),
            Some(_) => None,
        };
        let backups = self.backups(namespace, name);
        let wanted = instance::backup_to_make(cr, &self.time);
        let wanted = wanted.filter(|name| {
            backups
                .iter()
                .all(|found| found.metadata.name.as_ref() != Some(name))
        });
        let mut backups_in_use = BTreeSet::new();
        let due = instance::due_to_go(
            cr,
            claim.as_ref(),
            &backups,
            &backups_in_use,
            self.clock_skew,
            &self.time,
        );
        for backup in &backups {
            let name = backup.metadata.name.clone().unwrap_or_default();
            if due.contains(&name) {
                let (copies, restores) = self.users(backup);
                if !copies.is_empty() || !restores.is_empty() {
                    backups_in_use.insert(name);
                }
            }
        }
        let credentials = cr.spec.credentials_secret.as_ref();
        let last = cr
            .metadata
            .deletion_timestamp
            .as_ref()
            .map(|_| instance::last_backup_name(cr));
        instance::Observed {
            catalog: self.catalog.clone(),
            storage_class: match instance::needs_class(cr, claim.as_ref()) {
                true => self.class(),
                false => StorageClass::Unread,
            },
            credentials: credentials.and_then(|named| self.get("Secret", namespace, &named.name)),
            binding: self.get("Secret", namespace, name),
            admin: self.get("Secret", namespace, &admin_secret(name)),
            config_map: self.get("ConfigMap", namespace, name),
            scripts: self.get("ConfigMap", namespace, &instance::scripts_name(cr)),
            all_scripts: all_scripts.collect(),
            service,
            endpoints,
            network_policy: self.get("NetworkPolicy", namespace, name),
            stateful_set: self.get("StatefulSet", namespace, name),
            pod: self.get("Pod", namespace, &pod(name)),
            jobs: self.jobs(namespace, is_job),
            job_pods: self.pods(namespace, is_job),
            warning: None,
            others_backup: wanted
                .and_then(|name| self.metadata("DatabaseBackup", namespace, &name)),
            last_snapshot: last.and_then(|name| self.get("VolumeSnapshot", namespace, &name)),
            backups,
            backups_in_use,
            clock_skew: self.clock_skew,
            namespace_is_terminating: false,
            origin: self.seen(cr, claim.as_ref()),
            claim,
            fresh: self.fresh.clone(),
        }
    }

    fn seen(
        &self,
        cr: &DatabaseInstance,
        claim: Option<&k8s_openapi::api::core::v1::PersistentVolumeClaim>,
    ) -> Seen {
        let (name, namespace) = names(&cr.metadata);
        let mut seen = Seen::default();
        let from = cr
            .spec
            .restore_from
            .as_ref()
            .filter(|_| needs_backup(cr, claim));
        seen.backup = from.map(|from| self.source(namespace, &from.backup));
        if !needs_copy(cr, claim) {
            return seen;
        }
        let uid = cr.metadata.uid.as_deref().unwrap_or_default();
        seen.copy = self.get("VolumeSnapshot", namespace, &imported_snapshot(name, uid));
        seen.imported_content = self.sight(&imported_content_name(uid));
        if let Some(Source::Found {
            snapshot: Snapshot::Found(snapshot),
            ..
        }) = &seen.backup
        {
            let status = snapshot.status.as_ref();
            let bound =
                status.and_then(|status| status.bound_volume_snapshot_content_name.as_deref());
            seen.content = bound.map_or(Sight::Absent, |bound| self.sight(bound));
        }
        seen
    }

    pub fn backup(&self, cr: &DatabaseBackup) -> backup::Observed {
        let (name, namespace) = names(&cr.metadata);
        let (instance, uid) = (
            cr.spec.instance.as_str(),
            cr.metadata.uid.as_deref().unwrap_or_default(),
        );
        let job = quiesce_job(uid);
        let finished = crate::reading::backup::is_finished(cr);
        let peers = backup::is_due(cr, &self.time).then(|| {
            let (copies, restores) = self.users(cr);
            let siblings = self.backups(namespace, instance);
            Peers {
                siblings,
                copies,
                restores,
            }
        });
        let pods = self.pods(namespace, |_, value| {
            value["metadata"]["labels"]["batch.kubernetes.io/job-name"] == job.as_str()
        });
        let proves = cr.spec.verify || cr.last_status().verification.is_some();
        let verification = verification_instance(uid);
        let class = json!({"metadata": {"name": "snapshots"}, "driver": "csi.example", "deletionPolicy": "Delete"});
        backup::Observed {
            catalog: self.catalog.clone(),
            instance: self.get("DatabaseInstance", namespace, instance),
            claim: self
                .get("PersistentVolumeClaim", namespace, instance)
                .filter(|_| !finished),
            provisioner: Some("csi.example".into()),
            classes: match finished {
                true => SnapshotClasses::Unread,
                false => SnapshotClasses::Found(vec![serde_json::from_value(class).unwrap()]),
            },
            snapshot: self.get("VolumeSnapshot", namespace, name),
            stateful_set: self
                .get("StatefulSet", namespace, instance)
                .filter(|_| !finished),
            pod: self
                .get("Pod", namespace, &pod(instance))
                .filter(|_| !finished),
            job: self.get("Job", namespace, &job),
            job_pod: pods.into_iter().next(),
            last_words: self.heard.clone(),
            peers,
            verification: self
                .get("DatabaseInstance", namespace, &verification)
                .filter(|_| proves),
            may_verify: true,
            clock_skew: self.clock_skew,
        }
    }

    pub fn restore(&self, cr: &DatabaseRestore) -> restore::Observed {
        let (_, namespace) = names(&cr.metadata);
        let name = cr.spec.instance.as_str();
        let source = match restore::needs_backup(cr) {
            true => self.source(namespace, &cr.spec.backup),
            false => Source::Unavailable,
        };
        let there = |kind: Kind, name: &str| {
            let found = self.metadata(kind.api().1, namespace, name);
            found.map(|found| (kind, found))
        };
        let retained = there(Kind::PersistentVolumeClaim, name)
            .or_else(|| there(Kind::Secret, name))
            .or_else(|| there(Kind::Secret, &admin_secret(name)));
        restore::Observed {
            catalog: self.catalog.clone(),
            source,
            instance: self.get("DatabaseInstance", namespace, name),
            retained,
            storage_class: self.class(),
        }
    }

    pub fn ha_cluster(&self, cr: &HACluster) -> ha_cluster::Observed {
        let (name, namespace) = names(&cr.metadata);
        let of_zalando = |_: &Key, value: &Value| {
            let labels = &value["metadata"]["labels"];
            labels["application"] == "spilo" && labels[LABEL_CLUSTER] == name
        };
        let credentials = cr.spec.credentials_secret.as_ref();
        let postgresql = self.get("postgresql", namespace, name);
        let deletes = cr.metadata.deletion_timestamp.is_some();
        let services = || {
            let mut services = vec![name.to_owned(), replica_service(name)];
            services
                .extend(["config", "leader", "sync", "failover"].map(|what| patroni(name, what)));
            self.found("Service", Kind::Service, namespace, &services)
        };
        let claims: Vec<PersistentVolumeClaim> =
            self.list("PersistentVolumeClaim", namespace, of_zalando);
        let unmarked = |kind: Kind, names: &[String]| {
            let mut found = self.found(kind.api().1, kind, namespace, names);
            found.retain(|(_, found)| crate::facts::label(found, LABEL_CLUSTER) != Some(name));
            found
        };
        let servers = usize::try_from(cr.spec.replicas).unwrap_or_default();
        let volumes = volume_claims(name, servers);
        let others = match (&postgresql, deletes) {
            (Some(_), false) if claims.len() < volumes.len() => {
                unmarked(Kind::PersistentVolumeClaim, &volumes)
            }
            (Some(_), _) => Vec::new(),
            (None, false) => [
                services(),
                unmarked(Kind::PersistentVolumeClaim, &volumes),
                unmarked(
                    Kind::Secret,
                    &SYSTEM_USERS.map(|user| user_secret(user, name)),
                ),
            ]
            .concat(),
            (None, true) if cr.spec.deletion_policy != DeletionPolicy::Delete => Vec::new(),
            (None, true) => {
                let mut left = services();
                left.extend(self.found(
                    "Endpoints",
                    Kind::Endpoints,
                    namespace,
                    &[name.to_owned()],
                ));
                let users = SYSTEM_USERS.map(|user| user_secret(user, name));
                left.extend(self.found("Secret", Kind::Secret, namespace, &users));
                left.retain(|(_, found)| crate::facts::label(found, LABEL_CLUSTER) == Some(name));
                left
            }
        };
        let served = ["13", "14", "15", "16", "17", "18"]
            .map(str::to_owned)
            .into();
        let primary = self.objects().get(&key("Pod", namespace, &pod(name)));
        ha_cluster::Observed {
            catalog: self.catalog.clone(),
            served: Served::Versions(served),
            settings: Vec::new(),
            credentials: credentials.and_then(|named| self.get("Secret", namespace, &named.name)),
            binding: self.get("Secret", namespace, name),
            user: self.get("Secret", namespace, &user_secret(&cr.spec.username, name)),
            postgresql,
            stateful_set: self.get("StatefulSet", namespace, name),
            pods: self.pods(namespace, of_zalando),
            claims,
            jobs: self.jobs(namespace, |_, value| {
                let labels = &value["metadata"]["labels"];
                labels[LABEL_HA_CLUSTER] == name && labels[LABEL_COMPONENT] == COMPONENT_LOGIN
            }),
            patroni: match primary.is_some_and(|primary| is_ready(&primary.value)) {
                true => self.patroni(name),
                false => Patroni::default(),
            },
            storage_class: self.class(),
            warning: None,
            said: None,
            others,
            namespace_is_terminating: false,
            fresh: self.fresh.clone(),
        }
    }

    fn found(
        &self,
        kind: &'static str,
        of: Kind,
        namespace: &str,
        names: &[String],
    ) -> Vec<(Kind, ObjectMeta)> {
        let names = names.iter();
        names
            .filter_map(|name| Some((of, self.metadata(kind, namespace, name)?)))
            .collect()
    }

    /// The first server leads, and renews its lock.
    fn patroni(&self, name: &str) -> Patroni {
        let record = |pairs: &[(&str, String)]| {
            let pairs = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()));
            pairs.collect()
        };
        Patroni {
            leader: record(&[
                ("leader", pod(name)),
                ("acquireTime", "2027-01-15T08:00:00Z".to_owned()),
                ("renewTime", self.time.0.to_string()),
                ("ttl", "20".to_owned()),
            ]),
            config: record(&[("config", json!({"synchronous_mode": true}).to_string())]),
            sync: record(&[("sync_standby", format!("{name}-1"))]),
        }
    }
}

fn names(metadata: &ObjectMeta) -> (&str, &str) {
    let (name, namespace) = (metadata.name.as_deref(), metadata.namespace.as_deref());
    (name.unwrap_or_default(), namespace.unwrap_or_default())
}

fn metadata(stored: &Stored) -> ObjectMeta {
    serde_json::from_value(stored.value["metadata"].clone()).unwrap()
}
