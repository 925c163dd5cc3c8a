//! The node loses its power while databases are written to and while others start for the first time.

use anyhow::{Result, ensure};
use api::Engine;
use e2e::space::story;
use e2e::{Database, Space, Writer, none_lost};
use serde_json::json;

use super::Power;

/// Rows that each writer has got acknowledged at least.
const ROWS: usize = 100;

/// No acknowledged row and no first start is lost.
pub async fn story_of(power: &Power) -> Result<()> {
    story("story-crash", |space| async move {
        let writers = start_writers(&space).await?;
        let before = containers(&space).await?;
        power.all().await;
        // They take a few seconds only, so the others begin before.
        power.all().await;
        begin_first_starts(&space).await?;
        let dark = power.lost().await?;
        for (engine, container) in Engine::ALL.into_iter().zip(before) {
            restarted(&space, engine, &container).await?;
        }
        for engine in Engine::ALL {
            for name in [kept(engine), fresh(engine)] {
                space.until_settled(&name).await?;
                eprintln!(
                    "crash: {name} is Ready {:.1?} after the crash",
                    dark.elapsed()
                );
            }
        }
        for (engine, writer) in Engine::ALL.into_iter().zip(&writers) {
            all_rows_are_there(&space, engine, &writer.acknowledged()).await?;
            is_usable(&space, engine).await?;
        }
        Ok(())
    })
    .await
}

fn kept(engine: Engine) -> String {
    format!("kept-{}", engine.name())
}

fn fresh(engine: Engine) -> String {
    format!("fresh-{}", engine.name())
}

async fn start_writers(space: &Space) -> Result<Vec<Writer>> {
    for engine in Engine::ALL {
        let spec = json!({"engine": engine.name(), "storage": {"size": "1Gi"}});
        space.apply_instance(&kept(engine), spec).await?;
    }
    let mut writers = Vec::new();
    for engine in Engine::ALL {
        space.until_settled(&kept(engine)).await?;
        let database = Database::bound(space, engine, &kept(engine)).await?;
        database.sql("CREATE TABLE kept (n int)").await?;
        writers.push(Writer::start(&database, "kept").await?);
    }
    for (engine, writer) in Engine::ALL.into_iter().zip(&writers) {
        space
            .until(
                &format!("{ROWS} rows are acknowledged by {}", engine.name()),
                || async { Ok(writer.acknowledged().len() >= ROWS) },
            )
            .await?;
    }
    Ok(writers)
}

/// The servers' containers, in the engines' order: others mean a restart.
async fn containers(space: &Space) -> Result<Vec<String>> {
    let mut containers = Vec::new();
    for engine in Engine::ALL {
        containers.push(container(space, engine).await?);
    }
    Ok(containers)
}

async fn container(space: &Space, engine: Engine) -> Result<String> {
    let pod = format!("pod/{}-0", kept(engine));
    space
        .field(&pod, ".status.containerStatuses[0].containerID")
        .await
}

/// Applies three more and returns when the first of their volumes is being written to.
async fn begin_first_starts(space: &Space) -> Result<()> {
    for engine in Engine::ALL {
        let spec = json!({"engine": engine.name(), "storage": {"size": "1Gi"}});
        space.apply_instance(&fresh(engine), spec).await?;
    }
    let preparing = || async {
        let mut running = Vec::new();
        for engine in Engine::ALL {
            let pod = format!("pod/{}-0", fresh(engine));
            let path = ".status.initContainerStatuses[0].state.running.startedAt";
            running.push(!space.field(&pod, path).await?.is_empty());
        }
        anyhow::Ok(running)
    };
    space
        .until("a first start is under way", || async {
            Ok(preparing().await?.contains(&true))
        })
        .await?;
    eprintln!("crash: first starts under way: {:?}", preparing().await?);
    Ok(())
}

/// What was reported before the crash does not count: the server must be another process.
async fn restarted(space: &Space, engine: Engine, before: &str) -> Result<()> {
    let what = format!("{} has a new container", kept(engine));
    space
        .until(&what, || async {
            let now = container(space, engine).await?;
            Ok(!now.is_empty() && now != before)
        })
        .await
}

async fn all_rows_are_there(space: &Space, engine: Engine, acknowledged: &[u64]) -> Result<()> {
    ensure!(acknowledged.len() >= ROWS, "the writer was not at work");
    let database = connected(space, engine, &kept(engine)).await?;
    let what = format!("crash: {}", engine.name());
    none_lost(&what, &database, "kept", acknowledged).await
}

async fn is_usable(space: &Space, engine: Engine) -> Result<()> {
    let database = connected(space, engine, &fresh(engine)).await?;
    database
        .sql("CREATE TABLE t (n int); INSERT INTO t VALUES (42);")
        .await?;
    ensure!(database.sql("SELECT n FROM t").await? == "42");
    Ok(())
}

async fn connected<'a>(space: &'a Space, engine: Engine, name: &str) -> Result<Database<'a>> {
    let database = Database::bound(space, engine, name).await?;
    database.works_again().await?;
    Ok(database)
}
