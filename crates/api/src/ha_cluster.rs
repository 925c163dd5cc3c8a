//! `HACluster`: a PostgreSQL that fails over by itself, asked for in a few lines. The work is delegated to the Zalando
//! operator. The doc comments are the text of `kubectl explain`; the rules on the fields are what the API server
//! checks.

mod status;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instance::{CredentialsSecret, DeletionPolicy, Engine, Storage};

pub use status::{
    Failover, HAClusterEndpoints, HAClusterPhase, HAClusterStatus, SynchronousStatus,
};

/// How many servers unless the spec says otherwise.
pub const DEFAULT_REPLICAS: i32 = 3;

/// A PostgreSQL cluster with one primary and streaming replicas, its volumes, Services and credentials.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
// Every print column has a type of its own.
#[allow(clippy::duplicated_attributes)]
#[kube(
    group = "minidbaas.dev",
    version = "v1alpha1",
    kind = "HACluster",
    plural = "haclusters",
    shortname = "hac",
    category = "dbaas",
    namespaced,
    status = "HAClusterStatus",
    derive = "PartialEq",
    doc = "HACluster is a PostgreSQL cluster that fails over by itself: apply it, and a database with its own user is \
        ready to be used through the Secret of the same name. The Zalando Postgres operator does the work.",
    printcolumn(name = "Engine", type_ = "string", json_path = ".spec.engine"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready"),
    printcolumn(name = "Primary", type_ = "string", json_path = ".status.primary"),
    printcolumn(
        name = "Storage",
        type_ = "string",
        json_path = ".status.storage.capacity"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    ),
    validation = Rule::new("self.metadata.name.size() <= 50").message(
        "metadata.name: at most 50 characters, so that the names of the pods, volumes and Services made from it stay \
            within 63"
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "metadata.name: lower-case letters, digits and '-', beginning with a letter: the Service has the same name"
    ),
    validation = Rule::new("!self.metadata.name.endsWith('-repl') && !self.metadata.name.endsWith('-admin')").message(
        "metadata.name: must not end in '-repl' or '-admin', the suffixes of another cluster's Service and of another \
            instance's Secret"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.database) == has(oldSelf.database) && (!has(self.database) || self.database == \
        oldSelf.database)")
        .message("spec.database: cannot be changed after creation; create another cluster"),
    validation = Rule::new("!has(self.version) || !has(oldSelf.version) || self.version == oldSelf.version")
        .message("spec.version: the major version cannot be changed in place; create another cluster and move the \
            data"),
    validation = Rule::new("self.synchronous != 'Strict' || self.replicas >= 2")
        .message("spec.synchronous: with Strict and one replica no write could ever be confirmed; set spec.replicas \
            to 2 or more, or synchronous to On"),
    validation = Rule::new("!has(self.maxConnections) || !has(self.parameters) || !('max_connections' in \
        self.parameters)")
        .message("spec.parameters.max_connections: spec.maxConnections says the same; remove one of them"),
    validation = Rule::new("!has(self.sharedBuffers) || !has(self.parameters) || !('shared_buffers' in \
        self.parameters)")
        .message("spec.parameters.shared_buffers: spec.sharedBuffers says the same; remove one of them"),
    validation = Rule::new("!has(self.effectiveCacheSize) || !has(self.parameters) || !('effective_cache_size' in \
        self.parameters)")
        .message("spec.parameters.effective_cache_size: spec.effectiveCacheSize says the same; remove one of them")
)]
pub struct HAClusterSpec {
    /// The database engine: postgresql. Cannot be changed after creation.
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("spec.engine: cannot be changed after creation; create \
            another cluster"),
        validation = Rule::new("self == 'postgresql'").message(Message::Expression(
            "'spec.engine: ' + self + ' is not offered with high availability yet; use postgresql, or a \
                DatabaseInstance with engine ' + self + ' for a single server'".into()
        ))
    )]
    pub engine: Engine,

    /// Major version of PostgreSQL, such as "17"; one that the installed Zalando operator serves. Default: the engine
    /// catalog's default if that is served, else the newest that is, at the time of creation; it is then kept (see
    /// status.version). Cannot be changed after creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3), regex(pattern = r"^[0-9]+$"))]
    pub version: Option<String>,

    /// How many servers: one primary, the others are replicas that stream from it. Default: 3. A change adds or removes
    /// replicas; the volumes of removed ones stay until the cluster is deleted.
    #[serde(default = "default_replicas")]
    #[schemars(range(max = 25))]
    #[x_kube(validation = Rule::new("self >= 1")
        .message("spec.replicas: at least 1; to keep only the data, delete the cluster with deletionPolicy Retain"))]
    pub replicas: i32,

    /// Name of the database that is made on the first start. Default: the cluster's name with '-' replaced by '_', or
    /// app if that is a name of the engine's own, such as postgres. Cannot be changed after creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$")
    )]
    #[x_kube(validation = Rule::new("!(self in ['postgres', 'template0', 'template1'])")
        .message("spec.database: 'postgres', 'template0' and 'template1' are reserved; choose another"))]
    pub database: Option<String>,

    /// Name of the user who owns the database; not a superuser. Lower-case letters, digits, '-' and '_', because a
    /// Secret is named after it. Default: app. Cannot be changed after creation.
    #[serde(default = "default_username")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$")
    )]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("spec.username: cannot be changed after creation; create \
            another cluster"),
        validation = Rule::new("!(self in ['postgres', 'standby', 'pooler', 'admin', 'cron_admin', 'fes_user', \
            'robot_zmon', 'zalandos', 'public', 'none'] || self.startsWith('pg_'))")
            .message("spec.username: 'postgres', 'standby', 'pooler', 'admin', 'cron_admin', 'fes_user', \
                'robot_zmon', 'zalandos', 'public', 'none' and names beginning with 'pg_' are reserved; choose \
                another, such as 'app'")
    )]
    pub username: String,

    /// A Secret with the user's password. Default: none, and the operator generates a password of 32 characters. A
    /// password that changes in the Secret is changed inside the running database within a minute. Removing the field
    /// keeps the password that is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret: Option<CredentialsSecret>,

    /// The volume that each server has for its own copy of the data.
    pub storage: Storage,

    /// CPU and memory of each server, as in a Pod. Default: a request of 100m CPU, and a request and limit of 512Mi
    /// memory; a missing memory limit is set to the memory request. A change restarts the servers one after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Most connections at a time (max_connections). Default: 100. A change restarts the servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 25, max = 10000))]
    pub max_connections: Option<i32>,

    /// Memory for the server's own cache (shared_buffers), as PostgreSQL writes it or as Kubernetes does: 256MB and
    /// 256Mi mean the same. At most the memory limit. Default: a quarter of that. A change restarts the servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = SIZE_PATTERN))]
    pub shared_buffers: Option<String>,

    /// Memory that the planner expects for caches of the server and the operating system (effective_cache_size),
    /// written as sharedBuffers is. At most the memory limit. Default: three quarters of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = SIZE_PATTERN))]
    pub effective_cache_size: Option<String>,

    /// Other server settings by PostgreSQL's own names, such as `work_mem: 8MB`. Default: none. Names that PostgreSQL
    /// does not know, and settings that belong to the operators (paths, addresses, authentication, replication), are
    /// refused with a reason. A change may restart the servers one after another.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,

    /// Whether a write is confirmed only when a replica has it too. On (default): it is, as long as a replica is there;
    /// so a failover loses no confirmed write. Strict: it always is; without a replica writes wait. Off: it is not; a
    /// failover may lose the last writes.
    #[serde(default)]
    pub synchronous: Synchronous,

    /// What happens to the data when this resource is deleted. Retain (default): no server runs any more; volumes and
    /// Secrets stay, and the same resource applied again continues with them. Delete: everything is deleted. May be
    /// changed at any time.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self != 'Snapshot'")
        .message("spec.deletionPolicy: Snapshot is not offered for an HACluster yet; use Retain or Delete"))]
    pub deletion_policy: DeletionPolicy,

    /// Team that the Zalando operator knows the cluster by; it becomes the label `team`. Default: dbaas. Cannot be
    /// changed after creation.
    #[serde(default = "default_team")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z][a-z0-9]*$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.teamId: cannot be changed after creation; create \
        another cluster"))]
    pub team_id: String,
}

/// A number of bytes as PostgreSQL or Kubernetes writes it.
const SIZE_PATTERN: &str = r"^[1-9][0-9]*(kB|MB|GB|TB|Ki|Mi|Gi|Ti)$";

/// Whether a write is confirmed only when a replica has it too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(
    description = "Whether a write is confirmed only when a replica has it too: Off, On or Strict."
)]
pub enum Synchronous {
    /// It is not.
    Off,
    /// It is, as long as a replica is there.
    #[default]
    On,
    /// It always is; without a replica writes wait.
    Strict,
}

fn default_replicas() -> i32 {
    DEFAULT_REPLICAS
}

fn default_username() -> String {
    "app".to_owned()
}

fn default_team() -> String {
    "dbaas".to_owned()
}
