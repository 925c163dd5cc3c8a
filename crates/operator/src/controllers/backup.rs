//! `DatabaseBackup`: what brings a pass, and what a pass reads. The rules are in `plan::backup`.

use std::sync::Arc;

use api::backup::BackupPhase;
use api::external::snapshot::{VolumeSnapshot, VolumeSnapshotClass};
use api::names::{
    ANNOTATION_BACKUP_NAME, COMPONENT_BACKUP, COMPONENT_DATABASE, COMPONENT_QUIESCE,
    LABEL_COMPONENT, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY, pod, quiesce_job,
    verification_instance,
};
use api::{DatabaseBackup, DatabaseBackupStatus, DatabaseInstance, DatabaseRestore};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::Config;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, watcher};
use plan::Plan;
use plan::backup::{self, Observed, Peers, SnapshotClasses};
use plan::restore::is_finished;

use super::reader::{Reader, catalog, get_global, list_global};
use crate::context::{Context, call};
use crate::error::Error;
use crate::pass::Reconciled;

type Guarded = DeserializeGuard<DatabaseBackup>;

/// How many backups are proved at a time.
const PROOFS: usize = 2;

/// Runs until the stop signal.
pub async fn run(
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let ours = |component: &str| {
        watcher::Config::default().labels(&format!(
            "{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_COMPONENT}={component}"
        ))
    };
    let controller = Controller::new(context.watched::<Guarded>(), watcher::Config::default())
        .with_config(Config::default().concurrency(concurrency));
    let store = controller.store();
    context.stores.backups.set(store.clone()).ok();
    let snapshots = super::concerned(
        context.watched::<PartialObjectMeta<VolumeSnapshot>>(),
        ours(COMPONENT_BACKUP),
        |snapshot| {
            let namespace = snapshot.metadata.namespace.as_deref()?;
            Some(ObjectRef::new(&snapshot.name_any()).within(namespace))
        },
    );
    let (of_pods, of_instances, listener) = (store.clone(), store, context.clone());
    let controller = controller
        .reconcile_on(snapshots)
        // These pods are gone right after their last words, so they are heard here.
        .watches(
            context.watched::<Pod>(),
            ours(COMPONENT_QUIESCE),
            move |pod| {
                let job = pod.labels().get("batch.kubernetes.io/job-name").cloned();
                if let (Some(job), Some(words)) = (job, backup::last_words(&pod)) {
                    listener.hear(&job, words);
                }
                let name = pod.annotations().get(ANNOTATION_BACKUP_NAME)?;
                Some(ObjectRef::<Guarded>::new(name).within(pod.metadata.namespace.as_deref()?))
            },
        )
        .watches(
            context.watched::<PartialObjectMeta<Pod>>(),
            ours(COMPONENT_DATABASE),
            move |pod| {
                let instance = pod.labels().get(LABEL_INSTANCE).cloned();
                unfinished(&of_pods, pod.namespace(), instance)
            },
        )
        .watches(
            context.watched::<PartialObjectMeta<DatabaseInstance>>(),
            watcher::Config::default(),
            move |instance| {
                let mut concerned = unfinished(
                    &of_instances,
                    instance.namespace(),
                    Some(instance.name_any()),
                );
                // A throw-away instance belongs to the backup that it proves.
                concerned.extend(instance.owner_references().iter().find_map(|owner| {
                    (owner.kind == "DatabaseBackup").then(|| {
                        ObjectRef::new(&owner.name)
                            .within(instance.metadata.namespace.as_deref().unwrap_or_default())
                    })
                }));
                concerned
            },
        )
        .graceful_shutdown_on(stop);
    super::drive(controller, context).await;
}

/// The backups of an instance that have not come to their end.
fn unfinished(
    store: &Store<Guarded>,
    namespace: Option<String>,
    instance: Option<String>,
) -> Vec<ObjectRef<Guarded>> {
    super::those(store, |backup| {
        backup.namespace() == namespace
            && Some(&backup.spec.instance) == instance.as_ref()
            && !backup::is_finished(backup)
    })
}

impl Reconciled for DatabaseBackup {
    type Observed = Observed;
    type Status = DatabaseBackupStatus;

    fn status(&self) -> Option<&DatabaseBackupStatus> {
        self.status.as_ref()
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        let (name, namespace) = (self.name_any(), self.namespace().unwrap_or_default());
        let uid = self.uid().unwrap_or_default();
        let instance_name = self.spec.instance.as_str();
        let (pod_name, job_name) = (pod(instance_name), quiesce_job(&uid));
        let proof_name = verification_instance(&uid);
        let reader = Reader {
            context,
            namespace: &namespace,
        };
        let of_job = format!("batch.kubernetes.io/job-name={job_name}");
        let finished = backup::is_finished(self);
        let source = async {
            if finished {
                return Ok((None, None, None, SnapshotClasses::Unread));
            }
            futures::try_join!(
                reader.get::<PersistentVolumeClaim>(instance_name),
                reader.get::<StatefulSet>(instance_name),
                reader.get::<Pod>(&pod_name),
                snapshot_classes(context),
            )
        };
        let proves = self.spec.verify || self.status.iter().any(|s| s.verification.is_some());
        let proof = async {
            match proves {
                true => reader.get::<DatabaseInstance>(&proof_name).await,
                false => Ok(None),
            }
        };
        // All at once: writes may be held while this is read.
        let (catalog, instance, snapshot, job, job_pods, source, verification) = futures::try_join!(
            catalog(context),
            reader.get::<DatabaseInstance>(instance_name),
            reader.get::<VolumeSnapshot>(&name),
            reader.get::<Job>(&job_name),
            reader.list::<Pod>(&of_job),
            source,
            proof,
        )?;
        let (claim, stateful_set, pod, classes) = source;
        let provisioner = provisioner(context, claim.as_ref()).await?;
        let last_words = context.heard(&job_name);
        if finished && job.is_none() && job_pods.is_empty() {
            context.forget_words(&job_name);
        }
        let due = backup::is_due(self, &Time(Timestamp::now()));
        Ok(Observed {
            catalog,
            instance,
            claim,
            provisioner,
            classes,
            snapshot,
            stateful_set,
            pod,
            job,
            job_pod: job_pods.into_iter().next(),
            last_words,
            peers: if due {
                Some(peers(context, &reader, self).await?)
            } else {
                None
            },
            verification,
            may_verify: may_verify(context, self),
        })
    }

