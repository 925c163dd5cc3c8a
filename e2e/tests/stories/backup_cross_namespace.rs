//! A restore into another namespace takes the consent of the backup, tells nothing without it, and leaves nothing
//! behind.

use anyhow::{Result, ensure};
use api::Engine;
use e2e::client::secret;
use e2e::space::story;
use e2e::{Database, Space};
use serde_json::{Value, json};

use crate::backup_refusals::{as_before, made, small};

const ENGINE: Engine = Engine::Mariadb;

/// A story of two namespaces: in the first one is an instance with a row and its backup.
async fn two<F: Future<Output = Result<()>>>(
    name: &str,
    tell: impl FnOnce(std::sync::Arc<Space>, std::sync::Arc<Space>) -> F,
) -> Result<()> {
    story(name, |source| async move {
        let target = Space::make(source.cluster.clone(), &format!("{name}-target")).await?;
        let target = std::sync::Arc::new(target);
        source
            .apply_instance("shop", small(ENGINE.name(), json!({"database": "shop"})))
            .await?;
        source.until_settled("shop").await?;
        let shop = Database::bound(&source, ENGINE, "shop").await?;
        shop.reached().await?;
        shop.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (42)")
            .await?;
        source
            .back_up("shared", json!({"instance": "shop"}))
            .await?;
        let told = async {
            tell(source.clone(), target.clone()).await?;
            target.check_statuses().await
        };
        if let Err(error) = told.await {
            eprintln!("{}", target.explain().await);
            return Err(error);
        }
        intact(&source, "after").await?;
        target
            .step("the other namespace is gone", target.delete())
            .await?;
        nothing_left(&target).await?;
        source.until_snapshots(1).await
    })
    .await
}

/// Gives consent to these namespaces, and withdraws that of all others.
async fn consent(source: &Space, namespaces: &[&str]) -> Result<()> {
    let patch = json!({"spec": {"allowedNamespaces": namespaces}}).to_string();
    let patch = [
        "patch",
        "dbbackup",
        "shared",
        "--type=merge",
        "--patch",
        &patch,
    ];
    source.kubectl(&patch, "").await.map(|_| ())
}

fn reference(source: &Space, backup: &str) -> Value {
    json!({"name": backup, "namespace": source.name})
}

fn restored(source: &Space, backup: &str) -> Value {
    small(
        ENGINE.name(),
        json!({"database": "shop", "restoreFrom": {"backup": reference(source, backup)}}),
    )
}

/// The row is in the source and its backup can still be restored.
async fn intact(source: &Space, name: &str) -> Result<()> {
    rows(source, "shop").await?;
    source
        .step("restored at home", source.restore(name, "shared", name))
        .await?;
    rows(source, name).await
}

async fn rows(space: &Space, instance: &str) -> Result<()> {
    let database = Database::bound(space, ENGINE, instance).await?;
    database.reached().await?;
    let found = database.sql("SELECT n FROM t").await?;
    ensure!(found == "42", "{instance} has the rows {found}");
    Ok(())
}

/// No snapshot is there for the namespace.
async fn no_pair(target: &Space) -> Result<()> {
    target
        .step("no copy of the snapshot is left", target.until_snapshots(0))
        .await
}

/// No snapshot and no volume is left of the namespace.
async fn nothing_left(space: &Space) -> Result<()> {
    space
        .until("no snapshot and no volume is left", || async {
            Ok(space.snapshot_contents().await?.is_empty() && space.volumes().await?.is_empty())
        })
        .await
}

/// A restore and an instance that name a backup which may not be read; both say the same. Returns their words with the
/// name of the backup taken out.
async fn unavailable(source: &Space, target: &Space, backup: &str) -> Result<[String; 2]> {
    let (restore, instance) = (format!("r-{backup}"), format!("i-{backup}"));
    target
        .apply_restore(
            &restore,
            json!({"backup": reference(source, backup), "instance": format!("copy-{backup}")}),
        )
        .await?;
    target
        .apply_instance(&instance, restored(source, backup))
        .await?;
    let by_restore = target
        .until_restore_says(&restore, "Stalled", "True", "BackupNotAvailable")
        .await?;
    let by_instance = target
        .until_condition(&instance, "Stalled", "True", "BackupNotAvailable")
        .await?;
    Ok([by_restore, by_instance].map(|said| said.replace(backup, "(backup)")))
}

