//! Live reads, as every controller needs them; nothing is read from a cache.

use std::borrow::Cow;
use std::fmt::Debug;

use api::DatabaseBackup;
use api::names::{ANNOTATION_ACCESS_MODE, CATALOG};
use api::object_name::{is_label, is_subdomain};
use futures::{StreamExt, stream};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::{
    ConfigMap, Event, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus, Pod, PodStatus,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{Api, ApiResource, ListParams, NotUsed, Object, ObjectList};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::{Resource, ResourceExt};
use plan::catalog::Catalog;
use plan::storage_class::{StorageClass as Class, access_mode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::{Context, call};
use crate::error::Error;
use crate::pass::Reconciled;
use crate::pruned::{PAGE, PAGE_OF_OURS, prune};

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
            + Debug
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
            + Debug
            + DeserializeOwned,
    {
        if !is_subdomain(name) || !is_label(self.namespace) {
            return Ok(None);
        }
        let objects: Api<K> = Api::namespaced(self.context.client.clone(), self.namespace);
        let answer = call("get", K::kind(&()), name, objects.get_metadata(name)).await;
        Ok(found(answer)?.map(|object| object.metadata))
    }

    /// The objects with these labels. Anybody may label what is one's own: of those that do not look like ours, only
    /// the metadata is read, and there is an end to how many are.
    pub async fn list<K: Listed>(
        &self,
        labels: &str,
        looks_ours: impl Fn(&ObjectMeta) -> bool,
    ) -> Result<Vec<K>, Error> {
        let listed = self.list_metadata::<K>(labels).await?;
        let ours = listed
            .iter()
            .filter(|metadata| looks_ours(metadata))
            .count();
        let kind = ApiResource::erase::<K>(&());
        let client = self.context.client.clone();
        let objects: &Api<State<K>> = &Api::namespaced_with(client, self.namespace, &kind);
        let read = listed.into_iter().map(|metadata| {
            let ours = looks_ours(&metadata);
            async move {
                if !ours {
                    return Ok::<_, Error>(Some(K::of(metadata, None, None)));
                }
                let name = metadata.name.unwrap_or_default();
                let state = found(call("get", K::kind(&()), &name, objects.get(&name)).await)?;
                Ok(state.map(|state| K::of(state.metadata, Some(state.spec), state.status)))
            }
        });
        let most = |count, bytes| too_many(K::kind(&()), labels, count, bytes);
        if ours > MOST_OURS {
            return Err(most(ours, 0));
        }
        let mut read = stream::iter(read).buffered(AT_ONCE);
        let (mut kept, mut bytes) = (Vec::new(), 0);
        while let Some(object) = read.next().await {
            let object: Option<K> = object?;
            bytes += object.as_ref().map_or(0, size);
            kept.extend(object);
            if bytes > MOST_BYTES {
                return Err(most(kept.len(), bytes));
            }
        }
        Ok(kept)
    }

    /// The metadata of the objects with these labels.
    pub async fn list_metadata<K>(&self, labels: &str) -> Result<Vec<ObjectMeta>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let objects: &Api<K> = &Api::namespaced(self.context.client.clone(), self.namespace);
        let page = |asked: ListParams| async move { objects.list_metadata(&asked).await };
        let parameters = ListParams::default().labels(labels);
        let keep = |object: PartialObjectMeta<K>| Some(object.metadata);
        pages(K::kind(&()), labels, parameters, Most::Kept, page, keep).await
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
            Most::All,
            |_| true,
        )
        .await
    }

    /// One of these, if there is one.
    pub async fn any_backup(
        &self,
        instance: &str,
        wanted: impl Fn(&DatabaseBackup) -> bool,
    ) -> Result<Vec<DatabaseBackup>, Error> {
        if !is_subdomain(instance) {
            return Ok(Vec::new());
        }
        let backups = Api::namespaced(self.context.client.clone(), self.namespace);
        by_field(backups, "spec.instance", instance, Most::First, wanted).await
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
        let (kind, most) = (Event::kind(&()), Most::Pages(40));
        pages(kind, "warnings", parameters, most, page, keep).await?;
        Ok(newest.map(|(_, message)| message))
    }
}

/// A kind of which several objects are read at once: only what rules read of them, for the rest may be as large as a
/// request.
pub trait Listed:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
{
    /// Its spec, or that it is not read.
    type Spec: Clone + Debug + DeserializeOwned;
    /// Its status.
    type Status: Clone + Debug + Default + DeserializeOwned;
    /// The object, as far as it was read.
    fn of(metadata: ObjectMeta, spec: Option<Self::Spec>, status: Option<Self::Status>) -> Self;
}

