//! A cluster from the shortest example serves by its binding and is left alone at rest; others grow and shrink, and
//! take changes of everything that can be changed. The operator never touches what the Zalando operator has made.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use api::Engine;
use e2e::audit::{Mark, Request};
use e2e::client::secret;
use e2e::cluster::root;
use e2e::space::story;
use e2e::{Database, Space};
use serde_json::json;

const NAME: &str = "shop";

#[tokio::test]
async fn a_cluster_serves_by_its_binding_and_is_left_alone() -> Result<()> {
    story("story-ha", |space| async move {
        space.admit_zalando().await?;
        let mark = space.cluster.mark()?;
        let example = root().join("examples/hacluster-minimal.yaml");
        space
            .kubectl(&["apply", "-f", &example.display().to_string()], "")
            .await?;
        space.step("three servers", space.until_ha(NAME)).await?;
        serves(&space).await?;
        at_rest(&space).await?;
        touched(&space, &mark)
    })
    .await
}

#[tokio::test]
async fn a_cluster_grows_shrinks_and_keeps_its_rows() -> Result<()> {
    story("story-ha-size", |space| async move {
        with_a_row(&space).await?;
        let mark = space.cluster.mark()?;
        grows(&space).await?;
        ensure!(rows(&space).await? == "1", "a row was lost on the way");
        touched(&space, &mark)
    })
    .await
}

#[tokio::test]
async fn a_cluster_takes_a_password_and_settings() -> Result<()> {
    story("story-ha-changes", |space| async move {
        with_a_row(&space).await?;
        let mark = space.cluster.mark()?;
        takes_a_password(&space).await?;
        takes_settings(&space).await?;
        ensure!(rows(&space).await? == "1", "a row was lost on the way");
        touched(&space, &mark)
    })
    .await
}

/// Two servers and a row.
async fn with_a_row(space: &Space) -> Result<()> {
    space.admit_zalando().await?;
    let spec = json!({"engine": "postgresql", "replicas": 2, "storage": {"size": "1Gi"}, "database": "shop"});
    space.apply_ha(NAME, spec).await?;
    space.step("two servers", space.until_ha(NAME)).await?;
    let primary = Database::primary(space, NAME).await?;
    primary.reached().await?;
    primary
        .sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
        .await
        .map(|_| ())
}

/// Writes through the primary's host, reads through the replicas'.
async fn serves(space: &Space) -> Result<()> {
    let cluster = space.ha_clusters().get(NAME).await?;
    let status = cluster.status.unwrap_or_default();
    ensure!(status.ready.as_deref() == Some("3/3"), "{status:?}");
    let endpoints = status.endpoints.clone();
    let addresses = endpoints.map(|endpoints| (endpoints.primary, endpoints.replicas));
    let host = |service: &str| format!("{service}.{}.svc:5432", space.name);
    ensure!(
        addresses == Some((host("shop"), host("shop-repl"))),
        "{status:?}"
    );
    let roles = space.roles(NAME).await?;
    let primaries: Vec<&String> = roles
        .iter()
        .filter(|(_, role)| *role == "master")
        .map(|(pod, _)| pod)
        .collect();
    ensure!(
        status.primary.iter().collect::<Vec<_>>() == primaries,
        "{status:?} {roles:?}"
    );

    let primary = Database::primary(space, NAME).await?;
    primary.reached().await?;
    let is_replica = "SELECT pg_is_in_recovery()";
    ensure!(primary.sql(is_replica).await? == "f");
    ensure!(
        primary
            .sql("SELECT current_user, current_database()")
            .await?
            == "app\tshop"
    );
    primary
        .sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
        .await?;
    ensure!(
        primary
            .sql("SHOW synchronous_standby_names")
            .await?
            .contains("shop-")
    );

    let replicas = Database::replicas(space, NAME).await?;
    space
        .until("the row is in the replicas", || async {
            Ok(replicas
                .sql("SELECT n FROM t")
                .await
                .is_ok_and(|rows| rows == "1"))
        })
        .await?;
    ensure!(replicas.sql(is_replica).await? == "t");
    let refused = replicas.sql("INSERT INTO t VALUES (2)").await;
    let refused = refused
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    ensure!(
        refused.contains("read-only transaction"),
        "a replica said: {refused}"
    );
    let mut addresses = BTreeSet::new();
    for _ in 0..40 {
        addresses.insert(replicas.sql("SELECT inet_server_addr()").await?);
    }
    ensure!(addresses.len() == 2, "reads do not spread: {addresses:?}");
    let refused = primary.with_password("wrong").sql("SELECT 1").await;
    ensure!(refused.is_err(), "a wrong password was taken");
    let uri = secret(space, NAME, "uri").await?;
    let plain = uri.replace("sslmode=require", "sslmode=disable");
    ensure!(plain != uri, "the binding asks for no TLS");
    let plain = Database::with_uri(space, Engine::Postgresql, plain).await?;
    let refused = plain.sql("SELECT 1").await;
    ensure!(refused.is_err(), "a connection without TLS was taken");
    Ok(())
}

async fn rows(space: &Space) -> Result<String> {
    Database::primary(space, NAME)
        .await?
        .sql("SELECT count(*) FROM t")
        .await
}

