//! One server on one volume, however many pods somebody makes: the access mode keeps the others away, and where the
//! storage has no exclusive one, their own scripts and the lock on the volume do.

use anyhow::{Result, ensure};
use api::Engine;
use e2e::space::story;
use e2e::{Database, Space, Writer, none_lost};
use serde_json::{Value, json};

/// A class as that of storage that does not know ReadWriteOncePod.
const SHARED: &str = "story-two-servers-shared";

#[tokio::test]
async fn kubernetes_gives_a_second_pod_no_node() -> Result<()> {
    story("story-two-servers-exclusive", |space| async move {
        let spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"}});
        space.apply_instance("shop", spec).await?;
        exclusive_volume(&space, "shop").await
    })
    .await
}

#[tokio::test]
async fn a_second_pod_and_a_copied_one_start_no_server() -> Result<()> {
    story("story-two-servers", |space| async move {
        let space = &space;
        space.apply(&shared_class().to_string()).await?;
        for engine in Engine::ALL {
            let storage = json!({"size": "1Gi", "className": SHARED});
            let spec = json!({"engine": engine.name(), "storage": storage});
            space.apply_instance(engine.name(), spec).await?;
        }
        for engine in Engine::ALL {
            space
                .step(engine.name(), shared_volume(space, engine))
                .await?;
        }
        let class = format!("storageclass/{SHARED}");
        space.kubectl(&["delete", &class], "").await.map(|_| ())
    })
    .await
}

fn shared_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": SHARED, "annotations": {"minidbaas.dev/access-mode": "ReadWriteOnce"}},
        "provisioner": "btrfs.csi.minidbaas.dev", "volumeBindingMode": "WaitForFirstConsumer",
    })
}

async fn exclusive_volume(space: &Space, name: &str) -> Result<()> {
    space.until_settled(name).await?;
    pause_and_scale(space, name).await?;
    let second = format!("pod/{name}-1");
    let scheduled = r#".status.conditions[?(@.type=="PodScheduled")].message"#;
    space
        .until("the second pod gets no node", || async {
            only_the_first_serves(space, name).await?;
            let said = space.field(&second, scheduled).await?;
            Ok(said.contains("ReadWriteOncePod"))
        })
        .await?;
    resume(space, name).await
}

/// The second pod gets a node and the volume, and ends by itself. A client writes all the while.
async fn shared_volume(space: &Space, engine: Engine) -> Result<()> {
    let name = engine.name();
    space.until_settled(name).await?;
    let database = Database::bound(space, engine, name).await?;
    database.sql("CREATE TABLE kept (n int);").await?;
    let writer = Writer::reconnecting(&database, "kept").await?;
    more_rows(space, &writer).await?;
    pause_and_scale(space, name).await?;
    let ended = format!("pod/{name}-1");
    space
        .until("the second pod ends by itself", || async {
            only_the_first_serves(space, name).await?;
            let said = space
                .field(&ended, ".status.initContainerStatuses[0]")
                .await?;
            Ok(said.contains(&format!("only {name}-0 serves")))
        })
        .await?;
    more_rows(space, &writer).await?;
    if engine == Engine::Postgresql {
        copied_pod(space, name, &writer).await?;
    }
    resume(space, name).await?;
    database.reached().await?;
    more_rows(space, &writer).await?;
    let acknowledged = writer.acknowledged();
    drop(writer);
    none_lost(name, &database, "kept", &acknowledged).await?;
    let log = server_log(space, name).await?;
    ensure!(!log.contains("PANIC"), "{log}");
    let said = r#".status.conditions[?(@.type=="StorageReady")].message"#;
    let said = space.field(&format!("dbinstance/{name}"), said).await?;
    ensure!(said.contains("access mode is ReadWriteOnce"), "{said}");
    Ok(())
}

/// A copy of the server's pod waits for the server; and the pod that comes after a forced deletion, for what is left of
/// the former.
async fn copied_pod(space: &Space, name: &str, writer: &Writer) -> Result<()> {
    let pod = space
        .kubectl(&["get", "pod", &format!("{name}-0"), "-o=json"], "")
        .await?;
    let mut copy: Value = serde_json::from_str(&pod)?;
    copy["metadata"] = json!({"name": "copy-0"});
    copy["spec"]["hostname"] = Value::Null;
    copy["status"] = Value::Null;
    space.apply(&copy.to_string()).await?;
    space
        .until("the copy waits for the lock", || async {
            only_the_first_serves(space, name).await?;
            let ready = space
                .field(
                    "pod/copy-0",
                    r#".status.conditions[?(@.type=="Ready")].status"#,
                )
                .await?;
            ensure!(ready != "True", "the copy serves beside the server");
            let log = space
                .kubectl(&["logs", "copy-0", "-c", "prepare"], "")
                .await;
            Ok(log.is_ok_and(|log| log.contains("waiting: another server still works")))
        })
        .await?;
    more_rows(space, writer).await?;
    space
        .kubectl(&["delete", "pod", "copy-0", "--wait"], "")
        .await?;
    let forced = [
        "delete",
        "pod",
        &format!("{name}-0"),
        "--force",
        "--grace-period=0",
    ];
    space.kubectl(&forced, "").await?;
    more_rows(space, writer).await
}

/// The operator stays away, and somebody asks for a second pod.
async fn pause_and_scale(space: &Space, name: &str) -> Result<()> {
    let paused = ["annotate", "dbinstance", name, "minidbaas.dev/paused=true"];
    space.kubectl(&paused, "").await?;
    let scale = ["scale", "statefulset", name, "--replicas=2"];
    space.kubectl(&scale, "").await?;
    let second = format!("pod/{name}-1");
    space
        .until("there is a second pod", || async {
            Ok(!space.field(&second, ".metadata.uid").await?.is_empty())
        })
        .await
}

/// The operator comes back and takes the second pod away.
async fn resume(space: &Space, name: &str) -> Result<()> {
    let resumed = ["annotate", "dbinstance", name, "minidbaas.dev/paused-"];
    space.kubectl(&resumed, "").await?;
    let second = format!("pod/{name}-1");
    space
        .until("the second pod is gone", || async {
            only_the_first_serves(space, name).await?;
            Ok(space.field(&second, ".metadata.uid").await?.is_empty())
        })
        .await?;
    space.until_settled(name).await.map(|_| ())
}

/// The Service leads to no other pod than the first, and no other is ready.
async fn only_the_first_serves(space: &Space, name: &str) -> Result<()> {
    let label = format!("kubernetes.io/service-name={name}");
    let path = "-o=jsonpath={.items[*].endpoints[*].targetRef.name}";
    let found = space
        .kubectl(&["get", "endpointslices", "-l", &label, path], "")
        .await?;
    let first = format!("{name}-0");
    ensure!(
        found.split_whitespace().all(|pod| pod == first),
        "the Service leads to {found}"
    );
    let ready = space
        .field(
            &format!("pod/{name}-1"),
            r#".status.conditions[?(@.type=="Ready")].status"#,
        )
        .await?;
    ensure!(ready != "True", "the second pod is ready");
    Ok(())
}

async fn server_log(space: &Space, name: &str) -> Result<String> {
    let pod = format!("{name}-0");
    space.kubectl(&["logs", &pod, "-c", "database"], "").await
}

/// The client goes on: ten more rows are acknowledged.
async fn more_rows(space: &Space, writer: &Writer) -> Result<()> {
    let before = writer.acknowledged().len();
    space
        .until("ten more rows are acknowledged", || async {
            Ok(writer.acknowledged().len() >= before + 10)
        })
        .await
}
