//! The operator is killed before, in and after each of its writes for backups and restores; what it leaves is what an
//! undisturbed one leaves, and there is one snapshot per backup.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::Engine;
use api::backup::BackupPhase;
use api::reported::Reported;
use api::{DatabaseBackup, DatabaseInstance};
use e2e::audit::Mark;
use e2e::space::{PATIENCE, story};
use e2e::{Database, Space, Writer};
use serde_json::json;

use crate::end_state::{self, left};
use crate::gate::{Gate, Moment, every_write};
use crate::operator::Operator;

/// So long may writes be held while the operator is killed again and again.
const HOLD: i32 = 300;

#[tokio::test]
async fn backups_by_every_method_end_right_whenever_the_operator_is_killed() -> Result<()> {
    compared(
        "story-killed-backups",
        Engine::ALL.to_vec(),
        async |space: &Space, engine| {
            // One of each instance, or the last one would be now this and now that. An Online one is in the other
            // story.
            let name = engine.name();
            let method = match engine {
                Engine::Postgresql => "Offline",
                Engine::Mysql | Engine::Mariadb => "Quiesced",
            };
            let spec = json!({"instance": name, "method": method, "holdSeconds": HOLD});
            space.apply_backup(&format!("of-{name}"), spec).await?;
            Ok(())
        },
    )
    .await
}

#[tokio::test]
async fn restores_proofs_and_retention_end_right_whenever_the_operator_is_killed() -> Result<()> {
    compared(
        "story-killed-restores",
        vec![Engine::Postgresql],
        async |space: &Space, engine| {
            let name = engine.name();
            // The retention deletes all but the last of these.
            let policy = json!({"schedule": "0 0 1 1 *", "retention": {"keepLast": 1}});
            space.patch(name, json!({"backup": policy})).await?;
            space
                .apply_restore(
                    "copy",
                    json!({"backup": {"name": "kept"}, "instance": "copy"}),
                )
                .await?;
            let proved = json!({"instance": name, "verify": true});
            space.apply_backup("proved", proved).await
        },
    )
    .await
}

/// Does the same with an operator that is left alone and with one that is not.
async fn compared(
    name: &str,
    engines: Vec<Engine>,
    begin: impl AsyncFn(&Space, Engine) -> Result<()>,
) -> Result<()> {
    let alone = format!("{name}-alone");
    let expected = left(&alone, async |space, operator| {
        operator.start().await?;
        prepare(space, &engines).await?;
        for engine in &engines {
            begin(space, *engine).await?;
        }
        space.until("all is at its end", || at_rest(space)).await
    });
    let found = left(name, async |space, operator| {
        operator.start().await?;
        prepare(space, &engines).await?;
        operator.kill().await?;
        let mark = space.cluster.mark()?;
        let mut gate = gate(space, operator).await?;
        for engine in &engines {
            begin(space, *engine).await?;
        }
        kill_again_and_again(space, operator, &mut gate).await?;
        snapshots_once(space, &operator.user, &mark).await
    });
    let (mut expected, mut found) = futures::try_join!(expected, found)?;
    for state in [&mut expected, &mut found] {
        // Former templates of pods tell of one run.
        state.retain(|name, _| !name.starts_with("ControllerRevision/"));
    }
    end_state::compare(&expected, &found)
}

/// From its next start on the operator can be killed at its writes to the namespace.
async fn gate(space: &Space, operator: &Operator) -> Result<Gate> {
    let gate = Gate::open(operator.client().await?, &space.name, every_write).await?;
    operator.talk_through(&gate.address)?;
    Ok(gate)
}

async fn create(space: &Space, engines: &[Engine]) -> Result<()> {
    for engine in engines {
        let spec = json!({"engine": engine.name(), "storage": {"size": "1Gi"}});
        space.apply_instance(engine.name(), spec).await?;
    }
    for engine in engines {
        space.until_settled(engine.name()).await?;
    }
    Ok(())
}

