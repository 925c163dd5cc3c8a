//! A database that was damaged on its disk before the cut is not called Verified.

use anyhow::{Context, Result, ensure};
use api::Engine;
use api::reported::Reported;
use e2e::client::secret;
use e2e::length::engines;
use e2e::objects::PARTS;
use e2e::space::story;
use e2e::{Database, Space};
use futures::future::try_join_all;
use serde_json::json;

use crate::backup_refusals::small;
use crate::stalls::stopped;

#[tokio::test]
async fn a_damaged_database_is_not_verified() -> Result<()> {
    let engines = engines(&[Engine::Postgresql, Engine::Mysql]).into_iter();
    try_join_all(engines.map(damaged)).await.map(|_| ())
}

async fn damaged(engine: Engine) -> Result<()> {
    let name = format!("story-backup-damage-{}", engine.name());
    story(&name, |space| async move {
        let space = &space;
        space
            .apply_instance("shop", small(engine.name(), json!({"database": "ledger"})))
            .await?;
        space.until_settled("shop").await?;
        let file = fill(space, engine).await?;
        let image = space
            .field("pod/shop-0", ".spec.containers[0].image")
            .await?;
        space.patch("shop", json!({"stopped": true})).await?;
        stopped(space, "shop").await?;
        let wound = wound(space, &image, &file);
        space.step("overwritten", wound).await?;
        space
            .apply_backup("bad", json!({"instance": "shop", "verify": true}))
            .await?;
        let told = space.until("the verification has a result", || async {
            let backup = space.backups().get("bad").await?;
            let verified = backup.condition("Verified");
            ensure!(
                verified.is_none_or(|c| c.status != "True"),
                "a damaged database is called good: {verified:?}"
            );
            Ok(verified.is_some_and(|c| c.reason != "Verifying"))
        });
        space.step("backup and verification", told).await?;
        let said = space
            .until_backup_says("bad", "Verified", "False", "CheckFailed")
            .await?;
        eprintln!("{}: {said}", space.name);
        let instance = space.instances().get("shop").await?;
        ensure!(
            instance
                .status
                .and_then(|status| status.last_verified_backup)
                .is_none(),
            "lastVerifiedBackup is set"
        );
        let gone = space.until("the throw-away instance is gone", || async {
            let left = space.names(&PARTS).await?;
            Ok(!left.iter().any(|name| name.contains("verify-"))
                && space.volumes().await?.len() == 1)
        });
        space.step("the throw-away instance is gone", gone).await
    })
    .await
}

/// A table of a few MiB; returns the path of its file below the volume's root, or how it ends.
async fn fill(space: &Space, engine: Engine) -> Result<String> {
    let filler = "repeat('all is well ', 20)";
    if engine == Engine::Postgresql {
        return hide(space, filler).await;
    }
    let database = Database::bound(space, engine, "shop").await?;
    database.reached().await?;
    let seed = format!(
        "CREATE TABLE t (n int PRIMARY KEY AUTO_INCREMENT, filler text); INSERT INTO t (filler) VALUES ({filler})"
    );
    database.sql(&seed).await?;
    // Far more than the file grows by at a time, so that its middle is data.
    for _ in 0..16 {
        database
            .sql("INSERT INTO t (filler) SELECT filler FROM t")
            .await?;
    }
    Ok("ledger/t.ibd".to_owned())
}

/// The table is in a database that takes no connections, so that what lists databases to read them passes over it.
async fn hide(space: &Space, filler: &str) -> Result<String> {
    let password = secret(space, "shop-admin", "admin-password").await?;
    let host = secret(space, "shop", "host").await?;
    let uri = |database: &str| format!("postgresql://postgres:{password}@{host}:5432/{database}");
    let own = Database::with_uri(space, Engine::Postgresql, uri("postgres")).await?;
    own.reached().await?;
    own.sql("CREATE DATABASE hidden").await?;
    let hidden = Database::with_uri(space, Engine::Postgresql, uri("hidden")).await?;
    let rows = format!(
        "CREATE TABLE t (n int PRIMARY KEY, filler text); INSERT INTO t SELECT n, {filler} FROM generate_series(1, \
            20000) AS n"
    );
    hidden.sql(&rows).await?;
    let file = hidden.sql("SELECT pg_relation_filepath('t')").await?;
    own.sql("ALTER DATABASE hidden ALLOW_CONNECTIONS false")
        .await?;
    Ok(file)
}

/// Overwrites bytes in the middle of the file, through a pod that has the volume.
async fn wound(space: &Space, image: &str, file: &str) -> Result<()> {
    let script = format!(
        "set -e; f=$(find /data -path '*/{file}'); s=$(stat -c %s \"$f\"); [ \"$s\" -gt 4000000 ]; \
         dd if=/dev/urandom of=\"$f\" bs=1024 seek=$((s / 2048)) count=64 conv=notrunc,fsync"
    );
    let object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "wound"},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 999, "runAsGroup": 999, "fsGroup": 999,
                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "wound", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "terminationMessagePolicy": "FallbackToLogsOnError",
            }],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "shop"}}],
        },
    });
    space.apply(&object.to_string()).await?;
    let ended = || async {
        let phase = space.field("pod/wound", ".status.phase").await?;
        ensure!(
            phase != "Failed",
            "{}",
            space
                .field(
                    "pod/wound",
                    ".status.containerStatuses[0].state.terminated.message"
                )
                .await?
        );
        Ok(phase == "Succeeded")
    };
    space
        .until("the bytes are overwritten", ended)
        .await
        .context(file.to_owned())?;
    space
        .kubectl(&["delete", "pod", "wound"], "")
        .await
        .map(|_| ())
}
