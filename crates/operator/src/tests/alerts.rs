//! The alerts of `deploy/monitoring` speak of metrics that exist.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clock::ServerClock;
use crate::metrics::Metrics;
use crate::stores::Stores;

#[test]
fn every_metric_of_an_alert_exists() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/monitoring");
    let rules = std::fs::read_to_string(format!("{root}/rules.yaml")).unwrap();
    let named: BTreeSet<&str> = rules
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("minidbaas_"))
        .collect();
    assert!(named.len() >= 4, "{named:?}");
    let metrics = Metrics::new(Arc::new(Stores::default()), ServerClock::default());
    metrics.backup_failed("demo".to_owned(), "shop".to_owned());
    let text = metrics.text();
    for name in named {
        let family = name.trim_end_matches("_total");
        let known = text.lines().any(|line| {
            line == format!("# TYPE {family} gauge") || line == format!("# TYPE {family} counter")
        });
        assert!(known, "{name} is not among the metrics:\n{text}");
    }
}
