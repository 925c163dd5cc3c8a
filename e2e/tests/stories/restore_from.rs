//! An instance that starts from a backup: refused if that cannot work, empty if it may be, and in time if the backup
//! comes late.

use anyhow::{Result, ensure};
use e2e::space::story;
use e2e::{Database, Space};
use serde_json::{Value, json};

use crate::backup_refusals::{made, small};
use crate::restore_refusals::{ENGINE, prepare, refused};
use crate::stalls::{says, stalled};

#[tokio::test]
async fn an_instance_that_cannot_start_from_its_backup_is_refused() -> Result<()> {
    story("story-restore-from", |space| async move {
        let space = &space;
        let exact = prepare(space).await?;
        let before = made(space).await?;
        let spec = |backup: &str, changes: Value| {
            let mut spec = small(
                ENGINE.name(),
                json!({"username": "owner", "restoreFrom": {"backup": {"name": backup}}}),
            );
            if let (Value::Object(spec), Value::Object(changes)) = (&mut spec, changes) {
                spec.extend(changes);
            }
            spec
        };
        let class = json!({"storage": {"size": "1Gi", "className": "unsnapshottable"}});
        let cases: &[(&str, Value, &str, &[&str])] = &[
            (
                "missing",
                spec("none", json!({})),
                "BackupNotAvailable",
                &["spec.restoreFrom.backup", "none"],
            ),
            (
                "failed",
                spec("failed", json!({})),
                "BackupUnusable",
                &["failed", "The storage driver reports"],
            ),
            (
                "engine",
                spec("good", json!({"engine": "mysql"})),
                "RestoreMismatch",
                &["spec.engine is mysql", "spec.engine: postgresql"],
            ),
            (
                "username",
                spec("good", json!({"username": "other"})),
                "RestoreMismatch",
                &["spec.username is other", "spec.username: owner"],
            ),
            (
                "database",
                spec("good", json!({"database": "other"})),
                "RestoreMismatch",
                &["spec.database is other", "spec.database: ledger"],
            ),
            (
                "small",
                spec("good", json!({"storage": {"size": "512Mi"}})),
                "VolumeTooSmall",
                &["spec.storage.size is 512Mi", "at least 1Gi"],
            ),
            (
                "driver",
                spec("good", class),
                "SnapshotUnsupported",
                &["spec.storage.className", "plain.csi", "btrfs.csi"],
            ),
        ];
        for (name, spec, _, _) in cases {
            space.apply_instance(name, spec.clone()).await?;
        }
        for (name, _, reason, words) in cases {
            stalled(space, name, reason, words).await?;
        }
        let mut now = made(space).await?;
        now.retain(|name, _| {
            !cases
                .iter()
                .any(|(case, _, _, _)| *name == format!("DatabaseInstance/{case}"))
        });
        ensure!(
            now == before,
            "there was\n{before:?}\nand there is\n{now:?}"
        );
        let patch = json!({"spec": {"restoreFrom": {"backup": {"name": "good"}}}}).to_string();
        let patch = [
            "patch",
            "dbinstance",
            "missing",
            "--type=merge",
            "--patch",
            &patch,
        ];
        says(
            &space.refused(&patch, "").await?,
            &["spec.restoreFrom", "cannot be changed"],
        )?;
        if_exists(space, &exact).await
    })
    .await
}

/// One manifest for both: with the backup it is restored, without it starts empty.
async fn if_exists(space: &Space, exact: &str) -> Result<()> {
    let own = |backup: &str| {
        let from = json!({"backup": {"name": backup}, "ifExists": true});
        small(
            ENGINE.name(),
            json!({"username": "owner", "database": "ledger", "restoreFrom": from}),
        )
    };
    space.apply_instance("empty", own("none")).await?;
    space.apply_instance("full", own("good")).await?;
    for (name, tables) in [("empty", "0"), ("full", "1")] {
        let instance = space.step(name, space.until_settled(name)).await?;
        let status = instance.status.unwrap_or_default();
        ensure!(
            status.restored_from.is_some() == (name == "full"),
            "{name}: {:?}",
            status.restored_from
        );
        let database = Database::bound(space, ENGINE, name).await?;
        database.reached().await?;
        let found = database
            .sql("SELECT count(*) FROM pg_tables WHERE tablename = 't'")
            .await?;
        ensure!(found == tables, "{name} has {found} tables t");
    }
    let version = space
        .instances()
        .get("full")
        .await?
        .status
        .and_then(|status| status.version);
    ensure!(version.as_deref() == Some(exact), "version {version:?}");
    // A backup of that name that comes later changes nothing.
    space.back_up("none", json!({"instance": "source"})).await?;
    space.until_settled("empty").await.map(|_| ())
}

#[tokio::test]
async fn a_restore_waits_for_its_backup() -> Result<()> {
    story("story-restore-early", |space| async move {
        let space = &space;
        space
            .apply_instance("source", small(ENGINE.name(), json!({})))
            .await?;
        space.until_settled("source").await?;
        let source = Database::bound(space, ENGINE, "source").await?;
        source.reached().await?;
        source
            .sql("CREATE TABLE t (n int); INSERT INTO t VALUES (42)")
            .await?;
        let before = made(space).await?;
        let backup = json!({"name": "slow"});
        refused(
            space,
            "early",
            json!({"backup": backup, "instance": "copy"}),
            "BackupNotAvailable",
            &["goes on by itself"],
        )
        .await?;
        let also = small(
            ENGINE.name(),
            json!({"restoreFrom": {"backup": backup}, "database": "source"}),
        );
        space.apply_instance("also", also).await?;
        stalled(space, "also", "BackupNotAvailable", &["goes on by itself"]).await?;
        let mut now = made(space).await?;
        now.remove("DatabaseInstance/also");
        ensure!(
            now == before,
            "there was\n{before:?}\nand there is\n{now:?}"
        );
        space
            .apply_backup(
                "slow",
                json!({"instance": "source", "snapshotClassName": "slow-ready"}),
            )
            .await?;
        let told = async {
            let told = space.until_restore_says("early", "Ready", "False", "BackupNotReady");
            says(
                &space.step("not ready told", told).await?,
                &["not ready yet"],
            )
        };
        let of_instance = space.until_condition("also", "Ready", "False", "BackupNotReady");
        futures::try_join!(told, of_instance)?;
        let restored = async { space.until_restored("early").await.map(|_| ()) };
        let settled = async { space.until_settled("also").await.map(|_| ()) };
        let both = async { futures::try_join!(restored, settled) };
        space.step("restored by itself", both).await?;
        for name in ["copy", "also"] {
            let database = Database::bound(space, ENGINE, name).await?;
            database.reached().await?;
            ensure!(
                database.sql("SELECT n FROM t").await? == "42",
                "{name} has not the row"
            );
        }
        Ok(())
    })
    .await
}
