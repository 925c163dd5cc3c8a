//! Objects of a story's namespace of any kind, read in this process: a kubectl takes a tenth of a second of a
//! processor, and what waits asks again and again.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use jsonpath_rust::JsonPath;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::core::PartialObjectMeta;
use kube::discovery::{Discovery, Scope, verbs};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::Space;

/// The short names of kinds that stories use.
const SHORT: [(&[&str], &str); 6] = [
    (&["dbb", "dbbackup", "dbbackups"], "databasebackup"),
    (&["dbi", "dbinstance", "dbinstances"], "databaseinstance"),
    (&["dbr", "dbrestore", "dbrestores"], "databaserestore"),
    (&["hac"], "hacluster"),
    (&["pvc"], "persistentvolumeclaim"),
    (&["sts"], "statefulset"),
];

/// What the cluster had when something was missing of it last; a story may take kinds away and bring them back.
static RESOURCES: Mutex<Vec<ApiResource>> = Mutex::const_new(Vec::new());

/// What an instance consists of.
pub const PARTS: [&str; 6] = [
    "dbinstances",
    "statefulsets",
    "pods",
    "pvc",
    "secrets",
    "jobs",
];

impl Space {
    /// Objects of the kind that kubectl knows by this name.
    pub(crate) async fn kind(&self, name: &str) -> Result<Api<DynamicObject>> {
        let name = name.split('.').next().unwrap_or_default().to_lowercase();
        let short = SHORT
            .iter()
            .find(|(names, _)| names.contains(&name.as_str()));
        let long = short.map_or(name.as_str(), |(_, kind)| kind);
        let is_meant = |resource: &&ApiResource| {
            resource.plural == long || resource.kind.to_lowercase() == long
        };
        let mut resources = RESOURCES.lock().await;
        if !resources.iter().any(|resource| is_meant(&resource)) {
            *resources = self.resources().await?;
        }
        let resource = resources.iter().find(is_meant);
        let resource = resource.with_context(|| format!("the cluster has no kind {name}"))?;
        let client = self.cluster.client.clone();
        Ok(Api::namespaced_with(client, &self.name, resource))
    }

    /// The kinds that namespaces have objects of, and that can be listed.
    async fn resources(&self) -> Result<Vec<ApiResource>> {
        let discovery = Discovery::new(self.cluster.client.clone());
        let found = discovery.run_aggregated().await?;
        let resources = found
            .groups()
            .flat_map(|group| group.recommended_resources())
            .filter(|(_, capabilities)| {
                capabilities.scope == Scope::Namespaced
                    && capabilities.supports_operation(verbs::LIST)
            })
            .map(|(resource, _)| resource);
        Ok(resources.collect())
    }

    /// An object, such as `pod/shop-0`, if it is there.
    pub async fn get(&self, object: &str) -> Result<Option<Value>> {
        let (kind, name) = object
            .split_once('/')
            .with_context(|| format!("{object} is not kind/name"))?;
        let found = self.kind(kind).await?.get_opt(name).await;
        let found = found.with_context(|| format!("get {object}"))?;
        Ok(found.map(serde_json::to_value).transpose()?)
    }

    /// A field of an object, such as `.metadata.uid` of `pod/shop-0`; empty if there is no such field or object. What
    /// is not a string is JSON, and several fields are separated by spaces.
    pub async fn field(&self, object: &str, path: &str) -> Result<String> {
        let path = format!("${path}");
        let object = self.get(object).await?.unwrap_or_default();
        let found = object.query(&path).with_context(|| path.clone())?;
        let words = found.into_iter().map(shown);
        Ok(words.collect::<Vec<_>>().join(" "))
    }

    /// The objects of these kinds as kind/name, such as `pod/shop-0`, by the names that `kinds` has.
    pub async fn names(&self, kinds: &[&str]) -> Result<Vec<String>> {
        let lists = kinds.iter().map(|kind| async move {
            let list = self
                .kind(kind)
                .await?
                .list_metadata(&ListParams::default())
                .await;
            let list = list.with_context(|| format!("list {kind}"))?;
            let names = list.items.into_iter().filter_map(|item| item.metadata.name);
            Ok::<_, anyhow::Error>(
                names
                    .map(|name| format!("{kind}/{name}"))
                    .collect::<Vec<_>>(),
            )
        });
        Ok(try_join_all(lists).await?.concat())
    }

    /// Every object of the namespace, of every kind that can be listed, as kind/name with its UID and resourceVersion;
    /// but for what each namespace has, Events, and the client pods of stories.
    pub async fn objects(&self) -> Result<BTreeMap<String, String>> {
        let client = &self.cluster.client;
        let resources = self.resources().await?.into_iter();
        let resources = resources.filter(|resource| resource.kind != "Event");
        let lists = resources.map(|resource| async move {
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), &self.name, &resource);
            let list = api.list_metadata(&ListParams::default()).await;
            let list = list.with_context(|| format!("list {}", resource.plural))?;
            let named = |item: PartialObjectMeta<DynamicObject>| {
                let metadata = item.metadata;
                let name = format!("{}/{}", resource.kind, metadata.name?);
                let version = metadata.resource_version.unwrap_or_default();
                Some((name, format!("{} {version}", metadata.uid?)))
            };
            Ok::<_, anyhow::Error>(list.items.into_iter().filter_map(named).collect::<Vec<_>>())
        });
        let found = try_join_all(lists).await?.concat();
        ensure!(
            !found.is_empty(),
            "not even what each namespace has is listed"
        );
        let usual = ["ConfigMap/kube-root-ca.crt", "ServiceAccount/default"];
        Ok(found
            .into_iter()
            .filter(|(name, _)| !usual.contains(&name.as_str()) && !name.starts_with("Pod/client-"))
            .collect())
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
