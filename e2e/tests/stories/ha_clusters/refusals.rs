//! Clusters that cannot be are refused with the field and the remedy, and nothing is made of them.

use anyhow::{Result, ensure};
use e2e::Space;
use e2e::space::story;
use serde_json::{Value, json};

#[tokio::test]
async fn clusters_that_cannot_be_are_refused_and_nothing_is_made() -> Result<()> {
    story("story-ha-refusals", |space| async move {
        space.admit_zalando().await?;
        at_admission(&space).await?;
        changes(&space).await?;
        by_the_operator(&space).await?;
        names_that_are_taken(&space).await
    })
    .await
}

/// The shortest spec with a change.
fn with(change: Value) -> Value {
    let mut spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"}});
    for (field, value) in change.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    spec
}

async fn refused(space: &Space, name: &str, spec: Value, words: &str) -> Result<()> {
    let object = json!({"apiVersion": "minidbaas.dev/v1alpha1", "kind": "HACluster", "metadata": {"name": name},
        "spec": spec});
    let said = space
        .refused(&["apply", "-f", "-"], &object.to_string())
        .await?;
    ensure!(said.contains(words), "{words}: {said}");
    Ok(())
}

async fn at_admission(space: &Space) -> Result<()> {
    let cases = [
        (
            json!({"engine": "mysql"}),
            "spec.engine: mysql is not offered with high availability yet",
        ),
        (
            json!({"engine": "mariadb"}),
            "spec.engine: mariadb is not offered with high availability yet",
        ),
        (json!({"replicas": 0}), "spec.replicas: at least 1"),
        (json!({"username": "postgres"}), "spec.username: 'postgres'"),
        (
            json!({"username": "standby"}),
            "are reserved; choose another",
        ),
        (json!({"username": "pg_me"}), "are reserved; choose another"),
        (json!({"username": "Me"}), "spec.username"),
        (
            json!({"database": "template1"}),
            "spec.database: 'postgres', 'template0' and 'template1' are reserved",
        ),
        (json!({"database": "a-b"}), "spec.database"),
        (
            json!({"replicas": 1, "synchronous": "Strict"}),
            "spec.synchronous: with Strict and one replica",
        ),
        (
            json!({"deletionPolicy": "Snapshot"}),
            "spec.deletionPolicy: Snapshot is not offered",
        ),
        (json!({"sharedBuffers": "lots"}), "spec.sharedBuffers"),
        (json!({"maxConnections": 5}), "spec.maxConnections"),
        (
            json!({"maxConnections": 50, "parameters": {"max_connections": "60"}}),
            "spec.maxConnections says the same",
        ),
        (json!({"storage": {"size": "-1Gi"}}), "spec.storage.size"),
        (json!({"teamId": "A-Team"}), "spec.teamId"),
    ];
    for (change, words) in cases {
        refused(space, "shop", with(change), words).await?;
    }
    let long = "a".repeat(51);
    refused(
        space,
        &long,
        with(json!({})),
        "metadata.name: at most 50 characters",
    )
    .await?;
    refused(
        space,
        "shop-repl",
        with(json!({})),
        "metadata.name: must not end in '-repl'",
    )
    .await
}

/// What cannot be changed once it is there. Paused, it makes nothing of itself.
async fn changes(space: &Space) -> Result<()> {
    let object = json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "HACluster",
        "metadata": {"name": "fixed", "annotations": {"minidbaas.dev/paused": "true"}},
        "spec": with(json!({"version": "17", "database": "fixed"})),
    });
    space.apply(&object.to_string()).await?;
    space
        .until_ha_says("fixed", "Stalled", "True", "Paused")
        .await?;
    let cases = [
        (
            json!({"version": "16"}),
            "spec.version: the major version cannot be changed in place",
        ),
        (
            json!({"database": "other"}),
            "spec.database: cannot be changed after creation",
        ),
        (
            json!({"username": "other"}),
            "spec.username: cannot be changed after creation",
        ),
        (
            json!({"teamId": "other"}),
            "spec.teamId: cannot be changed after creation",
        ),
        (
            json!({"storage": {"size": "500Mi"}}),
            "spec.storage.size: can only grow",
        ),
        (
            json!({"storage": {"className": "immediate"}}),
            "spec.storage.className: cannot be changed after creation",
        ),
    ];
    for (change, words) in cases {
        let patch = json!({"spec": change}).to_string();
        let words_of_kubectl = ["patch", "hac", "fixed", "--type=merge", "--patch", &patch];
        let said = space.refused(&words_of_kubectl, "").await?;
        ensure!(said.contains(words), "{words}: {said}");
    }
    ensure!(space.postgresqls().get_opt("fixed").await?.is_none());
    Ok(())
}

