//! HAClusters.

use serde_json::json;

use super::acts::{NAMESPACE, cluster_of, delete, instance_in};
use super::states::{always, cluster_runs, nothing, nothing_stays, serves_as};
use super::{Story, story};

pub fn all() -> Vec<Story> {
    vec![
        story(
            "cluster-retain",
            &[
                (always, |c| cluster_of(c, json!({}))),
                (cluster_runs, |c| {
                    cluster_of(c, json!({"replicas": 3, "parameters": {"work_mem": "8MB"}}))
                }),
                (
                    |c| cluster_runs(c) && c.living("PersistentVolumeClaim").len() == 3,
                    |c| delete(c, "HACluster", "shop"),
                ),
            ],
            |c| assert_eq!(c.living("PersistentVolumeClaim").len(), 3),
        ),
        story(
            "cluster-delete",
            &[
                (always, |c| {
                    cluster_of(c, json!({"deletionPolicy": "Delete"}))
                }),
                (cluster_runs, |c| delete(c, "HACluster", "shop")),
            ],
            nothing_stays,
        ),
        story(
            "cluster-and-instance",
            &[
                (always, |c| {
                    cluster_of(c, json!({"deletionPolicy": "Delete"}));
                    instance_in(c, NAMESPACE, "other", json!({}));
                }),
                (
                    |c| cluster_runs(c) && serves_as(c, NAMESPACE, "other"),
                    |c| {
                        delete(c, "HACluster", "shop");
                        delete(c, "DatabaseInstance", "other");
                    },
                ),
            ],
            nothing,
        ),
    ]
}
