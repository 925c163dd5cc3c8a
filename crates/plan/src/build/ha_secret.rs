//! The two Secrets of an HACluster: what applications read, and by which the Zalando operator learns the user's
//! password.

use api::external::zalando::{replica_service, secret};
use api::names::{ANNOTATION_ACCEPTED_BY, ANNOTATION_REVISION, COMPONENT_HA_CLUSTER, host};
use serde_json::{Value, json};

use super::secret::percent_encoded;
use crate::valid::Cluster;
use crate::{Kind, Object};

/// TCP port of every server.
pub const PORT: i32 = 5432;

/// The binding of the service-binding specification; the user's password as of `revision`.
pub fn binding(cluster: &Cluster<'_>, password: &str, revision: &str) -> Object {
    secret_of(
        cluster,
        cluster.name,
        "servicebinding.io/postgresql",
        binding_data(cluster, password),
        revision,
    )
}

/// Keys of the binding: those of an instance's, and the replicas. The operator's servers take no connection without
/// TLS.
pub fn binding_data(cluster: &Cluster<'_>, password: &str) -> Value {
    let primary = host(cluster.name, cluster.namespace);
    let replicas = host(&replica_service(cluster.name), cluster.namespace);
    let username = &cluster.cr.spec.username;
    let uri = |host: &str| {
        format!(
            "postgresql://{}:{}@{host}:{PORT}/{}?sslmode=require",
            percent_encoded(username),
            percent_encoded(password),
            percent_encoded(&cluster.database)
        )
    };
    json!({
        "type": "postgresql", "provider": "minidbaas", "host": primary, "port": PORT.to_string(),
        "database": cluster.database, "username": username, "password": password, "sslmode": "require",
        "uri": uri(&primary), "replica-host": replicas, "replica-uri": uri(&replicas),
    })
}

/// The Secret that the Zalando operator would make itself with a password of its own; it takes over the one it finds.
pub fn user(cluster: &Cluster<'_>, password: &str, revision: &str) -> Object {
    let username = &cluster.cr.spec.username;
    let name = secret(username, cluster.name);
    let data = json!({"username": username, "password": password});
    secret_of(cluster, &name, "Opaque", data, revision)
}

/// Neither has an owner: they share the data's fate.
fn secret_of(
    cluster: &Cluster<'_>,
    name: &str,
    type_: &str,
    data: Value,
    revision: &str,
) -> Object {
    let value = json!({
        "apiVersion": "v1", "kind": "Secret", "type": type_, "stringData": data,
        "metadata": {
            "name": name, "namespace": cluster.namespace, "labels": cluster.labels(COMPONENT_HA_CLUSTER),
            "annotations": {ANNOTATION_REVISION: revision, ANNOTATION_ACCEPTED_BY: cluster.cr.metadata.uid},
        },
    });
    Object {
        kind: Kind::Secret,
        value,
    }
}
