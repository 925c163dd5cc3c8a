//! Backups, restores, and instances that begin with one.

use serde_json::json;

use super::acts::{NAMESPACE, apply, backup, delete, instance, instance_in, look_alikes};
use super::states::{
    always, backup_is_finished, binding_fits, finished, has_failed, is_running, other_namespace,
    same_namespace,
};
use super::{Story, story};
use crate::fake_cluster::api_server::key;
use crate::fake_cluster::machines::text;

pub fn all() -> Vec<Story> {
    let mut all: Vec<Story> = vec![
        story(
            "restore-online",
            &[
                (always, |c| instance(c, json!({}))),
                (is_running, |c| {
                    look_alikes(c);
                    backup(
                        c,
                        "nightly",
                        json!({"method": "Online", "retentionDays": 1}),
                    );
                }),
                (backup_is_finished, |c| {
                    apply(
                        c,
                        "DatabaseRestore",
                        NAMESPACE,
                        "back",
                        json!({
                "backup": {"name": "nightly"}, "instance": "copy"}),
                    )
                }),
                (
                    |c| {
                        let restored = finished(c, "DatabaseRestore", "back");
                        restored || has_failed(c, NAMESPACE, "nightly")
                    },
                    |c| delete(c, "DatabaseInstance", "copy"),
                ),
            ],
            same_namespace,
        ),
        story(
            "restore-quiesced",
            &[
                (always, |c| {
                    look_alikes(c);
                    instance(c, json!({}));
                }),
                (is_running, |c| {
                    backup(c, "nightly", json!({"method": "Quiesced"}))
                }),
                (backup_is_finished, |c| {
                    instance_in(
                        c,
                        NAMESPACE,
                        "copy",
                        json!({"database": "shop",
                "restoreFrom": {"backup": {"name": "nightly"}}}),
                    )
                }),
            ],
            |c| {
                if c.value("DatabaseBackup", NAMESPACE, "nightly")["status"]["phase"] == "Ready" {
                    same_namespace(c)
                }
            },
        ),
        story(
            "offline",
            &[
                (always, |c| instance(c, json!({}))),
                (is_running, |c| {
                    backup(c, "nightly", json!({"method": "Offline"}))
                }),
                (backup_is_finished, |c| {
                    backup(
                        c,
                        "next",
                        json!({"method": "Offline", "deletionPolicy": "Retain"}),
                    )
                }),
                (
                    |c| finished(c, "DatabaseBackup", "next"),
                    |c| delete(c, "DatabaseBackup", "next"),
                ),
            ],
            binding_fits,
        ),
        story(
            "other-namespace",
            &[
                (always, |c| instance(c, json!({}))),
                (is_running, |c| {
                    backup(
                        c,
                        "nightly",
                        json!({"method": "Online", "allowedNamespaces": ["test"]}),
                    )
                }),
                (backup_is_finished, |c| {
                    apply(
                        c,
                        "DatabaseRestore",
                        "test",
                        "back",
                        json!({
                "backup": {"name": "nightly", "namespace": NAMESPACE}, "instance": "copy"}),
                    )
                }),
            ],
            other_namespace,
        ),
        story(
            "other-namespace-given-up",
            &[
                (always, |c| instance(c, json!({}))),
                (is_running, |c| {
                    backup(
                        c,
                        "nightly",
                        json!({"method": "Online", "allowedNamespaces": ["test"]}),
                    )
                }),
                (backup_is_finished, |c| {
                    instance_in(
                        c,
                        "test",
                        "copy",
                        json!({"deletionPolicy": "Delete",
                "restoreFrom": {"backup": {"name": "nightly", "namespace": NAMESPACE}}, "database": "shop"}),
                    )
                }),
                (always, |c| {
                    c.delete(&key("DatabaseInstance", "test", "copy"))
                }),
            ],
            |c| {
                let contents = c.of_kind("VolumeSnapshotContent").len();
                assert!(contents <= 1, "a content stays of what was given up");
            },
        )
        .depends_on_when(),
        story(
            "verified",
            &[
                (always, |c| instance(c, json!({}))),
                (is_running, |c| {
                    backup(c, "nightly", json!({"method": "Online", "verify": true}))
                }),
                (
                    |c| {
                        let nightly = c.value("DatabaseBackup", NAMESPACE, "nightly");
                        let at = text(&nightly, "/status/verification/verifiedAt");
                        !at.is_empty() || has_failed(c, NAMESPACE, "nightly")
                    },
                    |_| {},
                ),
            ],
            |c| {
                assert_eq!(
                    c.of_kind("DatabaseInstance").len(),
                    1,
                    "the throw-away instance stays"
                )
            },
        ),
        story(
            "by-age",
            &[
                (always, |c| instance(c, json!({}))),
                (is_running, |c| {
                    backup(c, "first", json!({"method": "Online", "retentionDays": 1}))
                }),
                (
                    |c| finished(c, "DatabaseBackup", "first"),
                    |c| {
                        backup(
                            c,
                            "second",
                            json!({"method": "Online",
                "retentionDays": 1}),
                        )
                    },
                ),
                // Both are there for a while before either is old.
                (|c| finished(c, "DatabaseBackup", "second"), |_| {}),
                (
                    always,
                    |c| {
                        // Who was not asked holds nothing back.
                        let from = json!({"backup": {"name": "first", "namespace": NAMESPACE}});
                        instance_in(c, "test", "uninvited", json!({"restoreFrom": from}));
                        c.now += 2 * 24 * 3600;
                    },
                ),
            ],
            |c| {
                let there = |name| c.value("DatabaseBackup", NAMESPACE, name);
                let is_good = |name| !there(name)["status"]["readyAt"].is_null();
                let both = is_good("first") && is_good("second");
                assert!(!both, "a restore without consent holds a backup back");
            },
        ),
    ];
    all.push(story(
        "scheduled",
        &[
            (always, |c| {
                instance(
                    c,
                    json!({"backup": {"schedule": "0 3 * * *", "retention": {"maxAgeDays": 1}}}),
                )
            }),
            (is_running, |c| c.now += 24 * 3600),
            // A run may be missed by a wrong clock, so nothing waits for one.
            (always, |c| c.now += 24 * 3600),
            (always, |c| instance(c, json!({}))),
        ],
        binding_fits,
    ).depends_on_when());
    all
}
