//! Credentials, versions and farewells: passwords that change, Secrets that are lost, what stays and what goes at the
//! end.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use api::Engine;
use e2e::client::secret;
use e2e::length::engines;
use e2e::space::story;
use e2e::{Database, Space};
use futures::future::try_join_all;
use serde_json::{Value, json};

const NAME: &str = "books";
const POD: &str = "pod/books-0";
/// With characters that URIs, shells, option files and SQL read otherwise.
const FIRST: &str = "p@ss: /?#\\'%42";
const SECOND: &str = "another \u{e9} \"2\" $HOME";

/// In one test, as most of it is waiting: the operator looks every 30 seconds at Secrets, which it does not watch.
#[tokio::test]
async fn an_engine_changes_passwords_and_versions_leaves_and_returns() -> Result<()> {
    let engines = engines(&[Engine::Postgresql, Engine::Mariadb]).into_iter();
    try_join_all(engines.map(life)).await.map(|_| ())
}

async fn life(engine: Engine) -> Result<()> {
    let name = format!("story-leaving-{}", engine.name());
    story(&name, |space| async move {
        let space = &space;
        apply_password(space, FIRST).await?;
        let before = space.objects().await?;
        let (series, exact) = versions(space, engine).await?;
        let spec = json!({
            "engine": engine.name(), "version": series, "storage": {"size": "1Gi"},
                "credentialsSecret": {"name": "mine"},
        });
        space.apply_instance(NAME, spec.clone()).await?;
        space.step("first start", space.until_settled(NAME)).await?;
        let database = Database::bound(space, engine, NAME).await?;
        database.reached().await?;
        database
            .sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (42);")
            .await?;
        space
            .step("password changed", password(space, &database))
            .await?;
        let binding = binding_lost(space, engine);
        space.step("binding lost and made anew", binding).await?;
        let administrator = administrator_lost(space, engine);
        space
            .step("administrator lost and made anew", administrator)
            .await?;
        let returned = returns(space, engine, &before, spec);
        space
            .step("deleted with Retain, and back", returned)
            .await?;
        let moved = version_moves(space, engine, &series, &exact);
        space.step("minor version", moved).await?;
        space
            .step("deleted with Delete", ends(space, &before))
            .await
    })
    .await
}

async fn apply_password(space: &Space, password: &str) -> Result<()> {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "type": "kubernetes.io/basic-auth",
        "stringData": {"username": "app", "password": password},
    });
    space.apply(&object.to_string()).await.map(|_| ())
}

/// The series and the exact version of the catalog.
pub async fn versions(space: &Space, engine: Engine) -> Result<(String, String)> {
    let catalog = [
        "-n",
        "minidbaas-system",
        "get",
        "configmap",
        api::names::CATALOG,
        "-o=json",
    ];
    let catalog: Value = serde_json::from_str(&space.cluster.kubectl(&catalog, "").await?)?;
    let prefix = format!("{}.", engine.name());
    let entries = catalog["data"].as_object().context("an empty catalog")?;
    let series = entries[&format!("{prefix}default")]
        .as_str()
        .unwrap_or_default();
    let exact = entries
        .keys()
        .filter_map(|key| key.strip_prefix(&prefix))
        .rfind(|version| version.starts_with(&format!("{series}.")));
    Ok((
        series.to_owned(),
        exact.context("no exact version")?.to_owned(),
    ))
}

/// The binding as it is now leads to the rows.
async fn keeps(space: &Space, engine: Engine) -> Result<()> {
    let database = Database::bound(space, engine, NAME).await?;
    database.reached().await?;
    let rows = database.sql("SELECT n FROM kept").await?;
    ensure!(rows == "42", "the rows are now: {rows}");
    Ok(())
}

/// The new password works, the old one does not, and nothing restarts.
async fn password(space: &Space, database: &Database<'_>) -> Result<()> {
    let pod = space.field(POD, ".metadata.uid").await?;
    apply_password(space, SECOND).await?;
    space
        .until("the binding has the new password", || async {
            Ok(secret(space, NAME, "password").await? == SECOND)
        })
        .await?;
    space.until_settled(NAME).await?;
    database.with_password(SECOND).sql("SELECT 1").await?;
    let Err(refusal) = database.sql("SELECT 1").await else {
        anyhow::bail!("the old password still works");
    };
    let refusal = format!("{refusal:#}");
    ensure!(
        refusal.contains("password authentication failed") || refusal.contains("Access denied"),
        "the old password: {refusal}"
    );
    ensure!(
        space.field(POD, ".metadata.uid").await? == pod,
        "the password restarted the pod"
    );
    Ok(())
}

/// A binding that is deleted comes back, and leads to the rows as before.
async fn binding_lost(space: &Space, engine: Engine) -> Result<()> {
    lost(space, "secret/books").await?;
    space.until_settled(NAME).await?;
    keeps(space, engine).await
}

