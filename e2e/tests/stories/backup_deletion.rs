//! Farewells with backups in every phase: backups outlive their instance, and nothing hangs or is left of what was
//! under way.

use anyhow::{Result, ensure};
use api::Engine;
use api::backup::BackupPhase;
use e2e::length::many;
use e2e::space::story;
use e2e::{Database, Space, Writer};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::backup_refusals::small;
use crate::stalls::says;

pub const ENGINE: Engine = Engine::Mariadb;

/// A running instance with a row.
pub async fn prepare(space: &Space, name: &str, changes: Value) -> Result<()> {
    space
        .apply_instance(name, small(ENGINE.name(), changes))
        .await?;
    space.until_settled(name).await?;
    let database = Database::bound(space, ENGINE, name).await?;
    database.reached().await?;
    database
        .sql("CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (42)")
        .await
        .map(|_| ())
}

pub async fn row(space: &Space, name: &str) -> Result<()> {
    let database = Database::bound(space, ENGINE, name).await?;
    database.reached().await?;
    let found = database.sql("SELECT n FROM t").await?;
    ensure!(found == "42", "{name} has the rows {found}");
    Ok(())
}

/// Deletes an instance without waiting for its end.
pub async fn delete(space: &Space, name: &str) -> Result<()> {
    space
        .kubectl(&["delete", "dbinstance", name, "--wait=false"], "")
        .await
        .map(|_| ())
}

/// Waits until there is no such object.
pub async fn until_gone(space: &Space, object: &str) -> Result<()> {
    let gone = || async { Ok(space.field(object, ".metadata.uid").await?.is_empty()) };
    space.until(&format!("{object} is gone"), gone).await
}

/// The volume and both Secrets are gone, the volume also from the storage.
pub async fn data_gone(space: &Space, name: &str) -> Result<()> {
    for object in [
        format!("dbinstance/{name}"),
        format!("pvc/{name}"),
        format!("secret/{name}"),
        format!("secret/{name}-admin"),
    ] {
        until_gone(space, &object).await?;
    }
    Ok(())
}

pub async fn until_phase(space: &Space, name: &str, phase: BackupPhase) -> Result<()> {
    space.until_backup(name, phase).await.map(|_| ())
}

#[tokio::test]
async fn backups_outlive_an_instance_that_is_deleted_in_the_middle_of_them() -> Result<()> {
    // Retain keeps what the others let go, and Snapshot adds a backup to what Delete does.
    let policies = ["Snapshot", "Retain", "Delete"];
    let asked = policies.into_iter().take(many(1, 3));
    try_join_all(asked.map(outlived)).await.map(|_| ())
}

async fn outlived(policy: &str) -> Result<()> {
    let name = format!("story-backup-leaving-{}", policy.to_lowercase());
    story(&name, |space| async move {
        let space = &space;
        prepare(
            space,
            "shop",
            json!({"deletionPolicy": policy, "database": "shop"}),
        )
        .await?;
        space.back_up("ready", json!({"instance": "shop"})).await?;
        // Waits for its class for as long as there is an instance.
        space
            .apply_backup(
                "pending",
                json!({"instance": "shop", "snapshotClassName": "none"}),
            )
            .await?;
        space
            .until_backup_says("pending", "Stalled", "True", "SnapshotClassNotFound")
            .await?;
        space
            .apply_backup(
                "running",
                json!({"instance": "shop", "snapshotClassName": "slow-ready"}),
            )
            .await?;
        space
            .until_backup_says("running", "Ready", "False", "Completing")
            .await?;
        delete(space, "shop").await?;
        space
            .step("instance gone", until_gone(space, "dbinstance/shop"))
            .await?;
        if policy == "Retain" {
            ensure!(
                !space.field("pvc/shop", ".metadata.uid").await?.is_empty(),
                "Retain kept no volume"
            );
        } else {
            data_gone(space, "shop").await?;
            space
                .until("the volume is gone", || async {
                    Ok(space.volumes().await?.is_empty())
                })
                .await?;
        }
        until_phase(space, "ready", BackupPhase::Ready).await?;
        space
            .step(
                "running backup ready",
                until_phase(space, "running", BackupPhase::Ready),
            )
            .await?;
        let told = space.until_backup_says("pending", "Stalled", "True", "InstanceNotFound");
        says(
            &space.step("pending backup told", told).await?,
            &["no DatabaseInstance shop"],
        )?;
        for backup in ["ready", "running"] {
            let copy = format!("copy-{backup}");
            space
                .step(&copy, space.restore(&copy, backup, &copy))
                .await?;
            row(space, &copy).await?;
        }
        space
            .until_snapshots(if policy == "Snapshot" { 3 } else { 2 })
            .await
    })
    .await
}

