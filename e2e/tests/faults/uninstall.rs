//! The operator is taken away as docs/uninstall.md says, and comes back. Meanwhile nothing is lost, nobody can delete
//! the CRDs, and whoever is to be taken care of at its end waits.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use api::Engine;
use api::backup::BackupPhase;
use e2e::cluster::root;
use e2e::space::story;
use e2e::{Cluster, Database, Space};
use serde_json::{Value, json};

const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[tokio::test]
async fn nothing_is_lost_when_the_operator_is_uninstalled() -> Result<()> {
    story("story-uninstall", |space| async move {
        let space = &*space;
        let operator = installed(&space.cluster).await?;
        let told = gone_and_back(space, &operator).await;
        install(&space.cluster, &operator).await?;
        protect(&space.cluster).await?;
        told
    })
    .await
}

async fn gone_and_back(space: &Space, operator: &str) -> Result<()> {
    let spec = |policy| json!({"engine": "postgresql", "storage": {"size": "1Gi"}, "deletionPolicy": policy});
    space.apply_instance("shop", spec("Retain")).await?;
    space.apply_instance("leaving", spec("Snapshot")).await?;
    space.until_settled("shop").await?;
    space.until_settled("leaving").await?;
    let database = Database::bound(space, Engine::Postgresql, "shop").await?;
    database.reached().await?;
    let rows = "CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)";
    database.sql(rows).await?;
    space.back_up("monday", json!({"instance": "shop"})).await?;
    let before = identities(space).await?;

    space.step("operator gone", take_away(space)).await?;
    ensure!(
        identities(space).await? == before,
        "before: {before:?}, after: {:?}",
        identities(space).await?
    );
    space.step("CRDs held", crds_are_held(space)).await?;
    ensure!(count(&database).await? == "1000");
    let deletion = ["delete", "dbinstance", "leaving", "--wait=false"];
    space.kubectl(&deletion, "").await?;
    // A database needs no operator to start again.
    space.kubectl(&["delete", "pod", "shop-0"], "").await?;
    let again = space.step("database back without operator", database.works_again());
    again.await?;
    ensure!(count(&database).await? == "1000");
    ensure!(
        identities(space)
            .await?
            .contains_key("DatabaseInstance/leaving"),
        "it went without its last backup"
    );

    let back = install(&space.cluster, operator);
    space.step("operator back", back).await?;
    protect(&space.cluster).await?;
    let last = space.step("last backup", last_backup(space)).await?;
    space.until_backup(&last, BackupPhase::Ready).await?;
    space
        .step("policies in force", policies_are_in_force(space))
        .await?;
    let change = json!({"parameters": {"work_mem": "16MB"}});
    space.patch("shop", change).await?;
    space.until_settled("shop").await?;
    ensure!(database.sql("SHOW work_mem").await?.trim() == "16MB");
    space.until_backup("monday", BackupPhase::Ready).await?;
    let now = identities(space).await?;
    for object in [
        "DatabaseInstance/shop",
        "DatabaseBackup/monday",
        "PersistentVolumeClaim/shop",
        "Secret/shop",
    ] {
        ensure!(
            before.contains_key(object) && now.get(object) == before.get(object),
            "{object} is another one"
        );
    }
    let restored = space.restore("copy", "monday", "copy");
    space.step("restored", restored).await?;
    let copy = Database::bound(space, Engine::Postgresql, "copy").await?;
    copy.reached().await?;
    ensure!(count(&copy).await? == "1000");
    Ok(())
}

/// As docs/uninstall.md says.
async fn take_away(space: &Space) -> Result<()> {
    let deploy = root().join("deploy").display().to_string();
    let cluster = &space.cluster;
    // A CRD among it would not come to its end: it waits for what waits for the operator.
    let deletion = ["delete", "-k", &deploy, "--timeout=120s"];
    cluster.kubectl(&deletion, "").await?;
    let left = ["get", "-k", &deploy, "--ignore-not-found", "-o", "name"];
    let left = cluster.kubectl(&left, "").await?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}

/// One by one, and with the policy that holds them; the second time, the policy is being deleted already.
async fn crds_are_held(space: &Space) -> Result<()> {
    for plural in [
        "databaseinstances",
        "databasebackups",
        "databaserestores",
        "haclusters",
    ] {
        let crd = format!("{plural}.minidbaas.dev");
        let said = space.refused(&["delete", "crd", &crd], "").await?;
        let told = format!("deleting {crd} deletes every ");
        ensure!(
            said.contains(&told) && said.contains("minidbaas.dev/delete-data=yes"),
            "{said}"
        );
    }
    let crds = root().join("crds").display().to_string();
    for _ in 0..2 {
        let deletion = ["delete", "-k", &crds, "--wait=false"];
        let said = space.refused(&deletion, "").await?;
        ensure!(said.matches(" deletes every ").count() == 4, "{said}");
    }
    Ok(())
}