async fn by_the_operator(space: &Space) -> Result<()> {
    let small = json!({"limits": {"memory": "256Mi"}});
    let cases = [
        (
            json!({"version": "9"}),
            "UnknownVersion",
            "does not serve PostgreSQL 9. It serves 13, 14, 15, 16, 17",
        ),
        (
            json!({"resources": small, "sharedBuffers": "300MB"}),
            "InvalidParameter",
            "spec.sharedBuffers: 300MB is more than the memory of a server, 256Mi",
        ),
        (
            json!({"resources": small, "effectiveCacheSize": "1Gi"}),
            "InvalidParameter",
            "spec.effectiveCacheSize: 1Gi is more than",
        ),
        (
            json!({"resources": {"limits": {"memory": "64Mi"}}}),
            "InvalidResources",
            "too little for PostgreSQL",
        ),
        (
            json!({"parameters": {"work_men": "8MB"}}),
            "InvalidParameter",
            "Did you mean 'work_mem'?",
        ),
        (
            json!({"parameters": {"listen_addresses": "*"}}),
            "InvalidParameter",
            "the address belongs to the operator",
        ),
        (
            json!({"parameters": {"synchronous_standby_names": "*"}}),
            "InvalidParameter",
            "replication belongs to Patroni",
        ),
        (
            json!({"storage": {"size": "1Gi", "className": "none"}}),
            "StorageClassNotFound",
            "there is no StorageClass none",
        ),
        (
            json!({"credentialsSecret": {"name": "none"}}),
            "CredentialsNotFound",
            "there is no Secret none",
        ),
    ];
    for (change, reason, words) in cases {
        space.apply_ha("bad", with(change)).await?;
        let said = space
            .until_ha_says("bad", "Stalled", "True", reason)
            .await?;
        ensure!(said.contains(words), "{words}: {said}");
        space
            .kubectl(&["delete", "hac", "bad", "--timeout=30s"], "")
            .await?;
        let secret = space.field("secret/bad", ".metadata.name").await?;
        ensure!(
            secret.is_empty() && space.postgresqls().get_opt("bad").await?.is_none(),
            "{reason}: something was made"
        );
    }
    Ok(())
}

/// An instance and a cluster of the same name, and a conflict's `postgresql`.
async fn names_that_are_taken(space: &Space) -> Result<()> {
    space.apply_instance("taken", with(json!({}))).await?;
    space.until_settled("taken").await?;
    space.apply_ha("taken", with(json!({}))).await?;
    let said = space
        .until_ha_says("taken", "Stalled", "True", "NameTaken")
        .await?;
    ensure!(
        said.contains("taken that does not belong to this cluster"),
        "{said}"
    );
    ensure!(space.postgresqls().get_opt("taken").await?.is_none());
    space
        .kubectl(&["delete", "hac", "taken", "--timeout=30s"], "")
        .await?;
    space.until_settled("taken").await?;

    // Another Zalando operator's, which is not there: it stays as it is.
    let conflict = json!({
        "apiVersion": "acid.zalan.do/v1", "kind": "postgresql",
        "metadata": {"name": "theirs", "annotations": {"acid.zalan.do/controller": "nobody"}},
        "spec": {"teamId": "them", "numberOfInstances": 1, "postgresql": {"version": "17"}, "volume": {"size": "1Gi"}},
    });
    space.apply(&conflict.to_string()).await?;
    space
        .apply_ha("theirs", with(json!({"deletionPolicy": "Delete"})))
        .await?;
    let said = space
        .until_ha_says("theirs", "Stalled", "True", "NameTaken")
        .await?;
    ensure!(said.contains("a postgresql theirs"), "{said}");
    space
        .kubectl(&["delete", "hac", "theirs", "--timeout=30s"], "")
        .await?;
    ensure!(
        space.postgresqls().get_opt("theirs").await?.is_some(),
        "a conflict's postgresql was deleted"
    );
    Ok(())
}