/// Databases; and if it is one, scheduled backups of it, of which the last is to be kept.
async fn prepare(space: &Space, engines: &[Engine]) -> Result<()> {
    create(space, engines).await?;
    if engines.len() == 1 {
        for name in ["first", "second", "kept"] {
            // Times of snapshots have whole seconds, and these are to be told apart.
            tokio::time::sleep(Duration::from_millis(1100)).await;
            let labels = json!({api::names::LABEL_SCHEDULED: "true"});
            let object = json!({
                "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseBackup",
                "metadata": {"name": name, "labels": labels}, "spec": {"instance": engines[0].name()},
            });
            space.apply(&object.to_string()).await?;
            space.until_backup(name, BackupPhase::Ready).await?;
        }
    }
    Ok(())
}

/// Whether everything in the namespace has come to its end and nothing is left of the work.
async fn at_rest(space: &Space) -> Result<bool> {
    let backups = space.backups().list(&Default::default()).await?.items;
    let restores = space.restores().list(&Default::default()).await?.items;
    let instances = space.instances().list(&Default::default()).await?.items;
    let proved = |backup: &api::DatabaseBackup| {
        !backup.spec.verify
            || backup
                .condition("Verified")
                .is_some_and(|c| c.status != "Unknown")
    };
    let good =
        |conditions: Option<&[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]>| {
            conditions
                .unwrap_or_default()
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        };
    let kept = backups.iter().filter(|backup| {
        backup
            .condition("Ready")
            .is_some_and(|c| c.status == "True")
    });
    let done = kept.count() == backups.len()
        && backups.iter().all(proved)
        && !backups
            .iter()
            .any(|backup| backup.metadata.name.as_deref() == Some("first"))
        && restores
            .iter()
            .all(|restore| good(restore.status.as_ref().map(|s| s.conditions.as_slice())))
        && instances.iter().all(|instance| {
            instance.is_at_rest()
                && knows_its_last(instance, &backups)
                && good(instance.status.as_ref().map(|s| s.conditions.as_slice()))
                && instance.spec.backup.is_none()
                    | instance
                        .status
                        .as_ref()
                        .is_some_and(|s| s.next_backup.is_some())
        });
    let left = space.names(&["jobs", "pods", "dbinstances", "pvc"]).await?;
    let under_way = |name: &String| name.contains("verify-") || name.contains("quiesce-");
    Ok(done && !left.iter().any(under_way))
}

/// Whether an instance tells of its newest backup: it hears of it a moment after the backup is at its end.
fn knows_its_last(instance: &DatabaseInstance, backups: &[DatabaseBackup]) -> bool {
    let taken = |backup: &DatabaseBackup| backup.status.clone()?.taken_at.map(|at| at.0);
    let of = backups
        .iter()
        .filter(|backup| Some(&backup.spec.instance) == instance.metadata.name.as_ref());
    let newest = of.max_by_key(|backup| taken(backup));
    let last = instance.last_status().last_backup.map(|last| last.name);
    last == newest.and_then(|backup| backup.metadata.name.clone())
}

