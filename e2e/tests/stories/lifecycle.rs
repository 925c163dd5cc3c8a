//! What is done to a database between its creation and its end, on each engine: its rows are there after all of it.

use anyhow::{Result, ensure};
use api::Engine;
use api::reported::Reported;
use e2e::length::engines;
use e2e::space::story;
use e2e::{Database, Space};
use futures::future::try_join_all;
use serde_json::{Value, json};

const NAME: &str = "shop";
const POD: &str = "pod/shop-0";

/// Settings of an engine that show what a change does.
struct Knobs {
    engine: Engine,
    /// Taken by the running server: name and value.
    dynamic: (&'static str, &'static str),
    /// Needs a restart: name and value.
    restart: (&'static str, &'static str),
    /// The setting derived from the memory limit, and what it is at 1Gi.
    memory: (&'static str, &'static str),
    /// Refused by the engine: name and value.
    refused: (&'static str, &'static str),
}

const POSTGRESQL: Knobs = Knobs {
    engine: Engine::Postgresql,
    dynamic: ("work_mem", "8MB"),
    restart: ("max_connections", "50"),
    memory: ("shared_buffers", "256MB"),
    refused: ("work_mem", "lots"),
};

const MYSQL: Knobs = Knobs {
    engine: Engine::Mysql,
    dynamic: ("max_connections", "77"),
    restart: ("back_log", "33"),
    // 468 MiB, in whole chunks of 128 MiB.
    memory: ("innodb_buffer_pool_size", "536870912"),
    refused: ("sql_mode", "NONSENSE"),
};

const MARIADB: Knobs = Knobs {
    engine: Engine::Mariadb,
    dynamic: ("max_connections", "77"),
    restart: ("back_log", "33"),
    memory: ("innodb_buffer_pool_size", "679477248"),
    refused: ("sql_mode", "NONSENSE"),
};

#[tokio::test]
async fn a_database_keeps_its_rows_through_stops_growth_and_changed_settings() -> Result<()> {
    let engines = engines(&[Engine::Postgresql, Engine::Mysql]).into_iter();
    try_join_all(engines.map(changes)).await.map(|_| ())
}

async fn changes(engine: Engine) -> Result<()> {
    let name = format!("story-changes-{}", engine.name());
    let knobs = match engine {
        Engine::Postgresql => POSTGRESQL,
        Engine::Mysql => MYSQL,
        Engine::Mariadb => MARIADB,
    };
    story(&name, |space| async move {
        let space = &space;
        let long_life = async {
            let spec = json!({"engine": knobs.engine.name(), "storage": {"size": "1Gi"}});
            space.apply_instance(NAME, spec).await?;
            space.step("first start", space.until_settled(NAME)).await?;
            let database = Database::bound(space, knobs.engine, NAME).await?;
            database
                .sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (42);")
                .await?;
            let (space, database) = (space, &database);
            space
                .step("pod deleted", pod_deleted(space, database))
                .await?;
            space
                .step("stop and start", stop_and_start(space, database))
                .await?;
            space.step("growth", growth(space, database)).await?;
            space.step("exposure", exposure(space)).await?;
            space
                .step("dynamic setting", dynamic_setting(space, database, &knobs))
                .await?;
            space
                .step("refused setting", refused_setting(space, database, &knobs))
                .await?;
            space
                .step("restart", restart(space, database, &knobs))
                .await
        };
        let bad_start = space.step(
            "first start refused and cured",
            bad_first_start(space, &knobs),
        );
        futures::try_join!(long_life, bad_start).map(|_| ())
    })
    .await
}

async fn keeps(database: &Database<'_>) -> Result<()> {
    database.reached().await?;
    let rows = database.sql("SELECT n FROM kept").await?;
    ensure!(rows == "42", "the rows are now: {rows}");
    Ok(())
}

async fn shown(database: &Database<'_>, engine: Engine, setting: &str) -> Result<String> {
    let sql = match engine {
        Engine::Postgresql => format!("SHOW {setting}"),
        Engine::Mysql | Engine::Mariadb => format!("SELECT @@GLOBAL.{setting}"),
    };
    database.sql(&sql).await
}

/// The pod's UID: another one means a restart.
async fn pod(space: &Space) -> Result<String> {
    space.field(POD, ".metadata.uid").await
}

async fn set(space: &Space, (name, value): (&str, impl Into<Value>)) -> Result<()> {
    space
        .patch(NAME, json!({"parameters": {name: value.into()}}))
        .await
}

async fn pod_deleted(space: &Space, database: &Database<'_>) -> Result<()> {
    let before = pod(space).await?;
    space.kubectl(&["delete", POD, "--wait=false"], "").await?;
    space
        .until("there is another pod", || async {
            let now = pod(space).await?;
            Ok(!now.is_empty() && now != before)
        })
        .await?;
    space.until_settled(NAME).await?;
    keeps(database).await
}

async fn stop_and_start(space: &Space, database: &Database<'_>) -> Result<()> {
    space.patch(NAME, json!({"stopped": true})).await?;
    space
        .until_condition(NAME, "Ready", "False", "Stopped")
        .await?;
    let instance = space.instances().get(NAME).await?;
    ensure!(instance.is_at_rest(), "a stopped instance is at rest");
    ensure!(pod(space).await?.is_empty(), "a stopped instance has a pod");
    space.patch(NAME, json!({"stopped": false})).await?;
    space.until_settled(NAME).await?;
    keeps(database).await
}