#[tokio::test]
async fn a_restore_into_another_namespace_takes_consent() -> Result<()> {
    two("story-cross-consent", |source, target| async move {
        let (source, target) = (&source, &target);
        let before = made(target).await?;
        let (there, absent) = futures::try_join!(
            unavailable(source, target, "shared"),
            unavailable(source, target, "nowhere")
        )?;
        ensure!(
            there == absent,
            "it is told whether the backup exists:\n{there:?}\n{absent:?}"
        );
        let mut now = made(target).await?;
        now.retain(|name, _| !name.starts_with("DatabaseInstance/i-"));
        ensure!(now == before, "made without consent: {now:?}");
        ensure!(
            target.snapshot_contents().await?.is_empty(),
            "a snapshot without consent"
        );
        consent(source, &["elsewhere", &target.name]).await?;
        // Both go on by themselves.
        target
            .step("restored with consent", target.until_restored("r-shared"))
            .await?;
        target.until_settled("i-shared").await?;
        for copy in ["copy-shared", "i-shared"] {
            rows(target, copy).await?;
            let foreign = secret(source, "shop", "password").await?;
            ensure!(secret(target, copy, "password").await? != foreign);
            let database = Database::bound(target, ENGINE, copy).await?;
            ensure!(
                database
                    .with_password(&foreign)
                    .sql("SELECT 1")
                    .await
                    .is_err(),
                "{copy}: the source's password opens it"
            );
            database.sql("DELETE FROM t").await?;
        }
        no_pair(target).await?;
        source.until_snapshots(1).await?;
        target
            .kubectl(&["delete", "dbinstance", "i-nowhere"], "")
            .await?;
        for copy in ["copy-shared", "i-shared"] {
            target
                .patch(copy, json!({"deletionPolicy": "Delete"}))
                .await?;
            let object = format!("dbinstance/{copy}");
            target
                .until("the policy is in force", || async {
                    Ok(target.field(&object, ".status.deletionPolicy").await? == "Delete")
                })
                .await?;
            target.kubectl(&["delete", "dbinstance", copy], "").await?;
        }
        target
            .until("the volumes of the copies are gone", || async {
                Ok(target.volumes().await?.is_empty())
            })
            .await?;
        intact(source, "again").await?;
        consent(source, &["elsewhere"]).await?;
        let before = made(target).await?;
        target
            .apply_restore(
                "withdrawn",
                json!({"backup": reference(source, "shared"), "instance": "late"}),
            )
            .await?;
        target
            .until_restore_says("withdrawn", "Stalled", "True", "BackupNotAvailable")
            .await?;
        as_before(target, &before).await
    })
    .await
}

/// Until the copy of the snapshot is there and the volume is not, because the pod fits no node.
async fn half_way(source: &Space, target: &Space, name: &str) -> Result<()> {
    let mut spec = restored(source, "shared");
    spec["resources"] = json!({"requests": {"memory": "1000Gi"}});
    target.apply_instance(name, spec).await?;
    target
        .until_condition(name, "Stalled", "True", "Unschedulable")
        .await?;
    ensure!(
        target.snapshot_contents().await?.len() == 1,
        "the copy of the snapshot is not there while the volume is to be made"
    );
    Ok(())
}

#[tokio::test]
async fn a_restore_from_another_namespace_may_end_at_any_moment() -> Result<()> {
    two("story-cross-interrupted", |source, target| async move {
        let (source, target) = (&source, &target);
        consent(source, &["*"]).await?;
        let before = made(target).await?;
        half_way(source, target, "half").await?;
        target
            .step(
                "deleted half way",
                target.kubectl(&["delete", "dbinstance", "half"], ""),
            )
            .await?;
        no_pair(target).await?;
        target
            .until("nothing else is left", || async {
                Ok(made(target).await? == before)
            })
            .await?;
        // At whatever moment a fast one is reached.
        for (number, wait) in ["volumesnapshot", "pvc", "statefulset"].iter().enumerate() {
            let name = format!("fast-{number}");
            target
                .apply_instance(&name, restored(source, "shared"))
                .await?;
            target
                .until(&format!("there is a {wait}"), || async {
                    Ok(!target.names(&[wait]).await?.is_empty())
                })
                .await?;
            let policy = [
                "patch",
                "dbinstance",
                &name,
                "--type=merge",
                "--patch",
                "{\"spec\":{\"deletionPolicy\":\"Delete\"}}",
            ];
            target.kubectl(&policy, "").await?;
            target.kubectl(&["delete", "dbinstance", &name], "").await?;
            no_pair(target).await?;
            target
                .kubectl(&["delete", "pvc,secrets", "--all"], "")
                .await?;
        }
        nothing_left(target).await?;
        // With the namespace, which the story deletes and waits for.
        half_way(source, target, "last").await
    })
    .await
}
