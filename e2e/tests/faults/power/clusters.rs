//! The node loses its power under a cluster of three that is written to: it comes back by itself, with every
//! acknowledged row.

use anyhow::Result;
use e2e::space::story;
use e2e::{Database, Space, Writer, none_lost};
use serde_json::json;

use super::Power;

const NAME: &str = "shop";
/// Rows that are acknowledged at least.
const ROWS: usize = 100;

/// The cluster is back by itself.
pub async fn story_of(power: &Power) -> Result<()> {
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
        power.all().await;
        power.all().await;
        let dark = power.lost().await?;
        // What was reported before the crash does not count.
        space
            .until("all servers are other containers", || async {
                let now = containers(&space).await?;
                Ok(now.len() == 3 && now.iter().all(|container| !before.contains(container)))
            })
            .await?;
        space.until_ha(NAME).await?;
        eprintln!(
            "crash: all servers serve {:.1?} after the crash",
            dark.elapsed()
        );
        let acknowledged = writer.acknowledged();
        drop(writer);
        let primary = Database::primary(&space, NAME).await?;
        primary.works_again().await?;
        none_lost("crash", &primary, "t", &acknowledged).await
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
