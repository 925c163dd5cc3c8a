//! An operator for one namespace needs rights in that namespace only, and leaves all others alone.

use anyhow::{Result, ensure};
use e2e::Space;
use e2e::space::story;
use serde_json::json;

use crate::operator::Operator;

#[tokio::test]
async fn an_operator_for_one_namespace_works_with_rights_in_that_one() -> Result<()> {
    story("story-scope", |inside| async move {
        let outside = Space::make(inside.cluster.clone(), "story-outside").await?;
        Operator::only_for(&inside, async |operator| {
            operator.start().await?;
            let spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"}});
            outside.apply_instance("shop", spec.clone()).await?;
            inside.apply_instance("shop", spec).await?;
            inside.until_settled("shop").await?;
            inside.back_up("shop", json!({"instance": "shop"})).await?;
            inside.restore("copy", "shop", "copy").await?;
            let from = json!({"name": "shop", "namespace": "story-outside"});
            let spec = json!({"backup": from, "instance": "foreign"});
            inside.apply_restore("foreign", spec).await?;
            let reason = "BackupNotAvailable";
            inside
                .until_restore_says("foreign", "Stalled", "True", reason)
                .await?;
            let status = outside.instances().get("shop").await?.status;
            ensure!(
                status.is_none(),
                "it looked at another namespace: {status:?}"
            );
            Ok(())
        })
        .await?;
        outside.begin_deletion().await
    })
    .await
}
