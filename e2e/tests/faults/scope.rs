//! An operator for one namespace needs rights in that namespace only, and leaves all others alone.

use anyhow::{Result, ensure};
use e2e::Cluster;
use e2e::cluster::root;
use e2e::space::story;
use serde_json::{Value, json};

const RIGHTS: [&str; 2] = [
    "cluster-wide/rbac.yaml",
    "cluster-wide/cross-namespace.yaml",
];

#[tokio::test]
async fn an_operator_for_one_namespace_works_with_rights_in_that_one() -> Result<()> {
    story("story-scope", |inside| async move {
        story("story-outside", |outside| async move {
            let cluster = &inside.cluster;
            let file = |name| std::fs::read_to_string(root().join("deploy").join(name));
            let rights = format!("{}---\n{}", file(RIGHTS[0])?, file(RIGHTS[1])?);
            let own = std::fs::read_to_string(root().join("deploy/namespaced/rbac.yaml"))?
                .replace("namespace: databases", "namespace: story-scope");
            cluster.kubectl(&["delete", "-f", "-"], &rights).await?;
            cluster.kubectl(&["apply", "-f", "-"], &own).await?;
            let told = async {
                watch(cluster, &["run", "--namespace=story-scope"]).await?;
                let spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"}});
                outside.apply_instance("shop", spec.clone()).await?;
                inside.apply_instance("shop", spec).await?;
                inside.until_settled("shop").await?;
                let status = outside.instances().get("shop").await?.status;
                ensure!(
                    status.is_none(),
                    "it looked at another namespace: {status:?}"
                );
                inside.back_up("shop", json!({"instance": "shop"})).await?;
                inside.restore("copy", "shop", "copy").await?;
                let from = json!({"name": "shop", "namespace": "story-outside"});
                let spec = json!({"backup": from, "instance": "foreign"});
                inside.apply_restore("foreign", spec).await?;
                let reason = "BackupNotAvailable";
                inside
                    .until_restore_says("foreign", "Stalled", "True", reason)
                    .await?;
                Ok(())
            };
            let told = told.await;
            cluster.kubectl(&["apply", "-f", "-"], &rights).await?;
            watch(cluster, &["run"]).await?;
            told?;
            outside.until_settled("shop").await.map(|_| ())
        })
        .await
    })
    .await
}

/// Starts the operator with these arguments and waits until it runs.
async fn watch(cluster: &Cluster, arguments: &[&str]) -> Result<()> {
    let container: Value = json!({"name": "operator", "args": arguments});
    let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}}).to_string();
    let system = ["-n", "minidbaas-system"];
    let change = ["patch", "deployment/minidbaas", "--patch", &patch];
    let wait = [
        "rollout",
        "status",
        "deployment/minidbaas",
        "--timeout=120s",
    ];
    cluster
        .kubectl(&[&system[..], &change].concat(), "")
        .await?;
    cluster
        .kubectl(&[&system[..], &wait].concat(), "")
        .await
        .map(|_| ())
}
