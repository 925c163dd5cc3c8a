//! Clusters while the Zalando operator is not there: not installed, or stopped in the middle of a creation, a change or
//! a deletion. What the status says is true, and everything comes to an end. No other story with clusters runs beside
//! these (`.config/nextest.toml`).

mod operator;

use anyhow::{Context, Result, ensure};
use api::external::zalando::{DEFINITION, Postgresql};
use api::reported::Reported;
use e2e::space::story;
use e2e::{Cluster, Database, Space};
use kube::Api;
use serde_json::{Value, json};

use operator as zalando;

const NAME: &str = "shop";

fn spec(more: Value) -> Value {
    let mut spec = json!({"engine": "postgresql", "replicas": 2, "storage": {"size": "1Gi"}});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    spec
}

#[tokio::test]
async fn a_cluster_waits_for_the_zalando_operator_to_be_installed() -> Result<()> {
    story("story-ha-absent", |space| async move {
        space.admit_zalando().await?;
        let cluster = space.cluster.clone();
        zalando::maybe_stopped(&cluster, async || absent(&space).await).await
    })
    .await
}

async fn absent(space: &Space) -> Result<()> {
    let cluster = &space.cluster;
    let before = operator(cluster).await?;
    uninstall(space).await?;
    space.apply_ha(NAME, spec(json!({}))).await?;
    let told = space.until_ha_says(NAME, "Stalled", "True", "PostgresOperatorMissing");
    let said = space.step("told that it is missing", told).await?;
    ensure!(said.contains(DEFINITION), "{said}");
    ensure!(
        space
            .field(&format!("secret/{NAME}"), ".metadata.name")
            .await?
            .is_empty()
    );
    // Others are not held up.
    let instance = json!({"engine": "postgresql", "storage": {"size": "1Gi"}});
    space.apply_instance("single", instance).await?;
    space.until_settled("single").await?;
    // It brings its definitions itself.
    zalando::start(cluster).await?;
    space.step("installed later", space.until_ha(NAME)).await?;
    let now = operator(cluster).await?;
    ensure!(
        before == now,
        "the operator was restarted meanwhile: {before}, {now}"
    );
    Ok(())
}

/// The operator's pods and how often their containers were started.
async fn operator(cluster: &Cluster) -> Result<String> {
    let path = "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount};{end}";
    let words = ["-n", "minidbaas-system", "get", "pods", "-o", path];
    cluster.kubectl(&words, "").await
}

/// Without a cluster that it would have to delete.
async fn uninstall(space: &Space) -> Result<()> {
    let cluster = &space.cluster;
    let clusters: Api<Postgresql> = Api::all(cluster.client.clone());
    // No story with clusters runs beside this one: what there is, a former run has left.
    for left in clusters.list(&Default::default()).await? {
        let name = left.metadata.namespace.unwrap_or_default();
        if name.starts_with("story-") {
            let cluster = cluster.clone();
            let space = Space { cluster, name };
            space.begin_deletion().await?;
            // The Zalando operator may have been told to keep it, or be none.
            let object = format!("postgresql/{}", left.metadata.name.unwrap_or_default());
            let free = "--patch={\"metadata\":{\"finalizers\":null}}";
            let words = ["patch", &object, "--type=merge", free];
            space.kubectl(&words, "").await.ok();
        }
    }
    space
        .until("no other story has a cluster", || async {
            Ok(clusters.list(&Default::default()).await?.items.is_empty())
        })
        .await?;
    zalando::stop(cluster).await?;
    let words = ["delete", "crd", DEFINITION, "--timeout=60s"];
    cluster.kubectl(&words, "").await.map(|_| ())
}