/// Without its Secret the administrator gets another password, and that takes a restart.
async fn administrator_lost(space: &Space, engine: Engine) -> Result<()> {
    let pod = space.field(POD, ".metadata.uid").await?;
    let binding = secret(space, NAME, "uri").await?;
    lost(space, "secret/books-admin").await?;
    // The Secret is made before the status tells of the restart.
    space
        .until("the server has restarted", || async {
            let now = space.field(POD, ".metadata.uid").await?;
            Ok(!now.is_empty() && now != pod)
        })
        .await?;
    space.until_settled(NAME).await?;
    keeps(space, engine).await?;
    ensure!(
        secret(space, NAME, "uri").await? == binding,
        "the binding has changed"
    );
    Ok(())
}

/// An object that is deleted is made anew.
async fn lost(space: &Space, object: &str) -> Result<()> {
    let before = space.field(object, ".metadata.uid").await?;
    space.kubectl(&["delete", object], "").await?;
    space
        .until(&format!("{object} is made anew"), || async {
            let now = space.field(object, ".metadata.uid").await?;
            Ok(!now.is_empty() && now != before)
        })
        .await
}

/// The kinds and names of what is there now and was not before.
async fn left(space: &Space, before: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let objects = space.objects().await?.into_keys();
    Ok(objects.filter(|name| !before.contains_key(name)).collect())
}

async fn delete_until_left(
    space: &Space,
    before: &BTreeMap<String, String>,
    expected: &[&str],
) -> Result<()> {
    space.kubectl(&["delete", "dbinstance", NAME], "").await?;
    let gone = space
        .until(&format!("only {expected:?} is left"), || async {
            Ok(left(space, before).await? == expected)
        })
        .await;
    if gone.is_err() {
        eprintln!("left: {:?}", left(space, before).await?);
    }
    gone
}

/// Retain: the volume and both Secrets stay and nothing else; the same YAML finds them, and the old URI leads to the
/// rows.
async fn returns(
    space: &Space,
    engine: Engine,
    before: &BTreeMap<String, String>,
    spec: Value,
) -> Result<()> {
    let database = Database::bound(space, engine, NAME).await?;
    let stays = [
        "PersistentVolumeClaim/books",
        "Secret/books",
        "Secret/books-admin",
    ];
    delete_until_left(space, before, &stays).await?;
    let volume = space.field("pvc/books", ".metadata.uid").await?;
    space.apply_instance(NAME, spec).await?;
    space.until_settled(NAME).await?;
    database.reached().await?;
    let rows = database.sql("SELECT n FROM kept").await?;
    ensure!(rows == "42", "the rows are now: {rows}");
    ensure!(
        space.field("pvc/books", ".metadata.uid").await? == volume,
        "another volume"
    );
    Ok(())
}

/// To the exact version of the series with a restart; nowhere else.
async fn version_moves(space: &Space, engine: Engine, series: &str, exact: &str) -> Result<()> {
    let pod = space.field(POD, ".metadata.uid").await?;
    let set = |version: String| json!({"spec": {"version": version}}).to_string();
    for (version, words) in [
        (
            format!("{series}.999"),
            "is not in the engine catalog, which has",
        ),
        (
            "1".to_owned(),
            "spec.version: the major version cannot be changed",
        ),
    ] {
        let patch = [
            "patch",
            "dbinstance",
            NAME,
            "--type=merge",
            "--patch",
            &set(version),
        ];
        let said = space.refused(&patch, "").await?;
        ensure!(
            said.contains("spec.version") && said.contains(words),
            "refused with other words: {said}"
        );
    }
    space.patch(NAME, json!({"version": exact})).await?;
    let instance = space.until_settled(NAME).await?;
    let version = instance.status.and_then(|status| status.version);
    ensure!(version.as_deref() == Some(exact), "version {version:?}");
    ensure!(
        space.field(POD, ".metadata.uid").await? != pod,
        "another image without a restart"
    );
    let image = space.field(POD, ".spec.containers[0].image").await?;
    ensure!(image.ends_with(&format!(":{exact}")), "image {image}");
    keeps(space, engine).await
}

/// Delete: nothing is left, of the volume neither.
async fn ends(space: &Space, before: &BTreeMap<String, String>) -> Result<()> {
    space
        .patch(NAME, json!({"deletionPolicy": "Delete"}))
        .await?;
    space
        .until("the deletion policy is in force", || async {
            let policy = space.field("dbinstance/books", ".status.deletionPolicy");
            Ok(policy.await? == "Delete")
        })
        .await?;
    delete_until_left(space, before, &[]).await?;
    space
        .until("its volume is gone", || async {
            Ok(space.volumes().await?.is_empty())
        })
        .await
}
