//! A resource is deleted and made again under its name while a write for it is on its way: nothing of it reaches the
//! successor, which comes to its own end.

use anyhow::{Context, Result, ensure};
use api::backup::BackupPhase;
use api::names::FINALIZER_FINAL_BACKUP;
use e2e::Space;
use e2e::space::story;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::gate::{Gate, Moment, Rule};
use crate::operator::Operator;

#[tokio::test]
async fn a_write_that_is_late_reaches_no_namesake() -> Result<()> {
    story("story-successor", |space| async move {
        Operator::only_for(&space, async |operator| {
            let mut gate = Gate::open(operator.client().await?, &space.name, |_, _| None).await?;
            operator.talk_through(&gate.address)?;
            operator.start().await?;
            status(&space, &mut gate).await?;
            finalizers(&space, &mut gate).await?;
            child(&space, &mut gate).await?;
            snapshot(&space, &mut gate).await
        })
        .await
    })
    .await
}

fn instance(more: Value) -> Value {
    let mut spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"}, "stopped": true});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    spec
}

/// Does something that brings a write, which is late: meanwhile `replacing` puts another resource in the place of the
/// one that it is for. Returns how the API server answers the write.
async fn late(
    gate: &mut Gate,
    rule: Rule,
    doing: impl Future<Output = Result<()>>,
    replacing: impl Future<Output = Result<()>>,
) -> Result<u16> {
    gate.rule(rule);
    doing.await?;
    let stop = gate.next().await?;
    eprintln!("successor: late: {}", stop.write);
    replacing.await?;
    let code = stop.arrives().await?;
    gate.spare();
    Ok(code.as_u16())
}

/// What was said of a backup without an instance is not said of its successor.
async fn status(space: &Space, gate: &mut Gate) -> Result<()> {
    let spec = json!({"instance": "nobody"});
    let code = late(
        gate,
        |write, tries| {
            let is_status = write == "PATCH databasebackups/early/status";
            (is_status && tries == 1).then_some(Moment::Late)
        },
        space.apply_backup("early", spec.clone()),
        async {
            let backups = space.backups();
            backups.delete("early", &DeleteParams::default()).await?;
            space
                .apply_backup("early", json!({"instance": "somebody"}))
                .await
        },
    )
    .await?;
    ensure!(
        code == 422,
        "the status of a former backup was answered with {code}"
    );
    let reason = "InstanceNotFound";
    let said = space
        .until_backup_says("early", "Ready", "False", reason)
        .await?;
    ensure!(said.contains("somebody"), "its own status is: {said}");
    Ok(())
}

/// The finalizer of a policy does not get onto a successor with another one.
async fn finalizers(space: &Space, gate: &mut Gate) -> Result<()> {
    let code = late(
        gate,
        |write, tries| {
            let is_resource = write == "PATCH databaseinstances/held";
            (is_resource && tries == 1).then_some(Moment::Late)
        },
        space.apply_instance("held", instance(json!({"deletionPolicy": "Snapshot"}))),
        async {
            let instances = space.instances();
            instances.delete("held", &DeleteParams::default()).await?;
            space.apply_instance("held", instance(json!({}))).await
        },
    )
    .await?;
    ensure!(
        code == 409,
        "the finalizer for a former instance was answered with {code}"
    );
    space
        .until_condition("held", "Ready", "False", "Stopped")
        .await?;
    let finalizers = space.instances().get("held").await?.finalizers().to_vec();
    ensure!(
        !finalizers.iter().any(|name| name == FINALIZER_FINAL_BACKUP),
        "it has the finalizers {finalizers:?}"
    );
    Ok(())
}

/// A Service that is made for a former instance goes with it; the successor waits for that and has one of its own.
async fn child(space: &Space, gate: &mut Gate) -> Result<()> {
    late(
        gate,
        |write, tries| {
            let is_service = write == "PATCH services/shop";
            (is_service && tries == 1).then_some(Moment::Late)
        },
        space.apply_instance("shop", instance(json!({}))),
        async {
            let instances = space.instances();
            instances.delete("shop", &DeleteParams::default()).await?;
            space.apply_instance("shop", instance(json!({}))).await
        },
    )
    .await?;
    space
        .until_condition("shop", "Ready", "False", "Stopped")
        .await?;
    let uid = space.instances().get("shop").await?.uid();
    for object in [
        "service/shop",
        "networkpolicy/shop",
        "statefulset/shop",
        "configmap/shop",
    ] {
        let owner = space
            .field(object, ".metadata.ownerReferences[0].uid")
            .await?;
        ensure!(Some(&owner) == uid.as_ref(), "{object} is owned by {owner}");
    }
    Ok(())
}

/// A snapshot that is asked for by a former backup goes with it; the successor has one of its own.
async fn snapshot(space: &Space, gate: &mut Gate) -> Result<()> {
    space
        .apply_instance(
            "served",
            json!({"engine": "postgresql", "storage": {"size": "1Gi"}}),
        )
        .await?;
    space.until_settled("served").await?;
    let spec = json!({"instance": "served"});
    late(
        gate,
        |write, tries| {
            let is_snapshot = write == "POST volumesnapshots twice";
            (is_snapshot && tries == 1).then_some(Moment::Late)
        },
        space.apply_backup("twice", spec.clone()),
        async {
            let backups = space.backups();
            backups.delete("twice", &DeleteParams::default()).await?;
            space.apply_backup("twice", spec.clone()).await
        },
    )
    .await?;
    let backup = space.until_backup("twice", BackupPhase::Ready).await?;
    let uid = backup.uid().context("no UID")?;
    let owner = space
        .field("volumesnapshot/twice", ".metadata.ownerReferences[0].uid")
        .await?;
    ensure!(owner == uid, "the snapshot is owned by {owner}");
    Ok(())
}