/// Four servers, two again, larger volumes.
async fn grows(space: &Space) -> Result<()> {
    space.patch_ha(NAME, json!({"replicas": 4})).await?;
    let cluster = space.step("four servers", space.until_ha(NAME)).await?;
    let status = cluster.status.unwrap_or_default();
    ensure!(status.ready.as_deref() == Some("4/4"), "{status:?}");
    ensure!(space.roles(NAME).await?.len() == 4);
    space.patch_ha(NAME, json!({"replicas": 2})).await?;
    space.step("two again", space.until_ha(NAME)).await?;
    ensure!(space.roles(NAME).await?.len() == 2);
    space
        .patch_ha(NAME, json!({"storage": {"size": "2Gi"}}))
        .await?;
    let grown = async {
        space
            .until("all volumes have grown", || async {
                let claims = space.claims(NAME).await?;
                Ok(claims.len() == 4 && claims.values().all(|size| size == "2Gi"))
            })
            .await?;
        space
            .until_ha_says(NAME, "StorageReady", "True", "Bound")
            .await
    };
    space.step("larger volumes", grown).await?;
    let cluster = space.until_ha(NAME).await?;
    let storage = cluster.status.and_then(|status| status.storage?.capacity);
    ensure!(storage.is_some_and(|size| size.0 == "2Gi"));
    Ok(())
}

/// The binding follows when the password is in force.
async fn takes_a_password(space: &Space) -> Result<()> {
    let former = Database::primary(space, NAME).await?;
    let password = "neu'es \"Pass$wort\\ %s:/@";
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "type": "kubernetes.io/basic-auth",
        "stringData": {"username": "app", "password": password},
    });
    space
        .kubectl(&["create", "-f", "-"], &object.to_string())
        .await?;
    space
        .patch_ha(NAME, json!({"credentialsSecret": {"name": "mine"}}))
        .await?;
    let follows = async {
        space
            .until("the binding has the new password", || async {
                Ok(secret(space, NAME, "password").await? == password)
            })
            .await
    };
    space.step("a new password", follows).await?;
    ensure!(rows(space).await? == "1");
    let refused = former.sql("SELECT 1").await;
    ensure!(
        refused.is_err(),
        "the former password still opens the database"
    );
    Ok(())
}

/// A setting that a running server takes, and one that needs a restart, at once; both without a lost row.
async fn takes_settings(space: &Space) -> Result<()> {
    let change =
        json!({"parameters": {"work_mem": "9MB"}, "maxConnections": 123, "sharedBuffers": "64Mi"});
    space.patch_ha(NAME, change).await?;
    let primary = Database::primary(space, NAME).await?;
    let shown = "SELECT current_setting('work_mem'), current_setting('max_connections'), \
        current_setting('shared_buffers')";
    let in_force = async {
        space
            .until("the settings are in force", || async {
                Ok(primary
                    .sql(shown)
                    .await
                    .is_ok_and(|found| found == "9MB\t123\t64MB"))
            })
            .await?;
        space.until_ha(NAME).await
    };
    space.step("new settings", in_force).await?;
    let replicas = Database::replicas(space, NAME).await?;
    space
        .until("the replicas have them, too", || async {
            Ok(replicas
                .sql(shown)
                .await
                .is_ok_and(|found| found == "9MB\t123\t64MB"))
        })
        .await
}

/// Half a minute without a write of the operator: it looks each ten seconds, and so does Patroni.
async fn at_rest(space: &Space) -> Result<()> {
    space.until_ha(NAME).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mark = space.cluster.mark()?;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let writes = ours(space, &mark)?;
    ensure!(writes.is_empty(), "the operator wrote at rest: {writes:#?}");
    let all = space.cluster.requests_since(&mark)?;
    let leader = |r: &Request| r.is_in(&space.name) && r.object_ref.resource == "endpoints";
    ensure!(
        all.iter().any(leader),
        "the audit log does not show Patroni at work"
    );
    Ok(())
}

fn ours(space: &Space, mark: &Mark) -> Result<Vec<Request>> {
    let mut writes = space.cluster.operator_writes_since(mark)?;
    writes.retain(|write| write.is_in(&space.name));
    Ok(writes)
}

/// Everything that the operator has written is its own: the resource, the `postgresql`, two Secrets, Jobs and Events.
fn touched(space: &Space, mark: &Mark) -> Result<()> {
    let writes = ours(space, mark)?;
    let secrets = ["shop", "app.shop.credentials.postgresql.acid.zalan.do"];
    let strange: Vec<&Request> = writes
        .iter()
        .filter(|write| {
            let object = &write.object_ref;
            match object.resource.as_str() {
                "haclusters" | "postgresqls" => object.name != NAME,
                // The name of what is created is in its body only.
                "secrets" => !object.name.is_empty() && !secrets.contains(&object.name.as_str()),
                "jobs" => !object.name.is_empty() && !object.name.starts_with("login-"),
                resource => resource != "events",
            }
        })
        .collect();
    ensure!(strange.is_empty(), "the operator touched {strange:#?}");
    ensure!(
        writes.len() > 5,
        "the operator's writes are not all in the log: {}",
        writes.len()
    );
    let edits = writes
        .iter()
        .filter(|write| write.object_ref.resource == "postgresqls")
        .count();
    eprintln!(
        "ha: {} writes of the operator, {edits} of them to the postgresql",
        writes.len()
    );
    Ok(())
}
