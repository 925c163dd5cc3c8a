//! What the watches know of all resources at once: for rules between resources, and for metrics that must not outlive
//! them.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{Debug, Error, Formatter};
use std::sync::{Arc, OnceLock};

use api::condition::{AVAILABLE, BACKUP_HEALTHY, Truth, has};
use api::{DatabaseBackup, DatabaseInstance, HACluster};
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use plan::reading::backup::is_sound;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

/// The controllers' stores, once they run.
#[derive(Default)]
pub struct Stores {
    /// All backups.
    pub backups: OnceLock<Store<DeserializeGuard<DatabaseBackup>>>,
    /// All instances.
    pub instances: OnceLock<Store<DeserializeGuard<DatabaseInstance>>>,
    /// All clusters.
    pub ha_clusters: OnceLock<Store<DeserializeGuard<HACluster>>>,
}

impl Debug for Stores {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result<(), Error> {
        formatter.write_str("Stores")
    }
}

impl Stores {
    /// The backups that parse.
    pub fn backups(&self) -> Vec<Arc<DeserializeGuard<DatabaseBackup>>> {
        self.backups.get().map(Store::state).unwrap_or_default()
    }

    /// The instances that parse.
    pub fn instances(&self) -> Vec<Arc<DeserializeGuard<DatabaseInstance>>> {
        self.instances.get().map(Store::state).unwrap_or_default()
    }

    /// The clusters that parse.
    pub fn ha_clusters(&self) -> Vec<Arc<DeserializeGuard<HACluster>>> {
        self.ha_clusters.get().map(Store::state).unwrap_or_default()
    }
}

/// Namespaces and names.
type Names = HashSet<(String, String)>;

impl Stores {
    /// Of all instances that are there, or of which backups are; `None` before the watches have begun.
    pub fn names_of_instances(&self) -> Option<Names> {
        let (instances, backups) = (self.instances.get()?.state(), self.backups.get()?.state());
        let of_backups = backups.iter().filter_map(|guard| {
            let backup = guard.0.as_ref().ok()?;
            Some((backup.namespace()?, backup.spec.instance.clone()))
        });
        let own = instances
            .iter()
            .filter_map(|guard| Some((guard.namespace()?, guard.name_any())));
        Some(own.chain(of_backups).collect())
    }

    /// Of all clusters that are there; `None` before the watches have begun.
    pub fn names_of_clusters(&self) -> Option<Names> {
        let clusters = self.ha_clusters.get()?.state();
        let names = clusters
            .iter()
            .filter_map(|guard| Some((guard.namespace()?, guard.name_any())));
        Some(names.collect())
    }
}

/// Labels of one time series.
type Labels = Vec<(&'static str, String)>;

impl Collector for Stores {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let (mut counts, mut newest) = (BTreeMap::<Labels, i64>::new(), BTreeMap::new());
        for guard in self.backups() {
            let Ok(backup) = &guard.0 else { continue };
            let status = backup.status.clone().unwrap_or_default();
            let of_instance = vec![
                ("namespace", backup.namespace().unwrap_or_default()),
                ("instance", backup.spec.instance.clone()),
            ];
            if let Some(taken) = status.taken_at.filter(|_| is_sound(backup)) {
                let last = newest.entry(of_instance.clone()).or_insert(i64::MIN);
                *last = taken.0.as_second().max(*last);
            }
            let phase = status
                .phase
                .map_or_else(|| "Pending".to_owned(), |phase| format!("{phase:?}"));
            let mut labels = of_instance;
            labels.push(("phase", phase));
            *counts.entry(labels).or_default() += 1;
        }
        let mut healthy = BTreeMap::new();
        for guard in self.instances() {
            let Ok(instance) = &guard.0 else { continue };
            let conditions = instance.status.iter().flat_map(|status| &status.conditions);
            for condition in conditions.filter(|condition| condition.type_ == BACKUP_HEALTHY) {
                let labels = vec![
                    ("namespace", instance.namespace().unwrap_or_default()),
                    ("instance", instance.name_any()),
                ];
                healthy.insert(labels, i64::from(Truth::True.is(condition)));
            }
        }
        let (mut available, mut missing) = (BTreeMap::new(), BTreeMap::new());
        for guard in self.ha_clusters() {
            let Ok(cluster) = &guard.0 else { continue };
            let Some(status) = &cluster.status else {
                continue;
            };
            let labels = vec![
                ("namespace", cluster.namespace().unwrap_or_default()),
                ("cluster", cluster.name_any()),
            ];
            let serving = i64::from(status.ready_replicas.unwrap_or_default());
            // What could not be read is no outage.
            if !has(&status.conditions, AVAILABLE, Truth::Unknown) {
                let serves = has(&status.conditions, AVAILABLE, Truth::True);
                available.insert(labels.clone(), i64::from(serves));
            }
            missing.insert(labels, i64::from(cluster.spec.replicas) - serving);
        }
        let gauges = [
            (
                "ha_cluster_available",
                "1 while a primary of an HACluster serves, else 0",
                available,
            ),
            (
                "ha_cluster_missing_replicas",
                "Number of servers of an HACluster that were asked for and do not serve",
                missing,
            ),
            ("backups", "Number of backups by their phase", counts),
            (
                "backup_last_taken_timestamp_seconds",
                "The point in time of the newest backup that is good and was not found damaged",
                newest,
            ),
            (
                "backup_healthy",
                "1 while the scheduled backups of an instance succeed, else 0",
                healthy,
            ),
        ];
        for (name, help, series) in gauges {
            let kind = prometheus_client::metrics::MetricType::Gauge;
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in series {
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