/// The engine catalog has a say again, as it is now.
async fn policies_are_in_force(space: &Space) -> Result<()> {
    let catalog = |image: Value| async move {
        let patch = json!({"data": {"postgresql.17.0.98": image}}).to_string();
        let map = ["configmap", api::names::CATALOG, "-n", "minidbaas-system"];
        let change = ["patch", "--type=merge", "--patch", &patch];
        space
            .cluster
            .kubectl(&[&change[..], &map].concat(), "")
            .await
    };
    let unknown = json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance", "metadata": {"name": "unknown"},
        "spec": {"engine": "postgresql", "version": "16", "storage": {"size": "1Gi"}},
    });
    let unknown = unknown.to_string();
    catalog(json!("localhost/postgres:17")).await?;
    let refused = || async {
        let asked = ["create", "--dry-run=server", "-f", "-"];
        let answer = space.kubectl(&asked, &unknown).await;
        Ok(answer.is_err_and(|error| format!("{error:#}").contains("17.0.98")))
    };
    let told = space
        .until("another version than the catalog's is refused", refused)
        .await;
    catalog(Value::Null).await?;
    told
}

/// Waits until the instance is gone; returns the name of its last backup.
async fn last_backup(space: &Space) -> Result<String> {
    let gone = || async {
        let uid = space.field("dbinstance/leaving", ".metadata.uid").await?;
        Ok(uid.is_empty())
    };
    space.until("the instance is gone", gone).await?;
    let backups = space.backups().list(&Default::default()).await?;
    let mut names = backups.into_iter().filter_map(|one| one.metadata.name);
    let last = names.find(|name| name.starts_with("leaving-final-"));
    last.context("it went without a last backup")
}

async fn count(database: &Database<'_>) -> Result<String> {
    let count = database.sql("SELECT count(*) FROM t").await?;
    Ok(count.trim().to_owned())
}

/// Kind, name and UID of what bears data or tells of it, and of what makes a server run.
async fn identities(space: &Space) -> Result<BTreeMap<String, String>> {
    let kinds =
        "dbaas,pvc,secrets,configmaps,services,statefulsets,networkpolicies,volumesnapshots";
    let output =
        "-o=jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
    let found = space.kubectl(&["get", kinds, output], "").await?;
    let pairs = found.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs.map(|(name, uid)| (name.into(), uid.into())).collect())
}

/// What was applied of `deploy/`, as it was applied: with the image of this cluster and its catalog.
async fn installed(cluster: &Cluster) -> Result<String> {
    let deploy = root().join("deploy").display().to_string();
    let found = ["get", "-k", &deploy, "-o", "json"];
    let found: Value = serde_json::from_str(&cluster.kubectl(&found, "").await?)?;
    let objects = found["items"].as_array().context("no list")?.iter();
    let applied = objects.map(|object| {
        let text = object["metadata"]["annotations"][APPLIED].as_str();
        let text = text.with_context(|| format!("not applied: {}", object["metadata"]["name"]))?;
        Ok(serde_json::from_str(text)?)
    });
    let items = applied.collect::<Result<Vec<Value>>>()?;
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
}

async fn install(cluster: &Cluster, operator: &str) -> Result<()> {
    cluster.kubectl(&["apply", "-f", "-"], operator).await?;
    let rollout = [
        "-n",
        "minidbaas-system",
        "rollout",
        "status",
        "deployment/minidbaas",
        "--timeout=120s",
    ];
    cluster.kubectl(&rollout, "").await.map(|_| ())
}

/// A policy whose deletion was asked for stays like that: only another one lasts.
async fn protect(cluster: &Cluster) -> Result<()> {
    let crds = root().join("crds").display().to_string();
    let policies = root().join("crds/policies").display().to_string();
    let going = "-o=jsonpath={.items[*].metadata.deletionTimestamp}";
    let going = ["get", "-k", &policies, "--ignore-not-found", going];
    if !cluster.kubectl(&going, "").await?.is_empty() {
        let release = r#"{"metadata": {"finalizers": null}}"#;
        let release = ["patch", "-k", &policies, "--type=merge", "--patch", release];
        cluster.kubectl(&release, "").await?;
    }
    cluster
        .kubectl(&["apply", "-k", &crds], "")
        .await
        .map(|_| ())
}
