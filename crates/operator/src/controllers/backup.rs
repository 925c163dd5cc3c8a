//! `DatabaseBackup`: what brings a pass, and what a pass reads. The rules are in `plan::backup`.

use std::sync::Arc;
use std::time::Instant;

use api::backup::BackupPhase;
use api::external::snapshot::{VolumeSnapshot, VolumeSnapshotClass};
use api::names::{
    ANNOTATION_BACKUP_NAME, COMPONENT_BACKUP, COMPONENT_DATABASE, COMPONENT_QUIESCE,
    LABEL_COMPONENT, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY, pod, quiesce_job,
    verification_instance,
};
use api::object_name::is_label;
use api::{DatabaseBackup, DatabaseBackupStatus, DatabaseInstance, DatabaseRestore};
use futures::FutureExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ApiResource;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::{ObjectRef, Store};
use plan::Plan;
use plan::backup::{self, Observed, Peers, SnapshotClasses, Waiting};
use plan::failing::Ready;
use plan::reading::backup::{is_finished, readers};
use plan::report::refused;

use super::reader::{Listed, Most, Reader, by_field, catalog, get_global, list_global};
use crate::context::{Context, Scope};
use crate::error::Error;
use crate::pass::Reconciled;
use crate::pruned::pages;

type Guarded = DeserializeGuard<DatabaseBackup>;

