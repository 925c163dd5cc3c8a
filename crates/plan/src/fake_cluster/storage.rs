//! The storage: volumes by claims, snapshots by the snapshot controller and its sidecar.

use serde_json::json;

use super::api_server::{Cluster, Data, Key, key as key_of};
use super::machines::text;

/// The volume provisioner: a new volume, or one with the data of a snapshot; and one that grows.
pub fn bind(cluster: &mut Cluster) -> bool {
    for (key, claim) in cluster.living("PersistentVolumeClaim") {
        let size = claim.value["spec"]["resources"]["requests"]["storage"].clone();
        if claim.value["status"]["phase"] == "Bound" {
            if claim.value["status"]["capacity"]["storage"] != size {
                cluster.merge(&key, &json!({"status": {"capacity": {"storage": size}}}));
                return true;
            }
            continue;
        }
        let source = text(&claim.value, "/spec/dataSource/name");
        let data = if source.is_empty() {
            Some(Data::default())
        } else {
            restorable(cluster, &key.1, source)
        };
        let Some(data) = data else { continue };
        cluster.volumes.insert(claim.uid().to_owned(), data);
        let volume = format!("pv-{}", claim.uid());
        cluster.merge(&key, &json!({
            "metadata": {"annotations": {"volume.kubernetes.io/storage-provisioner": "csi.example"}},
            "spec": {"volumeName": volume, "storageClassName": "fast"},
            "status": {"phase": "Bound", "capacity": {"storage": size}},
        }));
        return true;
    }
    false
}

/// The data of a VolumeSnapshot that is ready.
fn restorable(cluster: &Cluster, namespace: &str, name: &str) -> Option<Data> {
    let snapshot = cluster.value("VolumeSnapshot", namespace, name);
    let content = text(&snapshot, "/status/boundVolumeSnapshotContentName");
    let content = cluster.value("VolumeSnapshotContent", "", content);
    let ready = snapshot["status"]["readyToUse"] == true;
    let handle = text(&content, "/status/snapshotHandle");
    cluster.snapshots.get(handle).filter(|_| ready).cloned()
}

const BEING_DELETED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";

/// The snapshot controller and the storage: first the cut, then the snapshot is complete.
pub fn snapshots(cluster: &mut Cluster) -> bool {
    for (key, snapshot) in cluster.of_kind("VolumeSnapshot") {
        if cluster.strangers.contains(&key) {
            continue;
        }
        let bound = text(&snapshot.value, "/status/boundVolumeSnapshotContentName");
        if snapshot.leaves() {
            let content = key_of("VolumeSnapshotContent", "", bound);
            let spec = cluster.value("VolumeSnapshotContent", "", bound)["spec"].take();
            let of = text(&spec, "/volumeSnapshotRef/uid");
            if of == snapshot.uid() {
                let mark = json!({"metadata": {"annotations": {BEING_DELETED: "yes"}}});
                cluster.merge(&content, &mark);
                if spec["deletionPolicy"] == "Delete" {
                    cluster.delete(&content);
                }
            }
            cluster.edit(&key, |snapshot| {
                snapshot["metadata"]["finalizers"] = json!([])
            });
            return true;
        }
        if bound.is_empty() {
            let source = text(&snapshot.value, "/spec/source/persistentVolumeClaimName");
            let named = text(&snapshot.value, "/spec/source/volumeSnapshotContentName");
            let moved = match source.is_empty() {
                false => cut(cluster, &key, snapshot.uid(), source),
                true => import(cluster, &key, snapshot.uid(), named),
            };
            if moved {
                return true;
            }
        } else if snapshot.value["status"]["readyToUse"] == false {
            cluster.merge(
                &key,
                &json!({"status": {"readyToUse": true, "restoreSize": "1Gi"}}),
            );
            return true;
        }
    }
    contents(cluster)
}

/// The storage's sidecar lets go of a content that is being deleted, if the mark says that its VolumeSnapshot goes.
fn contents(cluster: &mut Cluster) -> bool {
    for (key, content) in cluster.of_kind("VolumeSnapshotContent") {
        let marked = content.value["metadata"]["annotations"][BEING_DELETED] == "yes";
        if content.leaves() && marked {
            cluster.edit(&key, |content| {
                content["metadata"]["finalizers"] = json!([])
            });
            return true;
        }
    }
    false
}

fn cut(cluster: &mut Cluster, snapshot: &Key, uid: &str, claim: &str) -> bool {
    let claim = cluster
        .stored("PersistentVolumeClaim", &snapshot.1, claim)
        .cloned();
    let data = claim.and_then(|claim| cluster.volumes.get(claim.uid()).cloned());
    let Some(data) = data else { return false };
    let content = format!("snapcontent-{uid}");
    let handle = format!("handle-{uid}");
    let value = json!({"metadata": {"name": content}, "spec": {"driver": "csi.example", "deletionPolicy": "Delete",
        "volumeSnapshotRef": {"namespace": snapshot.1.as_ref(), "name": snapshot.2.as_ref(), "uid": uid}},
        "status": {"snapshotHandle": handle}});
    cluster.create("VolumeSnapshotContent", "", value).unwrap();
    cluster.snapshots.insert(handle, data);
    let status = json!({"boundVolumeSnapshotContentName": content, "creationTime": cluster.time(),
        "readyToUse": false});
    cluster.edit(snapshot, |value| {
        value["metadata"]["finalizers"] = json!(["snapshot"]);
        value["status"] = status;
    });
    true
}

fn import(cluster: &mut Cluster, snapshot: &Key, uid: &str, name: &str) -> bool {
    let content = cluster.value("VolumeSnapshotContent", "", name);
    let of = &content["spec"]["volumeSnapshotRef"];
    if of["namespace"] != snapshot.1.as_ref() || of["name"] != snapshot.2.as_ref() {
        return false;
    }
    // Bound one after the other: the VolumeSnapshot may go in between.
    if of["uid"] != uid {
        let handle = content["spec"]["source"]["snapshotHandle"].clone();
        cluster.merge(
            &key_of("VolumeSnapshotContent", "", name),
            &json!({"status": {"snapshotHandle": handle}, "metadata": {"finalizers": ["bound"]},
            "spec": {"volumeSnapshotRef": {"uid": uid}}}),
        );
        return true;
    }
    let status = json!({"boundVolumeSnapshotContentName": name, "creationTime": cluster.time(), "readyToUse": true});
    cluster.edit(snapshot, |value| value["status"] = status);
    true
}
