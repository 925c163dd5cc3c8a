//! Counters and times, in the OpenMetrics text format.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

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

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    passes: Family<PassLabels, Counter>,
    durations: Histogram,
    writes: Family<WriteLabels, Counter>,
    /// 1 while this replica holds the Lease.
    pub leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("minidbaas");
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
            passes,
            durations,
            writes,
            leader,
        }
    }
}

impl Metrics {
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

    /// All metrics as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
