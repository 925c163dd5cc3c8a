//! `DatabaseInstance`: what brings a pass, and what a pass reads. The rules are in `plan::instance`.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::external::snapshot::VolumeSnapshot;
use api::names::{
    CATALOG, COMPONENT_APPLY, COMPONENT_CHECK, COMPONENT_IMPORTED_SNAPSHOT, COMPONENT_SCRIPTS,
    LABEL_COMPONENT, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY, admin_secret, pod,
};
use api::{DatabaseBackup, DatabaseInstance, DatabaseInstanceStatus};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, PersistentVolumeClaim, Pod, Secret, Service,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::Api;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use plan::Plan;
use plan::child::is_controlled_by;
use plan::instance::{self, Observed};
use plan::reading::instance::awaits_backup;
use plan::storage_class::StorageClass;

use super::backup::users;
use super::fresh::fresh;
use super::origin::seen;
use super::reader::{Reader, catalog, class, get_global};
use crate::context::Context;
use crate::error::Error;
use crate::pass::Reconciled;
use crate::pruned::pages;

type Guarded = DeserializeGuard<DatabaseInstance>;

/// Runs until the stop signal.
pub async fn run(
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let children = || pages().labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY}"));
    // Children are watched by metadata only: a pass reads what it needs.
    let controller = super::controller(&context, concurrency, true);
    let of_backups = controller.store();
    context.stores.instances.set(of_backups.clone()).ok();
    let copies = super::concerned(
        context.watched::<PartialObjectMeta<VolumeSnapshot>>(),
        pages().labels(&format!(
            "{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_COMPONENT}={COMPONENT_IMPORTED_SNAPSHOT}"
        )),
        |copy| instance_of(copy.clone()),
    );
    let controller = controller
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
            pages(),
            move |backup| concerned_instances(&of_backups, backup),
        )
        .reconcile_on(copies)
        .reconcile_all_on(catalog_changes(&context))
        .graceful_shutdown_on(stop);
    super::drive(controller, context).await;
}

/// The instances that a backup is of or for.
fn concerned_instances(
    store: &Store<Guarded>,
    backup: DeserializeGuard<DatabaseBackup>,
) -> Vec<ObjectRef<Guarded>> {
    let mut concerned = Vec::new();
    if let (Ok(backup), Some(namespace)) = (&backup.0, backup.namespace()) {
        concerned.push(ObjectRef::new(&backup.spec.instance).within(&namespace));
    }
    let (name, namespace) = (backup.name_any(), backup.namespace());
    concerned.extend(super::those(store, |cr| {
        let own = cr.metadata.namespace.as_deref();
        let from = cr.spec.restore_from.as_ref();
        awaits_backup(cr)
            && from.is_some_and(|from| from.backup.means(own, &name, namespace.as_deref()))
    }));
    concerned
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
    let config = pages().fields(&format!("metadata.name={CATALOG}"));
    watcher(maps, config)
        .default_backoff()
        .touched_objects()
        .filter_map(|change| async { change.ok().map(|_| ()) })
}

