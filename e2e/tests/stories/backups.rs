//! Backups of a database that is being written to, by every method, and what a restore of each has.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use api::Engine;
use api::backup::{Consistency, Method};
use e2e::client::secret;
use e2e::length::many;
use e2e::objects::PARTS;
use e2e::space::story;
use e2e::{Database, Space, Writer};
use serde_json::json;

#[tokio::test]
async fn postgresql_is_backed_up_and_restored_by_every_method() -> Result<()> {
    every_method("story-backup-postgresql", Engine::Postgresql).await
}

#[tokio::test]
async fn mysql_is_backed_up_and_restored_by_every_method() -> Result<()> {
    every_method("story-backup-mysql", Engine::Mysql).await
}

#[tokio::test]
async fn mariadb_is_backed_up_and_restored_by_every_method() -> Result<()> {
    every_method("story-backup-mariadb", Engine::Mariadb).await
}

async fn every_method(name: &str, engine: Engine) -> Result<()> {
    story(name, |space| async move {
        let spec = json!({"engine": engine.name(), "storage": {"size": "1Gi"}, "username": "owner",
            "database": "ledger"});
        space.apply_instance("source", spec).await?;
        space.until_settled("source").await?;
        let source = Database::bound(&space, engine, "source").await?;
        source.reached().await?;
        source.sql("CREATE TABLE t (n int PRIMARY KEY)").await?;
        let mut writer = Writer::start(&source, "t").await?;
        for cycle in 0..many(1, 20) {
            for method in [Method::Online, Method::Quiesced] {
                cut_and_copy(&space, &source, &writer, method, cycle).await?;
            }
        }
        // The server stops for this cut, and with it the connection of the writer.
        cut_and_copy(&space, &source, &writer, Method::Offline, 0).await?;
        space.until_settled("source").await?;
        source.reached().await?;
        let kept = rows(&source).await?;
        ensure!(
            kept.starts_with(&writer.acknowledged()),
            "the source lost rows: {} of {}",
            kept.len(),
            writer.acknowledged().len()
        );
        source.sql("DELETE FROM t").await?;
        writer = Writer::start(&source, "t").await?;
        proved(&space).await?;
        ensure!(
            !writer.acknowledged().is_empty(),
            "nothing was written while the backup was proved"
        );
        Ok(())
    })
    .await
}

/// One backup under load and one restore of it.
async fn cut_and_copy(
    space: &Space,
    source: &Database<'_>,
    writer: &Writer,
    method: Method,
    cycle: usize,
) -> Result<()> {
    let name = format!("{}-{cycle}", method.name().to_lowercase());
    space
        .until("the writer is at work", || async {
            Ok(!writer.acknowledged().is_empty())
        })
        .await?;
    let (before, began) = (writer.acknowledged(), Instant::now());
    space
        .step(
            &format!("backup {name}"),
            space.back_up(
                &name,
                json!({"instance": "source", "method": method.name()}),
            ),
        )
        .await?;
    let backup = space.check_complete(&name).await?;
    let status = backup.status.context("no status")?;
    let expected = match method {
        Method::Online => Consistency::CrashConsistent,
        Method::Quiesced => Consistency::Quiesced,
        Method::Offline => Consistency::Offline,
    };
    ensure!(
        status.consistency == Some(expected),
        "{name}: {:?}",
        status.consistency
    );
    ensure!(
        (method == Method::Quiesced) == status.held_milliseconds.is_some(),
        "{name}: {:?}",
        status.held_milliseconds
    );
    eprintln!(
        "{} {name}: writes held for {:?} ms; longest pause of the writer {:?}",
        space.name,
        status.held_milliseconds,
        writer.longest_pause_since(began)
    );
    // Both ways to restore, for each method in turn.
    let by_restore = cycle.is_multiple_of(2) == (method != Method::Quiesced);
    copy_of(space, source, &name, by_restore, &before).await
}

