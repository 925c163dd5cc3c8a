//! Two replicas are safe: one works, and when it dies the other takes over.

use anyhow::{Context, Result, ensure};
use e2e::Space;
use e2e::space::story;
use serde_json::json;

const OPERATOR: [&str; 2] = ["-n", "minidbaas-system"];

async fn operator(space: &Space, arguments: &[&str]) -> Result<String> {
    let all: Vec<&str> = OPERATOR.iter().chain(arguments).copied().collect();
    space.cluster.kubectl(&all, "").await
}

async fn holder(space: &Space) -> Result<String> {
    let path = "jsonpath={.spec.holderIdentity}";
    operator(space, &["get", "lease", "minidbaas", "-o", path]).await
}

async fn scale(space: &Space, replicas: &str) -> Result<()> {
    operator(
        space,
        &[
            "scale",
            "deployment/minidbaas",
            &format!("--replicas={replicas}"),
        ],
    )
    .await?;
    operator(
        space,
        &[
            "rollout",
            "status",
            "deployment/minidbaas",
            "--timeout=120s",
        ],
    )
    .await
    .map(|_| ())
}

#[tokio::test]
async fn a_standby_takes_over_when_the_active_replica_dies() -> Result<()> {
    story("story-leader", |space| async move {
        scale(&space, "2").await?;
        let told = take_over(&space).await;
        scale(&space, "1").await?;
        told
    })
    .await
}

async fn take_over(space: &Space) -> Result<()> {
    let spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"}});
    space.apply_instance("before", spec.clone()).await?;
    space.until_settled("before").await?;
    let first = holder(space).await?;
    ensure!(!first.is_empty(), "nobody holds the Lease");
    let mark = space.cluster.mark()?;
    operator(
        space,
        &["delete", "pod", &first, "--grace-period=0", "--force"],
    )
    .await?;
    space.apply_instance("after", spec).await?;
    space.until_settled("after").await?;
    let second = holder(space).await?;
    ensure!(
        second != first && !second.is_empty(),
        "the Lease is still held by {first}"
    );
    let created: Vec<String> = space
        .cluster
        .operator_writes_since(&mark)?
        .into_iter()
        .filter(|write| {
            write.response_status.code == 201
                && write.object_ref.namespace == space.name
                && write.object_ref.resource != "events"
        })
        .map(|write| format!("{} {}", write.object_ref.resource, write.object_ref.name))
        .collect();
    let mut once = created.clone();
    once.sort();
    once.dedup();
    ensure!(
        once.len() == created.len(),
        "something was made twice: {created:?}"
    );
    space
        .instances()
        .get("before")
        .await
        .context("the first instance is gone")?;
    Ok(())
}