#[tokio::test]
async fn what_the_zalando_operator_left_undone_is_told_and_done_later() -> Result<()> {
    story("story-ha-stopped", |space| async move {
        space.admit_zalando().await?;
        let cluster = space.cluster.clone();
        zalando::maybe_stopped(&cluster, async || {
            stopped_during_creation(&space).await?;
            stopped_before_a_change(&space).await?;
            stopped_before_retaining(&space).await?;
            stopped_before_deletion(&space).await
        })
        .await
    })
    .await
}

/// Servers run without the user and the database that the operator was yet to make: the cluster is not Ready.
async fn stopped_during_creation(space: &Space) -> Result<()> {
    space.apply_ha(NAME, spec(json!({}))).await?;
    let set = format!("statefulset/{NAME}");
    space
        .until("the servers were asked for", || async {
            Ok(!space.field(&set, ".metadata.uid").await?.is_empty())
        })
        .await?;
    zalando::stop(&space.cluster).await?;
    let without_database = space.until("all servers serve, and no client can", || async {
        let status = space
            .ha_clusters()
            .get(NAME)
            .await?
            .status
            .unwrap_or_default();
        ensure!(!ready(space).await?, "Ready without a database: {status:?}");
        Ok(status.ready.as_deref() == Some("2/2"))
    });
    space
        .step("servers without database", without_database)
        .await?;
    let why = || async {
        let cluster = space.ha_clusters().get(NAME).await?;
        let ready = cluster.condition("Ready");
        Ok(ready.is_some_and(|ready| ready.message.contains("no client could log in yet")))
    };
    space.until("it is said that no client can", why).await?;
    zalando::start(&space.cluster).await?;
    space.step("created later", space.until_ha(NAME)).await?;
    let primary = Database::primary(space, NAME).await?;
    primary.reached().await?;
    primary
        .sql("CREATE TABLE t (n int); INSERT INTO t VALUES (42)")
        .await
        .map(|_| ())
}

async fn ready(space: &Space) -> Result<bool> {
    let cluster = space.ha_clusters().get(NAME).await?;
    Ok(cluster
        .condition("Ready")
        .is_some_and(|c| c.status == "True"))
}

async fn stopped_before_a_change(space: &Space) -> Result<()> {
    zalando::stop(&space.cluster).await?;
    space.patch_ha(NAME, json!({"maxConnections": 77})).await?;
    let reason = "PostgresOperatorNotResponding";
    let told = space.until_ha_says(NAME, "Stalled", "True", reason);
    space.step("told that it does not act", told).await?;
    space
        .until_ha_says(NAME, "Delegated", "False", reason)
        .await?;
    space
        .until_ha_says(NAME, "Available", "True", "PrimaryServes")
        .await?;
    zalando::start(&space.cluster).await?;
    let primary = Database::primary(space, NAME).await?;
    let in_force = space.until("the setting is in force", || async {
        Ok(primary
            .sql("SHOW max_connections")
            .await
            .is_ok_and(|found| found == "77"))
    });
    space.step("changed later", in_force).await?;
    space.until_ha(NAME).await.map(|_| ())
}

/// The resource goes at once; the servers stop when the operator is back; the rows are there.
async fn stopped_before_retaining(space: &Space) -> Result<()> {
    zalando::stop(&space.cluster).await?;
    let gone = space.kubectl(&["delete", "hac", NAME, "--timeout=30s"], "");
    space.step("retained without it", gone).await?;
    ensure!(
        space.roles(NAME).await?.len() == 2,
        "servers were stopped by another"
    );
    zalando::start(&space.cluster).await?;
    let stopped = space.until("no server runs", || async {
        Ok(space.roles(NAME).await?.is_empty())
    });
    space.step("stopped later", stopped).await?;
    let again = spec(json!({"maxConnections": 77, "deletionPolicy": "Delete"}));
    space.apply_ha(NAME, again).await?;
    space.step("applied again", space.until_ha(NAME)).await?;
    let primary = Database::primary(space, NAME).await?;
    primary.reached().await?;
    ensure!(
        primary.sql("SELECT n FROM t").await? == "42",
        "the row is lost"
    );
    Ok(())
}

