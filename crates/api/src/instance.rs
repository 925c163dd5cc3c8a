//! `DatabaseInstance`: one database server, asked for in a few lines. The doc comments are the text of `kubectl
//! explain`; the rules on the fields are what the API server checks before anything is stored.

mod backup;
mod status;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object_name::SUBDOMAIN;

pub use backup::{Backup, RestoreFrom, Retention};
pub use status::{
    Binding, DatabaseInstanceStatus, Endpoint, LastBackup, Phase, RestoreStatus, StorageStatus,
};

/// What a user or database may be called: no control characters, no white space at either end.
const NAME_PATTERN: &str = r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$";

/// A PostgreSQL, MySQL or MariaDB server with one database and one user, its volume, Service and credentials.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "minidbaas.dev",
    version = "v1alpha1",
    kind = "DatabaseInstance",
    plural = "databaseinstances",
    shortname = "dbinstances",
    shortname = "dbinstance",
    shortname = "dbi",
    category = "dbaas",
    namespaced,
    status = "DatabaseInstanceStatus",
    derive = "PartialEq",
    doc = "DatabaseInstance is one PostgreSQL, MySQL or MariaDB server: apply it, and a database with its own user is \
        ready to be used through the Secret of the same name.",
    printcolumn(name = "Engine", type_ = "string", json_path = ".spec.engine"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint.host"),
    printcolumn(name = "Storage", type_ = "string", json_path = ".status.storage.capacity"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Backup",
        type_ = "date",
        json_path = ".status.lastBackup.takenAt",
        priority = "1"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    ),
    selectable = ".spec.restoreFrom.backup.name",
    validation = Rule::new("self.metadata.name.size() <= 52").message(
        "metadata.name: at most 52 characters, so that the names of the pod and its revision stay within 63"
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "metadata.name: lower-case letters, digits and '-', beginning with a letter: the Service has the same name"
    ),
    validation = Rule::new("!self.metadata.name.endsWith('-admin')")
        .message("metadata.name: must not end in '-admin', which is the suffix of another instance's Secret")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.restoreFrom) == has(oldSelf.restoreFrom) && (!has(self.restoreFrom) || \
        self.restoreFrom == oldSelf.restoreFrom)")
        .message("spec.restoreFrom: cannot be changed after creation; create another instance"),
    validation = Rule::new("has(self.database) == has(oldSelf.database) && (!has(self.database) || self.database == \
        oldSelf.database)")
        .message("spec.database: cannot be changed after creation; create another instance"),
    validation = Rule::new("!has(self.version) || !has(oldSelf.version) || self.version.split('.')[0] == \
        oldSelf.version.split('.')[0]")
        .message("spec.version: the major version cannot be changed in place; create another instance and move the \
            data"),
    validation = Rule::new("self.engine != 'postgresql' || !(self.username in ['postgres', 'public', 'none', \
        'minidbaas'] || self.username.startsWith('pg_'))")
        .message("spec.username: 'postgres', 'public', 'none', 'minidbaas' and names beginning with 'pg_' are \
            reserved; choose another, such as 'app'"),
    validation = Rule::new("self.engine == 'postgresql' || !(self.username in ['root', 'minidbaas', 'mysql', \
        'PUBLIC', 'mariadb.sys'] || self.username.startsWith('mysql.'))")
        .message("spec.username: 'root', 'minidbaas', 'mysql', 'PUBLIC', 'mariadb.sys' and names beginning with \
            'mysql.' are reserved; choose another, such as 'app'"),
    validation = Rule::new("!has(self.database) || self.engine != 'postgresql' || !(self.database in ['postgres', \
        'template0', 'template1'])")
        .message("spec.database: 'postgres', 'template0' and 'template1' are reserved; choose another"),
    validation = Rule::new("!has(self.database) || self.engine == 'postgresql' || !(self.database.lowerAscii() in \
        ['mysql', 'information_schema', 'performance_schema', 'sys'])")
        .message("spec.database: 'mysql', 'information_schema', 'performance_schema' and 'sys' are reserved; choose \
            another"),
    validation = Rule::new("self.engine != 'postgresql' || (bytes(self.username).size() <= 63 && (!has(self.database) \
        || bytes(self.database).size() <= 63))")
        .message("spec.username, spec.database: at most 63 bytes in PostgreSQL"),
    validation = Rule::new("self.engine != 'mysql' || self.username.size() <= 32")
        .message("spec.username: at most 32 characters in MySQL"),
    validation = Rule::new("self.engine == 'postgresql' || !(self.username.matches('[\\\\x{10000}-\\\\x{10FFFF}]') || \
        (has(self.database) && self.database.matches('[\\\\x{10000}-\\\\x{10FFFF}]')))")
        .message("spec.username, spec.database: MySQL and MariaDB take no characters beyond U+FFFF (such as emoji) in \
            names"),
    validation = Rule::new("self.engine == 'postgresql' || !(self.username.startsWith('\\'') && \
        self.username.endsWith('\\''))")
        .message("spec.username: MySQL and MariaDB strip a ' at both ends at login; choose another"),
    validation = Rule::new("self.engine == 'postgresql' || !has(self.database) || \
        !self.database.startsWith('#mysql50#')")
        .message("spec.database: '#mysql50#' at the beginning has a meaning of its own in MySQL and MariaDB; choose \
            another")
)]
pub struct DatabaseInstanceSpec {
    /// The database engine: postgresql, mysql or mariadb. Cannot be changed after creation.
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.engine: cannot be changed after creation; create \
        another instance"))]
    pub engine: Engine,

