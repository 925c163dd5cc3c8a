//! What a pass of a cluster reads of the Zalando operator and of Patroni: definition, settings, records, and what they
//! leave behind.

use std::collections::BTreeMap;
use std::fmt::Debug;

use api::external::zalando::{
    APPLICATION, DEFINITION, LABEL_APPLICATION, LABEL_CLUSTER, OperatorConfiguration, SYSTEM_USERS,
    patroni, replica_service, secret, volume_claims,
};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, PersistentVolumeClaim, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::core::PartialObjectMeta;
use plan::Kind;
use plan::ha_cluster::{self, Patroni, Served};
use serde::de::DeserializeOwned;

use super::reader::{Reader, get_global};
use crate::context::{Context, call};
use crate::error::Error;

/// What Patroni keeps records of, each in an object of its own.
const RECORDS: [&str; 4] = ["config", "leader", "sync", "failover"];

/// What the installed definition of `postgresql` allows. The definition is large, and read again only when it is
/// another one.
pub async fn served(context: &Context) -> Result<Served, Error> {
    type Definition = PartialObjectMeta<CustomResourceDefinition>;
    let Some(found) = get_global::<Definition>(context, DEFINITION).await? else {
        return Ok(Served::Missing);
    };
    let key = (
        found.uid().unwrap_or_default(),
        found.metadata.generation.unwrap_or_default(),
    );
    if let Some(versions) = context.served(&key) {
        return Ok(Served::Versions(versions));
    }
    let definition = get_global::<CustomResourceDefinition>(context, DEFINITION).await?;
    let versions = definition
        .as_ref()
        .map(ha_cluster::versions)
        .unwrap_or_default();
    context.remember_served(key, versions.clone());
    Ok(Served::Versions(versions))
}

/// The Zalando operator's settings, where it has them in a resource and they may be read.
pub async fn settings(context: &Context) -> Result<Vec<OperatorConfiguration>, Error> {
    let all: Api<OperatorConfiguration> = Api::all(context.client.clone());
    let parameters = ListParams::default();
    match call(
        "list",
        "OperatorConfiguration",
        "all",
        all.list(&parameters),
    )
    .await
    {
        Ok(listed) => Ok(listed.items),
        Err(error) if error.is_missing() || error.is_forbidden() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Annotations of an object; none if it is not there.
async fn annotations<K>(
    reader: &Reader<'_>,
    name: &str,
) -> Result<Option<BTreeMap<String, String>>, Error>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let found = reader.metadata::<K>(name).await?;
    Ok(found.map(|found| found.annotations.unwrap_or_default()))
}

/// Patroni keeps its records in Endpoints or in ConfigMaps, as the Zalando operator is set
/// (`kubernetes_use_configmaps`). With Endpoints, the leader's are those of the primary's Service.
pub async fn records(reader: &Reader<'_>, name: &str) -> Result<Patroni, Error> {
    let (config, sync) = (patroni(name, "config"), patroni(name, "sync"));
    let (leader, of_config, of_sync) = futures::try_join!(
        annotations::<Endpoints>(reader, name),
        annotations::<Endpoints>(reader, &config),
        annotations::<Endpoints>(reader, &sync),
    )?;
    if let Some(config) = of_config.filter(|config| !config.is_empty()) {
        return Ok(Patroni {
            leader: leader.unwrap_or_default(),
            config,
            sync: of_sync.unwrap_or_default(),
        });
    }
    let leader = patroni(name, "leader");
    let (leader, config, sync) = futures::try_join!(
        annotations::<ConfigMap>(reader, &leader),
        annotations::<ConfigMap>(reader, &config),
        annotations::<ConfigMap>(reader, &sync),
    )?;
    Ok(Patroni {
        leader: leader.unwrap_or_default(),
        config: config.unwrap_or_default(),
        sync: sync.unwrap_or_default(),
    })
}

/// Objects that there are.
type Found = Vec<(Kind, ObjectMeta)>;

/// The metadata of those of these objects that are there.
async fn metadata<K>(reader: &Reader<'_>, kind: Kind, names: &[String]) -> Result<Found, Error>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let found = names.iter().map(|name| reader.metadata::<K>(name));
    let found = futures::future::try_join_all(found).await?;
    Ok(found.into_iter().flatten().map(|it| (kind, it)).collect())
}

/// The Services that have names of this cluster: its own, and those by which Patroni's records would be taken over.
async fn services(reader: &Reader<'_>, name: &str) -> Result<Found, Error> {
    let mut names = vec![name.to_owned(), replica_service(name)];
    names.extend(RECORDS.map(|what| patroni(name, what)));
    metadata::<Service>(reader, Kind::Service, &names).await
}

/// The volume claims that the servers of this cluster would take by their names, and that are not marked as its own.
pub async fn unmarked_claims(
    reader: &Reader<'_>,
    name: &str,
    servers: usize,
) -> Result<Found, Error> {
    let claims = volume_claims(name, servers);
    let found =
        metadata::<PersistentVolumeClaim>(reader, Kind::PersistentVolumeClaim, &claims).await?;
    Ok(unmarked(name, found))
}

/// What the Zalando operator and Patroni would take for this cluster's own by its name, and is somebody else's, before
/// anything is made.
pub async fn in_the_way(reader: &Reader<'_>, name: &str, servers: usize) -> Result<Found, Error> {
    let records = RECORDS.map(|what| patroni(name, what));
    let secrets = SYSTEM_USERS.map(|user| secret(user, name));
    let (services, claims, secrets, endpoints, maps) = futures::try_join!(
        services(reader, name),
        unmarked_claims(reader, name, servers),
        metadata::<Secret>(reader, Kind::Secret, &secrets),
        metadata::<Endpoints>(reader, Kind::Endpoints, &records),
        metadata::<ConfigMap>(reader, Kind::ConfigMap, &records),
    )?;
    let unmarked = unmarked(name, [secrets, endpoints, maps].concat());
    Ok([services, claims, unmarked].concat())
}

fn is_of_cluster(name: &str, metadata: &ObjectMeta) -> bool {
    let labels = metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(LABEL_CLUSTER))
        .is_some_and(|found| found == name)
}

