//! A snapshot that the storage cannot make, or that somebody deletes, is told on the backup, and leaves nothing behind.

use anyhow::{Result, ensure};
use api::backup::BackupPhase;
use e2e::Space;
use e2e::space::story;
use serde_json::json;

use crate::backup_refusals::small;
use crate::stalls::says;

#[tokio::test]
async fn a_snapshot_that_fails_or_is_lost_is_told() -> Result<()> {
    story("story-backup-failures", |space| async move {
        let space = &space;
        space
            .apply_instance("shop", small("mariadb", json!({})))
            .await?;
        space.until_settled("shop").await?;
        futures::try_join!(fails(space), lost(space), lost_before(space))?;
        space.until_snapshots(0).await
    })
    .await
}

/// The driver's error is shown while it is tried again, and at the deadline the backup is given up and its snapshot
/// gone.
async fn fails(space: &Space) -> Result<()> {
    let spec = json!({"instance": "shop", "snapshotClassName": "broken", "deadlineSeconds": 10});
    space.apply_backup("broken", spec).await?;
    let told = space.until_backup_says("broken", "Stalled", "True", "SnapshotFailed");
    let words = [
        "The storage driver reports",
        "tried again",
        "VolumeSnapshotClass",
    ];
    says(&space.step("error told", told).await?, &words)?;
    let told = space.until_backup_says("broken", "Ready", "False", "DeadlineExceeded");
    let words = [
        "spec.deadlineSeconds (10 s)",
        "The storage driver reports",
        "create another",
    ];
    says(&space.step("given up", told).await?, &words)?;
    let status = space
        .backups()
        .get("broken")
        .await?
        .status
        .unwrap_or_default();
    ensure!(status.phase == Some(BackupPhase::Failed), "{status:?}");
    ensure!(
        status.snapshot.is_none() && status.taken_at.is_none(),
        "{status:?}"
    );
    gone(space, "broken").await
}

/// A complete snapshot is deleted behind the operator's back.
async fn lost(space: &Space) -> Result<()> {
    space.back_up("lost", json!({"instance": "shop"})).await?;
    space
        .kubectl(&["delete", "volumesnapshot", "lost"], "")
        .await?;
    let told = space.until_backup_says("lost", "Ready", "False", "SnapshotLost");
    says(
        &space.step("loss told", told).await?,
        &["gone", "Delete this backup"],
    )?;
    space
        .until("the lost backup is not the last good one", || async {
            let last = space
                .field("dbinstance/shop", ".status.lastBackup.name")
                .await?;
            Ok(last != "lost")
        })
        .await
}

/// The same before it is complete.
async fn lost_before(space: &Space) -> Result<()> {
    let spec = json!({"instance": "shop", "snapshotClassName": "slow-ready"});
    space.apply_backup("half", spec).await?;
    // One that goes before the backup has written down that it is there is asked for again.
    let asked = || async {
        let named = space
            .field("dbbackup/half", ".status.snapshot.name")
            .await?;
        Ok(!named.is_empty())
    };
    space.until("the snapshot is asked for", asked).await?;
    // It is gone only when the storage is done with it.
    let delete = ["delete", "volumesnapshot", "half", "--wait=false"];
    space.kubectl(&delete, "").await?;
    let told = space.until_backup_says("half", "Ready", "False", "SnapshotLost");
    says(
        &space.step("early loss told", told).await?,
        &["before it was complete", "create another"],
    )?;
    gone(space, "half").await
}

async fn gone(space: &Space, snapshot: &str) -> Result<()> {
    let object = format!("volumesnapshot/{snapshot}");
    space
        .until(&format!("the snapshot {snapshot} is gone"), || async {
            Ok(space.field(&object, ".metadata.uid").await?.is_empty())
        })
        .await
}
