//! Which children to write, in which order: Secrets before the volume, and the StatefulSet after all it mounts.

use api::names::{ANNOTATION_RETRY, ANNOTATION_VERSION};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Serialize;
use serde_json::json;

use super::credentials::Credentials;
use super::settings::Plan as SettingsPlan;
use super::{Observed, scripts, verification};
use crate::build::stateful_set::{Hold, Revision, stateful_set};
use crate::build::{config_map::config_map, network_policy::network_policy, pvc, service::service};
use crate::child::Owner;
use crate::difference::{hash, in_force, is_owned_by, with_hash};
use crate::facts;
use crate::facts::{PREPARE, SERVER};
use crate::storage_class::{EXCLUSIVE, StorageClass};
use crate::task::Task;
use crate::valid::Subject;
use crate::{Kind, Object, Write, parameters};

/// A Job that failed for no fault of the spec is made again after so many seconds.
pub const RETRY_SECONDS: i64 = 60;

/// All writes of a pass.
pub fn plan(
    subject: &Subject<'_>,
    observed: &Observed,
    credentials: &Credentials,
    settings: &SettingsPlan,
    hold: Option<&Hold>,
    now: &Time,
) -> Vec<Write> {
    let mut writes = credentials.writes.clone();
    writes.extend(match &observed.claim {
        None => Some(Write::Create(pvc::claim(subject, access_mode(observed)))),
        Some(claim) => patch_claim(subject, observed, claim),
    });
    let mut config_map = config_map(subject, &settings.effective);
    config_map.value["metadata"]["annotations"] = json!({ANNOTATION_RETRY: settings.retry});
    let revision = Revision {
        credentials: &credentials.id,
        restart: &hash(&json!(parameters::restart_only(
            subject.engine,
            &settings.effective
        ))),
        retry: Some(&settings.retry),
        hold,
    };
    writes.extend(apply(config_map, observed.config_map.as_ref()));
    writes.extend(scripts::plan(subject, observed, now));
    writes.extend(apply(service(subject), observed.service.as_ref()));
    writes.extend(apply(
        network_policy(subject),
        observed.network_policy.as_ref(),
    ));
    // A restart would end the server while a Job asks it; what the Job finds may need a restart too, and one is enough.
    if !settings.is_being_checked() {
        let set = stateful_set(subject, &revision);
        writes.extend(apply(set, observed.stateful_set.as_ref()));
    }
    let verification = verification::plan(subject, observed);
    let new_jobs = [
        &credentials.new_job,
        &settings.new_job,
        &verification.new_job,
    ]
    .into_iter()
    .flatten();
    writes.extend(new_jobs.map(|job| Write::Create(job.clone())));
    let needed = [&credentials.job, &settings.job];
    writes.extend(observed.jobs.iter().filter_map(|job| {
        let name = job.metadata.name.clone()?;
        let ours = Owner::instance(subject.cr).controls(&job.metadata);
        let kept = needed.iter().any(|needed| {
            needed
                .as_ref()
                .is_some_and(|(kept, task)| *kept == name && !is_spent(task, now))
        });
        let kept = kept || verification.job.as_ref() == Some(&name);
        let delete = ours && !kept && job.metadata.deletion_timestamp.is_none();
        delete.then(|| Write::delete(Kind::Job, &job.metadata))
    }));
    writes
}

/// The access mode of the claim to be made.
fn access_mode(observed: &Observed) -> &'static str {
    match &observed.storage_class {
        StorageClass::Found { access_mode, .. } => access_mode,
        StorageClass::Unread | StorageClass::Missing => EXCLUSIVE,
    }
}

/// Whether these writes change a StatefulSet that is there.
pub fn restart(writes: &[Write]) -> bool {
    writes.iter().any(|write| match write {
        Write::Apply(object) => {
            object.kind == Kind::StatefulSet && object.value["metadata"]["uid"].is_string()
        }
        _ => false,
    })
}

/// Whether a Job has nothing more to tell. One that failed has, until it is time to make it again.
fn is_spent(task: &Task, now: &Time) -> bool {
    match task {
        Task::Done(_) => true,
        Task::Failed { at, .. } => facts::seconds_since(at.as_ref(), now) >= RETRY_SECONDS,
        Task::Absent | Task::Running | Task::Refused(_) => false,
    }
}

/// Server-side apply of an object that is not in force: without force if it is not there, else only to the one
/// observed.
fn apply<T: Serialize + HasUid>(object: Object, observed: Option<&T>) -> Option<Write> {
    let mut value = with_hash(object.value);
    if let Some(observed) = observed {
        if in_force(&value, &json!(observed)) {
            return None;
        }
        value["metadata"]["uid"] = json!(observed.uid());
    }
    Some(Write::Apply(Object {
        kind: object.kind,
        value,
    }))
}

trait HasUid {
    fn uid(&self) -> Option<&str>;
}

impl<T: k8s_openapi::Metadata<Ty = ObjectMeta>> HasUid for T {
    fn uid(&self) -> Option<&str> {
        self.metadata().uid.as_deref()
    }
}

/// Growth, the fate of the data, and what the claim says about it.
fn patch_claim(
    subject: &Subject<'_>,
    observed: &Observed,
    claim: &PersistentVolumeClaim,
) -> Option<Write> {
    let mut change = json!({});
    if facts::grows(&subject.cr.spec.storage.size, claim) {
        change["spec"] =
            json!({"resources": {"requests": {"storage": subject.cr.spec.storage.size}}});
    }
    let owners = pvc::owners(subject);
    if !is_owned_by(&claim.metadata, &owners) {
        change["metadata"]["ownerReferences"] = owners;
    }
    let mut annotations = pvc::annotations(subject);
    if !version_runs(subject, observed)
        && let Some(annotations) = annotations.as_object_mut()
    {
        annotations.remove(ANNOTATION_VERSION);
    }
    if !in_force(&annotations, &json!(claim.metadata.annotations)) {
        change["metadata"]["annotations"] = annotations;
    }
    if change == json!({}) {
        return None;
    }
    let kind = Kind::PersistentVolumeClaim;
    Some(Write::patch(kind, &claim.metadata, change))
}

/// Whether a pod of the version's image has got as far as running it: from then on an older version is a downgrade.
fn version_runs(subject: &Subject<'_>, observed: &Observed) -> bool {
    let Some(pod) = &observed.pod else {
        return false;
    };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let image = containers
        .filter(|container| container.name == SERVER)
        .find_map(|container| container.image.as_deref());
    let pulled =
        facts::container(pod, PREPARE).is_some_and(|container| !container.image_id.is_empty());
    image == Some(subject.image.as_str()) && pulled
}