async fn growth(space: &Space, database: &Database<'_>) -> Result<()> {
    let before = pod(space).await?;
    space
        .patch(NAME, json!({"storage": {"size": "2Gi"}}))
        .await?;
    space.until_settled(NAME).await?;
    let reported = space.field("dbi/shop", ".status.storage.capacity").await?;
    let real = space.field("pvc/shop", ".status.capacity.storage").await?;
    ensure!(
        (reported.as_str(), real.as_str()) == ("2Gi", "2Gi"),
        "the volume has {real}, the status says {reported}"
    );
    ensure!(pod(space).await? == before, "growth restarted the pod");
    keeps(database).await
}

/// The Service's type and annotations, and who may connect: none of it restarts.
async fn exposure(space: &Space) -> Result<()> {
    let before = pod(space).await?;
    let team = json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}});
    let service = json!({"type": "NodePort", "annotations": {"example.com/pool": "inner"}});
    space
        .patch(
            NAME,
            json!({"service": service, "network": {"allowFrom": [team]}}),
        )
        .await?;
    space.until_settled(NAME).await?;
    ensure!(space.field("service/shop", ".spec.type").await? == "NodePort");
    let annotation = space
        .field("service/shop", ".metadata.annotations['example.com/pool']")
        .await?;
    ensure!(annotation == "inner", "the annotation is {annotation}");
    let allowed = space
        .field("networkpolicy/shop", ".spec.ingress[0].from")
        .await?;
    ensure!(allowed.contains(r#""team":"shop""#), "allowed: {allowed}");
    space
        .patch(NAME, json!({"service": null, "network": null}))
        .await?;
    space.until_settled(NAME).await?;
    ensure!(space.field("service/shop", ".spec.type").await? == "ClusterIP");
    let allowed = space
        .field("networkpolicy/shop", ".spec.ingress[0].from")
        .await?;
    ensure!(!allowed.contains("team"), "still allowed: {allowed}");
    ensure!(pod(space).await? == before, "exposure restarted the pod");
    Ok(())
}

async fn dynamic_setting(space: &Space, database: &Database<'_>, knobs: &Knobs) -> Result<()> {
    let (name, value) = knobs.dynamic;
    let (before, default) = (
        pod(space).await?,
        shown(database, knobs.engine, name).await?,
    );
    set(space, (name, value)).await?;
    space.until_settled(NAME).await?;
    let now = shown(database, knobs.engine, name).await?;
    ensure!(now == value, "{name} is {now}");
    set(space, (name, Value::Null)).await?;
    space.until_settled(NAME).await?;
    let now = shown(database, knobs.engine, name).await?;
    ensure!(now == default, "{name} is {now} instead of {default}");
    ensure!(pod(space).await? == before, "{name} restarted the pod");
    Ok(())
}

/// The engine's refusal is reported, changes nothing, and is over when the value is.
async fn refused_setting(space: &Space, database: &Database<'_>, knobs: &Knobs) -> Result<()> {
    let (name, value) = knobs.refused;
    let before = pod(space).await?;
    set(space, (name, value)).await?;
    let message = space
        .until_condition(NAME, "ParametersApplied", "False", "ParameterRejected")
        .await?;
    eprintln!("{}: {message}", space.name);
    ensure!(
        message.contains(&format!("spec.parameters.{name}")) && message.contains(value),
        "the message does not name it: {message}"
    );
    let instance = space.instances().get(NAME).await?;
    for (type_, reason) in [("Stalled", "ParameterRejected"), ("Ready", "Running")] {
        let condition = instance.condition(type_);
        ensure!(
            condition.is_some_and(|c| c.status == "True" && c.reason == reason),
            "{type_}: {condition:?}"
        );
    }
    keeps(database).await?;
    set(space, (name, Value::Null)).await?;
    space.until_settled(NAME).await?;
    ensure!(pod(space).await? == before, "the refusal cost a restart");
    keeps(database).await
}

/// Memory, a setting that needs a restart, and a place: one restart for all of them.
async fn restart(space: &Space, database: &Database<'_>, knobs: &Knobs) -> Result<()> {
    let (name, value) = knobs.restart;
    let (before, default) = (
        pod(space).await?,
        shown(database, knobs.engine, name).await?,
    );
    let spec = json!({
        "parameters": {name: value}, "resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "256Mi"}},
        "scheduling": {"nodeSelector": {"kubernetes.io/os": "linux"}},
    });
    space.patch(NAME, spec).await?;
    space.until_settled(NAME).await?;
    ensure!(pod(space).await? != before, "{name} needs a restart");
    database.reached().await?;
    for (name, value) in [knobs.restart, knobs.memory] {
        let now = shown(database, knobs.engine, name).await?;
        ensure!(now == value, "{name} is {now} instead of {value}");
    }
    let place = space.field(POD, ".spec.nodeSelector").await?;
    ensure!(place.contains("linux"), "nodeSelector: {place}");
    set(space, (name, Value::Null)).await?;
    space.until_settled(NAME).await?;
    keeps(database).await?;
    let now = shown(database, knobs.engine, name).await?;
    ensure!(now == default, "{name} is {now} instead of {default}");
    Ok(())
}

/// A value that keeps the first start from succeeding is named, and its removal is all it takes.
async fn bad_first_start(space: &Space, knobs: &Knobs) -> Result<()> {
    let (name, value) = knobs.refused;
    let spec = json!({"engine": knobs.engine.name(), "storage": {"size": "1Gi"}, "parameters": {name: value}});
    space.apply_instance("first", spec).await?;
    let refused = space.until_condition("first", "Ready", "False", "ParameterRejected");
    let message = space.step("first start refused", refused).await?;
    eprintln!("{}: {message}", space.name);
    ensure!(
        message.contains(&format!("spec.parameters.{name}")) && message.contains(value),
        "the message does not name it: {message}"
    );
    space
        .patch("first", json!({"parameters": {name: null}}))
        .await?;
    space
        .step("first start cured", space.until_settled("first"))
        .await?;
    Ok(())
}
