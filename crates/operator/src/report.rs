//! From a status to the status subresource, Events and the log; nothing is written when nothing changed.

use api::condition::beginning;
use api::names::FIELD_MANAGER;
use kube::ResourceExt;
use kube::api::{Api, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder};
use plan::PlannedEvent;

use crate::context::{Context, call};
use crate::error::Error;
use crate::identity;
use crate::pass::Reconciled;
use crate::recent::key;

/// Most bytes of an Event's text that the API server takes, a little rounded.
const NOTE: usize = 1000;

/// Writes the status if it differs, then publishes what changed.
pub async fn report<R: Reconciled>(
    context: &Context,
    resource: &R,
    status: &R::Status,
    events: &[PlannedEvent],
) -> Result<(), Error> {
    if resource.status() == Some(status) {
        return Ok(());
    }
    let name = resource.name_any();
    let namespace = resource.namespace().unwrap_or_default();
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let resources: Api<R> = Api::namespaced(context.client.clone(), &namespace);
    let written = async {
        let change = identity::status(resource, status)?;
        resources.patch_status(&name, &parameters, &change).await
    };
    let written = match call("patch", "status of", &name, written).await {
        // The API server does not say which test failed, nor that it was a test.
        Err(error) if error.is_refusal() => {
            identity::check(context, resource).await?;
            return Err(error);
        }
        // Deleted in between: there is nobody left to tell.
        Err(error) if error.is_conflict() && resource.meta().deletion_timestamp.is_some() => {
            return Ok(());
        }
        other => other?,
    };
    if let Some(version) = resource.resource_version()
        && written.resource_version().as_ref() != Some(&version)
    {
        context.overtake(&key(resource.meta()), version);
    }
    context.metrics.write("patch", "status");
    resource.count(context, status);
    for event in events {
        publish(context, resource, event).await;
    }
    Ok(())
}

/// An Event that cannot be published is only logged: it must not hold up the work.
async fn publish<R: Reconciled>(context: &Context, resource: &R, event: &PlannedEvent) {
    let PlannedEvent {
        warning,
        reason,
        message,
    } = event;
    tracing::info!(
        namespace = resource.namespace(),
        name = resource.name_any(),
        reason,
        message,
        "status"
    );
    let event = Event {
        type_: if *warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: reason.clone(),
        note: Some(beginning(message, NOTE).to_owned()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    let reference = resource.object_ref(&());
    // A recorder that lives on would count another message of the same reason as a repetition, and keep the old text.
    let recorder = Recorder::new(context.client.clone(), context.reporter.clone());
    let published = recorder.publish(&event, &reference);
    if let Err(error) = call("publish", "Event for", &resource.name_any(), published).await {
        tracing::warn!(%error, "an Event was not published");
    }
}
