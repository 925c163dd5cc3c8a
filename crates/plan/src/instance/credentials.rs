//! Passwords: which one should be in force, which one is, and what brings them together.
//!
//! The administrator's Secret says what the database has or is about to get; the binding says what it has. They name
//! the password by a revision, and while the revisions differ a Job changes the password inside the database.

use api::condition::reason;
use api::names::{ANNOTATION_CREDENTIALS, ANNOTATION_REVISION, admin_secret, password_job};
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use super::settings::Server;
use super::{Decision, Observed, settings};
use crate::build::{job, secret};
use crate::child::Owner;
use crate::difference::change_owners;
use crate::facts::{self, text};
use crate::task::Task;
use crate::valid::Subject;
use crate::{Invalid, Kind, Object, Write, password};

/// What is to be done about credentials.
pub struct Credentials {
    /// Names the set that the data must be keyed to before the server starts.
    pub id: String,
    /// Secrets to create or patch, before anything else.
    pub writes: Vec<Write>,
    /// The Job that is needed, if one is, and how it stands.
    pub job: Option<(String, Task)>,
    /// The Job to be made.
    pub new_job: Option<Object>,
}

/// Compares Secrets and decides.
pub fn plan(subject: &Subject<'_>, observed: &Observed) -> Decision<Credentials> {
    let spec = &subject.cr.spec;
    let asked = password::asked(
        spec.credentials_secret.as_ref(),
        &spec.username,
        observed.credentials.as_ref(),
    )?;
    let fresh = &observed.fresh;
    let mut writes = Vec::new();
    let (id, password, revision) = match &observed.admin {
        None => {
            let kept = observed
                .binding
                .as_ref()
                .and_then(|binding| text(binding, "password"));
            let password = asked.or(kept).unwrap_or_else(|| fresh.password.clone());
            writes.push(Write::Create(secret::admin(
                subject,
                &secret::Admin {
                    id: &fresh.id,
                    admin_password: &fresh.admin_password,
                    password: &password,
                    revision: &fresh.id,
                },
            )));
            (fresh.id.clone(), password, fresh.id.clone())
        }
        Some(admin) => {
            let name = admin_secret(subject.name);
            let read = |key: &str| {
                text(admin, key).ok_or_else(|| {
                    Invalid::surroundings(reason::CREDENTIALS_INVALID, format!("The Secret {name} has lost its key \
                        {key}. Delete it: it is made anew, and the database is keyed to it with a restart."))
                })
            };
            read("admin-password")?;
            let (id, password, revision) = (read("id")?, read("password")?, read("revision")?);
            match asked.filter(|asked| *asked != password) {
                Some(asked) => {
                    writes.push(Write::patch(
                        Kind::Secret,
                        &admin.metadata,
                        json!({"stringData": {"password": asked, "revision": fresh.id}}),
                    ));
                    (id, asked, fresh.id.clone())
                }
                None => (id, password, revision),
            }
        }
    };
    if let Some(admin) = &observed.admin {
        writes.extend(fate(subject, admin));
    }
    let mut credentials = Credentials {
        id,
        writes,
        job: None,
        new_job: None,
    };
    binding(subject, observed, &password, &revision, &mut credentials)?;
    Ok(credentials)
}

/// The binding is made once; it changes when the password in the database has changed, or to repair it.
fn binding(
    subject: &Subject<'_>,
    observed: &Observed,
    password: &str,
    revision: &str,
    credentials: &mut Credentials,
) -> Decision<()> {
    let Some(binding) = &observed.binding else {
        // Without data, the first start takes this very password. With data, only a Job makes it true.
        let applied = if observed.claim.is_none() {
            revision
        } else {
            ""
        };
        credentials
            .writes
            .push(Write::Create(secret::binding(subject, password, applied)));
        return Ok(());
    };
    credentials.writes.extend(fate(subject, binding));
    let expected = secret::binding_data(subject, password);
    if facts::annotation(&binding.metadata, ANNOTATION_REVISION) == Some(revision) {
        let differs = expected
            .as_object()
            .into_iter()
            .flatten()
            .any(|(key, value)| text(binding, key).as_deref() != value.as_str());
        if differs {
            credentials.writes.push(Write::patch(
                Kind::Secret,
                &binding.metadata,
                json!({"stringData": expected}),
            ));
        }
        return Ok(());
    }
    let name = password_job(subject.name, revision);
    settings::is_free(subject, observed, &name)?;
    let task = settings::task(subject, observed, &name);
    // A restart that keys the data to another set comes first: until then the administrator's password is not in force.
    let keyed = observed
        .stateful_set
        .as_ref()
        .and_then(|set| set.spec.as_ref())
        .and_then(|spec| spec.template.metadata.as_ref());
    let keyed = keyed.is_some_and(|metadata| {
        facts::annotation(metadata, ANNOTATION_CREDENTIALS) == Some(credentials.id.as_str())
    });
    match &task {
        Task::Done(_) => {
            let annotations = json!({"annotations": {ANNOTATION_REVISION: revision}});
            credentials.writes.push(Write::patch(
                Kind::Secret,
                &binding.metadata,
                json!({"metadata": annotations, "stringData": expected}),
            ));
            return Ok(());
        }
        // The revision must be in the Secret before a pod can mount it.
        Task::Absent if keyed && settings::server(subject, observed) == Server::Serving => {
            credentials.new_job = Some(job::password(subject, revision));
        }
        _ => {}
    }
    credentials.job = Some((name, task));
    Ok(())
}

/// A Secret is this instance's from now on, and goes with it as the deletion policy says.
fn fate(subject: &Subject<'_>, secret: &Secret) -> impl Iterator<Item = Write> {
    let owners = crate::build::pvc::owners(subject);
    let mark = Owner::instance(subject.cr).mark(Kind::Secret, &secret.metadata);
    let owners = change_owners(Kind::Secret, &secret.metadata, owners);
    mark.into_iter().chain(owners)
}
