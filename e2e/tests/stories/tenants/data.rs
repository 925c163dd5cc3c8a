//! A database with rows that must be there afterwards: retained, written to while its pod dies, or asked for twice.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use api::Engine;
use e2e::{Database, Space, Writer, none_lost};
use serde_json::{Value, json};

use super::conflicts::Kept;
use super::people::{admin, user};
use crate::backup_deletion::until_gone;
use crate::backup_refusals::small;

pub const ENGINE: Engine = Engine::Postgresql;

/// A small instance, served; whose it is matters to no attack.
pub async fn serve(space: &Space, name: &str, changes: Value) -> Result<()> {
    let spec = small(ENGINE.name(), changes);
    space.apply_instance(name, spec).await?;
    space.until_settled(name).await.map(|_| ())
}

/// The rows of the table t.
pub async fn rows(space: &Space, name: &str) -> Result<String> {
    let database = Database::bound(space, ENGINE, name).await?;
    database.reached().await?;
    database.sql("SELECT n FROM t").await
}

/// A served instance with one row in the table t.
pub async fn with_row(space: &Space, name: &str, row: i32) -> Result<()> {
    let database = Database::bound(space, ENGINE, name).await?;
    database.reached().await?;
    let sql = format!("CREATE TABLE t (n int); INSERT INTO t VALUES ({row})");
    database.sql(&sql).await.map(|_| ())
}

/// Data that an instance has left behind: the same name with another database is refused, and deleted to be corrected.
pub async fn retained(space: &Space, name: &str) -> Result<Kept> {
    serve(space, name, json!({"database": "books"})).await?;
    with_row(space, name, 42).await?;
    let instance = format!("dbinstance/{name}");
    user(space).delete(&instance).await?;
    until_gone(space, &instance).await?;
    until_gone(space, &format!("pod/{name}-0")).await?;
    Kept::see(space, &[format!("pvc/{name}")]).await
}

/// A user deletes an instance and waits until it is gone. With Delete there is a finalizer as of one that had Snapshot
/// before.
pub async fn delete(space: &Space, name: &str, policy: &str) -> Result<()> {
    let instance = format!("dbinstance/{name}");
    if policy == "Delete" {
        let paused = json!({"minidbaas.dev/paused": "true"});
        let held = json!({"metadata": {"annotations": paused, "finalizers": ["minidbaas.dev/final-backup"]}});
        user(space).patch(&instance, held).await?;
    }
    user(space).delete(&instance).await?;
    if policy == "Delete" {
        pause(space, name, None).await?;
    }
    until_gone(space, &instance).await
}

/// Applied with a typo, deleted, and applied as it should be.
pub async fn mistyped(space: &Space, name: &str, policy: &str, left: &Kept) -> Result<()> {
    let typo = json!({"database": "boks", "deletionPolicy": policy});
    user(space)
        .apply_instance(name, small(ENGINE.name(), typo))
        .await?;
    let reason = "RetainedDataMismatch";
    space
        .until_condition(name, "Stalled", "True", reason)
        .await?;
    delete(space, name, policy).await?;
    left.stay(space).await?;
    serve(space, name, json!({"database": "books"})).await?;
    let found = rows(space, name).await?;
    ensure!(found == "42", "the rows are now: {found}");
    Ok(())
}

/// A client that writes into a table of its own, and what it was told.
pub struct Client<'a> {
    database: Database<'a>,
    table: &'static str,
    writer: Writer,
}

impl<'a> Client<'a> {
    /// Begins to write.
    pub async fn start(space: &'a Space, name: &str, table: &'static str) -> Result<Self> {
        let database = Database::bound(space, ENGINE, name).await?;
        database.reached().await?;
        database
            .sql(&format!("CREATE TABLE {table} (n int)"))
            .await?;
        let writer = Writer::reconnecting(&database, table).await?;
        let client = Client {
            database,
            table,
            writer,
        };
        client.goes_on(space).await?;
        Ok(client)
    }

