//! One pass, written once: observe, decide, apply, report. Each kind of resource brings its own first two steps.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::reported::Reported;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use plan::Plan;
use plan::failing::{self, Ready};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::error::Error;
use crate::recent::key;
use crate::{apply, identity, report};

/// Look again after this long even if no event came: none comes of a lost Secret, because Secrets are not watched.
const USUAL: Duration = Duration::from_secs(600);
/// Our own write of a status comes back by the watch within this time, or is looked for again.
const OWN_WRITE: Duration = Duration::from_secs(1);

/// So long a pass reads. Each call has an end of its own; how many there are also depends on what others have made, and
/// a pass that reads takes the place of another one.
const OBSERVED: Duration = Duration::from_secs(60);

/// A kind of resource that is reconciled.
pub trait Reconciled:
    Reported<Status: Serialize + PartialEq + Send + Sync>
    + Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// What a pass reads.
    type Observed: Send + Sync;
    /// Whether Ready speaks of now.
    fn ready(&self) -> Ready {
        Ready::OfNow
    }
    /// Reads everything that `decide` looks at; writes nothing.
    fn observe(
        &self,
        context: &Context,
    ) -> impl Future<Output = Result<Self::Observed, Error>> + Send;
    /// The rules, in crate `plan`.
    fn decide(&self, observed: &Self::Observed, now: &Time) -> Plan<Self::Status>;
    /// The status when a write was refused, or fails again and again.
    fn failed(&self, planned: &Self::Status, error: &str, now: &Time) -> Self::Status;
    /// Counts what a status that has just been written tells for the first time.
    fn count(&self, _context: &Context, _status: &Self::Status) {}
}

/// The reconciler of every controller.
pub async fn run<R: Reconciled>(
    guard: Arc<DeserializeGuard<R>>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let resource = match &guard.0 {
        Ok(resource) => resource,
        Err(invalid) => {
            // The schema of the CRD keeps such objects out; one that is here is from another version of it.
            tracing::error!(
                name = invalid.metadata.name,
                namespace = invalid.metadata.namespace,
                error = invalid.error,
                "the resource cannot be read"
            );
            return Ok(Action::await_change());
        }
    };
    let key = key(resource.meta());
    let version = resource.resource_version().unwrap_or_default();
    if context.is_overtaken(&key, &version) {
        // A child's event was faster than our own status on its way back; from the old one the same would be written
        // again.
        return Ok(Action::requeue(OWN_WRITE));
    }
    let started = Instant::now();
    let result = once(resource, &context).await;
    context
        .metrics
        .pass(&R::kind(&()), result.is_ok(), started.elapsed());
    match result {
        Ok(requeue) => {
            context.failures.forget(&key);
            Ok(Action::requeue(requeue.unwrap_or(USUAL)))
        }
        Err(failure) => {
            let lasts = context.failures.count(&key, failure.error.is_conflict());
            if lasts || failure.is_refused {
                tell(resource, &context, &failure).await;
            }
            Err(failure.error)
        }
    }
}

/// Why a pass failed, and what the user reads if that lasts.
struct Failure<S> {
    error: Error,
    /// `None`: there is nobody left to be told.
    status: Option<S>,
    /// Whether the API server refused a write: nothing is gained by waiting for another try before it is told.
    is_refused: bool,
}

async fn once<R: Reconciled>(
    resource: &R,
    context: &Context,
) -> Result<Option<Duration>, Failure<R::Status>> {
    let observed = match tokio::time::timeout(OBSERVED, resource.observe(context)).await {
        Ok(Ok(observed)) => observed,
        Ok(Err(error)) => return Err(unread(resource, error)),
        Err(_) => {
            let error = Error::Timeout {
                verb: "read what belongs to",
                kind: R::kind(&()),
                name: resource.name_any(),
                seconds: OBSERVED.as_secs(),
            };
            return Err(unread(resource, error));
        }
    };
    let now = Time(Timestamp::now());
    let resource_before = undisturbed(resource);
    let plan = resource_before.decide(&observed, &now);
    let namespace = resource.namespace().unwrap_or_default();
    if !plan.writes.is_empty()
        && let Err(error) = identity::check(context, resource).await
    {
        return Err(match error {
            Error::Replaced { .. } => Failure {
                error,
                status: None,
                is_refused: false,
            },
            error => unread(resource, error),
        });
    }
    for write in &plan.writes {
        if let Err(error) = apply::apply(context, resource, &namespace, write).await {
            return Err(Failure {
                status: Some(resource_before.failed(&plan.status, &error.words(), &now)),
                is_refused: error.is_refusal(),
                error,
            });
        }
    }
    let reported = report::report(context, resource, &plan.status, &plan.events).await;
    reported.map(|()| plan.requeue).map_err(|error| {
        // What the API server does not take of a status, it does take of what was known before.
        let before =
            || resource_before.failed(&resource_before.last_status(), &error.words(), &now);
        Failure {
            status: error.is_refusal().then(before),
            is_refused: error.is_refusal(),
            error,
        }
    })
}

/// The resource without what its status says of failed passes: a pass decides as if there had been none.
fn undisturbed<R: Reconciled>(resource: &R) -> Cow<'_, R> {
    match resource.status().and_then(failing::without) {
        Some(status) => {
            let mut resource = resource.clone();
            *resource.status_mut() = Some(status);
            Cow::Owned(resource)
        }
        None => Cow::Borrowed(resource),
    }
}

fn unread<R: Reconciled>(resource: &R, error: Error) -> Failure<R::Status> {
    let generation = resource.meta().generation.unwrap_or_default();
    let (now, words) = (Time(Timestamp::now()), error.words());
    let before = resource.status();
    Failure {
        status: Some(failing::unread(
            before,
            resource.ready(),
            generation,
            &words,
            &now,
        )),
        is_refused: false,
        error,
    }
}

/// Tells the user of a failure that lasts. What cannot be told either is only logged: the log has the failure itself,
/// too.
async fn tell<R: Reconciled>(resource: &R, context: &Context, failure: &Failure<R::Status>) {
    let Some(status) = &failure.status else {
        return;
    };
    let generation = resource.meta().generation.unwrap_or_default();
    if !context
        .failures
        .may_be_told(&key(resource.meta()), generation)
    {
        return;
    }
    let events = failing::event(resource.status(), status);
    if let Err(error) = report::report(context, resource, status, &events).await {
        tracing::warn!(kind = %R::kind(&()), name = resource.name_any(), %error, "a failure could not be told");
    }
}

/// What happens after an error: a pause that grows with each failure of the same object.
pub fn after_error<R: Reconciled>(
    guard: Arc<DeserializeGuard<R>>,
    error: &Error,
    context: Arc<Context>,
) -> Action {
    let name = guard.name_any();
    let pause = context.failures.pause(&key(guard.meta()));
    if error.is_conflict() {
        tracing::debug!(kind = %R::kind(&()), name, %error, "the world moved on; looking again");
    } else {
        tracing::warn!(kind = %R::kind(&()), name, %error, pause = ?pause, "a pass failed");
    }
    Action::requeue(pause)
}
