//! A backup that cannot be taken says why and what to do, and nothing is made for it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use api::backup::BackupPhase;
use api::reported::Reported;
use e2e::Space;
use e2e::space::story;
use serde_json::{Value, json};

use crate::stalls::says;

/// A small instance with these changes of its spec.
pub fn small(engine: &str, changes: Value) -> Value {
    let mut spec = json!({"engine": engine, "storage": {"size": "1Gi"}, "resources": {"requests": {"cpu": "10m"}}});
    if let (Value::Object(spec), Value::Object(changes)) = (&mut spec, changes) {
        spec.extend(changes);
    }
    spec
}

/// Everything in the namespace with its UID, but for backups and restores themselves.
pub async fn made(space: &Space) -> Result<BTreeMap<String, String>> {
    let objects = space.objects().await?.into_iter();
    let ours = ["DatabaseBackup/", "DatabaseRestore/"];
    Ok(objects
        .filter(|(name, _)| !ours.iter().any(|kind| name.starts_with(kind)))
        .map(|(name, identity)| {
            let uid = identity.split(' ').next().unwrap_or_default();
            (name, uid.to_owned())
        })
        .collect())
}

/// Nothing was made and nothing is gone.
pub async fn as_before(space: &Space, before: &BTreeMap<String, String>) -> Result<()> {
    let now = made(space).await?;
    ensure!(
        &now == before,
        "there was\n{before:?}\nand there is\n{now:?}"
    );
    Ok(())
}

/// Makes a backup that is refused: Ready and Stalled give the reason and what to do.
async fn refused(
    space: &Space,
    name: &str,
    spec: Value,
    reason: &str,
    words: &[&str],
) -> Result<()> {
    space.apply_backup(name, spec).await?;
    let step = format!("{name} refused");
    let told = space.until_backup_says(name, "Stalled", "True", reason);
    says(&space.step(&step, told).await?, words)?;
    let backup = space.backups().get(name).await?;
    let ready = backup.condition("Ready").context("no Ready")?;
    ensure!(
        ready.status == "False" && ready.reason == reason,
        "{ready:?}"
    );
    let phase = backup.status.and_then(|status| status.phase);
    ensure!(phase == Some(BackupPhase::Pending), "{name}: {phase:?}");
    Ok(())
}

async fn delete(space: &Space, name: &str) -> Result<()> {
    space.kubectl(&["delete", "dbbackup", name], "").await?;
    Ok(())
}

#[tokio::test]
async fn a_backup_that_cannot_be_taken_is_refused_and_nothing_is_made() -> Result<()> {
    const CLASS: &str = "story-backup-refusals";
    story(CLASS, |space| async move {
        let space = &space;
        let remove = ["delete", "volumesnapshotclass", CLASS, "--ignore-not-found"];
        space.kubectl(&remove, "").await?;
        space.apply_instance("shop", small("mariadb", json!({}))).await?;
        let plain = json!({"storage": {"size": "1Gi", "className": "unsnapshottable"}});
        space.apply_instance("plain", small("mariadb", plain)).await?;
        futures::try_join!(space.until_settled("shop"), space.until_settled("plain"))?;
        let conflict = json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": "taken"},
            "spec": {"volumeSnapshotClassName": "btrfs", "source": {"persistentVolumeClaimName": "shop"}},
        });
        space.apply(&conflict.to_string()).await?;
        space.until_snapshots(1).await?;
        let before = made(space).await?;
        let of = |instance: &str| json!({"instance": instance});
        let class = |class: &str| json!({"instance": "shop", "snapshotClassName": class});
        futures::try_join!(
            refused(space, "missing", of("nobody"), "InstanceNotFound", &["spec.instance", "nobody",
                "kubectl get dbinstances"]),
            refused(space, "plain", of("plain"), "SnapshotClassNotFound", &["plain.csi.minidbaas.dev",
                "unsnapshottable", "Create one"]),
            refused(space, "class", class("none"), "SnapshotClassNotFound", &["spec.snapshotClassName", "none",
                "kubectl get volumesnapshotclass"]),
            refused(space, "taken", of("shop"), "NameTaken", &["VolumeSnapshot taken", "another name"]),
        )?;
        // While there is a class for its driver, the volume could be asked for a snapshot.
        delete(space, "plain").await?;
        let foreign = json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "metadata": {"name": CLASS},
            "driver": "plain.csi.minidbaas.dev", "deletionPolicy": "Delete",
        });
        space.apply(&foreign.to_string()).await?;
        let told = refused(space, "driver", class(CLASS), "SnapshotUnsupported", &["spec.snapshotClassName",
            "plain.csi", "btrfs.csi", "class of that driver"]).await;
        space.kubectl(&remove, "").await?;
        told?;
        as_before(space, &before).await?;
        unchangeable(space).await?;
        space.kubectl(&["delete", "dbbackups", "--all"], "").await?;
        as_before(space, &before).await?;
        space.until_snapshots(1).await
    })
    .await
}

