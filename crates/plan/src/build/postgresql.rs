//! The `postgresql` by which the Zalando operator is told what an HACluster asks for.

use std::collections::BTreeMap;

use api::ha_cluster::Synchronous;
use api::names::{ANNOTATION_REVISION, COMPONENT_HA_CLUSTER, ha_labels};
use api::{Engine, HACluster};
use serde_json::{Value, json};

use crate::{Kind, Object};

/// Seconds that a primary may be silent before a replica takes over. Patroni asks for `loop_wait + 2 * retry_timeout <= ttl`; its
/// own 30 s are most of a failover.
const TTL: i32 = 20;
/// Seconds between two looks of Patroni.
const LOOP_WAIT: i32 = 5;
/// Seconds that the API server may be silent before Patroni gives up a call.
const RETRY_TIMEOUT: i32 = 5;
/// User and group of Spilo's postgres: the pods need no root.
pub const UID: i64 = 101;
/// See [`UID`].
pub const GID: i64 = 103;

/// A cluster whose spec was found valid, with what follows from it.
pub struct Cluster<'a> {
    /// The resource.
    pub cr: &'a HACluster,
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The major version.
    pub version: String,
    /// Name of the first database.
    pub database: String,
    /// Size of each volume: the Zalando operator compares whole GiB, and does not see a smaller difference.
    pub size: String,
    /// CPU and memory of each server, complete.
    pub resources: Value,
    /// All server settings that are asked for.
    pub parameters: BTreeMap<String, String>,
}

impl Cluster<'_> {
    /// Labels of what is made for it.
    pub fn labels(&self, component: &str) -> Value {
        json!(ha_labels(
            self.name,
            Engine::Postgresql,
            &self.version,
            component
        ))
    }
}

/// The `postgresql`, with the revision of the user's password that the operator is to take over now, and the user's flags.
pub fn postgresql(cluster: &Cluster<'_>, revision: &str, flags: &Value) -> Object {
    let spec = &cluster.cr.spec;
    let (api_version, kind, _) = Kind::Postgresql.api();
    let mut volume = json!({"size": cluster.size});
    if let Some(class) = &spec.storage.class_name {
        volume["storageClass"] = json!(class);
    }
    let mode = spec.synchronous;
    let value = json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {
            "name": cluster.name, "namespace": cluster.namespace, "labels": cluster.labels(COMPONENT_HA_CLUSTER),
            "annotations": {ANNOTATION_REVISION: revision},
        },
        "spec": {
            "teamId": spec.team_id,
            "numberOfInstances": spec.replicas,
            "postgresql": {"version": cluster.version, "parameters": cluster.parameters},
            "volume": volume,
            "resources": cluster.resources,
            "users": {&spec.username: flags},
            "databases": {&cluster.database: spec.username},
            // Unless told otherwise, the operator asks for a load balancer.
            "enableMasterLoadBalancer": false,
            "enableReplicaLoadBalancer": false,
            "spiloRunAsUser": UID, "spiloRunAsGroup": GID, "spiloFSGroup": GID,
            "patroni": {
                "ttl": TTL, "loop_wait": LOOP_WAIT, "retry_timeout": RETRY_TIMEOUT,
                "synchronous_mode": mode != Synchronous::Off,
                "synchronous_mode_strict": mode == Synchronous::Strict,
                // While the API server is away, a primary that still reaches its replicas goes on.
                "failsafe_mode": true,
            },
        },
    });
    Object {
        kind: Kind::Postgresql,
        value,
    }
}
