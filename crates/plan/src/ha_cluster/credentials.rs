//! Passwords: which one should be in force, which one is, and what brings them together.
//!
//! The Secret that the Zalando operator reads says what the database has or is about to get; the binding says what it
//! has. They name the password by a revision, and the `postgresql` names the one that the operator was told of. That it
//! is in force, a Job finds out which logs in with it; so it does before a new cluster is said to serve.

use api::external::zalando::CONTAINER;
use api::names::{ANNOTATION_REVISION, login_job};
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use super::{Decision, Observed, status};
use crate::build::{ha_secret, login::login};
use crate::child::Owner;
use crate::facts::{annotation, job_end, text};
use crate::task::Task;
use crate::valid::Cluster;
use crate::{Kind, Write, password};

/// What is to be done about credentials.
pub struct Credentials {
    /// Names the password that the database is to have.
    pub revision: String,
    /// Secrets to create or patch, before the operator is told.
    pub writes: Vec<Write>,
    /// Jobs to create or delete, after all else.
    pub jobs: Vec<Write>,
    /// Whether a client has logged in with the password.
    pub proved: bool,
    /// Whether the binding has another password than is to be.
    pub pending: bool,
}

/// Compares Secrets and decides. Clients can log in only while there is a primary.
pub fn plan(cluster: &Cluster<'_>, observed: &Observed, primary: bool) -> Decision<Credentials> {
    let mut writes = Vec::new();
    let (password, revision) = user(cluster, observed, &mut writes)?;
    let bound = observed.binding.as_ref();
    let is_bound = bound.is_none_or(|binding| names(binding, &revision));
    let wanted = !status::has_served(cluster.cr) || !is_bound;
    let (proved, jobs) = logged_in(cluster, observed, &revision, wanted, primary);
    let owner = Owner::cluster(cluster.cr);
    let secrets = [bound, observed.user.as_ref()].into_iter().flatten();
    writes.extend(secrets.filter_map(|secret| owner.mark(Kind::Secret, &secret.metadata)));
    // Before there is a database, nothing has a former password.
    let first = observed.postgresql.is_none();
    let expected = ha_secret::binding_data(cluster, &password);
    match bound {
        None => writes.push(Write::Create(ha_secret::binding(
            cluster, &password, &revision,
        ))),
        Some(binding) => {
            let mut keys = expected.as_object().into_iter().flatten();
            let differs = keys.any(|(key, value)| text(binding, key).as_deref() != value.as_str());
            if is_bound && differs || !is_bound && (proved || first) {
                let annotations = json!({ANNOTATION_REVISION: revision});
                let change =
                    json!({"metadata": {"annotations": annotations}, "stringData": expected});
                writes.push(Write::patch(Kind::Secret, &binding.metadata, change));
            }
        }
    }
    Ok(Credentials {
        revision,
        writes,
        jobs,
        proved,
        pending: !is_bound && !first && !proved,
    })
}

fn names(secret: &Secret, revision: &str) -> bool {
    annotation(&secret.metadata, ANNOTATION_REVISION) == Some(revision)
}

/// The password that is to be, and its revision: as the user asks, else as it is, else as the binding knows it, else a
/// new one.
fn user(
    cluster: &Cluster<'_>,
    observed: &Observed,
    writes: &mut Vec<Write>,
) -> Decision<(String, String)> {
    let spec = &cluster.cr.spec;
    let asked = password::asked(
        spec.credentials_secret.as_ref(),
        &spec.username,
        observed.credentials.as_ref(),
    )?;
    let fresh = &observed.fresh;
    let read = |secret: &Secret| text(secret, "password");
    if let Some(user) = &observed.user
        && let Some(known) = read(user)
        && let Some(revision) = annotation(&user.metadata, ANNOTATION_REVISION)
        && asked.as_ref().is_none_or(|asked| *asked == known)
    {
        return Ok((known, revision.to_owned()));
    }
    let bound = observed.binding.as_ref().and_then(read);
    let password = asked.or(bound).unwrap_or_else(|| fresh.password.clone());
    writes.push(match &observed.user {
        None => Write::Create(ha_secret::user(cluster, &password, &fresh.id)),
        Some(user) => {
            let annotations = json!({ANNOTATION_REVISION: fresh.id});
            let data = json!({"username": spec.username, "password": password});
            let change = json!({"metadata": {"annotations": annotations}, "stringData": data});
            Write::patch(Kind::Secret, &user.metadata, change)
        }
    });
    Ok((password, fresh.id.clone()))
}

/// Whether the password was found to be in force, and the Jobs that are to be made and deleted for that.
fn logged_in(
    cluster: &Cluster<'_>,
    observed: &Observed,
    revision: &str,
    wanted: bool,
    primary: bool,
) -> (bool, Vec<Write>) {
    let uid = cluster.cr.metadata.uid.as_deref().unwrap_or_default();
    let name = login_job(uid, revision);
    let told = observed
        .postgresql
        .as_ref()
        .is_some_and(|found| annotation(&found.metadata, ANNOTATION_REVISION) == Some(revision));
    // A Job that somebody else made under that name proves nothing, and is left alone.
    let owner = Owner::cluster(cluster.cr);
    let ours = || {
        observed
            .jobs
            .iter()
            .filter(|job| owner.controls(&job.metadata))
    };
    let task = Task::of(uid, &observed.jobs, &[], &name, "");
    let proved = wanted && matches!(task, Task::Done(_));
    let needed = wanted && told && !proved;
    let mut writes: Vec<Write> = ours()
        .filter(|other| {
            let over = job_end(other, "Failed").is_some();
            let keep = other.metadata.name.as_ref() == Some(&name) && wanted && !over;
            !keep && other.metadata.deletion_timestamp.is_none()
        })
        .map(|other| Write::delete(Kind::Job, &other.metadata))
        .collect();
    if needed
        && primary
        && task == Task::Absent
        && let Some(image) = image(observed)
    {
        writes.push(Write::Create(login(cluster, image, revision)));
    }
    (proved, writes)
}

/// The image of the servers.
fn image(observed: &Observed) -> Option<&str> {
    let spec = observed.stateful_set.as_ref()?.spec.as_ref()?;
    let containers = &spec.template.spec.as_ref()?.containers;
    let server = containers
        .iter()
        .find(|container| container.name == CONTAINER)?;
    server.image.as_deref()
}
