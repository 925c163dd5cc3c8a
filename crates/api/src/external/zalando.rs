//! `acid.zalan.do/v1`, the slices that are read, and the names of what the Zalando operator makes. The contract is of
//! its versions 1.15 and 2.0: `docs/reference/cluster_manifest.md` and `pkg/apis/acid.zalan.do/v1` of
//! github.com/zalando/postgres-operator.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::resource;

/// The API group.
pub const GROUP: &str = "acid.zalan.do";
/// Name of the CustomResourceDefinition without which there is nobody to delegate to.
pub const DEFINITION: &str = "postgresqls.acid.zalan.do";
/// Label of everything that belongs to a cluster, with the value [`APPLICATION`] (setting `cluster_labels`).
pub const LABEL_APPLICATION: &str = "application";
/// Its value.
pub const APPLICATION: &str = "spilo";
/// Label with the cluster's name (setting `cluster_name_label`).
pub const LABEL_CLUSTER: &str = "cluster-name";
/// Label with the team.
pub const LABEL_TEAM: &str = "team";
/// Label of a pod with its role, which Patroni sets (setting `pod_role_label`).
pub const LABEL_ROLE: &str = "spilo-role";
/// Role of the primary.
pub const ROLE_PRIMARY: &str = "master";
/// The container of a pod that runs Patroni and PostgreSQL.
pub const CONTAINER: &str = "postgres";

/// A PostgreSQL cluster as the Zalando operator understands it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Postgresql {
    /// Metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is asked for.
    #[serde(default)]
    pub spec: Value,
    /// One word, in a field of an object or, in old objects, bare.
    #[serde(default)]
    pub status: Value,
}
resource!(
    Postgresql,
    GROUP,
    "postgresql",
    "postgresqls",
    k8s_openapi::NamespaceResourceScope
);

impl Postgresql {
    /// Running, Creating, UpdateFailed and so on; empty before the operator has seen it. It tells how the operator's
    /// last pass ended and not whether a database serves.
    pub fn word(&self) -> &str {
        let of_object = self.status["PostgresClusterStatus"].as_str();
        of_object.or(self.status.as_str()).unwrap_or_default()
    }

    /// When somebody wrote the status last. Kubernetes keeps whole seconds.
    pub fn reported_at(&self) -> Option<&Time> {
        self.written_at(|entry| entry.subresource.as_deref() == Some("status"))
    }

    /// When this field manager applied something else last.
    pub fn applied_at(&self, manager: &str) -> Option<&Time> {
        self.written_at(|entry| {
            entry.manager.as_deref() == Some(manager) && entry.operation.as_deref() == Some("Apply")
        })
    }

    fn written_at(&self, is_meant: impl Fn(&ManagedFieldsEntry) -> bool) -> Option<&Time> {
        let entries = self.metadata.managed_fields.iter().flatten();
        entries
            .filter(|entry| is_meant(entry))
            .filter_map(|entry| entry.time.as_ref())
            .max_by_key(|time| time.0)
    }
}

/// The settings of a Zalando operator that is configured by a resource.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct OperatorConfiguration {
    /// Metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The settings.
    #[serde(default)]
    pub configuration: Value,
}
resource!(
    OperatorConfiguration,
    GROUP,
    "OperatorConfiguration",
    "operatorconfigurations",
    k8s_openapi::NamespaceResourceScope
);

/// The Secret of a user of a cluster (default of the setting `secret_name_template`).
pub fn secret(username: &str, cluster: &str) -> String {
    let username = username.replace('_', "-");
    format!("{username}.{cluster}.credentials.postgresql.acid.zalan.do")
}

/// The users that the operator makes a Secret for in every cluster.
pub const SYSTEM_USERS: [&str; 2] = ["postgres", "standby"];

/// The Service of the replicas.
pub fn replica_service(cluster: &str) -> String {
    format!("{cluster}-repl")
}

/// The volume claims of so many servers, by the names that the Zalando operator's StatefulSet gives them.
pub fn volume_claims(cluster: &str, servers: usize) -> Vec<String> {
    let number = |number| format!("pgdata-{cluster}-{number}");
    (0..servers).map(number).collect()
}

/// An object of Patroni's, Endpoints or ConfigMap: `config`, `leader`, `sync` or `failover`.
pub fn patroni(cluster: &str, what: &str) -> String {
    format!("{cluster}-{what}")
}