    /// Version of the engine, a key of the engine catalog such as "17" or "17.6". Default: the catalog's default for
    /// the engine at the time of creation, which is then kept (see status.version). It can move to a newer minor
    /// version, which restarts the database; another major version and a downgrade are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^[0-9]+(\.[0-9]+){0,2}$"))]
    pub version: Option<String>,

    /// Name of the database that is made on the first start. Default: the instance's name with '-' replaced by '_', or
    /// app if that is a name of the engine's own, such as mysql. Cannot be changed after creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = NAME_PATTERN))]
    pub database: Option<String>,

    /// Name of the user who owns the database; not a superuser. Default: app. Cannot be changed after creation.
    #[serde(default = "default_username")]
    #[schemars(length(min = 1, max = 63), regex(pattern = NAME_PATTERN))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.username: cannot be changed after creation; \
        create another instance"))]
    pub username: String,

    /// A Secret with the user's password. Default: none, and the operator generates a password of 32 characters. A
    /// password that changes in the Secret is changed inside the running database within a minute. Removing the field
    /// keeps the password that is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret: Option<CredentialsSecret>,

    /// The volume that holds the data.
    pub storage: Storage,

    /// CPU and memory of the database container, as in a Pod. Default: a request of 100m CPU, and a request and limit
    /// of memory of 256Mi (PostgreSQL), 512Mi (MariaDB) or 768Mi (MySQL); a missing memory limit is set to the memory
    /// request. Memory settings of the engine are derived from the memory limit unless `parameters` sets them. A change
    /// restarts the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Server settings by the engine's own names, such as `max_connections: "200"`. Default: none. Names the engine
    /// does not know, and settings that belong to the operator (paths, addresses, authentication), are refused with a
    /// reason. A change is checked by the engine first and applied to the running database; it restarts only if a
    /// setting needs that. A value that the engine refuses changes nothing and is reported in the condition
    /// ParametersApplied.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,

    /// Start with the data of a backup. Default: none, the database starts empty. The backup's engine, database and
    /// username are the instance's, and its credentials are new ones. Cannot be changed after creation; once the volume
    /// is made it has no meaning any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_from: Option<RestoreFrom>,

    /// Backups that are taken by themselves. Default: none. May be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,

    /// What happens to the data when this resource is deleted. Retain (default): the volume and its Secrets stay, and
    /// the same name applied again continues with them. Snapshot: the database is stopped, a last DatabaseBackup is
    /// taken which stays, and then they are deleted. Delete: they are deleted at once. May be changed at any time.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// While true, deleting this resource is refused. Default: false. Set it to false first, then delete.
    #[serde(default)]
    pub deletion_protection: bool,

