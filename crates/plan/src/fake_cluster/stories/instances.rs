//! Instances: what is left of them, what changes, what cannot be.

use serde_json::json;

use super::acts::{NAMESPACE, delete, instance, look_alikes};
use super::states::{
    always, binding_fits, condition, data_stays, is_collected, is_gone, is_running, nothing,
    nothing_stays, serves, stalls,
};
use super::{Story, story};
use crate::fake_cluster::api_server::key;
use crate::fake_cluster::machines::secret;

pub fn all() -> Vec<Story> {
    vec![
        story(
            "retain",
            &[
                (always, |c| {
                    look_alikes(c);
                    instance(c, json!({}));
                }),
                (is_running, |c| {
                    instance(
                        c,
                        json!({"parameters": {"work_mem": "8MB"}, "storage": {"size": "2Gi"}}),
                    )
                }),
                (is_running, |c| delete(c, "DatabaseInstance", "shop")),
                (is_collected, |c| {
                    instance(c, json!({"storage": {"size": "2Gi"}}))
                }),
                (is_running, |c| {
                    instance(c, json!({"stopped": true, "storage": {"size": "2Gi"}}))
                }),
            ],
            data_stays,
        ),
        story(
            "password",
            &[
                (always, |c| {
                    let data = json!({"username": "app", "password": "asked-for"});
                    c.create(
                        "Secret",
                        NAMESPACE,
                        json!({"metadata": {"name": "mine"}, "type": "kubernetes.io/basic-auth",
                    "stringData": data}),
                    )
                    .unwrap();
                    instance(c, json!({"credentialsSecret": {"name": "mine"}}));
                }),
                (is_running, |c| {
                    c.merge(
                        &key("Secret", NAMESPACE, "mine"),
                        &json!({"stringData": {"password": "next"}}),
                    )
                }),
                (is_running, |c| {
                    instance(
                        c,
                        json!({"credentialsSecret": {"name": "mine"},
                "resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}}}),
                    )
                }),
                (is_running, |c| {
                    c.delete(&key("Secret", NAMESPACE, "shop-admin"))
                }),
            ],
            |c| {
                binding_fits(c);
                assert_eq!(
                    secret(c, NAMESPACE, "shop", "password").as_deref(),
                    Some("next")
                );
            },
        ),
        story(
            "delete",
            &[
                (always, |c| {
                    look_alikes(c);
                    instance(c, json!({"deletionPolicy": "Delete"}));
                }),
                (serves, |c| delete(c, "DatabaseInstance", "shop")),
            ],
            nothing_stays,
        ),
        story(
            "delete-early",
            &[
                (always, |c| {
                    instance(c, json!({"deletionPolicy": "Snapshot"}))
                }),
                (
                    |c| c.stored("StatefulSet", NAMESPACE, "shop").is_some(),
                    |c| delete(c, "DatabaseInstance", "shop"),
                ),
            ],
            nothing,
        )
        .depends_on_when(),
        story(
            "snapshot",
            &[
                (always, |c| {
                    look_alikes(c);
                    instance(c, json!({"deletionPolicy": "Snapshot"}));
                }),
                (is_running, |c| delete(c, "DatabaseInstance", "shop")),
            ],
            nothing_stays,
        ),
        story(
            "changed-mind",
            &[
                (always, |c| {
                    instance(c, json!({"deletionPolicy": "Snapshot"}))
                }),
                (is_running, |c| delete(c, "DatabaseInstance", "shop")),
                (
                    |c| !c.of_kind("DatabaseBackup").is_empty() || is_gone(c),
                    |c| {
                        if !is_gone(c) {
                            instance(c, json!({"deletionPolicy": "Retain"}));
                        }
                    },
                ),
            ],
            nothing,
        )
        .depends_on_when(),
        story(
            "protected",
            &[
                (always, |c| {
                    instance(
                        c,
                        json!({"deletionProtection": true, "deletionPolicy": "Delete"}),
                    )
                }),
                (is_running, |c| delete(c, "DatabaseInstance", "shop")),
                (
                    |c| {
                        condition(&c.value("DatabaseInstance", NAMESPACE, "shop"), "Ready").1
                            == "DeletionProtected"
                    },
                    |c| instance(c, json!({"deletionPolicy": "Retain"})),
                ),
            ],
            data_stays,
        ),
        story(
            "mismatch",
            &[
                (always, |c| instance(c, json!({}))),
                (is_running, |c| delete(c, "DatabaseInstance", "shop")),
                (is_collected, |c| {
                    instance(
                        c,
                        json!({"deletionPolicy": "Snapshot", "database": "another"}),
                    )
                }),
                (stalls, |c| delete(c, "DatabaseInstance", "shop")),
            ],
            data_stays,
        ),
        story(
            "paused",
            &[
                (always, |c| instance(c, json!({}))),
                (serves, |c| {
                    c.merge(
                        &key("DatabaseInstance", NAMESPACE, "shop"),
                        &json!({"metadata": {"annotations": {"minidbaas.dev/paused": "true"}}}),
                    )
                }),
                (always, |c| {
                    instance(c, json!({"parameters": {"max_connections": "50"}}))
                }),
                (always, |c| {
                    c.merge(
                        &key("DatabaseInstance", NAMESPACE, "shop"),
                        &json!({"metadata": {"annotations": {"minidbaas.dev/paused": null}}}),
                    )
                }),
            ],
            data_stays,
        ),
    ]
}
