//! What is written for one resource reaches no other one of its name: a resource that is deleted and made again at once
//! is another one. Each write for a resource is made through here or carries the UID itself (`apply`).
//!
//! The API server ignores `metadata.uid` in a server-side apply or a merge patch of the *status* of a custom resource
//! (tried on 1.34), so a status is written by a JSON patch that tests the UID.

use kube::ResourceExt;
use kube::api::{Api, Patch};
use serde_json::json;

use crate::context::{Context, call};
use crate::error::Error;
use crate::pass::Reconciled;

/// The change that sets the status of this very resource.
pub fn status<R: Reconciled>(resource: &R, status: &R::Status) -> Result<Patch<()>, kube::Error> {
    let operations = json!([
        {"op": "test", "path": "/metadata/uid", "value": resource.meta().uid},
        {"op": "add", "path": "/status", "value": status},
    ]);
    serde_json::from_value(operations)
        .map(Patch::Json)
        .map_err(kube::Error::SerdeError)
}

/// That this very resource is still there. Objects that are made for it have no way to say so themselves.
pub async fn check<R: Reconciled>(context: &Context, resource: &R) -> Result<(), Error> {
    let (name, namespace) = (
        resource.name_any(),
        resource.namespace().unwrap_or_default(),
    );
    let resources: Api<R> = Api::namespaced(context.client.clone(), &namespace);
    let kind = R::kind(&());
    let live = call(
        "get",
        kind.clone(),
        &name,
        resources.get_metadata_opt(&name),
    )
    .await?;
    if live.is_some_and(|live| live.metadata.uid == resource.meta().uid) {
        return Ok(());
    }
    Err(Error::Replaced { kind, name })
}
