//! Metrics of resources end with the resources.

use std::sync::Arc;

use api::{DatabaseBackup, DatabaseInstance, HACluster};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::server::instance;
use crate::clock::ServerClock;
use crate::metrics::Metrics;
use crate::stores::Stores;

struct Watched {
    metrics: Metrics,
    instances: Writer<DeserializeGuard<DatabaseInstance>>,
    backups: Writer<DeserializeGuard<DatabaseBackup>>,
    clusters: Writer<DeserializeGuard<HACluster>>,
}

fn watched() -> Watched {
    let (instances, backups, clusters) = (Writer::default(), Writer::default(), Writer::default());
    let stores = Stores::default();
    stores.instances.set(instances.as_reader()).unwrap();
    stores.backups.set(backups.as_reader()).unwrap();
    stores.ha_clusters.set(clusters.as_reader()).unwrap();
    Watched {
        metrics: Metrics::new(Arc::new(stores), ServerClock::default()),
        instances,
        backups,
        clusters,
    }
}

fn backup() -> DeserializeGuard<DatabaseBackup> {
    let backup =
        json!({"metadata": {"name": "b", "namespace": "demo"}, "spec": {"instance": "shop"}});
    DeserializeGuard(Ok(serde_json::from_value(backup).unwrap()))
}

fn cluster(status: Value) -> DeserializeGuard<HACluster> {
    let cluster = json!({"metadata": {"name": "pg", "namespace": "demo"}, "status": status,
        "spec": {"engine": "postgresql", "replicas": 3, "storage": {"size": "1Gi"}}});
    DeserializeGuard(Ok(serde_json::from_value(cluster).unwrap()))
}

impl Watched {
    /// The series of a metric, with their values.
    fn series(&self, name: &str) -> Vec<String> {
        let text = self.metrics.text();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.map(str::to_owned).collect()
    }
}

#[test]
fn failures_are_counted_as_long_as_the_instance_or_a_backup_of_it_is_there() {
    let mut watched = watched();
    let shop = DeserializeGuard(Ok(instance()));
    watched
        .instances
        .apply_watcher_event(&Event::Apply(shop.clone()));
    watched.backups.apply_watcher_event(&Event::Apply(backup()));
    watched
        .metrics
        .backup_failed("demo".to_owned(), "shop".to_owned());
    watched
        .metrics
        .backup_failed("gone".to_owned(), "shop".to_owned());
    let name = "minidbaas_backup_failures_total";
    let expected = [r#"minidbaas_backup_failures_total{namespace="demo",instance="shop"} 1"#];
    assert_eq!(watched.series(name), expected);
    watched.instances.apply_watcher_event(&Event::Delete(shop));
    assert_eq!(watched.series(name), expected);
    watched
        .backups
        .apply_watcher_event(&Event::Delete(backup()));
    assert_eq!(watched.series(name), Vec::<String>::new());
}

#[test]
fn failovers_are_counted_as_long_as_the_cluster_is_there() {
    let mut watched = watched();
    watched
        .clusters
        .apply_watcher_event(&Event::Apply(cluster(json!({}))));
    watched
        .metrics
        .failed_over("demo".to_owned(), "pg".to_owned());
    assert_eq!(
        watched.series("minidbaas_ha_cluster_failovers_total").len(),
        1
    );
    watched
        .clusters
        .apply_watcher_event(&Event::Delete(cluster(json!({}))));
    assert_eq!(
        watched.series("minidbaas_ha_cluster_failovers_total").len(),
        0
    );
}

#[test]
fn there_are_never_more_series_than_can_be_kept() {
    let watched = watched();
    for number in 0..10_010 {
        watched
            .metrics
            .backup_failed("demo".to_owned(), format!("i{number}"));
    }
    let before_the_watches = Metrics::new(Arc::default(), ServerClock::default());
    for number in 0..10_010 {
        before_the_watches.backup_failed("demo".to_owned(), format!("i{number}"));
    }
    let text = before_the_watches.text();
    assert_eq!(text.matches("backup_failures_total{").count(), 10_000);
    assert_eq!(
        watched.series("minidbaas_backup_failures_total"),
        Vec::<String>::new()
    );
}

#[test]
fn what_is_not_known_of_a_cluster_is_no_outage() {
    let mut watched = watched();
    for (status, expected) in [("True", "1"), ("False", "0")] {
        let said = json!({"conditions": [{"type": "Available", "status": status, "reason": "R", "message": "",
            "lastTransitionTime": "2027-01-15T08:00:00Z"}]});
        watched
            .clusters
            .apply_watcher_event(&Event::Apply(cluster(said)));
        assert!(watched.series("minidbaas_ha_cluster_available")[0].ends_with(expected));
    }
    let said = json!({"conditions": [{"type": "Available", "status": "Unknown", "reason": "ReadFailed", "message": "",
        "lastTransitionTime": "2027-01-15T08:00:00Z"}]});
    watched
        .clusters
        .apply_watcher_event(&Event::Apply(cluster(said)));
    assert_eq!(
        watched.series("minidbaas_ha_cluster_available"),
        Vec::<String>::new()
    );
}
