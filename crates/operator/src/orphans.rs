//! What belongs to no namespace can have no owner in one: the VolumeSnapshotContent by which an instance reads another
//! namespace's snapshot goes by the instance's finalizer. Where that was torn off, it is deleted here.

use std::time::Duration;

use api::external::snapshot::VolumeSnapshotContent;
use api::names::{
    ANNOTATION_INSTANCE_NAMESPACE, COMPONENT_IMPORTED_SNAPSHOT, LABEL_COMPONENT, LABEL_INSTANCE,
    LABEL_MANAGED_BY, MANAGED_BY,
};
use api::{DatabaseInstance, object_name::is_label};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Resource};
use plan::{Kind, instance::is_orphan};

use crate::apply::delete;
use crate::context::{Context, Scope};
use crate::controllers::reader::{Most, Reader, pages};
use crate::error::Error;

/// How often it is looked for them.
const PERIOD: Duration = Duration::from_secs(3600);

/// Looks for them at once and every hour; ends never.
pub async fn run(context: &Context) {
    loop {
        match sweep(context).await {
            // Without the role for restores from other namespaces there is none.
            Err(error) if error.is_forbidden() || error.is_missing() => {}
            Err(error) => {
                tracing::warn!(%error, "VolumeSnapshotContents without an instance were not looked for");
            }
            Ok(()) => {}
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Deletes those whose instance is gone.
pub async fn sweep(context: &Context) -> Result<(), Error> {
    let contents: &Api<VolumeSnapshotContent> = &Api::all(context.client.clone());
    let labels =
        format!("{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_COMPONENT}={COMPONENT_IMPORTED_SNAPSHOT}");
    let parameters = ListParams::default().labels(&labels);
    let page = |asked: ListParams| async move { contents.list_metadata(&asked).await };
    let keep = |content: PartialObjectMeta<VolumeSnapshotContent>| Some(content.metadata);
    let kind = VolumeSnapshotContent::kind(&());
    for content in pages(kind, &labels, parameters, Most::All, page, keep).await? {
        let (namespace, instance) = match instance(context, &content).await {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(content = content.name, %error, "its instance cannot be read");
                continue;
            }
        };
        if is_orphan(&content, instance.as_ref()) {
            let name = content.name.as_deref().unwrap_or_default();
            let uid = content.uid.as_deref().unwrap_or_default();
            delete(context, &namespace, Kind::VolumeSnapshotContent, name, uid).await?;
        }
    }
    Ok(())
}

/// The namespace that a content names, if it is one of this operator's, and what is there under the name of its
/// instance.
async fn instance(
    context: &Context,
    content: &ObjectMeta,
) -> Result<Option<(String, Option<ObjectMeta>)>, Error> {
    let annotations = content.annotations.iter().flatten();
    let mut annotations = annotations.filter(|(name, _)| *name == ANNOTATION_INSTANCE_NAMESPACE);
    let namespace = annotations.next().map(|(_, namespace)| namespace.clone());
    let labels = content.labels.iter().flatten();
    let mut labels = labels.filter(|(name, _)| *name == LABEL_INSTANCE);
    let name = labels.next().map(|(_, name)| name.clone());
    let (Some(namespace), Some(name)) = (namespace.filter(|name| is_label(name)), name) else {
        return Ok(None);
    };
    if matches!(&context.scope, Scope::Namespace(own) if *own != namespace) {
        return Ok(None);
    }
    let reader = Reader {
        context,
        namespace: &namespace,
    };
    let found = reader.metadata::<DatabaseInstance>(&name).await?;
    Ok(Some((namespace, found)))
}