/// It is not waited for, and nothing comes back with it.
async fn stopped_before_deletion(space: &Space) -> Result<()> {
    zalando::stop(&space.cluster).await?;
    let gone = space.kubectl(&["delete", "hac", NAME, "--timeout=180s"], "");
    space.step("deleted without it", gone).await?;
    nothing_is_left(space).await?;
    zalando::start(&space.cluster).await?;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    nothing_is_left(space).await
}

async fn nothing_is_left(space: &Space) -> Result<()> {
    let of_namespace = ["ServiceAccount/postgres-pod", "RoleBinding/postgres-pod"];
    space
        .until("nothing is left", || async {
            let mut left = space.objects().await?;
            left.retain(|name, _| !of_namespace.contains(&name.as_str()));
            Ok(left.is_empty() && space.volumes().await?.is_empty())
        })
        .await
}

#[tokio::test]
async fn the_zalando_operators_settings_decide_nothing_about_data() -> Result<()> {
    story("story-ha-settings", |space| async move {
        space.admit_zalando().await?;
        let cluster = space.cluster.clone();
        let keeps = json!({"kubernetes": {
            "enable_persistent_volume_claim_deletion": false, "enable_secrets_deletion": false,
                "enable_finalizers": true,
        }});
        zalando::set(&cluster, keeps, async || all_goes(&space).await).await?;
        let loses = json!({"kubernetes": {
            "enable_owner_references": true,
            "persistent_volume_claim_retention_policy": {"when_deleted": "delete", "when_scaled": "delete"},
        }});
        zalando::set(&cluster, loses, async || all_stays(&space).await).await
    })
    .await
}

/// It keeps claims and Secrets, and holds the `postgresql` until its next look: that is told, with the way out.
async fn all_goes(space: &Space) -> Result<()> {
    space
        .apply_ha(
            "goes",
            spec(json!({"replicas": 1, "deletionPolicy": "Delete"})),
        )
        .await?;
    space.step("one server", space.until_ha("goes")).await?;
    space
        .kubectl(&["delete", "hac", "goes", "--wait=false"], "")
        .await?;
    let said = space
        .until_ha_says("goes", "Stalled", "True", "DeletionBlocked")
        .await?;
    let way_out = said
        .split_once("If it is gone for good: ")
        .context("no way out is told")?
        .1;
    let patch = way_out
        .split('\'')
        .nth(1)
        .context("the way out is no patch")?;
    let words = [
        "patch",
        "postgresql",
        "goes",
        "--type=merge",
        "--patch",
        patch,
    ];
    space.kubectl(&words, "").await?;
    let gone = space.kubectl(&["wait", "hac/goes", "--for=delete", "--timeout=180s"], "");
    space.step("deleted by the way out", gone).await?;
    nothing_is_left(space).await
}

/// Volumes would go with the pods: the servers go on, and with them the rows.
async fn all_stays(space: &Space) -> Result<()> {
    space.apply_ha(NAME, spec(json!({"replicas": 1}))).await?;
    space.step("one server", space.until_ha(NAME)).await?;
    let said = space
        .until_ha_says(NAME, "Delegated", "False", "HarmfulSetting")
        .await?;
    ensure!(
        said.contains("persistent_volume_claim_retention_policy.when_scaled"),
        "{said}"
    );
    let primary = Database::primary(space, NAME).await?;
    primary.reached().await?;
    primary
        .sql("CREATE TABLE t (n int); INSERT INTO t VALUES (42)")
        .await?;
    space
        .kubectl(&["delete", "hac", NAME, "--timeout=60s"], "")
        .await?;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    space.apply_ha(NAME, spec(json!({"replicas": 1}))).await?;
    space.step("applied again", space.until_ha(NAME)).await?;
    ensure!(
        primary.sql("SELECT n FROM t").await? == "42",
        "the row is lost"
    );
    Ok(())
}