/// Runs until the stop signal.
pub async fn run(
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let ours = |component: &str| {
        pages().labels(&format!(
            "{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_COMPONENT}={component}"
        ))
    };
    let controller = super::controller(&context, concurrency, false);
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
    let (of_quiesce, of_pods, of_instances) = (store.clone(), store.clone(), store);
    let listener = context.clone();
    let controller = controller
        .reconcile_on(snapshots)
        // These pods are gone right after their last words, so they are heard here.
        .watches_with(
            context.watched_states::<Pod>(),
            ApiResource::erase::<Pod>(&()),
            ours(COMPONENT_QUIESCE).page_size(1),
            move |pod| {
                let pod = Pod::of(pod.metadata, None, pod.status);
                let name = pod.annotations().get(ANNOTATION_BACKUP_NAME)?;
                let of = ObjectRef::<Guarded>::new(name).within(pod.metadata.namespace.as_deref()?);
                if let Some(job) = of_quiesce.get(&of).and_then(|backup| holds(&backup)) {
                    listener.last_words.hear(&pod, &job);
                }
                Some(of)
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
            pages(),
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

/// Whether a pod says that it was made for the Job of this name.
fn is_of_job(pod: &ObjectMeta, name: &str) -> bool {
    let mut owners = pod.owner_references.iter().flatten();
    owners.any(|owner| owner.kind == "Job" && owner.name == name)
}

/// The Job that may hold writes for a backup that is under way. Whoever can make pods may make one that looks like its
/// pod: it is heard only in the namespace of such a backup, and brings passes over that one only.
fn holds(backup: &Guarded) -> Option<String> {
    let backup = backup.0.as_ref().ok()?;
    (!is_finished(backup)).then(|| quiesce_job(&backup.uid().unwrap_or_default()))
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
            && !is_finished(backup)
    })
}

impl Reconciled for DatabaseBackup {
    type Observed = Observed;

    fn ready(&self) -> Ready {
        match is_finished(self) {
            true => Ready::OnRecord,
            false => Ready::OfNow,
        }
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        let (name, namespace) = (self.name_any(), self.namespace().unwrap_or_default());
        let uid = self.uid().unwrap_or_default();
        let instance_name = self.spec.instance.as_str();
        let (pod_name, job_name) = (pod(instance_name), quiesce_job(&uid));
        let verification_name = verification_instance(&uid);
        let reader = Reader {
            context,
            namespace: &namespace,
        };
        let of_job = format!("batch.kubernetes.io/job-name={job_name}");
        let finished = is_finished(self);
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
        let verification = async {
            match proves {
                true => reader.get::<DatabaseInstance>(&verification_name).await,
                false => Ok(None),
            }
        };
        // All at once: writes may be held while this is read.
        let (catalog, instance, snapshot, job, job_pods, source, verification) = futures::try_join!(
            catalog(context),
            reader.get::<DatabaseInstance>(instance_name),
            reader.get::<VolumeSnapshot>(&name),
            reader.get::<Job>(&job_name),
            reader.list::<Pod>(&of_job, |pod| is_of_job(pod, &job_name)),
            source,
            verification,
        )?;
        let (claim, stateful_set, pod, classes) = source;
        let provisioner = provisioner(context, claim.as_ref()).await?;
        let heard = &context.last_words;
        let last_words = heard.of(&namespace, &job_name, job.as_ref());
        if finished && job.is_none() && job_pods.is_empty() {
            heard.forget(&namespace, &job_name);
        }
        let peers = match backup::is_due(self, &Time(Timestamp::now())) {
            true => Some(peers(context, &reader, self, snapshot.is_some()).await?),
            false => None,
        };
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
            peers,
            verification,
            may_verify: may_verify(context, self),
            clock_skew: context.clock_skew(),
        })
    }

    fn decide(&self, observed: &Observed, now: &Time) -> Plan<DatabaseBackupStatus> {
        backup::decide(self, observed, now)
    }

    fn failed(
        &self,
        planned: &DatabaseBackupStatus,
        error: &str,
        now: &Time,
    ) -> DatabaseBackupStatus {
        refused(self, planned, error, now)
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

/// Who has a say in whether the backup may go: whoever restores from it; and a newer one, as far as that is asked.
async fn peers(
    context: &Context,
    reader: &Reader<'_>,
    cr: &DatabaseBackup,
    has_snapshot: bool,
) -> Result<Peers, Error> {
    let (copies, restores) = users(context, cr).await?;
    let siblings = match has_snapshot && copies.is_empty() && restores.is_empty() {
        true => {
            let newer = |other: &DatabaseBackup| backup::supersedes(other, cr);
            reader.any_backup(&cr.spec.instance, newer).await?
        }
        false => Vec::new(),
    };
    Ok(Peers {
        siblings,
        copies,
        restores,
    })
}

/// An instance and a DatabaseRestore of those that have yet to read the backup, and may, of each place where there are
/// such.
pub async fn users(
    context: &Context,
    cr: &DatabaseBackup,
) -> Result<(Vec<DatabaseInstance>, Vec<DatabaseRestore>), Error> {
    let (name, now) = (cr.name_any(), Time(Timestamp::now()));
    let (mut copies, mut restores) = (Vec::new(), Vec::new());
    for place in places(context, cr) {
        let place = place.as_deref();
        let (instances, others) = (context.of(place), context.of(place));
        let (found, asked) = futures::try_join!(
            by_field(
                instances,
                "spec.restoreFrom.backup.name",
                &name,
                Most::First,
                |copy| backup::copies_from(cr, copy, &now)
            ),
            by_field(others, "spec.backup.name", &name, Most::First, |restore| {
                backup::restores_from(cr, restore, &now)
            }),
        )?;
        copies.extend(found);
        restores.extend(asked);
    }
    Ok((copies, restores))
}

/// So many namespaces are looked through one by one.
const FEW: usize = 8;

/// Where it is looked for those who may read the backup; `None`: in all namespaces. Anybody may name a backup, as often
/// as they like: those who may not read it are not even listed, as far as that can be.
fn places(context: &Context, cr: &DatabaseBackup) -> Vec<Option<String>> {
    let few = readers(cr).filter(|few| few.len() <= FEW);
    match (few, &context.scope) {
        (Some(few), Scope::Cluster) => {
            let named = few.into_iter().filter(|name| is_label(name));
            named.map(Some).collect()
        }
        _ => vec![None],
    }
}

/// Whether the verification of the backup has its turn.
fn may_verify(context: &Context, backup: &DatabaseBackup) -> bool {
    if !backup::verification_is_wanted(backup) {
        return false;
    }
    // Before all instances are known, those that are under way are not.
    let instances = context.stores.instances.get();
    let is_known = instances.and_then(|store| store.wait_until_ready().now_or_never());
    if !matches!(is_known, Some(Ok(()))) {
        return false;
    }
    let (known, now) = (context.stores.backups(), Instant::now());
    let own = backup.uid().unwrap_or_default();
    let namespace = backup.namespace().unwrap_or_default();
    context.turns.ask(&namespace, &own, now);
    let time = Time(Timestamp::now());
    let waiting = known.iter().filter_map(|guard| {
        let other = guard.0.as_ref().ok()?;
        let uid = other
            .uid()
            .filter(|_| backup::verification_is_wanted(other))?;
        let (status, namespace) = (other.status.as_ref()?, other.namespace()?);
        let verification = ObjectRef::new(&verification_instance(&uid)).within(&namespace);
        let verification = context
            .stores
            .instances
            .get()
            .and_then(|store| store.get(&verification));
        let verification = verification
            .as_ref()
            .and_then(|guard| guard.0.as_ref().ok())
            .filter(|instance| backup::is_verified_by(other, instance));
        let began = context.turns.has(&namespace, &uid, now) || verification.is_some();
        if !began && !context.turns.asked(&namespace, &uid, now) {
            return None;
        }
        Some(Waiting {
            is_stalled: verification
                .is_some_and(|verification| backup::takes_no_room(verification, &time)),
            began,
            taken_at: status.taken_at.as_ref().map(|at| at.0),
            last_turn: context.turns.last(&namespace),
            namespace,
            uid,
        })
    });
    let waiting: Vec<Waiting> = waiting.collect();
    let may = backup::may_begin(&own, &waiting);
    let begins = waiting.iter().find(|one| one.uid == own && !one.began);
    if let Some(one) = begins.filter(|_| may) {
        context.turns.take(&one.namespace, &own, now);
    }
    may
}
