//! `HACluster`: what brings a pass, and what a pass reads. The rules are in `plan::ha_cluster`.

use std::sync::Arc;

use api::external::zalando::{
    APPLICATION, DEFINITION, LABEL_APPLICATION, LABEL_CLUSTER, Postgresql, secret,
};
use api::instance::DeletionPolicy;
use api::names::{
    COMPONENT_LOGIN, LABEL_COMPONENT, LABEL_HA_CLUSTER, LABEL_MANAGED_BY, MANAGED_BY,
};
use api::{HACluster, HAClusterStatus};
use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;
use kube::api::Api;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use plan::Plan;
use plan::child::is_controlled_by;
use plan::ha_cluster::{self, Observed};
use plan::storage_class::StorageClass;
use tokio::sync::watch;

use super::fresh::fresh;
use super::reader::{Listed, Reader, catalog, class, get_global};
use super::zalando::{in_the_way, left, records, served, settings, unmarked_claims};
use crate::context::Context;
use crate::error::Error;
use crate::pass::Reconciled;
use crate::pruned::pages;

type Guarded = DeserializeGuard<HACluster>;

/// Runs until the stop signal.
pub async fn run(
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let of_zalando = || pages().labels(&format!("{LABEL_APPLICATION}={APPLICATION}"));
    let ours = |more: &str| pages().labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY},{more}"));
    let logins = format!("{LABEL_COMPONENT}={COMPONENT_LOGIN}");
    let controller = super::controller(&context, concurrency, true);
    context.stores.ha_clusters.set(controller.store()).ok();
    let (defined, definition) = definition(&context);
    let postgresqls = {
        let (context, config) = (context.clone(), ours(LABEL_HA_CLUSTER));
        while_there(defined, move || {
            let objects = context.watched::<PartialObjectMeta<Postgresql>>();
            super::concerned(objects, config.clone(), |object| {
                by(LABEL_HA_CLUSTER, &object.metadata)
            })
        })
    };
    // Patroni writes how far it is into its pods' annotations every few seconds; of that a pass has nothing to learn.
    let pods = super::concerned_when(
        context.watched_states::<Pod>(),
        of_zalando().page_size(1),
        |pod| ha_cluster::signs(&Pod::of(pod.metadata.clone(), None, pod.status.clone())),
        |pod| by(LABEL_CLUSTER, &pod.metadata),
    );
    let controller = controller
        .watches(
            context.watched::<PartialObjectMeta<StatefulSet>>(),
            of_zalando(),
            |set| by(LABEL_CLUSTER, &set.metadata),
        )
        .watches(
            context.watched::<PartialObjectMeta<PersistentVolumeClaim>>(),
            of_zalando(),
            |claim| by(LABEL_CLUSTER, &claim.metadata),
        )
        .watches(
            context.watched::<PartialObjectMeta<Job>>(),
            ours(&logins),
            |job| by(LABEL_HA_CLUSTER, &job.metadata),
        )
        .reconcile_on(pods)
        .reconcile_on(postgresqls)
        .reconcile_all_on(definition)
        .graceful_shutdown_on(stop);
    super::drive(controller, context).await;
}

/// Whether an object has a name as a StatefulSet gives it.
fn is_numbered(object: &ObjectMeta, name: &str) -> bool {
    let own = object.name.as_deref().unwrap_or_default();
    let number = own.strip_prefix(name).and_then(|own| own.strip_prefix('-'));
    number.is_some_and(|number| number.parse::<u8>().is_ok())
}

/// The cluster that an object belongs to, by this label.
fn by(label: &str, object: &ObjectMeta) -> Option<ObjectRef<Guarded>> {
    let name = object.labels.as_ref()?.get(label)?;
    Some(ObjectRef::new(name).within(object.namespace.as_deref()?))
}

/// Whether the Zalando operator's resource is defined, and one item whenever that or its definition changes.
fn definition(context: &Context) -> (watch::Receiver<bool>, impl Stream<Item = ()> + Send + use<>) {
    let (sender, receiver) = watch::channel(false);
    let definitions: Api<PartialObjectMeta<CustomResourceDefinition>> =
        Api::all(context.client.clone());
    let config = pages().fields(&format!("metadata.name={DEFINITION}"));
    let changes = watcher(definitions, config)
        .default_backoff()
        .filter_map(move |event| {
            let there = match event {
                Ok(watcher::Event::Apply(_) | watcher::Event::InitApply(_)) => Some(true),
                Ok(watcher::Event::Delete(_)) => Some(false),
                Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => None,
            };
            if let Some(there) = there {
                sender.send_replace(there);
            }
            async move { there.map(|_| ()) }
        });
    (receiver, changes)
}

