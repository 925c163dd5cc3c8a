//! What acts wait for, and what holds in the end.

use serde_json::Value;

use super::acts::NAMESPACE;
use crate::fake_cluster::api_server::{Cluster, Key};
use crate::fake_cluster::machines::{is_ready, secret, text};

pub fn always(_: &Cluster) -> bool {
    true
}

pub fn serves_as(cluster: &Cluster, namespace: &str, name: &str) -> bool {
    let claim = cluster.value("PersistentVolumeClaim", namespace, name);
    let data = cluster.volumes.get(text(&claim, "/metadata/uid"));
    data.is_some_and(|data| data.rows > 0)
        && is_ready(&cluster.value("Pod", namespace, &format!("{name}-0")))
}

pub fn serves(cluster: &Cluster) -> bool {
    serves_as(cluster, NAMESPACE, "shop")
}

/// It serves, and the operator has said so.
pub fn is_running(cluster: &Cluster) -> bool {
    let shop = cluster.value("DatabaseInstance", NAMESPACE, "shop");
    serves(cluster)
        && !text(&shop, "/status/storage/capacity").is_empty()
        && condition(&shop, "Ready").0 == "True"
}

/// Status and reason.
pub fn condition<'a>(value: &'a Value, type_: &str) -> (&'a str, &'a str) {
    let conditions = value["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    let mut found = conditions.filter(|condition| condition["type"] == type_);
    found.next().map_or(("", ""), |found| {
        (text(found, "/status"), text(found, "/reason"))
    })
}

pub fn stalls(cluster: &Cluster) -> bool {
    condition(
        &cluster.value("DatabaseInstance", NAMESPACE, "shop"),
        "Stalled",
    )
    .0 == "True"
}

pub fn is_gone(cluster: &Cluster) -> bool {
    cluster.living("DatabaseInstance").is_empty() && cluster.of_kind("DatabaseInstance").is_empty()
}

/// The resource is gone, and what it owned, too.
pub fn is_collected(cluster: &Cluster) -> bool {
    is_gone(cluster)
        && cluster.stored("StatefulSet", NAMESPACE, "shop").is_none()
        && cluster.stored("Pod", NAMESPACE, "shop-0").is_none()
}

pub fn finished(cluster: &Cluster, kind: &'static str, name: &str) -> bool {
    let phase = cluster.value(kind, NAMESPACE, name);
    ["Ready", "Failed"].contains(&text(&phase, "/status/phase"))
}

pub fn has_failed(cluster: &Cluster, namespace: &str, backup: &str) -> bool {
    cluster.value("DatabaseBackup", namespace, backup)["status"]["phase"] == "Failed"
}

pub fn backup_is_finished(cluster: &Cluster) -> bool {
    finished(cluster, "DatabaseBackup", "nightly")
}

pub fn cluster_runs(cluster: &Cluster) -> bool {
    let shop = cluster.value("HACluster", NAMESPACE, "shop");
    condition(&shop, "Ready").0 == "True" && !text(&shop, "/status/storage/capacity").is_empty()
}

/// The database takes the password of the binding.
pub fn binding_fits(cluster: &Cluster) {
    for (key, claim) in cluster.living("PersistentVolumeClaim") {
        let Some(data) = cluster
            .volumes
            .get(claim.uid())
            .filter(|data| !data.password.is_empty())
        else {
            continue;
        };
        let id = secret(cluster, &key.1, &format!("{}-admin", key.2), "id");
        if id.as_ref() != Some(&data.keyed) {
            continue;
        }
        let bound = secret(cluster, &key.1, &key.2, "password");
        assert_eq!(
            bound.as_ref(),
            Some(&data.password),
            "the binding of {} has another password",
            key.2
        );
    }
}

/// The data stays: with the claim, its Secrets.
pub fn data_stays(cluster: &Cluster) {
    binding_fits(cluster);
    let claim = cluster.value("PersistentVolumeClaim", NAMESPACE, "shop");
    assert!(
        cluster.volumes.contains_key(text(&claim, "/metadata/uid")),
        "the data of shop is gone"
    );
    assert!(cluster.stored("Secret", NAMESPACE, "shop-admin").is_some());
}

/// Nothing bears the name any more but what is somebody else's.
pub fn nothing_stays(cluster: &Cluster) {
    let left: Vec<&Key> = cluster.objects.keys().collect();
    let left = left
        .into_iter()
        .filter(|key| !cluster.strangers.contains(*key) && key.1.as_ref() == NAMESPACE);
    let left: Vec<String> = left.map(|key| format!("{}/{}", key.0, key.2)).collect();
    let left = left
        .into_iter()
        .filter(|left| !left.starts_with("DatabaseBackup") && !left.starts_with("VolumeSnapshot"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
}

/// Whether a restored instance has what its backup has.
pub fn restored(cluster: &Cluster, namespace: &str) {
    binding_fits(cluster);
    let claim = cluster.value("PersistentVolumeClaim", namespace, "copy");
    let data = cluster.volumes.get(text(&claim, "/metadata/uid"));
    let backup = cluster.value("DatabaseBackup", NAMESPACE, "nightly");
    let restores = cluster.of_kind("DatabaseRestore");
    let mut restores = restores.iter();
    let given_up = restores.any(|(_, restore)| restore.value["status"]["phase"] == "Failed");
    if backup["status"]["phase"] == "Ready" && !given_up {
        assert!(
            data.is_some_and(|data| data.rows > 0 && data.database == "shop"),
            "{data:?}"
        );
    }
    let contents = cluster.of_kind("VolumeSnapshotContent").into_iter();
    let imported = contents.filter(|(key, _)| key.2.starts_with("minidbaas-copy"));
    assert_eq!(imported.count(), 0, "the imported snapshot stays");
}

pub fn same_namespace(cluster: &Cluster) {
    restored(cluster, NAMESPACE);
}

pub fn other_namespace(cluster: &Cluster) {
    restored(cluster, "test");
}

pub fn nothing(_: &Cluster) {}
