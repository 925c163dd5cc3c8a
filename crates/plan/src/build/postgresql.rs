//! The `postgresql` by which the Zalando operator is told what an HACluster asks for.

use api::ha_cluster::Synchronous;
use api::names::{
    ANNOTATION_ACCEPTED_BY, ANNOTATION_REVISION, COMPONENT_HA_CLUSTER, LABEL_HA_CLUSTER,
};
use serde_json::{Value, json};

use crate::valid::Cluster;
use crate::{Kind, Object};

/// Seconds that a primary may be silent before a replica takes over. Patroni asks for `loop_wait + 2 * retry_timeout <=
/// ttl`; its own 30 s are most of a failover.
const TTL: i32 = 20;
/// Seconds between two looks of Patroni.
const LOOP_WAIT: i32 = 5;
/// Seconds that the API server may be silent before Patroni gives up a call.
const RETRY_TIMEOUT: i32 = 5;
/// User and group of Spilo's postgres: the pods need no root.
pub const UID: i64 = 101;
/// See [`UID`].
pub const GID: i64 = 103;

/// The `postgresql`, with the revision of the user's password that the operator is to take over now, and the user's
/// flags.
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
            "annotations": {ANNOTATION_REVISION: revision, ANNOTATION_ACCEPTED_BY: cluster.cr.metadata.uid},
        },
        "spec": {
            "teamId": spec.team_id,
            // The Zalando operator writes them into the StatefulSet's template: by them its servers are known as this
            // cluster's.
            "podAnnotations": {LABEL_HA_CLUSTER: cluster.name},
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
