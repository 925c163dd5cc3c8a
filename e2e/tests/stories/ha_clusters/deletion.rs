//! What a deletion leaves: with Retain everything that is needed to go on, with Delete nothing at all.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use e2e::client::secret;
use e2e::space::story;
use e2e::{Database, Space};
use serde_json::{Value, json};

const NAME: &str = "shop";

#[tokio::test]
async fn a_cluster_that_is_deleted_and_applied_again_has_its_rows_until_it_is_to_lose_them()
-> Result<()> {
    story("story-ha-leaving", |space| async move {
        space.admit_zalando().await?;
        let nothing = space.objects().await?;
        let spec = json!({"engine": "postgresql", "replicas": 2, "storage": {"size": "1Gi"}});
        space.apply_ha(NAME, spec.clone()).await?;
        space.step("two servers", space.until_ha(NAME)).await?;
        let primary = Database::primary(&space, NAME).await?;
        primary.reached().await?;
        primary
            .sql("CREATE TABLE t (n int); INSERT INTO t VALUES (42)")
            .await?;
        let password = secret(&space, NAME, "password").await?;
        let claims = uids(&space, "PersistentVolumeClaim/").await?;
        retained(&space).await?;
        ensure!(uids(&space, "PersistentVolumeClaim/").await? == claims);
        mismatches(&space, &spec).await?;
        space.apply_ha(NAME, spec).await?;
        space
            .step("two servers again", space.until_ha(NAME))
            .await?;
        ensure!(secret(&space, NAME, "password").await? == password);
        let primary = Database::primary(&space, NAME).await?;
        primary.reached().await?;
        ensure!(
            primary.sql("SELECT n FROM t").await? == "42",
            "the row is lost"
        );
        deleted(&space, &nothing).await
    })
    .await
}

async fn uids(space: &Space, prefix: &str) -> Result<BTreeMap<String, String>> {
    let objects = space.objects().await?;
    let uid = |identity: String| identity.split(' ').next().unwrap_or_default().to_owned();
    Ok(objects
        .into_iter()
        .filter(|(name, _)| name.starts_with(prefix))
        .map(|(name, identity)| (name, uid(identity)))
        .collect())
}

/// No server runs, and nothing is lost.
async fn retained(space: &Space) -> Result<()> {
    space
        .kubectl(&["delete", "hac", NAME, "--timeout=60s"], "")
        .await?;
    let stopped = space.until("no server runs", || async {
        Ok(space.roles(NAME).await?.is_empty())
    });
    space.step("servers stopped", stopped).await?;
    let postgresql = space.postgresqls().get(NAME).await?;
    ensure!(postgresql.spec["numberOfInstances"] == json!(0));
    ensure!(
        postgresql
            .metadata
            .owner_references
            .unwrap_or_default()
            .is_empty()
    );
    Ok(())
}

/// Other data than is asked for is not started.
async fn mismatches(space: &Space, spec: &Value) -> Result<()> {
    let other = |field: &str, value: Value| {
        let mut spec = spec.clone();
        spec[field] = value;
        spec
    };
    let cases = [
        (
            other("username", json!("someone")),
            "RetainedDataMismatch",
            "spec.username",
        ),
        (
            other("database", json!("another")),
            "RetainedDataMismatch",
            "spec.database",
        ),
        (
            other("version", json!("16")),
            "MajorVersionChange",
            "spec.version",
        ),
    ];
    for (spec, reason, words) in cases {
        space.apply_ha(NAME, spec).await?;
        let said = space.until_ha_says(NAME, "Stalled", "True", reason).await?;
        ensure!(said.contains(words), "{said}");
        space
            .kubectl(&["delete", "hac", NAME, "--timeout=60s"], "")
            .await?;
        let postgresql = space.postgresqls().get(NAME).await?;
        ensure!(
            postgresql.spec["numberOfInstances"] == json!(0),
            "{reason}: servers were started"
        );
    }
    Ok(())
}

/// Nothing of it is left, volumes included.
async fn deleted(space: &Space, nothing: &BTreeMap<String, String>) -> Result<()> {
    space
        .patch_ha(NAME, json!({"deletionPolicy": "Delete"}))
        .await?;
    space.until_ha(NAME).await?;
    let gone = space.kubectl(&["delete", "hac", NAME, "--timeout=180s"], "");
    space.step("everything deleted", gone).await?;
    // The Zalando operator makes these once for a namespace, and keeps them.
    let of_namespace = ["ServiceAccount/postgres-pod", "RoleBinding/postgres-pod"];
    space
        .until("the namespace is as empty as before", || async {
            let mut left = space.objects().await?;
            left.retain(|name, _| {
                !nothing.contains_key(name) && !of_namespace.contains(&name.as_str())
            });
            Ok(left.is_empty() && space.volumes().await?.is_empty())
        })
        .await
}
