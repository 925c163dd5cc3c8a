//! A short YAML becomes a database that is reached through its binding.

use anyhow::{Result, ensure};
use api::Engine;
use e2e::Database;
use e2e::space::story;
use serde_json::json;

#[tokio::test]
async fn each_engine_is_used_through_its_uri() -> Result<()> {
    story("story-creation", |space| async move {
        for engine in Engine::ALL {
            space
                .apply_instance(
                    &format!("shop-{}", engine.name()),
                    json!({"engine": engine.name(), "storage": {"size": "1Gi"}}),
                )
                .await?;
        }
        for engine in Engine::ALL {
            let name = format!("shop-{}", engine.name());
            space.until_settled(&name).await?;
            let database = Database::bound(&space, engine, &name).await?;
            database
                .sql("CREATE TABLE t (n int); INSERT INTO t VALUES (42);")
                .await?;
            ensure!(database.sql("SELECT n FROM t").await? == "42");
            let pod = format!("{name}-0");
            let log = space.kubectl(&["logs", &pod, "-c", "database"], "").await?;
            ensure!(!log.contains("external PID file"), "{log}");
        }
        Ok(())
    })
    .await
}
