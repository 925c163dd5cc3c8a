//! The instance that a `DatabaseRestore` asks for: what was backed up, with what the restore has otherwise.

use api::names::ANNOTATION_RESTORE;
use api::{DatabaseInstance, DatabaseRestore};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::json;

use crate::restore::preflight::Facts;
use crate::{Kind, Object};

/// The instance; nobody owns it, but it says which restore made it.
pub fn database_instance(cr: &DatabaseRestore, facts: &Facts, size: &Quantity) -> Object {
    let (api_version, kind, _) = Kind::DatabaseInstance.api();
    let overrides = cr.spec.overrides.clone().unwrap_or_default();
    let source = &facts.source;
    let mut spec = json!({
        "engine": source.engine.name(),
        "version": facts.version,
        "database": source.database,
        "username": source.username,
        "storage": {"size": size},
        "restoreFrom": {"backup": {"name": cr.spec.backup.name}},
    });
    if let Some(class) = class_name(cr, facts) {
        spec["storage"]["className"] = json!(class);
    }
    if let Some(resources) = overrides.resources.as_ref().or(source.resources.as_ref()) {
        spec["resources"] = json!(resources);
    }
    if !source.parameters.is_empty() {
        spec["parameters"] = json!(source.parameters);
    }
    if let Some(secret) = &overrides.credentials_secret {
        spec["credentialsSecret"] = json!(secret);
    }
    if let Some(namespace) = &facts.restored_from.namespace {
        spec["restoreFrom"]["backup"]["namespace"] = json!(namespace);
    }
    Object {
        kind: Kind::DatabaseInstance,
        value: json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {
                "name": cr.spec.instance, "namespace": cr.metadata.namespace,
                "annotations": {ANNOTATION_RESTORE: cr.metadata.uid},
            },
            "spec": spec,
        }),
    }
}

/// The class that the restore names, else that of the backed-up volume.
fn class_name<'a>(cr: &'a DatabaseRestore, facts: &'a Facts) -> Option<&'a str> {
    let overrides = cr.spec.overrides.as_ref();
    overrides
        .and_then(|overrides| overrides.storage.as_ref()?.class_name.as_deref())
        .or(facts.source.storage_class.as_deref())
}

/// Whether a restore made this instance.
pub fn is_made_by(instance: &DatabaseInstance, cr: &DatabaseRestore) -> bool {
    let annotations = instance.metadata.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(ANNOTATION_RESTORE))
        == cr.metadata.uid.as_ref()
}
