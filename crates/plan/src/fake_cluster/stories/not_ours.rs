//! What looks like ours and is somebody else's.

use serde_json::json;

use super::acts::{
    NAMESPACE, apply, backup, cluster_of, delete, instance, instance_in, stranger, stranger_claim,
};
use super::states::{
    always, backup_is_finished, has_failed, is_running, nothing, nothing_stays, serves_as, stalls,
};
use super::{Story, story};
use crate::fake_cluster::api_server::key;
use crate::fake_cluster::machines::text;
use crate::fake_cluster::zalando::labels;

pub fn all() -> Vec<Story> {
    vec![
        story(
            "names-taken",
            &[
                (always, |c| {
                    stranger_claim(c, "shop", json!({}));
                    stranger(
                        c,
                        "Secret",
                        json!({"metadata": {"name": "shop"}, "stringData": {"password": "theirs"}}),
                    );
                    stranger(c, "Secret", json!({"metadata": {"name": "shop-admin"}}));
                    stranger(c, "Service", json!({"metadata": {"name": "shop"}}));
                    instance(c, json!({"deletionPolicy": "Snapshot"}));
                }),
                (stalls, |c| delete(c, "DatabaseInstance", "shop")),
            ],
            nothing_stays,
        ),
        story(
            "names-taken-with-labels",
            &[
                (always, |c| {
                    let labels = json!({"app.kubernetes.io/managed-by": "minidbaas", "minidbaas.dev/instance": "shop"});
                    stranger_claim(c, "shop", labels);
                    stranger(
                        c,
                        "StatefulSet",
                        json!({"metadata": {"name": "shop"}, "spec": {"replicas": 1,
                    "selector": {}, "template": {}}}),
                    );
                    c.create(
                        "DatabaseInstance",
                        NAMESPACE,
                        json!({"metadata": {"name": "forged"}}),
                    )
                    .unwrap();
                    c.delete(&key("DatabaseInstance", NAMESPACE, "forged"));
                    instance(c, json!({"deletionPolicy": "Delete"}));
                    c.merge(
                        &key("DatabaseInstance", NAMESPACE, "shop"),
                        &json!({"metadata": {"finalizers": ["minidbaas.dev/final-backup"]}}),
                    );
                }),
                (always, |c| delete(c, "DatabaseInstance", "shop")),
            ],
            nothing,
        ),
        story(
            "cluster-of-others",
            &[
                (always, |c| {
                    let labels = labels("shop");
                    stranger_claim(c, "pgdata-shop-0", labels.clone());
                    stranger(
                        c,
                        "StatefulSet",
                        json!({"metadata": {"name": "shop", "labels": labels},
                    "spec": {"replicas": 1, "selector": {}, "serviceName": "shop", "template": {}}}),
                    );
                    stranger(
                        c,
                        "Secret",
                        json!({"metadata": {"labels": labels,
                    "name": "postgres.shop.credentials.postgresql.acid.zalan.do"}}),
                    );
                    stranger(
                        c,
                        "Service",
                        json!({"metadata": {"name": "shop", "labels": labels}}),
                    );
                    stranger(
                        c,
                        "Endpoints",
                        json!({"metadata": {"name": "shop", "labels": labels}}),
                    );
                    cluster_of(c, json!({"deletionPolicy": "Delete"}));
                    c.merge(
                        &key("HACluster", NAMESPACE, "shop"),
                        &json!({"metadata": {"finalizers": ["minidbaas.dev/ha-cluster"]}}),
                    );
                }),
                (always, |c| delete(c, "HACluster", "shop")),
            ],
            nothing,
        ),
        story(
            "forged-content",
            &[
                (always, |c| instance_in(c, "victim", "safe", json!({}))),
                (
                    |c| serves_as(c, "victim", "safe"),
                    |c| {
                        apply(
                            c,
                            "DatabaseBackup",
                            "victim",
                            "private",
                            json!({"instance": "safe", "method": "Online"}),
                        );
                        instance(c, json!({}));
                    },
                ),
                (
                    |c| {
                        let private = c.value("VolumeSnapshot", "victim", "private");
                        let is_ready = private["status"]["readyToUse"] == true;
                        is_running(c) && (is_ready || has_failed(c, "victim", "private"))
                    },
                    |c| {
                        backup(
                            c,
                            "nightly",
                            json!({"method": "Online", "allowedNamespaces": ["test"]}),
                        )
                    },
                ),
                (backup_is_finished, |c| {
                    let private = c.value("VolumeSnapshot", "victim", "private");
                    let content = &private["status"]["boundVolumeSnapshotContentName"];
                    if content.is_string() {
                        let forged = json!({"status": {"boundVolumeSnapshotContentName": content}});
                        c.merge(&key("VolumeSnapshot", NAMESPACE, "nightly"), &forged);
                    }
                    instance_in(
                        c,
                        "test",
                        "copy",
                        json!({"database": "shop", "restoreFrom": {"backup": {
                    "name": "nightly", "namespace": NAMESPACE}}}),
                    );
                }),
            ],
            |c| {
                let claim = c.value("PersistentVolumeClaim", "test", "copy");
                let data = c.volumes.get(text(&claim, "/metadata/uid"));
                assert!(
                    data.is_none_or(|data| data.database != "safe"),
                    "the victim's rows were read"
                );
            },
        ),
    ]
}