#[tokio::test]
async fn a_backup_is_deleted_while_it_holds_writes() -> Result<()> {
    story("story-backup-deleted", |space| async move {
        let space = &space;
        prepare(space, "shop", json!({"database": "shop"})).await?;
        let database = Database::bound(space, ENGINE, "shop").await?;
        database.sql("DELETE FROM t").await?;
        let writer = Writer::start(&database, "t").await?;
        space
            .apply_backup(
                "slow",
                json!({"instance": "shop", "method": "Quiesced", "snapshotClassName": "slow-cut",
            "holdSeconds": 60}),
            )
            .await?;
        let asked = || async {
            Ok(!space
                .field("volumesnapshot/slow", ".metadata.uid")
                .await?
                .is_empty())
        };
        space.until("the cut is asked for", asked).await?;
        let jobs = || async {
            let left = space.names(&["jobs", "pods"]).await?;
            Ok::<_, anyhow::Error>(left.iter().any(|name| name.contains("quiesce-")))
        };
        ensure!(
            jobs().await?,
            "the cut was asked for and no Job holds writes"
        );
        let held = writer.acknowledged().len();
        space
            .kubectl(&["delete", "dbbackup", "slow", "--wait=false"], "")
            .await?;
        let free = space.until("the writer goes on", || async {
            Ok(writer.acknowledged().len() > held + 100)
        });
        space.step("the writer goes on", free).await?;
        space
            .until("the Job is gone", || async { Ok(!jobs().await?) })
            .await?;
        until_gone(space, "dbbackup/slow").await?;
        space
            .step("no snapshot is left", space.until_snapshots(0))
            .await?;
        // The next one finds nothing in its way.
        space
            .back_up("next", json!({"instance": "shop", "method": "Quiesced"}))
            .await?;
        let found = database.sql("SELECT n FROM t ORDER BY n").await?;
        let found: Vec<u64> = found.lines().filter_map(|line| line.parse().ok()).collect();
        ensure!(
            found.starts_with(&writer.acknowledged()[..held]),
            "rows were lost"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_namespace_goes_while_backups_run() -> Result<()> {
    story("story-backup-namespace", |space| async move {
        let space = &space;
        let policies = [
            ("retain", "Retain"),
            ("snapshot", "Snapshot"),
            ("delete", "Delete"),
        ];
        let all = policies.map(|(name, policy)| {
            prepare(
                space,
                name,
                json!({"deletionPolicy": policy, "database": "shop"}),
            )
        });
        futures::future::try_join_all(all).await?;
        for (name, _) in policies {
            space
                .back_up(&format!("{name}-ready"), json!({"instance": name}))
                .await?;
            let pending = json!({"instance": name, "snapshotClassName": "none"});
            space
                .apply_backup(&format!("{name}-pending"), pending)
                .await?;
            let running = json!({"instance": name, "snapshotClassName": "slow-ready"});
            space
                .apply_backup(&format!("{name}-running"), running)
                .await?;
        }
        let held =
            json!({"instance": "snapshot", "method": "Quiesced", "snapshotClassName": "slow-cut"});
        space.apply_backup("held", held).await?;
        space
            .until_backup_says("delete-running", "Ready", "False", "Completing")
            .await?;
        // One is on its way out already, and its last backup has only begun.
        space
            .patch(
                "snapshot",
                json!({"backup": {"snapshotClassName": "slow-ready"}}),
            )
            .await?;
        delete(space, "snapshot").await?;
        space.step("the namespace is gone", space.delete()).await?;
        let left = || async {
            Ok(space.snapshot_contents().await?.is_empty() && space.volumes().await?.is_empty())
        };
        space
            .step(
                "nothing is left in the storage",
                space.until("nothing is left", left),
            )
            .await
    })
    .await
}

#[tokio::test]
async fn a_snapshot_that_is_to_stay_survives_a_hasty_deletion() -> Result<()> {
    story("story-backup-retained", |space| async move {
        prepare(&space, "source", json!({})).await?;
        space.back_up("kept", json!({"instance": "source"})).await?;
        let retain = json!({"spec": {"deletionPolicy": "Retain"}}).to_string();
        let change = [
            "patch",
            "dbbackup",
            "kept",
            "--type=merge",
            "--patch",
            &retain,
        ];
        space.kubectl(&change, "").await?;
        // At once: it is refused until the operator has seen the change.
        space
            .until("the backup may be deleted", || async {
                match space.kubectl(&["delete", "dbbackup", "kept"], "").await {
                    Ok(_) => Ok(true),
                    Err(error) if format!("{error:#}").contains("spec.deletionPolicy") => Ok(false),
                    Err(error) => Err(error),
                }
            })
            .await?;
        until_gone(&space, "dbbackup/kept").await?;
        delete(&space, "source").await?;
        let snapshot = space.snapshots().get("kept").await?;
        ensure!(snapshot.metadata.deletion_timestamp.is_none());
        space.until_snapshots(1).await
    })
    .await
}