    fn decide(&self, observed: &Observed, now: &Time) -> Plan<DatabaseBackupStatus> {
        backup::decide(self, observed, now)
    }

    fn refused(
        &self,
        planned: &DatabaseBackupStatus,
        error: &str,
        now: &Time,
    ) -> DatabaseBackupStatus {
        backup::failed(self, planned, error, now)
    }

    fn count(&self, context: &Context, status: &DatabaseBackupStatus) {
        let before = self.status.clone().unwrap_or_default();
        if let (None, Some(ready), Some(started)) =
            (&before.ready_at, &status.ready_at, &status.started_at)
        {
            let seconds = ready.0.duration_since(started.0).as_secs_f64();
            context.metrics.backup_ready(seconds);
        }
        let failed = Some(BackupPhase::Failed);
        if before.phase != failed && status.phase == failed {
            let namespace = self.namespace().unwrap_or_default();
            context
                .metrics
                .backup_failed(namespace, self.spec.instance.clone());
        }
    }
}

async fn snapshot_classes(context: &Context) -> Result<SnapshotClasses, Error> {
    Ok(list_global::<VolumeSnapshotClass>(context)
        .await?
        .map_or(SnapshotClasses::NoApi, SnapshotClasses::Found))
}

/// The provisioner of the claim's class.
async fn provisioner(
    context: &Context,
    claim: Option<&PersistentVolumeClaim>,
) -> Result<Option<String>, Error> {
    let class = claim.and_then(|claim| claim.spec.as_ref()?.storage_class_name.clone());
    match class {
        Some(class) => Ok(get_global::<StorageClass>(context, &class)
            .await?
            .map(|class| class.provisioner)),
        None => Ok(None),
    }
}

/// Who has a say in whether the backup may go: its siblings, and whoever restores from it.
async fn peers(
    context: &Context,
    reader: &Reader<'_>,
    backup: &DatabaseBackup,
) -> Result<Peers, Error> {
    let siblings = reader.backups(&backup.spec.instance).await?;
    let (copies, restoring) = users(context, &backup.name_any(), reader.namespace).await?;
    Ok(Peers {
        siblings,
        copies,
        restoring,
    })
}

/// The instances that were asked to start from a backup, and whether a DatabaseRestore of it is under way.
pub async fn users(
    context: &Context,
    name: &str,
    namespace: &str,
) -> Result<(Vec<DatabaseInstance>, bool), Error> {
    let instances: Api<DeserializeGuard<DatabaseInstance>> = context.watched();
    let parameters = ListParams::default().fields(&format!("spec.restoreFrom.backup.name={name}"));
    let copies = call(
        "list",
        "DatabaseInstance",
        name,
        instances.list(&parameters),
    )
    .await?;
    let copies = copies
        .items
        .into_iter()
        .filter_map(|guard| guard.0.ok())
        .filter(|copy| {
            let own = copy.metadata.namespace.as_deref();
            let from = copy.spec.restore_from.as_ref();
            from.is_some_and(|from| from.backup.means(own, name, Some(namespace)))
        });
    let restores: Api<DeserializeGuard<DatabaseRestore>> = context.watched();
    let parameters = ListParams::default().fields(&format!("spec.backup.name={name}"));
    let restores = call("list", "DatabaseRestore", name, restores.list(&parameters)).await?;
    let under_way = |restore: &DatabaseRestore| {
        let own = restore.metadata.namespace.as_deref();
        let from = &restore.spec.backup;
        !is_finished(restore) && from.means(own, name, Some(namespace))
    };
    let restoring = restores
        .items
        .iter()
        .filter_map(|guard| guard.0.as_ref().ok())
        .any(under_way);
    Ok((copies.collect(), restoring))
}

/// Whether the backup is among the first that wait for their proof: those whose proof began, then the oldest.
fn may_verify(context: &Context, backup: &DatabaseBackup) -> bool {
    if !backup::verification_is_wanted(backup) {
        return false;
    }
    let rank = |backup: &DatabaseBackup| {
        let status = backup.status.clone().unwrap_or_default();
        let began = status
            .verification
            .is_some_and(|proof| proof.instance.is_some());
        (!began, status.taken_at.map(|at| at.0), backup.uid())
    };
    let known = context.stores.backups();
    let before = known
        .iter()
        .filter_map(|guard| guard.0.as_ref().ok())
        .filter(|other| backup::verification_is_wanted(other) && rank(other) < rank(backup))
        .count();
    before < PROOFS
}
