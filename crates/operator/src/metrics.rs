//! Counters and times, in the OpenMetrics text format.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::clock::ServerClock;
use crate::series::Series;
use crate::stores::Stores;

/// Series of one counter.
const MOST_SERIES: usize = 10_000;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PassLabels {
    kind: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WriteLabels {
    verb: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct InstanceLabels {
    namespace: String,
    instance: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct ClusterLabels {
    namespace: String,
    cluster: String,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    stores: Arc<Stores>,
    passes: Family<PassLabels, Counter>,
    durations: Histogram,
    writes: Family<WriteLabels, Counter>,
    backup_durations: Histogram,
    backup_failures: Series<InstanceLabels>,
    restore_durations: Histogram,
    failovers: Series<ClusterLabels>,
    /// 1 while this replica holds the Lease.
    pub leader: Gauge,
}

impl Metrics {
    /// Metrics of one process; what they tell of resources comes from the stores.
    pub fn new(stores: Arc<Stores>, clock: ServerClock) -> Self {
        let mut registry = Registry::with_prefix("minidbaas");
        registry.register_collector(Box::new(stores.clone()));
        registry.register_collector(Box::new(clock));
        let backup_durations = Histogram::new(exponential_buckets(0.25, 2.0, 14));
        let backup_failures = Series::new(MOST_SERIES);
        let restore_durations = Histogram::new(exponential_buckets(0.5, 2.0, 14));
        registry.register(
            "backup_duration_seconds",
            "Time from the beginning of a backup until it could be restored",
            backup_durations.clone(),
        );
        registry.register(
            "backup_failures",
            "Backups that failed",
            backup_failures.family(),
        );
        registry.register(
            "restore_duration_seconds",
            "Time from the making of a restored instance until it accepted connections",
            restore_durations.clone(),
        );
        let failovers = Series::new(MOST_SERIES);
        registry.register(
            "ha_cluster_failovers",
            "Changes of an HACluster's primary",
            failovers.family(),
        );
        let passes = Family::default();
        let durations = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let writes = Family::default();
        let leader = Gauge::default();
        registry.register("passes", "Passes over a resource", passes.clone());
        registry.register(
            "pass_duration_seconds",
            "Time of one pass, calls included",
            durations.clone(),
        );
        registry.register("writes", "Writes to the API server", writes.clone());
        registry.register(
            "leader",
            "1 while this replica holds the Lease",
            leader.clone(),
        );
        Metrics {
            registry,
            stores,
            passes,
            durations,
            writes,
            backup_durations,
            backup_failures,
            restore_durations,
            failovers,
            leader,
        }
    }

    /// Counts a backup that has just become ready.
    pub fn backup_ready(&self, seconds: f64) {
        self.backup_durations.observe(seconds);
    }

    /// Counts a backup that has just failed.
    pub fn backup_failed(&self, namespace: String, instance: String) {
        let labels = InstanceLabels {
            namespace,
            instance,
        };
        if self.backup_failures.is_full() {
            self.forget_the_gone();
        }
        self.backup_failures.count(labels);
    }

    /// Counts a restored instance that has just accepted connections for the first time.
    pub fn restored(&self, seconds: f64) {
        self.restore_durations.observe(seconds);
    }

    /// Counts a change of a cluster's primary.
    pub fn failed_over(&self, namespace: String, cluster: String) {
        let labels = ClusterLabels { namespace, cluster };
        if self.failovers.is_full() {
            self.forget_the_gone();
        }
        self.failovers.count(labels);
    }

    /// Counts a pass.
    pub fn pass(&self, kind: &str, good: bool, time: Duration) {
        let labels = PassLabels {
            kind: kind.to_owned(),
            result: if good { "ok" } else { "error" },
        };
        self.passes.get_or_create(&labels).inc();
        self.durations.observe(time.as_secs_f64());
    }

    /// Counts a write.
    pub fn write(&self, verb: &'static str, kind: &'static str) {
        self.writes.get_or_create(&WriteLabels { verb, kind }).inc();
    }

    /// Ends the series of resources that are gone. Before the watches have begun, nobody knows.
    fn forget_the_gone(&self) {
        if let Some(instances) = self.stores.names_of_instances() {
            self.backup_failures
                .keep(|of| instances.contains(&(of.namespace.clone(), of.instance.clone())));
        }
        if let Some(clusters) = self.stores.names_of_clusters() {
            self.failovers
                .keep(|of| clusters.contains(&(of.namespace.clone(), of.cluster.clone())));
        }
    }

    /// All metrics as text.
    pub fn text(&self) -> String {
        self.forget_the_gone();
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
