//! One pass, written once: observe, decide, apply, report. Each kind of resource brings its own first two steps.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use plan::Plan;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::error::Error;
use crate::{apply, report};

/// Look again after this long even if no event came: none comes of a lost Secret, because Secrets are not watched.
const USUAL: Duration = Duration::from_secs(600);
/// Our own write of a status comes back by the watch within this time, or is looked for again.
const OWN_WRITE: Duration = Duration::from_secs(1);

/// A kind of resource that is reconciled.
pub trait Reconciled:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
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
    /// The resource's status.
    type Status: Serialize + PartialEq + Clone + Send + Sync;

    /// The status as it is.
    fn status(&self) -> Option<&Self::Status>;
    /// Reads everything that `decide` looks at; writes nothing.
    fn observe(
        &self,
        context: &Context,
    ) -> impl Future<Output = Result<Self::Observed, Error>> + Send;
    /// The rules, in crate `plan`.
    fn decide(&self, observed: &Self::Observed, now: &Time) -> Plan<Self::Status>;
    /// The status when a write was refused.
    fn refused(&self, planned: &Self::Status, error: &str, now: &Time) -> Self::Status;
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
    let uid = resource.uid().unwrap_or_default();
    let version = resource.resource_version().unwrap_or_default();
    if context.is_overtaken(&uid, &version) {
        // A child's event was faster than our own status on its way back; from the old one the same would be written again.
        return Ok(Action::requeue(OWN_WRITE));
    }
    let started = Instant::now();
    let result = once(resource, &context).await;
    context
        .metrics
        .pass(&R::kind(&()), result.is_ok(), started.elapsed());
    let requeue = result?;
    context.forget_failures(&uid);
    Ok(Action::requeue(requeue.unwrap_or(USUAL)))
}

async fn once<R: Reconciled>(resource: &R, context: &Context) -> Result<Option<Duration>, Error> {
    let observed = resource.observe(context).await?;
    let now = Time(Timestamp::now());
    let plan = resource.decide(&observed, &now);
    let namespace = resource.namespace().unwrap_or_default();
    for write in &plan.writes {
        if let Err(error) = apply::apply(context, resource, &namespace, write).await {
            if error.is_refusal() {
                let status = resource.refused(&plan.status, &error.to_string(), &now);
                report::report(context, resource, &status, &[]).await?;
            }
            return Err(error);
        }
    }
    report::report(context, resource, &plan.status, &plan.notices).await?;
    Ok(plan.requeue)
}

/// What happens after an error: a pause that grows with each failure of the same object.
pub fn after_error<R: Reconciled>(
    guard: Arc<DeserializeGuard<R>>,
    error: &Error,
    context: Arc<Context>,
) -> Action {
    let (name, uid) = match &guard.0 {
        Ok(resource) => (resource.name_any(), resource.uid()),
        Err(invalid) => (
            invalid.metadata.name.clone().unwrap_or_default(),
            invalid.metadata.uid.clone(),
        ),
    };
    let pause = context.pause_after_failure(&uid.unwrap_or_default());
    if error.is_conflict() {
        tracing::debug!(kind = %R::kind(&()), name, %error, "the world moved on; looking again");
    } else {
        tracing::warn!(kind = %R::kind(&()), name, %error, pause = ?pause, "a pass failed");
    }
    Action::requeue(pause)
}
