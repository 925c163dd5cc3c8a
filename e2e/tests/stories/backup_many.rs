//! Many backups: of some instances at once, and of one instance under a retention that keeps three.

use anyhow::{Context, Result, ensure};
use api::backup::BackupPhase;
use e2e::length::many;
use e2e::space::story;
use e2e::{Database, Space};
use serde_json::{Value, json};

use crate::backup_refusals::small;

const ENGINE: api::Engine = api::Engine::Mariadb;

fn object(kind: &str, name: &str, labels: Value, spec: Value) -> Value {
    json!({"apiVersion": "minidbaas.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "labels": labels},
        "spec": spec})
}

/// `kubectl apply` of all of these at once.
async fn apply_all(space: &Space, items: Vec<Value>) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    space.apply(&list.to_string()).await.map(|_| ())
}

/// The names of the backups, sorted.
async fn names(space: &Space) -> Result<Vec<String>> {
    let backups = space.backups().list(&Default::default()).await?;
    let mut names: Vec<String> = backups
        .into_iter()
        .filter_map(|backup| backup.metadata.name)
        .collect();
    names.sort();
    Ok(names)
}

async fn until_names(space: &Space, expected: &[String]) -> Result<()> {
    let what = format!("the backups are {expected:?}");
    let gone = space
        .until(&what, || async { Ok(names(space).await? == expected) })
        .await;
    if gone.is_err() {
        eprintln!("the backups are: {:?}", names(space).await?);
    }
    gone
}

#[tokio::test]
async fn many_instances_are_backed_up_at_once() -> Result<()> {
    story("story-backup-ten", |space| async move {
        let space = &space;
        let count = many(3, 10);
        let all: Vec<String> = (0..count).map(|number| format!("db-{number}")).collect();
        let spec = || small(ENGINE.name(), json!({"database": "shop"}));
        let instances = all
            .iter()
            .map(|name| object("DatabaseInstance", name, json!({}), spec()));
        apply_all(space, instances.collect()).await?;
        let settled =
            futures::future::try_join_all(all.iter().map(|name| space.until_settled(name)));
        space.step("instances", settled).await?;
        for (number, name) in all.iter().enumerate() {
            let database = Database::bound(space, ENGINE, name).await?;
            database.reached().await?;
            database
                .sql(&format!(
                    "CREATE TABLE t (n int); INSERT INTO t VALUES ({number})"
                ))
                .await?;
        }
        let backups = all
            .iter()
            .map(|name| object("DatabaseBackup", name, json!({}), json!({"instance": name})));
        apply_all(space, backups.collect()).await?;
        let ready = futures::future::try_join_all(
            all.iter()
                .map(|name| space.until_backup(name, BackupPhase::Ready)),
        );
        space.step("backups", ready).await?;
        for name in &all {
            let backup = space.check_complete(name).await?;
            let source = backup
                .status
                .and_then(|status| status.source)
                .context("no source")?;
            ensure!(
                &source.instance == name && &source.pvc == name,
                "{name}: {source:?}"
            );
        }
        space.until_snapshots(count).await?;
        for number in [0, count - 1] {
            let (backup, copy) = (&all[number], format!("copy-{number}"));
            space
                .step(&copy, space.restore(&copy, backup, &copy))
                .await?;
            let database = Database::bound(space, ENGINE, &copy).await?;
            database.reached().await?;
            let found = database.sql("SELECT n FROM t").await?;
            ensure!(found == number.to_string(), "{copy} has the row {found}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn retention_leaves_the_last_three_of_many_and_what_is_in_use() -> Result<()> {
    story("story-backup-twenty", |space| async move {
        let space = &space;
        space
            .apply_instance("shop", small(ENGINE.name(), json!({})))
            .await?;
        space.until_settled("shop").await?;
        space
            .back_up("by-hand", json!({"instance": "shop"}))
            .await?;
        let scheduled = |name: &str| {
            object(
                "DatabaseBackup",
                name,
                json!({api::names::LABEL_SCHEDULED: "true"}),
                json!({"instance": "shop"}),
            )
        };
        let count = many(6, 20);
        let all: Vec<String> = (1..=count)
            .map(|number| format!("shop-{number:02}"))
            .collect();
        apply_all(space, all.iter().map(|name| scheduled(name)).collect()).await?;
        let ready = futures::future::try_join_all(
            all.iter()
                .map(|name| space.until_backup(name, BackupPhase::Ready)),
        );
        let ready = space.step("scheduled backups", ready).await?;
        space.until_snapshots(count + 1).await?;
        // Of those of the same second, the name decides.
        let mut order: Vec<_> = ready
            .iter()
            .map(|backup| {
                let taken = backup
                    .status
                    .as_ref()
                    .and_then(|status| status.taken_at.as_ref());
                (
                    taken.map(|taken| taken.0),
                    backup.metadata.name.clone().unwrap_or_default(),
                )
            })
            .collect();
        order.sort();
        let oldest = order[0].1.clone();
        let newest = || order[count - 3..].iter().map(|(_, name)| name.clone());
        // A restore that cannot go on, because its pod fits no node, needs its backup until it can.
        let much = json!({"resources": {"requests": {"memory": "1000Gi"}}});
        space
            .apply_restore(
                "copy",
                json!({"backup": {"name": oldest}, "instance": "copy", "overrides": much}),
            )
            .await?;
        let there = || async {
            Ok(!space
                .field("dbinstance/copy", ".status.phase")
                .await?
                .is_empty())
        };
        space.until("the instance is made", there).await?;
        space
            .until_condition("copy", "Stalled", "True", "Unschedulable")
            .await?;
        space
            .patch("shop", json!({"backup": {"retention": {"keepLast": 3}}}))
            .await?;
        let mut left: Vec<String> = newest()
            .chain(["by-hand".to_owned(), oldest.clone()])
            .collect();
        left.sort();
        space
            .step("the older ones go", until_names(space, &left))
            .await?;
        space.until_snapshots(5).await?;
        space
            .patch(
                "copy",
                json!({"resources": {"requests": {"memory": null, "cpu": "10m"}}}),
            )
            .await?;
        space.step("restored", space.until_restored("copy")).await?;
        left.retain(|name| *name != oldest);
        space
            .step("the one in use goes", until_names(space, &left))
            .await?;
        space.until_snapshots(4).await?;
        // One more: the oldest of the three goes.
        apply_all(space, vec![scheduled("shop-99")]).await?;
        let mut left: Vec<String> = newest()
            .skip(1)
            .chain(["by-hand".to_owned(), "shop-99".to_owned()])
            .collect();
        left.sort();
        space
            .step("one more, one less", until_names(space, &left))
            .await?;
        space.until_backup("shop-99", BackupPhase::Ready).await?;
        space.until_snapshots(4).await?;
        let last = space
            .field("dbinstance/shop", ".status.lastBackup.name")
            .await?;
        ensure!(last == "shop-99", "lastBackup is {last}");
        Ok(())
    })
    .await
}
