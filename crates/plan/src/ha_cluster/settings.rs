//! Server settings of an HACluster, and settings of the Zalando operator itself that would harm one.

use std::collections::BTreeMap;

use api::Engine;
use api::condition::reason;
use api::external::zalando::{
    APPLICATION, LABEL_APPLICATION, LABEL_CLUSTER, LABEL_ROLE, OperatorConfiguration,
};
use api::ha_cluster::HAClusterSpec;
use serde_json::{Value, json};

use super::Decision;
use crate::quantity::bytes;
use crate::quote::quoted;
use crate::{Invalid, engine, parameters};

/// Settings that Patroni decides about, besides those that belong to the operator of any server.
const OF_PATRONI: [&str; 5] = [
    "cluster_name",
    "hot_standby",
    "recovery_min_apply_delay",
    "synchronous_standby_names",
    "wal_log_hints",
];

/// Everything that the servers are asked to be set to.
pub fn parameters(spec: &HAClusterSpec, memory: i128) -> Decision<BTreeMap<String, String>> {
    let postgresql = engine::of(Engine::Postgresql);
    parameters::check(postgresql, &spec.parameters)?;
    let refuse = |message: String| Err(Invalid::spec(reason::INVALID_PARAMETER, message));
    let mut names = spec.parameters.keys();
    if let Some(name) = names.find(|name| OF_PATRONI.contains(&name.as_str())) {
        return refuse(format!(
            "spec.parameters.{name} cannot be set: replication belongs to Patroni. Remove it."
        ));
    }
    let mut all = postgresql.derived(memory);
    all.insert("password_encryption".into(), "scram-sha-256".into());
    all.extend(spec.parameters.clone());
    let sizes = [
        ("sharedBuffers", "shared_buffers", &spec.shared_buffers),
        (
            "effectiveCacheSize",
            "effective_cache_size",
            &spec.effective_cache_size,
        ),
    ];
    for (field, name, asked) in sizes {
        let Some(asked) = asked else { continue };
        if bytes(&in_kubernetes_units(asked)).is_none_or(|size| size > memory) {
            return refuse(format!(
                "spec.{field}: {} is more than the memory of a server, {}Mi (spec.resources.limits.memory). Lower it, \
                    or raise the memory limit.",
                quoted(asked),
                memory >> 20
            ));
        }
        all.insert(name.to_owned(), in_postgresql_units(asked));
    }
    if let Some(most) = spec.max_connections {
        all.insert("max_connections".to_owned(), most.to_string());
    }
    Ok(all)
}

/// PostgreSQL's units, and Kubernetes' that mean the same.
const UNITS: [(&str, &str); 4] = [("kB", "Ki"), ("MB", "Mi"), ("GB", "Gi"), ("TB", "Ti")];

fn in_kubernetes_units(size: &str) -> String {
    let units = UNITS.iter();
    units.fold(size.to_owned(), |size, (theirs, ours)| {
        size.replace(theirs, ours)
    })
}

fn in_postgresql_units(size: &str) -> String {
    let units = UNITS.iter();
    units.fold(size.to_owned(), |size, (theirs, ours)| {
        size.replace(ours, theirs)
    })
}

/// What is wrong with the operator's settings for a cluster with so many servers, if something is.
pub fn harm(settings: &[OperatorConfiguration], replicas: i32) -> Option<String> {
    settings.iter().find_map(|found| {
        let (field, why) = harmful(&found.configuration, replicas)?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (namespace, name) = (text(&found.metadata.namespace), text(&found.metadata.name));
        Some(format!(
            "The Zalando operator's setting {field} does harm: {why}. Change it in the OperatorConfiguration \
                {namespace}/{name} and restart that operator."
        ))
    })
}

/// The setting, and what it does. Defaults are those of version 1.15, in `pkg/util/config/config.go`.
fn harmful(all: &Value, replicas: i32) -> Option<(&'static str, String)> {
    let kubernetes = &all["kubernetes"];
    let other = |value: &Value, usual: Value| !value.is_null() && *value != usual;
    let limit = |name: &str| all[name].as_i64().filter(|number| *number >= 0);
    let template = json!("{username}.{cluster}.credentials.{tprkind}.{tprgroup}");
    let by_labels = "pods, volumes and roles are found by the usual labels";
    let asked = i64::from(replicas);
    let rules = [
        (
            "debug.enable_database_access",
            // A missing section switches it off, too.
            (all["debug"].is_null() || all["debug"]["enable_database_access"] == json!(false))
                .then(|| "unless it is true, roles and databases are not made and passwords not changed".to_owned()),
        ),
        (
            "kubernetes.secret_name_template",
            other(&kubernetes["secret_name_template"], template)
                .then(|| "passwords are handed over in Secrets of the usual names".to_owned()),
        ),
        (
            "kubernetes.cluster_labels",
            other(&kubernetes["cluster_labels"], json!({LABEL_APPLICATION: APPLICATION}))
                .then(|| by_labels.to_owned()),
        ),
        (
            "kubernetes.cluster_name_label",
            other(&kubernetes["cluster_name_label"], json!(LABEL_CLUSTER)).then(|| by_labels.to_owned()),
        ),
        (
            "kubernetes.pod_role_label",
            other(&kubernetes["pod_role_label"], json!(LABEL_ROLE)).then(|| by_labels.to_owned()),
        ),
        (
            "kubernetes.persistent_volume_claim_retention_policy.when_scaled",
            (kubernetes["persistent_volume_claim_retention_policy"]["when_scaled"] == json!("delete")).then(|| {
                "volumes go with their pods, so that the servers of a cluster which is deleted with deletionPolicy \
                    Retain go on running".to_owned()
            }),
        ),
        (
            "kubernetes.storage_resize_mode",
            matches!(kubernetes["storage_resize_mode"].as_str(), Some("off" | "ebs"))
                .then(|| "volumes do not grow by their claims; the mode pvc lets them".to_owned()),
        ),
        (
            "max_instances",
            limit("max_instances").filter(|most| *most < asked)
                .map(|most| format!("no more than {most} servers run, whatever spec.replicas says")),
        ),
        (
            "min_instances",
            limit("min_instances").filter(|least| *least > asked)
                .map(|least| format!("at least {least} servers run, whatever spec.replicas says")),
        ),
    ];
    rules
        .into_iter()
        .find_map(|(field, why)| Some((field, why?)))
}
