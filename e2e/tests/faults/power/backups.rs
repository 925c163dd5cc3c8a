//! The node loses its power in the middle of backups and of a restore: all of them end, and those that end well are
//! whole.

use anyhow::{Context, Result, ensure};
use api::Engine;
use api::backup::BackupPhase;
use api::reported::Reported;
use api::restore::RestorePhase;
use e2e::space::story;
use e2e::{Database, Space, Writer};
use serde_json::json;

use super::Power;

/// Rows that each writer has got acknowledged at least.
const ROWS: usize = 50;
/// Snapshots of this class are cut so late that the crash comes before.
const SLOW: &str = "slow-cut";

const SOURCES: [Engine; 2] = [Engine::Postgresql, Engine::Mariadb];

/// Every backup and restore comes to its end.
pub async fn story_of(power: &Power) -> Result<()> {
    story("story-crash-backups", |space| async move {
        let writers = start_writers(&space).await?;
        let first = writers[0].acknowledged();
        space
            .back_up("before", json!({"instance": SOURCES[0].name()}))
            .await?;
        let backups: Vec<(Engine, String)> = SOURCES
            .into_iter()
            .flat_map(|engine| ["Online", "Quiesced"].map(|method| (engine, method)))
            .map(|(engine, method)| {
                (
                    engine,
                    format!("{}-{}", engine.name(), method.to_lowercase()),
                )
            })
            .collect();
        let acknowledged: Vec<Vec<u64>> = writers.iter().map(Writer::acknowledged).collect();
        power.all().await;
        begin(&space, &backups).await?;
        power.all().await;
        let dark = power.lost().await?;
        ended(&space, &backups).await?;
        eprintln!(
            "crash: all is at its end {:.1?} after the crash",
            dark.elapsed()
        );
        let mut good = vec![(SOURCES[0], "before".to_owned(), first)];
        for (engine, name) in backups {
            let status = space
                .backups()
                .get(&name)
                .await?
                .status
                .context("no status")?;
            let rows = if engine == SOURCES[0] {
                &acknowledged[0]
            } else {
                &acknowledged[1]
            };
            if status.phase == Some(BackupPhase::Ready) {
                good.push((engine, name, rows.clone()));
            }
        }
        for (engine, name, rows) in &good {
            let copy = format!("copy-{name}");
            space.restore(&copy, name, &copy).await?;
            has(&space, *engine, &copy, rows).await?;
        }
        for (engine, writer) in SOURCES.into_iter().zip(&writers) {
            space.until_settled(engine.name()).await?;
            has(&space, engine, engine.name(), &writer.acknowledged()).await?;
        }
        nothing_leaked(&space, good.len()).await
    })
    .await
}

async fn start_writers(space: &Space) -> Result<Vec<Writer>> {
    for engine in SOURCES {
        let spec = json!({"engine": engine.name(), "storage": {"size": "1Gi"}});
        space.apply_instance(engine.name(), spec).await?;
    }
    let mut writers = Vec::new();
    for engine in SOURCES {
        space.until_settled(engine.name()).await?;
        let database = Database::bound(space, engine, engine.name()).await?;
        database.reached().await?;
        database.sql("CREATE TABLE t (n int)").await?;
        let writer = Writer::start(&database, "t").await?;
        space
            .until("the writer is at work", || async {
                Ok(writer.acknowledged().len() >= ROWS)
            })
            .await?;
        writers.push(writer);
    }
    Ok(writers)
}

/// Returns when every snapshot was asked for and the volume of a restore is there.
async fn begin(space: &Space, backups: &[(Engine, String)]) -> Result<()> {
    for (engine, name) in backups {
        let method = if name.ends_with("online") {
            "Online"
        } else {
            "Quiesced"
        };
        let spec = json!({
            "instance": engine.name(), "method": method, "snapshotClassName": SLOW, "holdSeconds": 60,
                "deadlineSeconds": 120,
        });
        space.apply_backup(name, spec).await?;
    }
    for (_, name) in backups {
        let snapshot = format!("volumesnapshot/{name}");
        space
            .until(&format!("the snapshot of {name} is asked for"), || async {
                Ok(!space.field(&snapshot, ".metadata.uid").await?.is_empty())
            })
            .await?;
    }
    space
        .apply_restore(
            "copy",
            json!({"backup": {"name": "before"}, "instance": "copy"}),
        )
        .await?;
    space
        .until("the restored volume is there", || async {
            Ok(space.field("pvc/copy", ".status.phase").await? == "Bound")
        })
        .await
}

/// Waits until each is at its end, and says at which.
async fn ended(space: &Space, backups: &[(Engine, String)]) -> Result<()> {
    for (_, name) in backups {
        let is_over = || async {
            let status = space.backups().get(name).await?.status.unwrap_or_default();
            Ok(matches!(
                status.phase,
                Some(BackupPhase::Ready | BackupPhase::Failed)
            ))
        };
        space
            .until(&format!("the backup {name} is at its end"), is_over)
            .await?;
        let backup = space.backups().get(name).await?;
        let why = backup.condition("Ready").context("no Ready")?;
        ensure!(!why.message.is_empty(), "{why:?}");
        eprintln!("crash: {name}: {}: {}", why.reason, why.message);
    }
    let is_over = || async {
        let status = space
            .restores()
            .get("copy")
            .await?
            .status
            .unwrap_or_default();
        Ok(matches!(
            status.phase,
            Some(RestorePhase::Ready | RestorePhase::Failed)
        ))
    };
    space.until("the restore is at its end", is_over).await?;
    let restore = space.restores().get("copy").await?;
    let why = restore.condition("Ready").context("no Ready")?;
    eprintln!("crash: the restore: {}: {}", why.reason, why.message);
    Ok(())
}

/// All these rows are there, in an unbroken row with what came after them.
async fn has(space: &Space, engine: Engine, instance: &str, rows: &[u64]) -> Result<()> {
    let database = Database::bound(space, engine, instance).await?;
    space
        .until("the client works", || async {
            Ok(database.sql("SELECT 1").await.is_ok())
        })
        .await?;
    let said = database.sql("SELECT n FROM t ORDER BY n").await?;
    let found: Vec<u64> = said.lines().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(
        rows.len() >= ROWS && found.starts_with(rows),
        "{instance}: {} of {} rows",
        found.len(),
        rows.len()
    );
    ensure!(
        found.iter().copied().eq(1..=found.len() as u64),
        "{instance}: a hole"
    );
    eprintln!(
        "crash: {instance}: {} rows were acknowledged, {} found",
        rows.len(),
        found.len()
    );
    Ok(())
}

async fn nothing_leaked(space: &Space, good: usize) -> Result<()> {
    space.until_snapshots(good).await?;
    space
        .until("nothing is left of a hold", || async {
            let left = space.names(&["jobs", "pods"]).await?;
            Ok(!left.iter().any(|name| name.contains("quiesce-")))
        })
        .await?;
    let claims = space
        .kubectl(&["get", "pvc", "-o=name"], "")
        .await?
        .lines()
        .count();
    ensure!(space.volumes().await?.len() == claims);
    Ok(())
}