fn unmarked(name: &str, found: Found) -> Found {
    let found = found.into_iter();
    found
        .filter(|(_, metadata)| !is_of_cluster(name, metadata))
        .collect()
}

/// What the Zalando operator, Patroni and nobody else has made under the names of this cluster, and left.
pub async fn left(reader: &Reader<'_>, name: &str) -> Result<Found, Error> {
    let records = RECORDS.map(|what| patroni(name, what));
    let services = [
        name.to_owned(),
        replica_service(name),
        patroni(name, "config"),
    ];
    let endpoints = [&[name.to_owned()], records.as_slice()].concat();
    let budgets = [
        format!("postgres-{name}-pdb"),
        format!("postgres-{name}-critical-op-pdb"),
    ];
    let secrets = SYSTEM_USERS.map(|user| secret(user, name));
    // These are orphaned by the operator, and have names of their own.
    let of_cluster = format!("{LABEL_APPLICATION}={APPLICATION},{LABEL_CLUSTER}={name}");
    let (services, endpoints, maps, budgets, secrets, slices, revisions) = futures::try_join!(
        metadata::<Service>(reader, Kind::Service, &services),
        metadata::<Endpoints>(reader, Kind::Endpoints, &endpoints),
        metadata::<ConfigMap>(reader, Kind::ConfigMap, &records),
        metadata::<PodDisruptionBudget>(reader, Kind::PodDisruptionBudget, &budgets),
        metadata::<Secret>(reader, Kind::Secret, &secrets),
        reader.list_metadata::<EndpointSlice>(&of_cluster),
        reader.list_metadata::<ControllerRevision>(&of_cluster),
    )?;
    let slices = slices.into_iter().map(|slice| (Kind::EndpointSlice, slice));
    let revisions = revisions
        .into_iter()
        .map(|revision| (Kind::ControllerRevision, revision));
    let orphans: Found = slices.chain(revisions).collect();
    let all = [services, endpoints, maps, budgets, secrets, orphans].concat();
    Ok(all
        .into_iter()
        .filter(|(_, metadata)| is_of_cluster(name, metadata))
        .collect())
}
