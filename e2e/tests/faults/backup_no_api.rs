//! A cluster without snapshots: backups say so and wait, all else works, and when the snapshots' definitions come the
//! operator goes on by itself.

use anyhow::{Context, Result, bail, ensure};
use api::backup::BackupPhase;
use e2e::space::{PATIENCE, story};
use e2e::{Cluster, Space};
use serde_json::{Value, json};

const DEFINITIONS: [&str; 3] = [
    "volumesnapshots.snapshot.storage.k8s.io",
    "volumesnapshotcontents.snapshot.storage.k8s.io",
    "volumesnapshotclasses.snapshot.storage.k8s.io",
];

#[tokio::test]
async fn without_snapshots_backups_wait_and_all_else_works() -> Result<()> {
    story("story-no-api", |space| async move {
        let cluster = space.cluster.clone();
        until_unused(&cluster).await?;
        let restarts = operators(&cluster).await?;
        let definitions = list(
            &cluster,
            &["get", "crd", DEFINITIONS[0], DEFINITIONS[1], DEFINITIONS[2]],
        )
        .await?;
        let classes = list(&cluster, &["get", DEFINITIONS[2]]).await?;
        let told = async {
            cluster
                .kubectl(
                    &[
                        "delete",
                        "crd",
                        DEFINITIONS[0],
                        DEFINITIONS[1],
                        DEFINITIONS[2],
                    ],
                    "",
                )
                .await?;
            without(&space).await
        };
        let told = told.await;
        put_back(&cluster, &definitions, &classes).await?;
        told?;
        space
            .step(
                "the backup goes on by itself",
                space.until_backup("early", BackupPhase::Ready),
            )
            .await?;
        space.restore("copy", "early", "copy").await?;
        ensure!(
            restarts == operators(&cluster).await?,
            "the operator was started anew"
        );
        Ok(())
    })
    .await
}

/// Snapshots would be lost with their definition; those of former stories go by themselves.
async fn until_unused(cluster: &Cluster) -> Result<()> {
    let began = std::time::Instant::now();
    loop {
        let kinds = "volumesnapshots,volumesnapshotcontents";
        let left = cluster
            .kubectl(&["get", kinds, "-A", "-o=name"], "")
            .await?;
        if left.is_empty() {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            bail!(
                "this story deletes the definitions of snapshots, and there are snapshots:\n{left}"
            );
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// What `kubectl get` finds, as it can be created again.
async fn list(cluster: &Cluster, get: &[&str]) -> Result<String> {
    let text = cluster.kubectl(&[get, &["-o=json"]].concat(), "").await?;
    let mut found: Value = serde_json::from_str(&text)?;
    for item in found["items"].as_array_mut().context("no list")? {
        item.as_object_mut().context("no object")?.remove("status");
        let metadata = item["metadata"].as_object_mut().context("no metadata")?;
        metadata.retain(|key, _| ["name", "labels", "annotations"].contains(&key.as_str()));
    }
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": found["items"]}).to_string())
}

async fn put_back(cluster: &Cluster, definitions: &str, classes: &str) -> Result<()> {
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    cluster.kubectl(&apply, definitions).await?;
    let wait = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd",
    ];
    cluster
        .kubectl(&[&wait[..], &DEFINITIONS].concat(), "")
        .await?;
    cluster.kubectl(&apply, classes).await.map(|_| ())
}

/// The operator's pods and how often each was restarted.
async fn operators(cluster: &Cluster) -> Result<String> {
    let output = "-o=jsonpath={range .items[*]}{.metadata.uid} \
        {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    let get = [
        "-n",
        "minidbaas-system",
        "get",
        "pods",
        "-l",
        "app.kubernetes.io/name=minidbaas",
        output,
    ];
    cluster.kubectl(&get, "").await
}

async fn without(space: &Space) -> Result<()> {
    let spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"}});
    space.apply_instance("source", spec).await?;
    space
        .apply_backup("early", json!({"instance": "source"}))
        .await?;
    let said = space
        .until_backup_says("early", "Ready", "False", "SnapshotApiMissing")
        .await?;
    ensure!(said.contains("external-snapshotter"), "no remedy: {said}");
    space
        .step("an instance is made", space.until_settled("source"))
        .await?;
    let spec = json!({"backup": {"name": "early"}, "instance": "copy"});
    space.apply_restore("early", spec).await?;
    let said = space
        .until_restore_says("early", "Ready", "False", "BackupNotReady")
        .await?;
    eprintln!("no-api: {said}");
    space.kubectl(&["delete", "dbrestore", "early"], "").await?;
    space
        .patch("source", json!({"parameters": {"work_mem": "8MB"}}))
        .await?;
    space.until_settled("source").await?;
    // A backup that is not begun can be deleted as ever.
    space
        .apply_backup("short", json!({"instance": "source"}))
        .await?;
    space
        .until_backup_says("short", "Ready", "False", "SnapshotApiMissing")
        .await?;
    space
        .kubectl(&["delete", "dbbackup", "short", "--timeout=60s"], "")
        .await
        .map(|_| ())
}