/// What is read of such an object.
pub type State<K> = Object<<K as Listed>::Spec, <K as Listed>::Status>;

impl Listed for Job {
    type Spec = NotUsed;
    type Status = JobStatus;
    fn of(metadata: ObjectMeta, _: Option<NotUsed>, status: Option<JobStatus>) -> Job {
        Job {
            metadata,
            spec: None,
            status,
        }
    }
}

impl Listed for Pod {
    type Spec = NotUsed;
    type Status = PodStatus;
    fn of(metadata: ObjectMeta, _: Option<NotUsed>, status: Option<PodStatus>) -> Pod {
        Pod {
            metadata,
            spec: None,
            status,
        }
    }
}

impl Listed for PersistentVolumeClaim {
    type Spec = PersistentVolumeClaimSpec;
    type Status = PersistentVolumeClaimStatus;
    fn of(
        metadata: ObjectMeta,
        spec: Option<PersistentVolumeClaimSpec>,
        status: Option<PersistentVolumeClaimStatus>,
    ) -> PersistentVolumeClaim {
        PersistentVolumeClaim {
            metadata,
            spec,
            status,
        }
    }
}

/// So many objects of others belong to no resource of ours, and such large ones neither, in bytes: a name that is taken
/// by labels alone must not cost memory.
const MOST: usize = 100;
const MOST_BYTES: usize = 512 << 10;
/// So many of one kind look as if they were ours at most, in number, and are read at once.
const MOST_OURS: usize = 20;
const AT_ONCE: usize = 4;

fn too_many(kind: Cow<'static, str>, what: &str, count: usize, bytes: usize) -> Error {
    Error::TooMany {
        kind,
        what: what.to_owned(),
        count,
        bytes,
    }
}

/// How large a value is as JSON, in bytes.
fn size(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |text| text.len())
}

/// Those of ours whose field has this value and that are `wanted`, as lean as in a store. One that does not parse is
/// left out.
pub async fn by_field<K: Reconciled>(
    resources: Api<DeserializeGuard<K>>,
    field: &str,
    value: &str,
    most: Most,
    wanted: impl Fn(&K) -> bool,
) -> Result<Vec<K>, Error> {
    let parameters = ListParams::default().fields(&format!("{field}={value}"));
    let resources = &resources;
    let page = |asked: ListParams| async move { resources.list(&asked).await };
    let keep = |mut guard: DeserializeGuard<K>| {
        prune(&mut guard);
        guard.0.ok().filter(&wanted)
    };
    pages(K::kind(&()), value, parameters, most, page, keep).await
}

/// How much of a list is read.
#[derive(Clone, Copy, Debug)]
pub enum Most {
    /// All of it: our own resources, or what nobody else can make.
    All,
    /// All of it, until one is kept.
    First,
    /// So many are kept as can belong to one resource; more are an error.
    Kept,
    /// So many pages; the rest is left.
    Pages(usize),
}

/// What is to be kept of the objects of a list, which is read by small pages: each object may be as large as the API
/// server takes it.
pub async fn pages<K: Clone, T: Serialize, F>(
    kind: Cow<'static, str>,
    what: &str,
    mut parameters: ListParams,
    most: Most,
    page: impl Fn(ListParams) -> F,
    mut keep: impl FnMut(K) -> Option<T>,
) -> Result<Vec<T>, Error>
where
    F: Future<Output = kube::Result<ObjectList<K>>>,
{
    let is_over = |pages_read: usize, kept: usize| match most {
        Most::Pages(most) => pages_read >= most,
        Most::First => kept > 0,
        Most::All | Most::Kept => false,
    };
    let (mut kept, mut pages_read, mut bytes) = (Vec::new(), 0, 0);
    parameters = parameters.limit(match most {
        Most::All | Most::First => PAGE_OF_OURS,
        Most::Kept | Most::Pages(_) => PAGE,
    });
    loop {
        let read = call("list", kind.clone(), what, page(parameters.clone())).await?;
        for found in read.items.into_iter().filter_map(&mut keep) {
            if matches!(most, Most::Kept) {
                bytes += size(&found);
            }
            kept.push(found);
            if matches!(most, Most::Kept) && (kept.len() > MOST || bytes > MOST_BYTES) {
                return Err(too_many(kind, what, kept.len(), bytes));
            }
        }
        pages_read += 1;
        match read.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(_) if is_over(pages_read, kept.len()) => return Ok(kept),
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(kept),
        }
    }
}

/// An object that belongs to no namespace; `None` also if the cluster does not have its kind, or no object can have
/// that name.
pub async fn get_global<K>(context: &Context, name: &str) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
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
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
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