/// Until everything is at its end, each write of the operator is its last one.
async fn kill_again_and_again(
    space: &Space,
    operator: &mut Operator,
    gate: &mut Gate,
) -> Result<()> {
    let (began, mut kills) = (Instant::now(), BTreeMap::<String, usize>::new());
    operator.start().await?;
    loop {
        ensure!(
            began.elapsed() < PATIENCE,
            "it does not come to its end: {kills:#?}"
        );
        let rest = async {
            loop {
                if at_rest(space).await? {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::select! {
            stop = gate.next() => {
                let stop = stop?;
                operator.kill().await?;
                *kills.entry(format!("{:?} {}", stop.moment, stop.write)).or_default() += 1;
                stop.killed();
                gate.reopen();
                operator.start().await?;
            }
            done = rest => break done?,
        }
    }
    let of = |moment: Moment| {
        let word = format!("{moment:?} ");
        kills
            .iter()
            .filter(|(write, _)| write.starts_with(&word))
            .map(|(_, count)| count)
            .sum::<usize>()
    };
    let (before, inside, after) = (of(Moment::Before), of(Moment::In), of(Moment::After));
    eprintln!(
        "{}: killed {before} times before, {inside} in, {after} after a write, in {:.1?}",
        space.name,
        began.elapsed()
    );
    if std::env::var_os("E2E_TIMELINE").is_some() {
        eprintln!("{kills:#?}");
    }
    ensure!(
        before > 0 && inside > 0 && after > 0,
        "these were no interruptions: {kills:#?}"
    );
    gate.spare();
    space
        .until("all is at its end, undisturbed", || at_rest(space))
        .await
}

/// Each VolumeSnapshot was made by one request, and is the only thing in the storage that was.
async fn snapshots_once(space: &Space, operator: &str, mark: &Mark) -> Result<()> {
    let mut created = BTreeMap::<String, usize>::new();
    for request in space.cluster.requests_since(mark)? {
        let object = &request.object_ref;
        if request.is_in(&space.name) && object.resource == "volumesnapshots" && request.created() {
            ensure!(request.user.username == operator, "{request:?}");
            *created.entry(object.name.clone()).or_default() += 1;
        }
    }
    ensure!(
        created.values().all(|count| *count == 1),
        "made more than once: {created:?}"
    );
    let backups = space.backups().list(&Default::default()).await?.items.len();
    space.until_snapshots(backups).await?;
    let claims = space
        .kubectl(&["get", "pvc", "-o=name"], "")
        .await?
        .lines()
        .count();
    space
        .until("there is no volume but those claimed", || async {
            Ok(space.volumes().await?.len() == claims)
        })
        .await
}

#[tokio::test]
async fn mysql_is_written_to_again_when_the_operator_dies_in_the_hold() -> Result<()> {
    dies_in_the_hold("story-hold-mysql", Engine::Mysql).await
}

#[tokio::test]
async fn mariadb_is_written_to_again_when_the_operator_dies_in_the_hold() -> Result<()> {
    dies_in_the_hold("story-hold-mariadb", Engine::Mariadb).await
}

async fn dies_in_the_hold(name: &str, engine: Engine) -> Result<()> {
    const SECONDS: u64 = 5;
    story(name, |space| async move {
        Operator::only_for(&space, async |operator| {
        operator.start().await?;
        create(&space, &[engine]).await?;
        let database = Database::bound(&space, engine, engine.name()).await?;
        database.reached().await?;
        database.sql("CREATE TABLE t (n int)").await?;
        let writer = Writer::start(&database, "t").await?;
        operator.kill().await?;
        let mut gate = gate(&space, operator).await?;
            gate.rule(|write, _| write.starts_with("POST volumesnapshots").then_some(Moment::Before));
            operator.start().await?;
            let spec = json!({"instance": engine.name(), "method": "Quiesced", "holdSeconds": SECONDS});
            space.apply_backup("held", spec).await?;
            let stop = gate.next().await?;
            operator.kill().await?;
            stop.killed();
            let (dead, before) = (Instant::now(), writer.acknowledged().len());
            // The answer to a row may have been on its way when the lock came.
            space
                .until("a writer gets through while the operator is dead", || async {
                    Ok(writer.acknowledged().len() > before + 2)
                })
                .await?;
            eprintln!(
                "{name}: written to again {:.1?} after the operator's death in a hold of {SECONDS} s; longest pause \
                    {:.1?}",
                dead.elapsed(),
                writer.longest_pause_since(dead)
            );
            gate.spare();
            operator.start().await?;
            let ended = || async {
                let status = space.backups().get("held").await?.status.unwrap_or_default();
                Ok(status.phase == Some(BackupPhase::Failed))
            };
            space.until("the backup has failed", ended).await?;
            let backup = space.backups().get("held").await?;
            let why = backup.condition( "Ready").context("no Ready")?;
            eprintln!("{name}: {}: {}", why.reason, why.message);
            space.until_snapshots(0).await?;
            space
                .until("nothing is left of the hold", || async {
                    let left = space.names(&["jobs", "pods"]).await?;
                    Ok(!left.iter().any(|name| name.contains("quiesce-")))
                })
                .await
        })
        .await
    })
    .await
}
