//! Instances that the operator makes itself, both from a backup: the one that a `DatabaseRestore` asks for, and the
//! throw-away one that proves a backup.

use api::backup::BackupSource;
use api::names::{
    ANNOTATION_BACKUP, ANNOTATION_RESTORE, LABEL_MANAGED_BY, LABEL_VERIFIES, MANAGED_BY,
    verification_instance,
};
use api::{DatabaseBackup, DatabaseInstance, DatabaseRestore};
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};

use super::volume_snapshot::owned_by;
use crate::origin::Facts;
use crate::{Kind, Object};

/// What was backed up, with what the restore has otherwise. Nobody owns it, but it says which restore made it.
pub fn restored(cr: &DatabaseRestore, facts: &Facts, size: &Quantity) -> Object {
    let overrides = cr.spec.overrides.clone().unwrap_or_default();
    let source = &facts.source;
    let resources = overrides.resources.as_ref().or(source.resources.as_ref());
    let class = class_name(cr, facts);
    let mut spec = copy_of(source, &cr.spec.backup.name, Some(size), class, resources);
    spec["version"] = json!(facts.version);
    if let Some(secret) = &overrides.credentials_secret {
        spec["credentialsSecret"] = json!(secret);
    }
    if let Some(namespace) = &facts.restored_from.namespace {
        spec["restoreFrom"]["backup"]["namespace"] = json!(namespace);
    }
    let metadata = json!({
        "name": cr.spec.instance, "namespace": cr.metadata.namespace,
        "annotations": {ANNOTATION_RESTORE: cr.metadata.uid},
    });
    instance(metadata, spec)
}

/// An instance like the one that was backed up; all of it goes when it goes, and it goes with the backup.
pub fn throw_away(cr: &DatabaseBackup, source: &BackupSource, size: Option<&Quantity>) -> Object {
    let name = cr.metadata.name.as_deref().unwrap_or_default();
    let uid = cr.metadata.uid.as_deref().unwrap_or_default();
    let (class, resources) = (source.storage_class.as_deref(), source.resources.as_ref());
    let mut spec = copy_of(source, name, size, class, resources);
    spec["deletionPolicy"] = json!("Delete");
    let metadata = json!({
        "name": verification_instance(uid), "namespace": cr.metadata.namespace,
        "labels": {LABEL_VERIFIES: uid, LABEL_MANAGED_BY: MANAGED_BY},
        "annotations": {ANNOTATION_BACKUP: uid},
        "ownerReferences": owned_by(cr),
    });
    instance(metadata, spec)
}

/// The spec of an instance that starts with a backup of this source.
fn copy_of(
    source: &BackupSource,
    backup: &str,
    size: Option<&Quantity>,
    class: Option<&str>,
    resources: Option<&ResourceRequirements>,
) -> Value {
    let mut spec = json!({
        "engine": source.engine.name(),
        "version": source.version,
        "database": source.database,
        "username": source.username,
        "storage": {"size": size},
        "restoreFrom": {"backup": {"name": backup}},
    });
    if let Some(class) = class {
        spec["storage"]["className"] = json!(class);
    }
    if let Some(resources) = resources {
        spec["resources"] = json!(resources);
    }
    if !source.parameters.is_empty() {
        spec["parameters"] = json!(source.parameters);
    }
    spec
}

fn instance(metadata: Value, spec: Value) -> Object {
    let kind = Kind::DatabaseInstance;
    let (api_version, kind_name, _) = kind.api();
    Object {
        kind,
        value: json!({"apiVersion": api_version, "kind": kind_name, "metadata": metadata, "spec": spec}),
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
