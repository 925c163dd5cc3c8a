//! `DatabaseInstance`: what brings a pass, and what a pass reads. The rules are in `plan::instance`.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::names::{
    CATALOG, COMPONENT_APPLY, LABEL_COMPONENT, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY,
    admin_secret, pod,
};
use api::{DatabaseBackup, DatabaseInstance, DatabaseInstanceStatus};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, PersistentVolumeClaim, Pod, Secret, Service,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::Config;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, WatchStreamExt, watcher};
use plan::Plan;
use plan::backup::needs_backup;
use plan::instance::{self, Class, Observed};

use super::backup::users;
use super::fresh::fresh;
use super::reader::{Reader, catalog, get_global};
use crate::context::{Context, call};
use crate::error::Error;
use crate::pass::Reconciled;

type Guarded = DeserializeGuard<DatabaseInstance>;

/// Runs until the stop signal.
pub async fn run(
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let children =
        || watcher::Config::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY}"));
    // Children are watched by metadata only: a pass reads what it needs.
    let controller = Controller::new(context.watched::<Guarded>(), watcher::Config::default())
        .with_config(Config::default().concurrency(concurrency))
        .watches(
            context.watched::<PartialObjectMeta<StatefulSet>>(),
            children(),
            instance_of,
        )
        .watches(
            context.watched::<PartialObjectMeta<Pod>>(),
            children(),
            instance_of,
        )
        .watches(
            context.watched::<PartialObjectMeta<PersistentVolumeClaim>>(),
            children(),
            instance_of,
        )
        .watches(
            context.watched::<PartialObjectMeta<ConfigMap>>(),
            children(),
            instance_of,
        )
        .watches(
            context.watched::<PartialObjectMeta<Service>>(),
            children(),
            instance_of,
        )
        .watches(
            context.watched::<PartialObjectMeta<NetworkPolicy>>(),
            children(),
            instance_of,
        )
        .watches(
            context.watched::<PartialObjectMeta<Job>>(),
            children(),
            instance_of,
        )
        .watches(
            context.watched::<DeserializeGuard<DatabaseBackup>>(),
            watcher::Config::default(),
            |backup| {
                let backup = backup.0.ok()?;
                let namespace = backup.metadata.namespace.as_deref()?;
                Some(ObjectRef::<Guarded>::new(&backup.spec.instance).within(namespace))
            },
        )
        .reconcile_all_on(catalog_changes(&context))
        .graceful_shutdown_on(stop);
    super::drive(controller, context).await;
}

/// The instance that a child belongs to, by its label: data that is kept has no owner reference.
fn instance_of<K>(child: PartialObjectMeta<K>) -> Option<ObjectRef<Guarded>> {
    let name = child.metadata.labels.as_ref()?.get(LABEL_INSTANCE)?;
    Some(ObjectRef::new(name).within(child.metadata.namespace.as_deref()?))
}

/// One item whenever the engine catalog changes.
fn catalog_changes(context: &Context) -> impl futures::Stream<Item = ()> + Send + 'static {
    let maps: Api<PartialObjectMeta<ConfigMap>> =
        Api::namespaced(context.client.clone(), &context.operator_namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={CATALOG}"));
    watcher(maps, config)
        .default_backoff()
        .touched_objects()
        .filter_map(|change| async { change.ok().map(|_| ()) })
}

impl Reconciled for DatabaseInstance {
    type Observed = Observed;
    type Status = DatabaseInstanceStatus;

