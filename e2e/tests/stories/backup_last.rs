//! With deletionPolicy Snapshot a last backup is taken before the data goes, and without a good one it does not go.

use anyhow::{Result, ensure};
use api::backup::{BackupPhase, Consistency};
use e2e::space::story;
use e2e::{Database, Space, Writer};
use serde_json::json;

use crate::backup_deletion::{ENGINE, data_gone, delete, prepare, row, until_gone, until_phase};
use crate::stalls::says;

#[tokio::test]
async fn the_last_backup_has_every_acknowledged_row() -> Result<()> {
    story("story-backup-last", |space| async move {
        let space = &space;
        prepare(
            space,
            "shop",
            json!({"deletionPolicy": "Snapshot", "database": "shop"}),
        )
        .await?;
        let database = Database::bound(space, ENGINE, "shop").await?;
        database.sql("DELETE FROM t").await?;
        let writer = Writer::start(&database, "t").await?;
        space
            .until("there are some rows", || async {
                Ok(writer.acknowledged().len() > 500)
            })
            .await?;
        // It writes until the server is stopped for its last backup.
        delete(space, "shop").await?;
        space
            .step("last backup and end", data_gone(space, "shop"))
            .await?;
        let acknowledged = writer.acknowledged();
        let backups = space.backups().list(&Default::default()).await?.items;
        let [last] = backups.as_slice() else {
            anyhow::bail!("{} backups", backups.len())
        };
        let name = last.metadata.name.clone().unwrap_or_default();
        ensure!(name.starts_with("shop-final-"), "the last backup is {name}");
        let backup = space.check_complete(&name).await?;
        let status = backup.status.unwrap_or_default();
        ensure!(
            status.phase == Some(BackupPhase::Ready)
                && status.consistency == Some(Consistency::Offline),
            "{status:?}"
        );
        space
            .until("the volume is gone", || async {
                Ok(space.volumes().await?.is_empty())
            })
            .await?;
        space.until_snapshots(1).await?;
        space
            .step("restored", space.restore("shop", &name, "shop"))
            .await?;
        let database = Database::bound(space, ENGINE, "shop").await?;
        database.reached().await?;
        let found = database.sql("SELECT n FROM t ORDER BY n").await?;
        let found: Vec<u64> = found.lines().filter_map(|line| line.parse().ok()).collect();
        ensure!(
            found.starts_with(&acknowledged),
            "{} rows of {} that were acknowledged",
            found.len(),
            acknowledged.len()
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_last_backup_that_fails_holds_the_data_until_a_person_decides() -> Result<()> {
    story("story-backup-last-fails", |space| async move {
        let space = &space;
        let names = ["kept", "let-go", "cured"];
        let broken = || {
            json!({"deletionPolicy": "Snapshot", "database": "shop",
            "backup": {"snapshotClassName": "broken"}})
        };
        futures::future::try_join_all(names.map(|name| prepare(space, name, broken()))).await?;
        for name in names {
            delete(space, name).await?;
        }
        for name in names {
            let told = space.until("its last backup has failed", || async {
                Ok(space
                    .field(
                        &format!("dbinstance/{name}"),
                        ".status.conditions[?(@.type==\"Ready\")].reason",
                    )
                    .await?
                    == "FinalBackupFailed")
            });
            space.step(name, told).await?;
            let said = space
                .field(
                    &format!("dbinstance/{name}"),
                    ".status.conditions[?(@.type==\"Ready\")].message",
                )
                .await?;
            says(
                &said,
                &[
                    "the data stays",
                    "The storage driver reports",
                    "Delete that DatabaseBackup",
                    "spec.deletionPolicy to Retain or Delete",
                ],
            )?;
            ensure!(
                !space
                    .field(&format!("pvc/{name}"), ".metadata.uid")
                    .await?
                    .is_empty(),
                "{name}: the volume is gone"
            );
        }
        space
            .patch("kept", json!({"deletionPolicy": "Retain"}))
            .await?;
        space
            .patch("let-go", json!({"deletionPolicy": "Delete"}))
            .await?;
        space
            .patch("cured", json!({"backup": {"snapshotClassName": "btrfs"}}))
            .await?;
        let of_cured = last_backup(space, "cured").await?;
        space
            .kubectl(&["delete", "dbbackup", &of_cured], "")
            .await?;
        space
            .step("kept goes", until_gone(space, "dbinstance/kept"))
            .await?;
        space
            .step("let go with its data", data_gone(space, "let-go"))
            .await?;
        space.step("cured goes", data_gone(space, "cured")).await?;
        until_phase(space, &of_cured, BackupPhase::Ready).await?;
        for object in ["pvc/kept", "secret/kept", "secret/kept-admin"] {
            ensure!(
                !space.field(object, ".metadata.uid").await?.is_empty(),
                "{object} is gone"
            );
        }
        space
            .step("restored", space.restore("copy", &of_cured, "copy"))
            .await?;
        row(space, "copy").await?;
        // What failed stays for a person to see, except where the data was let go.
        space
            .until("the failed backup has gone with the data", || async {
                Ok(last_backup(space, "let-go").await?.is_empty())
            })
            .await?;
        let of_kept = last_backup(space, "kept").await?;
        space.kubectl(&["delete", "dbbackup", &of_kept], "").await?;
        space.until_snapshots(1).await
    })
    .await
}

/// The name of an instance's last backup, or "" if there is none.
async fn last_backup(space: &Space, instance: &str) -> Result<String> {
    let backups = space.backups().list(&Default::default()).await?;
    let mut names = backups
        .into_iter()
        .filter_map(|backup| backup.metadata.name);
    let found = names.find(|name| name.starts_with(&format!("{instance}-final-")));
    Ok(found.unwrap_or_default())
}