impl Reconciled for DatabaseInstance {
    type Observed = Observed;

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        let (name, namespace) = (self.name_any(), self.namespace().unwrap_or_default());
        let (admin_name, pod_name) = (admin_secret(&name), pod(&name));
        let uid = self.uid().unwrap_or_default();
        let reader = Reader {
            context,
            namespace: &namespace,
        };
        let of_jobs = format!(
            "{LABEL_INSTANCE}={name},{LABEL_COMPONENT} in ({COMPONENT_APPLY},{COMPONENT_CHECK})"
        );
        let credentials = async {
            match &self.spec.credentials_secret {
                Some(reference) => reader.get::<Secret>(&reference.name).await,
                None => Ok(None),
            }
        };
        let of_scripts = format!("{LABEL_INSTANCE}={name},{LABEL_COMPONENT}={COMPONENT_SCRIPTS}");
        let scripts_name = instance::scripts_name(self);
        let (
            catalog,
            credentials,
            binding,
            admin,
            claim,
            config_map,
            scripts,
            all_scripts,
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
            reader.get::<ConfigMap>(&scripts_name),
            reader.list_metadata::<ConfigMap>(&of_scripts),
            reader.get::<Service>(&name),
            reader.get::<NetworkPolicy>(&name),
            reader.get::<StatefulSet>(&name),
            reader.get::<Pod>(&pod_name),
            reader.list::<Job>(&of_jobs, |job| is_controlled_by(job, &uid)),
            reader.backups(&name),
        )?;
        let has_words = jobs.iter().filter_map(|job| {
            let status = job.status.as_ref()?;
            let checked = job.labels().get(LABEL_COMPONENT)? == COMPONENT_CHECK;
            Some(status.failed > Some(0) || checked && status.succeeded > Some(0))
        });
        let job_pods = if has_words.into_iter().any(|has| has) {
            let ours = |pod: &ObjectMeta| {
                let mut uids = jobs.iter().filter_map(|job| job.metadata.uid.as_deref());
                uids.any(|uid| is_controlled_by(pod, uid))
            };
            reader.list::<Pod>(&of_jobs, ours).await?
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
            let of_claim = claim.as_ref().and_then(|claim| claim.spec.as_ref());
            let of_claim = of_claim.and_then(|spec| spec.storage_class_name.as_deref());
            class(
                context,
                of_claim.or(self.spec.storage.class_name.as_deref()),
            )
            .await?
        } else {
            StorageClass::Unread
        };
        let origin = seen(context, self, claim.as_ref()).await?;
        let backups_in_use = in_use(context, self, claim.as_ref(), &backups).await?;
        let endpoints = match service {
            None => reader.metadata::<Endpoints>(&name).await?,
            Some(_) => None,
        };
        let others_backup = others_backup(&reader, self, &backups).await?;
        let last_snapshot = match self.metadata.deletion_timestamp {
            Some(_) => reader.get(&instance::last_backup_name(self)).await?,
            None => None,
        };
        let namespace_is_terminating = self.metadata.deletion_timestamp.is_some()
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
            scripts,
            all_scripts,
            service,
            endpoints,
            network_policy,
            stateful_set,
            pod,
            jobs,
            job_pods,
            warning,
            backups,
            others_backup,
            last_snapshot,
            backups_in_use,
            clock_skew: context.clock_skew(),
            namespace_is_terminating,
            origin,
            fresh: fresh()?,
        })
    }

    fn decide(&self, observed: &Observed, now: &Time) -> Plan<DatabaseInstanceStatus> {
        instance::decide(self, observed, now)
    }

    fn failed(
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

/// What has the name of the backup that is to be made, and is not one of the instance's.
async fn others_backup(
    reader: &Reader<'_>,
    cr: &DatabaseInstance,
    backups: &[DatabaseBackup],
) -> Result<Option<ObjectMeta>, Error> {
    let name = instance::backup_to_make(cr, &Time(Timestamp::now()));
    match name.filter(|name| backups.iter().all(|backup| backup.name_any() != *name)) {
        Some(name) => reader.metadata::<DatabaseBackup>(&name).await,
        None => Ok(None),
    }
}

/// A pass asks of so many backups whether they are used; more are taken for it. Anybody may restore from all of them.
const MOST_ASKED_ABOUT: usize = 20;

/// Those of the backups whose time is over that a restore uses, as far as a pass deletes any.
async fn in_use(
    context: &Context,
    cr: &DatabaseInstance,
    claim: Option<&PersistentVolumeClaim>,
    backups: &[DatabaseBackup],
) -> Result<BTreeSet<String>, Error> {
    let (mut used, mut free) = (BTreeSet::new(), 0);
    let (skew, now) = (context.clock_skew(), Time(Timestamp::now()));
    let due = instance::due_to_go(cr, claim, backups, &used, skew, &now);
    for (number, name) in due.iter().enumerate() {
        if free == instance::MOST_AT_A_TIME {
            break;
        }
        if number >= MOST_ASKED_ABOUT {
            used.insert(name.clone());
            continue;
        }
        let Some(backup) = backups.iter().find(|backup| backup.name_any() == *name) else {
            continue;
        };
        let (copies, restores) = users(context, backup).await?;
        match copies.is_empty() && restores.is_empty() {
            true => free += 1,
            false => {
                used.insert(name.clone());
            }
        }
    }
    Ok(used)
}
