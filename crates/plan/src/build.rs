//! One file per kind of child object; each function here shapes an object and decides nothing.

pub mod config_map;
pub mod database_instance;
pub mod ha_secret;
pub mod job;
pub mod login;
pub mod network_policy;
pub mod pod;
pub mod postgresql;
pub mod pvc;
pub mod quiesce;
pub mod secret;
pub mod service;
pub mod snapshot_copy;
pub mod stateful_set;
pub mod volume_snapshot;

use api::restore::RestoredFrom;
use api::{DatabaseInstance, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::engine::Engine;
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

/// The owner reference by which Kubernetes deletes what belongs to this resource of ours together with it.
pub fn owner_reference(kind: Kind, owner: &ObjectMeta) -> Value {
    let (api_version, kind_name, _) = kind.api();
    json!({
        "apiVersion": api_version, "kind": kind_name, "name": owner.name, "uid": owner.uid,
        "controller": true, "blockOwnerDeletion": false,
    })
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
    fn owned(&self, kind: Kind, name: &str, component: &str, rest: Value) -> Object {
        let mut object = self.kept(kind, name, component, rest);
        object.value["metadata"]["ownerReferences"] = json!([self.owner_reference()]);
        object
    }

    /// A child that stays when the instance goes.
    fn kept(&self, kind: Kind, name: &str, component: &str, rest: Value) -> Object {
        let (api_version, kind_name, _) = kind.api();
        let mut value = rest;
        value["apiVersion"] = json!(api_version);
        value["kind"] = json!(kind_name);
        value["metadata"] =
            json!({"name": name, "namespace": self.namespace, "labels": self.labels(component)});
        Object { kind, value }
    }

    /// Whether the data goes when the instance goes. Protection comes first: nothing that is protected may be collectable.
    pub fn data_is_owned(&self) -> bool {
        self.cr.spec.deletion_policy == api::instance::DeletionPolicy::Delete
            && !self.cr.spec.deletion_protection
    }
}