/// A stream that is open while something is there, and opened anew whenever it comes back.
fn while_there<S: Stream + Send>(
    there: watch::Receiver<bool>,
    open: impl Fn() -> S + Send + 'static,
) -> impl Stream<Item = S::Item> + Send {
    futures::stream::unfold((there, open), |(mut there, open)| async move {
        there.wait_for(|there| *there).await.ok()?;
        let mut gone = there.clone();
        let until = async move { gone.wait_for(|there| !*there).await.map(|_| ()).ok() };
        Some((open().take_until(until.boxed()), (there, open)))
    })
    .flatten()
}

impl Reconciled for HACluster {
    type Observed = Observed;

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        let (name, namespace) = (self.name_any(), self.namespace().unwrap_or_default());
        let reader = Reader {
            context,
            namespace: &namespace,
        };
        let user = secret(&self.spec.username, &name);
        let of_zalando = format!("{LABEL_APPLICATION}={APPLICATION},{LABEL_CLUSTER}={name}");
        let of_jobs = format!("{LABEL_HA_CLUSTER}={name},{LABEL_COMPONENT}={COMPONENT_LOGIN}");
        let (uid, of_volume) = (self.uid().unwrap_or_default(), format!("pgdata-{name}"));
        let credentials = async {
            match &self.spec.credentials_secret {
                Some(reference) => reader.get::<Secret>(&reference.name).await,
                None => Ok(None),
            }
        };
        let (
            catalog,
            served,
            settings,
            credentials,
            binding,
            user,
            postgresql,
            stateful_set,
            pods,
            claims,
            jobs,
            patroni,
        ) = futures::try_join!(
            catalog(context),
            served(context),
            settings(context),
            credentials,
            reader.get::<Secret>(&name),
            reader.get::<Secret>(&user),
            reader.get::<Postgresql>(&name),
            reader.get::<StatefulSet>(&name),
            reader.list::<Pod>(&of_zalando, |pod| is_numbered(pod, &name)),
            reader
                .list::<PersistentVolumeClaim>(&of_zalando, |claim| is_numbered(claim, &of_volume)),
            reader.list::<Job>(&of_jobs, |job| is_controlled_by(job, &uid)),
            records(&reader, &name),
        )?;
        let storage_class = if ha_cluster::needs_class(self, &claims) {
            let of_claims = claims.iter().find_map(|claim| claim.spec.as_ref());
            let of_claims = of_claims.and_then(|spec| spec.storage_class_name.as_deref());
            let named = of_claims.or(self.spec.storage.class_name.as_deref());
            class(context, named).await?
        } else {
            StorageClass::Unread
        };
        let asked = usize::try_from(self.spec.replicas).unwrap_or_default();
        let warning = match &stateful_set {
            Some(set) if pods.len() < asked => reader.warning(set.uid()).await?,
            _ => None,
        };
        let said = match &postgresql {
            Some(found) if ha_cluster::has_failed(found) => reader.warning(found.uid()).await?,
            _ => None,
        };
        let leaving = self.metadata.deletion_timestamp.is_some();
        let others = match (&postgresql, leaving) {
            // Its StatefulSet makes claims for more servers, or takes what has their names.
            (Some(_), false) if claims.len() < asked => {
                unmarked_claims(&reader, &name, asked).await?
            }
            (Some(_), _) => Vec::new(),
            (None, false) => in_the_way(&reader, &name, asked).await?,
            (None, true) if self.spec.deletion_policy != DeletionPolicy::Delete => Vec::new(),
            (None, true) => left(&reader, &name).await?,
        };
        let namespace_is_terminating = leaving
            && get_global::<Namespace>(context, &namespace)
                .await?
                .is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some());
        Ok(Observed {
            catalog,
            served,
            settings,
            credentials,
            binding,
            user,
            postgresql,
            stateful_set,
            pods,
            claims,
            jobs,
            patroni,
            storage_class,
            warning,
            said,
            others,
            namespace_is_terminating,
            fresh: fresh()?,
        })
    }

    fn decide(&self, observed: &Observed, now: &Time) -> Plan<HAClusterStatus> {
        ha_cluster::decide(self, observed, now)
    }

    fn failed(&self, planned: &HAClusterStatus, error: &str, now: &Time) -> HAClusterStatus {
        ha_cluster::failed(self, planned, error, now)
    }

    fn count(&self, context: &Context, status: &HAClusterStatus) {
        let before = self
            .status
            .as_ref()
            .and_then(|status| status.last_failover.as_ref());
        if status.last_failover.is_some() && status.last_failover.as_ref() != before {
            let namespace = self.namespace().unwrap_or_default();
            context.metrics.failed_over(namespace, self.name_any());
        }
    }
}