    fn status(&self) -> Option<&DatabaseInstanceStatus> {
        self.status.as_ref()
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        let (name, namespace) = (self.name_any(), self.namespace().unwrap_or_default());
        let (admin_name, pod_name) = (admin_secret(&name), pod(&name));
        let reader = Reader {
            context,
            namespace: &namespace,
        };
        let of_jobs = format!("{LABEL_INSTANCE}={name},{LABEL_COMPONENT}={COMPONENT_APPLY}");
        let credentials = async {
            match &self.spec.credentials_secret {
                Some(reference) => reader.get::<Secret>(&reference.name).await,
                None => Ok(None),
            }
        };
        let (
            catalog,
            credentials,
            binding,
            admin,
            claim,
            config_map,
            service,
            network_policy,
            stateful_set,
            pod,
            jobs,
            backups,
        ) = futures::try_join!(
            catalog(context),
            credentials,
            reader.get::<Secret>(&name),
            reader.get::<Secret>(&admin_name),
            reader.get::<PersistentVolumeClaim>(&name),
            reader.get::<ConfigMap>(&name),
            reader.get::<Service>(&name),
            reader.get::<NetworkPolicy>(&name),
            reader.get::<StatefulSet>(&name),
            reader.get::<Pod>(&pod_name),
            reader.list::<Job>(&of_jobs),
            reader.backups(&name),
        )?;
        let failed = jobs.iter().any(|job| {
            job.status
                .as_ref()
                .and_then(|status| status.failed)
                .unwrap_or_default()
                > 0
        });
        let job_pods = if failed {
            reader.list::<Pod>(&of_jobs).await?
        } else {
            Vec::new()
        };
        let unbound = claim.as_ref().filter(|claim| {
            claim
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref())
                != Some("Bound")
        });
        let warning = match (&pod, &stateful_set, unbound) {
            (None, Some(set), _) if !self.spec.stopped => reader.warning(set.uid()).await?,
            (Some(_), _, Some(claim)) => reader.warning(claim.uid()).await?,
            _ => None,
        };
        let storage_class = if instance::needs_class(self, claim.as_ref()) {
            class(context, self, claim.as_ref()).await?
        } else {
            Class::Unread
        };
        let backups_in_use = in_use(context, self, &backups).await?;
        let namespace_is_leaving = self.metadata.deletion_timestamp.is_some()
            && get_global::<Namespace>(context, &namespace)
                .await?
                .is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some());
        Ok(Observed {
            catalog,
            storage_class,
            credentials,
            binding,
            admin,
            claim,
            config_map,
            service,
            network_policy,
            stateful_set,
            pod,
            jobs,
            job_pods,
            warning,
            backups,
            backups_in_use,
            namespace_is_leaving,
            fresh: fresh()?,
        })
    }

    fn decide(&self, observed: &Observed, now: &Time) -> Plan<DatabaseInstanceStatus> {
        instance::decide(self, observed, now)
    }

    fn refused(
        &self,
        planned: &DatabaseInstanceStatus,
        error: &str,
        now: &Time,
    ) -> DatabaseInstanceStatus {
        instance::failed(self, planned, error, now)
    }

    fn count(&self, context: &Context, status: &DatabaseInstanceStatus) {
        let completed = |status: &DatabaseInstanceStatus| {
            let restore = status.restore.as_ref()?;
            Some((restore.started_at.clone()?, restore.completed_at.clone()?))
        };
        let before = self.status.as_ref().and_then(completed);
        if let (None, Some((started, completed))) = (before, completed(status)) {
            let seconds = completed.0.duration_since(started.0).as_secs_f64();
            context.metrics.restored(seconds);
        }
    }
}

/// Those of the backups whose time is over that a restore uses.
async fn in_use(
    context: &Context,
    cr: &DatabaseInstance,
    backups: &[DatabaseBackup],
) -> Result<BTreeSet<String>, Error> {
    let namespace = cr.namespace().unwrap_or_default();
    let mut used = BTreeSet::new();
    for name in instance::due_to_go(cr, backups, &used, &Time(Timestamp::now())) {
        let (copies, restoring) = users(context, &name, &namespace).await?;
        if restoring || copies.iter().any(needs_backup) {
            used.insert(name);
        }
    }
    Ok(used)
}

/// The class of the claim, else of the spec, else the newest default one, as the API server would choose.
async fn class(
    context: &Context,
    cr: &DatabaseInstance,
    claim: Option<&PersistentVolumeClaim>,
) -> Result<Class, Error> {
    let classes: Api<StorageClass> = Api::all(context.client.clone());
    let found = |class: StorageClass| Class::Found {
        name: class.name_any(),
        can_grow: class.allow_volume_expansion == Some(true),
        provisioner: class.provisioner,
    };
    let named = claim
        .and_then(|claim| claim.spec.as_ref()?.storage_class_name.clone())
        .or_else(|| cr.spec.storage.class_name.clone());
    if let Some(name) = named {
        let class = call("get", "StorageClass", &name, classes.get_opt(&name)).await?;
        return Ok(class.map_or(Class::Missing, found));
    }
    let listed = call(
        "list",
        "StorageClass",
        "default",
        classes.list(&ListParams::default()),
    )
    .await?;
    let is_default = |class: &StorageClass| {
        class
            .annotations()
            .get("storageclass.kubernetes.io/is-default-class")
            .is_some_and(|value| value == "true")
    };
    let newest = listed
        .items
        .into_iter()
        .filter(is_default)
        .max_by_key(|class| class.creation_timestamp().map(|time| time.0));
    Ok(newest.map_or(Class::Missing, found))
}
