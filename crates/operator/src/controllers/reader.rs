//! Live reads, as every controller needs them; nothing is read from a cache.

use api::DatabaseBackup;
use api::names::{ANNOTATION_ACCESS_MODE, CATALOG};
use api::object_name::{is_label, is_subdomain};
use k8s_openapi::api::core::v1::{ConfigMap, Event};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{Api, ListParams, ObjectList};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::{Resource, ResourceExt};
use plan::catalog::Catalog;
use plan::storage_class::{StorageClass as Class, access_mode};
use serde::de::DeserializeOwned;

use crate::context::{Context, call};
use crate::error::Error;
use crate::pass::Reconciled;
use crate::pruned::{PAGE, prune};

/// Live reads in one namespace.
pub struct Reader<'a> {
    /// What a pass may touch.
    pub context: &'a Context,
    /// The namespace.
    pub namespace: &'a str,
}

impl Reader<'_> {
    /// An object; `None` also if the cluster does not have its kind, or no object can have that name.
    pub async fn get<K>(&self, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        // A name becomes a part of the URL: one that no object can have would ask for something else, or for nothing
        // for ever.
        if !is_subdomain(name) || !is_label(self.namespace) {
            return Ok(None);
        }
        let objects: Api<K> = Api::namespaced(self.context.client.clone(), self.namespace);
        found(call("get", K::kind(&()), name, objects.get(name)).await)
    }

    /// The metadata of an object; `None` if it is not there.
    pub async fn metadata<K>(&self, name: &str) -> Result<Option<ObjectMeta>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        if !is_subdomain(name) || !is_label(self.namespace) {
            return Ok(None);
        }
        let objects: Api<K> = Api::namespaced(self.context.client.clone(), self.namespace);
        let answer = call("get", K::kind(&()), name, objects.get_metadata(name)).await;
        Ok(found(answer)?.map(|object| object.metadata))
    }

    /// The objects with these labels. Anybody may label what is one's own, so there is an end to how many are read.
    pub async fn list<K>(&self, labels: &str) -> Result<Vec<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let objects: &Api<K> = &Api::namespaced(self.context.client.clone(), self.namespace);
        let page = |asked: ListParams| async move { objects.list(&asked).await };
        let parameters = ListParams::default().labels(labels);
        let keep = |mut object: K| {
            object.meta_mut().managed_fields = None;
            Some(object)
        };
        pages(labels, parameters, Most::Kept(MOST), page, keep).await
    }

    /// The metadata of the objects with these labels.
    pub async fn list_metadata<K>(&self, labels: &str) -> Result<Vec<ObjectMeta>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let objects: &Api<K> = &Api::namespaced(self.context.client.clone(), self.namespace);
        let page = |asked: ListParams| async move { objects.list_metadata(&asked).await };
        let parameters = ListParams::default().labels(labels);
        let keep = |object: PartialObjectMeta<K>| Some(object.metadata);
        pages(labels, parameters, Most::Kept(MOST), page, keep).await
    }

    /// The backups of an instance. One that does not parse is left out: it is told of by its own pass.
    pub async fn backups(&self, instance: &str) -> Result<Vec<DatabaseBackup>, Error> {
        // It becomes a part of the selector, in which ',' and '=' have a meaning.
        if !is_subdomain(instance) {
            return Ok(Vec::new());
        }
        let client = self.context.client.clone();
        by_field(
            Api::namespaced(client, self.namespace),
            "spec.instance",
            instance,
            |_| true,
        )
        .await
    }

    /// The newest warning Event about an object.
    pub async fn warning(&self, uid: Option<String>) -> Result<Option<String>, Error> {
        let events: &Api<Event> = &Api::namespaced(self.context.client.clone(), self.namespace);
        let page = |asked: ListParams| async move { events.list(&asked).await };
        let uid = uid.unwrap_or_default();
        let about = format!("involvedObject.uid={uid},type=Warning");
        let parameters = ListParams::default().fields(&about);
        // Anybody may write Events: there is an end to how many are read, and one is kept.
        let mut newest = None;
        let keep = |event: Event| {
            let last = event.last_timestamp.map(|time| time.0);
            let time = last.or(event.event_time.map(|time| time.0));
            newest = std::mem::take(&mut newest).max(Some((time, event.message?)));
            None::<()>
        };
        pages("warnings", parameters, Most::Pages(10), page, keep).await?;
        Ok(newest.map(|(_, message)| message))
    }
}

/// So many objects of others belong to no resource of ours: a name that is taken by labels alone must not cost memory.
const MOST: usize = 500;

/// Those of ours whose field has this value and that are `wanted`, as lean as in a store. One that does not parse is
/// left out.
pub async fn by_field<K: Reconciled>(
    resources: Api<DeserializeGuard<K>>,
    field: &str,
    value: &str,
    wanted: impl Fn(&K) -> bool,
) -> Result<Vec<K>, Error> {
    let parameters = ListParams::default().fields(&format!("{field}={value}"));
    let resources = &resources;
    let page = |asked: ListParams| async move { resources.list(&asked).await };
    let keep = |mut guard: DeserializeGuard<K>| {
        prune(&mut guard);
        guard.0.ok().filter(&wanted)
    };
    pages(value, parameters, Most::All, page, keep).await
}

/// How much of a list is read.
#[derive(Clone, Copy, Debug)]
pub enum Most {
    /// All of it.
    All,
    /// So many objects are kept; more are an error.
    Kept(usize),
    /// So many pages; the rest is left.
    Pages(usize),
}

/// What is to be kept of the objects of a list, which is read by small pages: each object may be as large as the API
/// server takes it.
pub async fn pages<K, T, F>(
    what: &str,
    mut parameters: ListParams,
    most: Most,
    page: impl Fn(ListParams) -> F,
    mut keep: impl FnMut(K) -> Option<T>,
) -> Result<Vec<T>, Error>
where
    K: Resource<DynamicType = ()> + Clone,
    F: Future<Output = kube::Result<ObjectList<K>>>,
{
    let (mut kept, mut pages_read) = (Vec::new(), 0);
    parameters = parameters.limit(PAGE);
    loop {
        let read = call("list", K::kind(&()), what, page(parameters.clone())).await?;
        kept.extend(read.items.into_iter().filter_map(&mut keep));
        pages_read += 1;
        if matches!(most, Most::Kept(most) if kept.len() > most) {
            return Err(Error::TooMany {
                kind: K::kind(&()),
                what: what.to_owned(),
                count: kept.len(),
            });
        }
        match read.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(_) if matches!(most, Most::Pages(most) if pages_read >= most) => return Ok(kept),
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(kept),
        }
    }
}

/// An object that belongs to no namespace; `None` also if the cluster does not have its kind, or no object can have
/// that name.
pub async fn get_global<K>(context: &Context, name: &str) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    if !is_subdomain(name) {
        return Ok(None);
    }
    let objects: Api<K> = Api::all(context.client.clone());
    found(call("get", K::kind(&()), name, objects.get(name)).await)
}

/// What is not there, or not even a kind of the cluster. (Of the latter the API server says it in a way that the
/// client's own
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
        access_mode: access_mode(
            class
                .annotations()
                .get(ANNOTATION_ACCESS_MODE)
                .map(String::as_str),
        ),
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
