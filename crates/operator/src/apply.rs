//! From a planned write to the API call that does it. Every delete is preceded by a live read and names the UID.

use api::names::FIELD_MANAGER;
use kube::ResourceExt;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams,
    PostParams, Preconditions, ValidationDirective,
};
use plan::{Kind, Object, Write};
use serde_json::json;

use crate::context::{Context, call};
use crate::error::Error;
use crate::pass::Reconciled;

fn objects(context: &Context, namespace: &str, kind: Kind) -> Api<DynamicObject> {
    let (api_version, name, plural) = kind.api();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, name), plural);
    if kind.is_namespaced() {
        Api::namespaced_with(context.client.clone(), namespace, &resource)
    } else {
        Api::all_with(context.client.clone(), &resource)
    }
}

/// A resource version that no object ever has: etcd counts from 1, and that is the empty store's. What is applied with
/// it is made if there is none, and is in conflict with whatever is there, also with what came a moment ago: that is
/// somebody else's, and must not become ours by being written to.
const OF_NOTHING: &str = "1";

/// Server-side apply; only of fields that the API server knows.
fn parameters(force: bool) -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        force,
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::default()
    }
}

/// JSON merge patch.
fn merge() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Does one write.
pub async fn apply<R: Reconciled>(
    context: &Context,
    owner: &R,
    namespace: &str,
    write: &Write,
) -> Result<(), Error> {
    match write {
        Write::Create(object) => create(context, namespace, object).await,
        Write::Apply(object) => {
            let kind = object.kind.api().1;
            // The UID says that the object is the one that was observed, which is ours.
            let ours = object.value["metadata"]["uid"].is_string();
            let mut value = object.value.clone();
            if !ours {
                value["metadata"]["resourceVersion"] = json!(OF_NOTHING);
            }
            let patch = objects(context, namespace, object.kind);
            call(
                "apply",
                kind,
                object.name(),
                patch.patch(object.name(), &parameters(ours), &Patch::Apply(&value)),
            )
            .await?;
            done(context, owner, "apply", kind, object.name());
            Ok(())
        }
        Write::Patch(object) => {
            let kind = object.kind.api().1;
            call(
                "patch",
                kind,
                object.name(),
                objects(context, namespace, object.kind).patch(
                    object.name(),
                    &merge(),
                    &Patch::Merge(&object.value),
                ),
            )
            .await?;
            done(context, owner, "patch", kind, object.name());
            Ok(())
        }
        Write::Delete { kind, name, uid } => delete(context, namespace, *kind, name, uid).await,
        Write::Finalizers(finalizers) => {
            let name = owner.name_any();
            let change = json!({"metadata": {"uid": owner.uid(), "resourceVersion": owner.resource_version(),
                "finalizers": finalizers}});
            let resources: Api<R> = Api::namespaced(context.client.clone(), namespace);
            call(
                "patch",
                "finalizers of",
                &name,
                resources.patch_metadata(&name, &merge(), &Patch::Merge(change)),
            )
            .await?;
            Ok(())
        }
    }
}

async fn create(context: &Context, namespace: &str, object: &Object) -> Result<(), Error> {
    let kind = object.kind.api().1;
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let value: Result<DynamicObject, _> = serde_json::from_value(object.value.clone());
    let value = value.map_err(kube::Error::SerdeError);
    let posted = async {
        objects(context, namespace, object.kind)
            .create(&parameters, &value?)
            .await
    };
    call("create", kind, object.name(), posted).await?;
    context.metrics.write("create", kind);
    tracing::info!(namespace, kind, name = object.name(), "created");
    Ok(())
}

/// Deletes an object if it is still the one with this UID.
pub async fn delete(
    context: &Context,
    namespace: &str,
    kind: Kind,
    name: &str,
    uid: &str,
) -> Result<(), Error> {
    let (_, kind_name, _) = kind.api();
    let api = objects(context, namespace, kind);
    let live = call("get", kind_name, name, api.get_metadata_opt(name)).await?;
    if live.and_then(|live| live.metadata.uid).as_deref() != Some(uid) {
        return Ok(());
    }
    let options = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    match call("delete", kind_name, name, api.delete(name, &options)).await {
        Err(error) if error.is_conflict() => Ok(()),
        other => other.map(|_| {
            context.metrics.write("delete", kind_name);
            tracing::info!(namespace, kind = kind_name, name, "deleted");
        }),
    }
}

fn done<R: Reconciled>(
    context: &Context,
    owner: &R,
    verb: &'static str,
    kind: &'static str,
    name: &str,
) {
    context.metrics.write(verb, kind);
    tracing::info!(namespace = owner.namespace(), kind, name, "{verb}");
}
