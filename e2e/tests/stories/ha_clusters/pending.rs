//! Servers that no node has room for: the Zalando operator says Running, and our status says what is so.

use anyhow::{Result, ensure};
use e2e::space::story;
use serde_json::json;

const NAME: &str = "big";

#[tokio::test]
async fn servers_without_a_node_are_told_of_while_the_zalando_operator_says_running() -> Result<()>
{
    story("story-ha-pending", |space| async move {
        space.admit_zalando().await?;
        // More than half of the node's memory: one server finds room, and no second one.
        let memory = "13Gi";
        let spec = json!({
            "engine": "postgresql", "replicas": 1, "storage": {"size": "1Gi"},
            "resources": {"requests": {"memory": memory}, "limits": {"memory": memory}},
        });
        space.apply_ha(NAME, spec).await?;
        space.step("one server", space.until_ha(NAME)).await?;
        space.patch_ha(NAME, json!({"replicas": 2})).await?;
        let said = space
            .until_ha_says(NAME, "Ready", "False", "Unschedulable")
            .await?;
        let words = [
            "1 of 2 servers serve",
            "big-1",
            "Insufficient memory",
            "Lower spec.resources.requests.memory",
        ];
        ensure!(words.iter().all(|words| said.contains(words)), "{said}");
        space
            .until_ha_says(NAME, "Stalled", "True", "Unschedulable")
            .await?;
        space
            .until_ha_says(NAME, "Available", "True", "PrimaryServes")
            .await?;
        space
            .until("the Zalando operator says Running", || async {
                Ok(space.postgresqls().get(NAME).await?.word() == "Running")
            })
            .await?;
        let cluster = space.ha_clusters().get(NAME).await?;
        let status = cluster.status.unwrap_or_default();
        ensure!(status.ready.as_deref() == Some("1/2"), "{status:?}");
        // Told what to do, a person does it: the cluster is whole again.
        space.patch_ha(NAME, json!({"replicas": 1})).await?;
        space.step("one server again", space.until_ha(NAME)).await?;
        Ok(())
    })
    .await
}