    /// While true, no pod runs; data, credentials and the Service stay. Default: false. Set it to false to start again.
    #[serde(default)]
    pub stopped: bool,

    /// How the Service is exposed. Default: inside the cluster only. A change is applied at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,

    /// Where the pod may run. Default: anywhere. A change restarts the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,

    /// Who may connect. Default: every pod of the namespace, and nobody else. A change is applied at once. It takes a
    /// network plug-in that enforces NetworkPolicy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
}

/// A database engine.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(description = "The database engine: postgresql, mysql or mariadb.")]
pub enum Engine {
    /// PostgreSQL.
    Postgresql,
    /// MySQL.
    Mysql,
    /// MariaDB.
    Mariadb,
}

impl Engine {
    /// Every engine, in the order in which people list them.
    pub const ALL: [Engine; 3] = [Engine::Postgresql, Engine::Mysql, Engine::Mariadb];

    /// The name used in the API, in labels and in the engine catalog.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Postgresql => "postgresql",
            Engine::Mysql => "mysql",
            Engine::Mariadb => "mariadb",
        }
    }
}

/// What happens to the data when the instance is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(
    description = "What happens to the data when the resource is deleted: Retain, Snapshot or Delete."
)]
pub enum DeletionPolicy {
    /// The volume and its Secrets stay.
    #[default]
    Retain,
    /// A last backup is taken, which stays; then the volume and its Secrets are deleted.
    Snapshot,
    /// The volume and its Secrets are deleted too.
    Delete,
}

/// Reference to the Secret with the user's password.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsSecret {
    /// Name of a Secret of type kubernetes.io/basic-auth in the same namespace, with the key `password`. A key
    /// `username`, if there is one, must equal spec.username.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub name: String,
}

/// The volume that holds the data.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className \
        == oldSelf.className)")
        .message("spec.storage.className: cannot be changed after creation; create another one")
)]
pub struct Storage {
    /// Size of the volume, such as 10Gi. It can grow while the database runs, if the storage class allows it; it never
    /// shrinks.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))")
            .message("spec.storage.size: must be a quantity greater than zero, such as 10Gi"),
        validation = Rule::new("!isQuantity(self) || !isQuantity(oldSelf) || \
            quantity(self).compareTo(quantity(oldSelf)) >= 0")
            .message("spec.storage.size: can only grow; a volume does not shrink")
    )]
    pub size: Quantity,

    /// Name of the StorageClass. Default: the cluster's default class. Cannot be changed after creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub class_name: Option<String>,
}

/// How the Service is exposed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Type of the Service: ClusterIP (default), NodePort or LoadBalancer.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// Annotations of the Service, for example those that a cloud's load balancer reads. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Type of the Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(description = "Type of the Service: ClusterIP, NodePort or LoadBalancer.")]
pub enum ServiceType {
    /// Reachable inside the cluster.
    #[default]
    ClusterIP,
    /// Also on a port of every node.
    NodePort,
    /// Also through a load balancer of the cloud.
    LoadBalancer,
}

impl ServiceType {
    /// The word that a Service uses.
    pub fn name(self) -> &'static str {
        match self {
            ServiceType::ClusterIP => "ClusterIP",
            ServiceType::NodePort => "NodePort",
            ServiceType::LoadBalancer => "LoadBalancer",
        }
    }
}

/// Where the pod may run; the fields are those of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Labels that a node must have. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that the pod tolerates. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,

    /// Affinity to nodes and to other pods. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,

    /// How pods spread over zones and nodes. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,

    /// PriorityClass of the pod. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub priority_class_name: Option<String>,
}

/// Who may connect besides the pods of the namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Pods of other namespaces that may connect to the engine's port. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub allow_from: Vec<AllowedPeer>,
}

/// Pods that may connect: those that match both selectors.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.namespaceSelector) || has(self.podSelector)")
        .message("spec.network.allowFrom: an entry needs a namespaceSelector, a podSelector or both")
)]
pub struct AllowedPeer {
    /// Labels of the pods' namespaces; an empty selector means every namespace. Default: the instance's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,

    /// Labels of the pods. Default: every pod of the chosen namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

fn default_username() -> String {
    "app".to_owned()
}
