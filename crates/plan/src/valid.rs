//! The validated input of the rules: a resource whose spec makes sense, with what follows from it. Only the rules
//! that validate make one.

use std::collections::BTreeMap;

use api::HACluster;
use api::backup::BackupSource;
use api::restore::RestoredFrom;
use api::{DatabaseInstance, Engine as EngineName, names};
use serde_json::{Value, json};

use crate::catalog::Catalog;
use crate::child::owner_reference;
use crate::engine::{self, Engine};
use crate::{Kind, Object};

/// An instance whose spec was found valid, with what follows from it.
pub struct Subject<'a> {
    /// The resource.
    pub cr: &'a DatabaseInstance,
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its UID.
    pub uid: &'a str,
    /// Its engine.
    pub engine: &'static dyn Engine,
    /// The version in force.
    pub version: String,
    /// The version's image.
    pub image: String,
    /// Name of the first database.
    pub database: String,
    /// CPU and memory of the container, complete.
    pub resources: Value,
    /// What the data was, or is to be, restored from.
    pub restored_from: Option<RestoredFrom>,
    /// The VolumeSnapshot in this namespace that the volume is to be made from; only while there is no volume.
    pub data_source: Option<String>,
}

impl<'a> Subject<'a> {
    /// An instance that serves, with what the backup of it has on record; `None`: the catalog has no image of that
    /// version any more.
    pub fn served(
        cr: &'a DatabaseInstance,
        source: &BackupSource,
        catalog: &Catalog,
    ) -> Option<Self> {
        Some(Subject {
            cr,
            name: cr.metadata.name.as_deref()?,
            namespace: cr.metadata.namespace.as_deref()?,
            uid: cr.metadata.uid.as_deref()?,
            engine: engine::of(source.engine),
            version: source.version.clone(),
            image: catalog.image(source.engine, &source.version)?.to_owned(),
            database: source.database.clone(),
            resources: Value::Null,
            restored_from: None,
            data_source: None,
        })
    }
}

impl Subject<'_> {
    /// The owner reference by which Kubernetes deletes a child together with the instance.
    pub fn owner_reference(&self) -> Value {
        owner_reference(Kind::DatabaseInstance, &self.cr.metadata)
    }

    /// Labels of a child with this component.
    pub fn labels(&self, component: &str) -> Value {
        json!(names::labels(
            self.name,
            self.cr.spec.engine,
            &self.version,
            component
        ))
    }

    /// Whether this is a throw-away instance that proves a backup.
    pub fn verifies(&self) -> bool {
        let labels = self.cr.metadata.labels.as_ref();
        labels.is_some_and(|labels| labels.contains_key(names::LABEL_VERIFIES))
    }

    /// A child that goes when the instance goes.
    pub fn owned(&self, kind: Kind, name: &str, component: &str, rest: Value) -> Object {
        let mut object = self.kept(kind, name, component, rest);
        object.value["metadata"]["ownerReferences"] = json!([self.owner_reference()]);
        object
    }

    /// A child that stays when the instance goes.
    pub fn kept(&self, kind: Kind, name: &str, component: &str, rest: Value) -> Object {
        let (api_version, kind_name, _) = kind.api();
        let mut value = rest;
        value["apiVersion"] = json!(api_version);
        value["kind"] = json!(kind_name);
        value["metadata"] =
            json!({"name": name, "namespace": self.namespace, "labels": self.labels(component)});
        Object { kind, value }
    }

    /// Whether the data goes when the instance goes. Protection comes first: nothing that is protected may be
    /// collectable.
    pub fn data_is_owned(&self) -> bool {
        self.cr.spec.deletion_policy == api::instance::DeletionPolicy::Delete
            && !self.cr.spec.deletion_protection
    }
}

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
        json!(names::ha_labels(
            self.name,
            EngineName::Postgresql,
            &self.version,
            component
        ))
    }
}