    /// Twenty more rows are acknowledged.
    pub async fn goes_on(&self, space: &Space) -> Result<()> {
        let before = self.writer.acknowledged().len();
        let more = || async { Ok(self.writer.acknowledged().len() > before + 20) };
        space.until("the client writes", more).await
    }

    /// Each row that was acknowledged is there.
    pub async fn ends(self) -> Result<()> {
        let acknowledged = self.writer.acknowledged();
        drop(self.writer);
        none_lost(self.table, &self.database, self.table, &acknowledged).await
    }
}

/// The pod is deleted without being asked to stop.
pub async fn killed(space: &Space, name: &str) -> Result<()> {
    let client = Client::start(space, name, "killed").await?;
    let pod = format!("pod/{name}-0");
    let uid = space.field(&pod, ".metadata.uid").await?;
    let words = ["delete", &pod, "--grace-period=0", "--force"];
    admin(space).kubectl(&words, "").await?;
    let another = || async {
        let now = space.field(&pod, ".metadata.uid").await?;
        Ok(!now.is_empty() && now != uid)
    };
    space.until("there is another pod", another).await?;
    space.until_settled(name).await?;
    client.goes_on(space).await?;
    client.ends().await
}

async fn scale(space: &Space, name: &str, replicas: u8) -> Result<()> {
    let (set, replicas) = (format!("sts/{name}"), format!("--replicas={replicas}"));
    let words = ["scale", &set, &replicas];
    admin(space).kubectl(&words, "").await.map(|_| ())
}

/// The operator is there and sees it.
pub async fn scaled(space: &Space, name: &str) -> Result<()> {
    let client = Client::start(space, name, "scaled").await?;
    scale(space, name, 3).await?;
    let back = || async {
        let replicas = space
            .field(&format!("sts/{name}"), ".spec.replicas")
            .await?;
        Ok(replicas == "1")
    };
    space.until("the operator sets it back", back).await?;
    for pod in [1, 2] {
        until_gone(space, &format!("pod/{name}-{pod}")).await?;
    }
    space.until_settled(name).await?;
    client.goes_on(space).await?;
    client.ends().await
}

/// So long a second server had time to start; the first one of an instance takes about five seconds.
const TIME_TO_START: Duration = Duration::from_secs(15);

/// The operator may not write, so nobody sets it back.
pub async fn two_servers(space: &Space, name: &str) -> Result<()> {
    let client = Client::start(space, name, "twice").await?;
    pause(space, name, Some("true")).await?;
    scale(space, name, 2).await?;
    let pod = format!("pod/{name}-1");
    let asked = || async { Ok(!space.field(&pod, ".metadata.uid").await?.is_empty()) };
    space.until("there is a second pod", asked).await?;
    let began = Instant::now();
    while began.elapsed() < TIME_TO_START {
        let path = ".status.conditions[?(@.type==\"Ready\")].status";
        let ready = space.field(&pod, path).await?;
        ensure!(ready != "True", "a second server is ready on the volume");
        let words = [
            "get",
            "endpointslices",
            "-o=jsonpath={.items[*].endpoints[*].targetRef.name}",
        ];
        let targets = space.kubectl(&words, "").await?;
        let second = format!("{name}-1");
        ensure!(
            !targets.split(' ').any(|target| target == second),
            "the Service leads to the second pod"
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    client.goes_on(space).await?;
    client.ends().await
}

/// One server, and an operator that works.
pub async fn alone_again(space: &Space, name: &str) -> Result<()> {
    scale(space, name, 1).await?;
    pause(space, name, None).await
}

/// Sets the annotation that holds the operator back, or takes it off.
pub async fn pause(space: &Space, name: &str, paused: Option<&str>) -> Result<()> {
    let change = json!({"metadata": {"annotations": {"minidbaas.dev/paused": paused}}});
    user(space)
        .patch(&format!("dbinstance/{name}"), change)
        .await
}