/// Restores it, by a DatabaseRestore or by an instance's own restoreFrom, and looks at what came of it.
async fn copy_of(
    space: &Space,
    source: &Database<'_>,
    backup: &str,
    by_restore: bool,
    before: &[u64],
) -> Result<()> {
    let copy = format!("copy-{backup}");
    let engine = source.engine();
    let step = format!("restore {backup}");
    if by_restore {
        let restore = space
            .step(&step, space.restore(&copy, backup, &copy))
            .await?;
        let status = restore.status.context("no status")?;
        ensure!(
            status.duration.is_some() && !status.steps.is_empty(),
            "{status:?}"
        );
        eprintln!(
            "{} {backup}: {:?} {:?}",
            space.name, status.duration, status.steps
        );
    } else {
        let spec = json!({"engine": engine.name(), "storage": {"size": "2Gi"}, "username": "owner",
            "restoreFrom": {"backup": {"name": backup}}});
        space.apply_instance(&copy, spec).await?;
        space.step(&step, space.until_settled(&copy)).await?;
    }
    let instance = space.until_settled(&copy).await?;
    let from = instance
        .status
        .and_then(|status| status.restored_from)
        .context("no restoredFrom")?;
    ensure!(
        from.backup == backup && from.instance == "source",
        "{from:?}"
    );
    let restored = Database::bound(space, engine, &copy).await?;
    restored.reached().await?;
    let found = rows(&restored).await?;
    ensure!(
        found.starts_with(before),
        "{copy}: rows are missing that were acknowledged before the backup: {} of {}",
        found.len(),
        before.len()
    );
    let whole = found.iter().copied().eq(1..=found.len() as u64);
    ensure!(
        whole,
        "{copy}: what was written one after another has a hole"
    );
    // The source's password does not open the copy, and the copy's own does not open the source.
    let (of_source, of_copy) = (
        secret(space, "source", "password").await?,
        secret(space, &copy, "password").await?,
    );
    ensure!(of_source != of_copy);
    ensure!(
        restored
            .with_password(&of_source)
            .sql("SELECT 1")
            .await
            .is_err(),
        "{copy}: the source's password opens it"
    );
    ensure!(
        source
            .with_password(&of_copy)
            .sql("SELECT 1")
            .await
            .is_err(),
        "the password of {copy} opens the source"
    );
    // The copy is a database of its own.
    restored.sql("DROP TABLE t").await?;
    space
        .patch(&copy, json!({"deletionPolicy": "Delete"}))
        .await?;
    space
        .until(&format!("{copy} may be deleted"), || async {
            let status = space
                .instances()
                .get(&copy)
                .await?
                .status
                .unwrap_or_default();
            Ok(status.deletion_policy == Some(api::instance::DeletionPolicy::Delete))
        })
        .await?;
    space.kubectl(&["delete", "dbinstance", &copy], "").await?;
    source.reached().await?;
    ensure!(
        rows(source).await?.starts_with(before),
        "the source lost rows when {copy} wrote or went"
    );
    Ok(())
}

/// The last of it is proved: restored into a throw-away instance, checked, and gone.
async fn proved(space: &Space) -> Result<()> {
    let spec = json!({"instance": "source", "verify": true});
    space.apply_backup("proved", spec).await?;
    let said = space
        .step(
            "backup and proof",
            space.until_backup_says("proved", "Verified", "True", "Checked"),
        )
        .await?;
    eprintln!("{}: {said}", space.name);
    space
        .until("the throw-away instance is gone", || async {
            let left = space.names(&PARTS).await?;
            Ok(!left.iter().any(|name| name.contains("verify-")))
        })
        .await?;
    let backup = space.backups().get("proved").await?;
    let proof = backup
        .status
        .and_then(|status| status.verification)
        .context("no verification")?;
    ensure!(
        proof.restore_seconds.is_some() && proof.verified_at.is_some() && !proof.steps.is_empty(),
        "{proof:?}"
    );
    let instance = space.instances().get("source").await?;
    let last = instance
        .status
        .and_then(|status| status.last_verified_backup)
        .context("no lastVerifiedBackup")?;
    ensure!(last.name == "proved", "{last:?}");
    Ok(())
}

/// The rows of the table, in order.
async fn rows(database: &Database<'_>) -> Result<Vec<u64>> {
    let said = database.sql("SELECT n FROM t ORDER BY n").await?;
    said.lines()
        .map(|line| line.parse().context("not a number"))
        .collect()
}
