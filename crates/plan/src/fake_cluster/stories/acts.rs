//! What users and others do.

use api::{DatabaseBackup, DatabaseInstance, DatabaseRestore, HACluster};
use serde_json::{Value, json};

use crate::fake_cluster::api_server::{Cluster, key};
use crate::fake_cluster::machines::text;

pub const NAMESPACE: &str = "demo";

/// The resource as the API server takes it: with its defaults, and a change of what is there already.
pub fn apply(cluster: &mut Cluster, kind: &'static str, namespace: &str, name: &str, spec: Value) {
    let whole = json!({"apiVersion": "minidbaas.dev/v1alpha1", "kind": kind, "metadata": {"name": name},
        "spec": spec});
    let spec = match kind {
        "DatabaseInstance" => json!(
            serde_json::from_value::<DatabaseInstance>(whole)
                .unwrap()
                .spec
        ),
        "DatabaseBackup" => json!(
            serde_json::from_value::<DatabaseBackup>(whole)
                .unwrap()
                .spec
        ),
        "DatabaseRestore" => json!(
            serde_json::from_value::<DatabaseRestore>(whole)
                .unwrap()
                .spec
        ),
        _ => json!(serde_json::from_value::<HACluster>(whole).unwrap().spec),
    };
    let at = key(kind, namespace, name);
    if cluster.objects.contains_key(&at) {
        cluster.edit(&at, |value| value["spec"] = spec);
    } else {
        cluster
            .create(
                kind,
                namespace,
                json!({"apiVersion": "minidbaas.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name}, "spec": spec}),
            )
            .unwrap();
    }
}

pub fn instance(cluster: &mut Cluster, more: Value) {
    instance_in(cluster, NAMESPACE, "shop", more);
}

pub fn instance_in(cluster: &mut Cluster, namespace: &str, name: &str, more: Value) {
    let mut spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"}});
    crate::instance::tests::world::merge(&mut spec, &more);
    apply(cluster, "DatabaseInstance", namespace, name, spec);
}

pub fn cluster_of(cluster: &mut Cluster, more: Value) {
    let mut spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"}, "replicas": 2});
    crate::instance::tests::world::merge(&mut spec, &more);
    apply(cluster, "HACluster", NAMESPACE, "shop", spec);
}

pub fn backup(cluster: &mut Cluster, name: &str, more: Value) {
    let mut spec = json!({"instance": "shop"});
    crate::instance::tests::world::merge(&mut spec, &more);
    apply(cluster, "DatabaseBackup", NAMESPACE, name, spec);
}

pub fn delete(cluster: &mut Cluster, kind: &'static str, name: &str) {
    cluster.delete(&key(kind, NAMESPACE, name));
}

/// An object of somebody else.
pub fn stranger(cluster: &mut Cluster, kind: &'static str, value: Value) {
    let name = text(&value, "/metadata/name").to_owned();
    cluster.create(kind, NAMESPACE, value).unwrap();
    cluster.strangers.insert(key(kind, NAMESPACE, &name));
}

pub fn stranger_claim(cluster: &mut Cluster, name: &str, labels: Value) {
    let value = json!({"metadata": {"name": name, "labels": labels}, "spec": {"volumeName": "theirs",
        "storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
    stranger(cluster, "PersistentVolumeClaim", value);
}

/// Objects with names and labels of ours that are somebody else's.
pub fn look_alikes(cluster: &mut Cluster) {
    let labels = |component: &str| {
        json!({"app.kubernetes.io/managed-by": "minidbaas", "minidbaas.dev/instance": "shop",
            "app.kubernetes.io/component": component})
    };
    stranger(
        cluster,
        "Job",
        json!({"metadata": {"name": "shop-mine", "labels": labels("apply")}}),
    );
    stranger(
        cluster,
        "Pod",
        json!({"metadata": {"name": "mine", "labels": labels("quiesce")}}),
    );
    stranger(
        cluster,
        "ConfigMap",
        json!({"metadata": {"name": "shop-scripts-0", "labels": labels("scripts")}}),
    );
    stranger(
        cluster,
        "VolumeSnapshot",
        json!({"metadata": {"name": "mine", "labels": labels("backup")}}),
    );
}
