//! What the Zalando operator fails at is told, and done as soon as it can be, without a person who asks.

use anyhow::{Result, ensure};
use e2e::space::story;
use e2e::{Database, Space};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

const NAME: &str = "shop";

#[tokio::test]
async fn what_the_zalando_operator_failed_at_is_told_and_done_when_it_can_be() -> Result<()> {
    story("story-ha-failed", |space| async move {
        space.admit_zalando().await?;
        let spec = json!({"engine": "postgresql", "replicas": 1, "storage": {"size": "1Gi"}});
        space.apply_ha(NAME, spec).await?;
        space.step("one server", space.until_ha(NAME)).await?;
        // A pod that does not go is what it waits for in vain.
        hold(&space, json!(["minidbaas.dev/story"])).await?;
        let change = json!({"sharedBuffers": "64Mi"});
        space.patch_ha(NAME, change).await?;
        let told = space.until_ha_says(NAME, "Stalled", "True", "PostgresOperatorFailed");
        let said = space.step("its failure told", told).await?;
        ensure!(said.contains("UpdateFailed"), "{said}");
        hold(&space, Value::Null).await?;
        space.step("done after all", space.until_ha(NAME)).await?;
        let primary = Database::primary(&space, NAME).await?;
        let buffers = primary.sql("SHOW shared_buffers").await?;
        ensure!(buffers == "64MB", "{buffers}");
        Ok(())
    })
    .await
}

async fn hold(space: &Space, finalizers: Value) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(space.cluster.client.clone(), &space.name);
    let change = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    let pod = format!("{NAME}-0");
    pods.patch(&pod, &PatchParams::default(), &change).await?;
    Ok(())
}
