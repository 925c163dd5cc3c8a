//! A restore that cannot work is refused before anything is made.

use anyhow::{Context, Result, ensure};
use api::reported::Reported;
use api::restore::RestorePhase;
use e2e::space::story;
use e2e::{Database, Space};
use serde_json::{Value, json};

use crate::backup_refusals::{as_before, made, small};
use crate::deletion::versions;
use crate::stalls::says;

pub const ENGINE: api::Engine = api::Engine::Postgresql;

/// An instance with a row, a good backup of it and a failed one.
pub async fn prepare(space: &Space) -> Result<String> {
    let (_, exact) = versions(space, ENGINE).await?;
    let own = json!({"version": exact, "username": "owner", "database": "ledger"});
    space
        .apply_instance("source", small(ENGINE.name(), own))
        .await?;
    space.until_settled("source").await?;
    let source = Database::bound(space, ENGINE, "source").await?;
    source.reached().await?;
    source
        .sql("CREATE TABLE t (n int); INSERT INTO t VALUES (42)")
        .await?;
    space.back_up("good", json!({"instance": "source"})).await?;
    let broken =
        json!({"instance": "source", "snapshotClassName": "broken", "deadlineSeconds": 10});
    space.apply_backup("failed", broken).await?;
    space
        .until_backup_says("failed", "Ready", "False", "DeadlineExceeded")
        .await?;
    space.until_snapshots(1).await?;
    Ok(exact)
}

pub async fn refused(
    space: &Space,
    name: &str,
    spec: Value,
    reason: &str,
    words: &[&str],
) -> Result<()> {
    space.apply_restore(name, spec).await?;
    let told = space.until_restore_says(name, "Stalled", "True", reason);
    let step = format!("{name} refused");
    says(&space.step(&step, told).await?, words)?;
    let restore = space.restores().get(name).await?;
    let ready = restore.condition("Ready").context("no Ready")?;
    ensure!(
        ready.status == "False" && ready.reason == reason,
        "{ready:?}"
    );
    let status = restore.status.context("no status")?;
    ensure!(
        status.phase == Some(RestorePhase::Pending) && status.started_at.is_none(),
        "{name}: {status:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_restore_that_cannot_work_is_refused_and_nothing_is_made() -> Result<()> {
    story("story-restore-refusals", |space| async move {
        let space = &space;
        // Its claim and Secrets stay when it goes.
        space
            .apply_instance("kept", small("mariadb", json!({"stopped": true})))
            .await?;
        space
            .until_condition("kept", "Ready", "False", "Stopped")
            .await?;
        space.kubectl(&["delete", "dbinstance", "kept"], "").await?;
        let exact = prepare(space).await?;
        let before = made(space).await?;
        let of = |backup: &str, overrides: Value| {
            json!({"backup": {"name": backup}, "instance": "copy",
            "overrides": overrides})
        };
        let storage = |storage: Value| of("good", json!({"storage": storage}));
        let into = |instance: &str| json!({"backup": {"name": "good"}, "instance": instance});
        let older = [
            "spec.overrides.version is 17.0",
            exact.as_str(),
            "older server",
        ];
        let unserved = ["17.999", "engine catalog has", exact.as_str()];
        futures::try_join!(
            refused(
                space,
                "missing",
                of("none", Value::Null),
                "BackupNotAvailable",
                &["spec.backup", "none", "kubectl get dbbackups"]
            ),
            refused(
                space,
                "failed",
                of("failed", Value::Null),
                "BackupUnusable",
                &[
                    "failed",
                    "The storage driver reports",
                    "Restore another one"
                ]
            ),
            refused(
                space,
                "older",
                of("good", json!({"version": "17.0"})),
                "RestoreMismatch",
                &older
            ),
            refused(
                space,
                "major",
                of("good", json!({"version": "16"})),
                "RestoreMismatch",
                &[
                    "spec.overrides.version is 16",
                    "major version",
                    "Leave the field out"
                ]
            ),
            refused(
                space,
                "unserved",
                of("good", json!({"version": "17.999"})),
                "UnknownVersion",
                &unserved
            ),
            refused(
                space,
                "small",
                storage(json!({"size": "512Mi"})),
                "VolumeTooSmall",
                &["spec.overrides.storage.size is 512Mi", "at least 1Gi"]
            ),
            refused(
                space,
                "driver",
                storage(json!({"className": "unsnapshottable"})),
                "SnapshotUnsupported",
                &["spec.overrides.storage.className", "plain.csi", "btrfs.csi"]
            ),
            refused(
                space,
                "class",
                storage(json!({"className": "none"})),
                "StorageClassNotFound",
                &[
                    "spec.overrides.storage.className",
                    "none",
                    "kubectl get storageclass"
                ]
            ),
            refused(
                space,
                "exists",
                into("source"),
                "InstanceExists",
                &["spec.instance", "DatabaseInstance source", "another name"]
            ),
            refused(
                space,
                "retained",
                into("kept"),
                "InstanceExists",
                &[
                    "spec.instance",
                    "kept from a former instance",
                    "another name"
                ]
            ),
        )?;
        let backup = json!({"spec": {"backup": {"name": "other"}}}).to_string();
        let patch = [
            "patch",
            "dbrestore",
            "missing",
            "--type=merge",
            "--patch",
            &backup,
        ];
        says(&space.refused(&patch, "").await?, &["cannot be changed"])?;
        let object = json!({"apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseRestore",
            "metadata": {"name": "a"}, "spec": into("a-admin")});
        let said = space
            .refused(&["apply", "-f", "-"], &object.to_string())
            .await?;
        says(&said, &["spec.instance", "-admin"])?;
        as_before(space, &before).await?;
        space
            .kubectl(&["delete", "dbrestores", "--all"], "")
            .await?;
        as_before(space, &before).await
    })
    .await
}
