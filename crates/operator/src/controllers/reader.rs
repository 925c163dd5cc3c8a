//! Live reads, as every controller needs them; nothing is read from a cache.

use api::DatabaseBackup;
use api::names::CATALOG;
use k8s_openapi::api::core::v1::{ConfigMap, Event};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{Api, ListParams};
use kube::core::DeserializeGuard;
use kube::{Resource, ResourceExt};
use plan::catalog::Catalog;
use plan::instance::Class;
use serde::de::DeserializeOwned;

use crate::context::{Context, call};
use crate::error::Error;

/// Live reads in one namespace.
pub struct Reader<'a> {
    /// What a pass may touch.
    pub context: &'a Context,
    /// The namespace.
    pub namespace: &'a str,
}

impl Reader<'_> {
    /// An object; `None` also if the cluster does not have its kind.
    pub async fn get<K>(&self, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let objects: Api<K> = Api::namespaced(self.context.client.clone(), self.namespace);
        found(call("get", K::kind(&()), name, objects.get(name)).await)
    }

    /// The objects with these labels.
    pub async fn list<K>(&self, labels: &str) -> Result<Vec<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let objects: Api<K> = Api::namespaced(self.context.client.clone(), self.namespace);
        let parameters = ListParams::default().labels(labels);
        Ok(
            call("list", K::kind(&()), labels, objects.list(&parameters))
                .await?
                .items,
        )
    }

    /// The backups of an instance. One that does not parse is left out: it is told of by its own pass.
    pub async fn backups(&self, instance: &str) -> Result<Vec<DatabaseBackup>, Error> {
        let objects: Api<DeserializeGuard<DatabaseBackup>> =
            Api::namespaced(self.context.client.clone(), self.namespace);
        let parameters = ListParams::default().fields(&format!("spec.instance={instance}"));
        let listed = call(
            "list",
            "DatabaseBackup",
            instance,
            objects.list(&parameters),
        )
        .await?;
        Ok(listed
            .items
            .into_iter()
            .filter_map(|guard| guard.0.ok())
            .collect())
    }

    /// The newest warning Event about an object.
    pub async fn warning(&self, uid: Option<String>) -> Result<Option<String>, Error> {
        let events: Api<Event> = Api::namespaced(self.context.client.clone(), self.namespace);
        let parameters = ListParams::default().fields(&format!(
            "involvedObject.uid={},type=Warning",
            uid.unwrap_or_default()
        ));
        let listed = call("list", "Event", "warnings", events.list(&parameters)).await?;
        let time = |event: &Event| {
            event
                .last_timestamp
                .as_ref()
                .map(|time| time.0)
                .or_else(|| event.event_time.as_ref().map(|time| time.0))
        };
        Ok(listed
            .items
            .into_iter()
            .max_by_key(time)
            .and_then(|event| event.message))
    }
}

/// An object that belongs to no namespace; `None` also if the cluster does not have its kind.
pub async fn get_global<K>(context: &Context, name: &str) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let objects: Api<K> = Api::all(context.client.clone());
    found(call("get", K::kind(&()), name, objects.get(name)).await)
}

/// What is not there, or not even a kind of the cluster. (Of the latter the API server says it in a way that the client's own
/// `get_opt` does not take for an answer.)
fn found<K>(answer: Result<K, Error>) -> Result<Option<K>, Error> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Objects that belong to no namespace; `None` if the cluster does not have their kind.
pub async fn list_global<K>(context: &Context) -> Result<Option<Vec<K>>, Error>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let objects: Api<K> = Api::all(context.client.clone());
    match call(
        "list",
        K::kind(&()),
        "all",
        objects.list(&ListParams::default()),
    )
    .await
    {
        Ok(listed) => Ok(Some(listed.items)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The engine catalog.
pub async fn catalog(context: &Context) -> Result<Catalog, Error> {
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), &context.operator_namespace);
    let map = call("get", "ConfigMap", CATALOG, maps.get_opt(CATALOG)).await?;
    Ok(map
        .and_then(|map| map.data)
        .map_or_else(Catalog::built_in, |data| Catalog::with(&data)))
}

/// The storage class of this name, else the newest default one, as the API server would choose.
pub async fn class(context: &Context, named: Option<&str>) -> Result<Class, Error> {
    let found = |class: StorageClass| Class::Found {
        name: class.name_any(),
        can_grow: class.allow_volume_expansion == Some(true),
        provisioner: class.provisioner,
    };
    if let Some(name) = named {
        let class = get_global::<StorageClass>(context, name).await?;
        return Ok(class.map_or(Class::Missing, found));
    }
    let is_default = |class: &StorageClass| {
        class
            .annotations()
            .get("storageclass.kubernetes.io/is-default-class")
            .is_some_and(|value| value == "true")
    };
    let newest = list_global::<StorageClass>(context)
        .await?
        .unwrap_or_default()
        .into_iter()
        .filter(is_default)
        .max_by_key(|class| class.creation_timestamp().map(|time| time.0));
    Ok(newest.map_or(Class::Missing, found))
}