/// What the API server refuses: a name that is too long, and changes of what a backup is.
async fn unchangeable(space: &Space) -> Result<()> {
    let backup = |name: &str| {
        json!({"apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseBackup", "metadata": {"name": name},
            "spec": {"instance": "nobody", "verify": true}})
            .to_string()
    };
    let long = backup(&"a".repeat(76));
    let said = space.refused(&["apply", "-f", "-"], &long).await?;
    says(&said, &["metadata.name", "75 characters"])?;
    space.apply(&backup(&"a".repeat(75))).await?;
    let cases: &[(Value, &[&str])] = &[
        (
            json!({"instance": "shop"}),
            &["spec.instance", "cannot be changed"],
        ),
        (
            json!({"method": "Offline"}),
            &["spec.method", "cannot be changed"],
        ),
        (
            json!({"holdSeconds": 31}),
            &["spec.holdSeconds", "cannot be changed"],
        ),
        (
            json!({"deadlineSeconds": 601}),
            &["spec.deadlineSeconds", "cannot be changed"],
        ),
        (
            json!({"snapshotClassName": "btrfs"}),
            &["spec.snapshotClassName", "cannot be changed"],
        ),
        (json!({"verify": false}), &["spec.verify", "taken back"]),
        (json!({"deadlineSeconds": 9}), &["spec.deadlineSeconds"]),
        (json!({"retentionDays": 0}), &["spec.retentionDays"]),
    ];
    for (change, words) in cases {
        let patch = json!({"spec": change}).to_string();
        let name = "a".repeat(75);
        let patch = [
            "patch",
            "dbbackup",
            &name,
            "--type=merge",
            "--patch",
            &patch,
        ];
        says(&space.refused(&patch, "").await?, words)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_backup_of_an_instance_that_does_not_serve_yet_waits_for_it() -> Result<()> {
    story("story-backup-early", |space| async move {
        let much = json!({"resources": {"requests": {"memory": "1000Gi"}}});
        space.apply_instance("late", small("mariadb", much)).await?;
        let told = space.until_condition("late", "Stalled", "True", "Unschedulable");
        space.step("instance stalled", told).await?;
        let before = made(&space).await?;
        let words = [
            "spec.instance",
            "has no volume yet",
            "kubectl get dbinstance late",
            "begins when",
        ];
        let spec = json!({"instance": "late"});
        refused(&space, "early", spec, "InstanceNotReady", &words).await?;
        as_before(&space, &before).await?;
        let less = json!({"resources": {"requests": {"cpu": "10m", "memory": null}}});
        space.patch("late", less).await?;
        space.until_settled("late").await?;
        let ready = space.until_backup("early", BackupPhase::Ready);
        space.step("backup ready by itself", ready).await?;
        space.until_snapshots(1).await
    })
    .await
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_is_told_and_harms_nothing() -> Result<()> {
    story("story-backup-schedule", |space| async move {
        let backup = |schedule: &str, zone: &str| json!({"backup": {"schedule": schedule, "timeZone": zone}});
        let never = backup("0 25 * * *", "UTC");
        space.apply_instance("new", small("mariadb", never)).await?;
        space.until_condition("new", "Stalled", "True", "InvalidSchedule").await?;
        let made = made(&space).await?;
        ensure!(made.len() == 1, "made for a schedule that cannot be read: {made:?}");
        space.patch("new", backup("0 3 * * *", "Europe/Berlin")).await?;
        space.until_settled("new").await?;
        space.until_condition("new", "BackupHealthy", "True", "BackupsSucceed").await?;
        for (schedule, zone, reason, words) in [
            ("0 3 * *", "UTC", "InvalidSchedule", ["spec.backup.schedule", "0 3 * *"]),
            ("0 3 * * *", "Mars/Olympus", "InvalidTimeZone", ["spec.backup.timeZone", "Mars/Olympus"]),
        ] {
            space.patch("new", backup(schedule, zone)).await?;
            let told = space.until_condition("new", "Stalled", "True", reason);
            says(&space.step(reason, told).await?, &words)?;
            space.until_condition("new", "BackupHealthy", "False", reason).await?;
            let instance = space.instances().get("new").await?;
            let ready = instance.condition( "Ready");
            ensure!(ready.is_some_and(|c| c.status == "True"), "{reason}: {ready:?}");
            let status = instance.status.unwrap_or_default();
            ensure!(status.phase == Some(api::instance::Phase::Running), "{reason}: {:?}", status.phase);
            ensure!(status.next_backup.is_none(), "{reason}: {:?}", status.next_backup);
        }
        space.patch("new", backup("0 3 * * *", "Europe/Berlin")).await?;
        let instance = space.until_settled("new").await?;
        ensure!(instance.status.and_then(|status| status.next_backup).is_some(), "no nextBackup");
        ensure!(space.backups().list(&Default::default()).await?.items.is_empty());
        Ok(())
    })
    .await
}
