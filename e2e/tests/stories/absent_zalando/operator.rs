//! The Zalando operator, stopped, started and set otherwise. It is as it was afterwards in any case.

use anyhow::Result;
use e2e::Cluster;
use serde_json::{Value, json};

const DEPLOYMENT: &str = "deployment/postgres-operator";
const SETTINGS: &str = "operatorconfiguration/postgres-operator";

/// Does something that may stop the operator; it runs afterwards.
pub async fn maybe_stopped(
    cluster: &Cluster,
    doing: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let done = doing().await;
    start(cluster).await?;
    done
}

/// Does something while the operator has these settings besides its own.
pub async fn set(
    cluster: &Cluster,
    settings: Value,
    doing: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let before = kubectl(cluster, &["get", SETTINGS, "-o", "json"]).await?;
    let before: Value = serde_json::from_str(&before)?;
    let before = before["configuration"].clone();
    let mut now = before.clone();
    merge(&mut now, &settings);
    let done = async {
        configure(cluster, &now).await?;
        doing().await
    };
    let done = done.await;
    configure(cluster, &before).await?;
    done
}

/// Kills it, and returns when it has ended: left to itself, it would first come to the end of what it is at.
pub async fn stop(cluster: &Cluster) -> Result<()> {
    kubectl(cluster, &["scale", DEPLOYMENT, "--replicas=0"]).await?;
    let kill = [
        "delete",
        "pod",
        "-l",
        "app=postgres-operator",
        "--grace-period=0",
        "--force",
    ];
    kubectl(cluster, &kill).await?;
    let gone = [
        "wait",
        "pod",
        "-l",
        "app=postgres-operator",
        "--for=delete",
        "--timeout=60s",
    ];
    kubectl(cluster, &gone).await.map(|_| ())
}

/// Starts it, and returns when it is ready.
pub async fn start(cluster: &Cluster) -> Result<()> {
    kubectl(cluster, &["scale", DEPLOYMENT, "--replicas=1"]).await?;
    kubectl(
        cluster,
        &["rollout", "status", DEPLOYMENT, "--timeout=120s"],
    )
    .await
    .map(|_| ())
}

/// It reads its settings when it starts.
async fn configure(cluster: &Cluster, settings: &Value) -> Result<()> {
    let patch = json!([{"op": "replace", "path": "/configuration", "value": settings}]).to_string();
    kubectl(
        cluster,
        &["patch", SETTINGS, "--type=json", "--patch", &patch],
    )
    .await?;
    stop(cluster).await?;
    start(cluster).await
}

async fn kubectl(cluster: &Cluster, words: &[&str]) -> Result<String> {
    let all: Vec<&str> = ["-n", "kube-system"]
        .into_iter()
        .chain(words.iter().copied())
        .collect();
    cluster.kubectl(&all, "").await
}

fn merge(into: &mut Value, from: &Value) {
    if let (Value::Object(into), Value::Object(from)) = (&mut *into, from) {
        for (key, value) in from {
            merge(into.entry(key.clone()).or_insert(Value::Null), value);
        }
    } else {
        *into = from.clone();
    }
}
