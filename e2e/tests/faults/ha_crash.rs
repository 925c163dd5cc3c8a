//! The node loses its power under a cluster of three that is written to: it comes back by itself, with every acknowledged row.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, ensure};
use e2e::space::story;
use e2e::{Database, Space, Writer, cluster};
use serde_json::json;

const NAME: &str = "shop";
/// Rows that are acknowledged at least.
const ROWS: usize = 100;

#[tokio::test]
async fn a_cluster_is_back_by_itself_after_a_crash_of_the_node() -> Result<()> {
    story("story-ha-crash", |space| async move {
        space.admit_zalando().await?;
        let spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"}});
        space.apply_ha(NAME, spec).await?;
        space.step("three servers", space.until_ha(NAME)).await?;
        let primary = Database::primary(&space, NAME).await?;
        primary.reached().await?;
        primary.sql("CREATE TABLE t (n int)").await?;
        let writer = Writer::start(&primary, "t").await?;
        space
            .until("rows are acknowledged", || async {
                Ok(writer.acknowledged().len() >= ROWS)
            })
            .await?;
        let before = containers(&space).await?;
        cluster::script(&["crash"]).await?;
        let dark = Instant::now();
        cluster::script(&["up"]).await?;
        eprintln!(
            "ha_crash: the node is up again after {:.1?}",
            dark.elapsed()
        );
        // What was reported before the crash does not count.
        space
            .until("all servers are other containers", || async {
                let now = containers(&space).await?;
                Ok(now.len() == 3 && now.iter().all(|container| !before.contains(container)))
            })
            .await?;
        space.until_ha(NAME).await?;
        eprintln!(
            "ha_crash: all servers serve {:.1?} after the crash",
            dark.elapsed()
        );
        let acknowledged = writer.acknowledged();
        drop(writer);
        all_there(&space, &acknowledged).await
    })
    .await
}

async fn containers(space: &Space) -> Result<Vec<String>> {
    let mut containers = Vec::new();
    for number in 0..3 {
        let pod = format!("pod/{NAME}-{number}");
        let container = space
            .field(&pod, ".status.containerStatuses[0].containerID")
            .await?;
        containers.extend((!container.is_empty()).then_some(container));
    }
    Ok(containers)
}

async fn all_there(space: &Space, acknowledged: &[u64]) -> Result<()> {
    let primary = Database::primary(space, NAME).await?;
    space
        .until("the client works again", || async {
            Ok(primary.sql("SELECT 1").await.is_ok())
        })
        .await?;
    let rows = primary.sql("SELECT n FROM t").await?;
    let found: BTreeSet<u64> = rows.lines().map(str::parse).collect::<Result<_, _>>()?;
    let lost: Vec<&u64> = acknowledged.iter().filter(|n| !found.contains(n)).collect();
    ensure!(
        lost.is_empty(),
        "{} acknowledged rows are lost: {lost:?}",
        lost.len()
    );
    eprintln!(
        "ha_crash: {} rows acknowledged, {} found",
        acknowledged.len(),
        found.len()
    );
    Ok(())
}
