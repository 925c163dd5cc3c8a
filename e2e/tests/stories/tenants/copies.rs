//! Backups of another namespace: held back, kept from being proved, full of names that look like commands.

use anyhow::{Context, Result, ensure};
use api::backup::BackupPhase;
use api::names::LABEL_SCHEDULED;
use e2e::{Database, Space};
use serde_json::json;

use super::data::{ENGINE, rows, serve, with_row};
use super::people::{ours, user};
use crate::backup_deletion::until_gone;
use crate::backup_refusals::small;

/// The rows that nobody else may read.
pub const VICTIMS_ROW: i32 = 4711;
/// The backup that has them.
pub const VICTIMS_BACKUP: &str = "private";

/// A backup of the attackers' own, with a row that they may read in both namespaces.
pub async fn own(home: &Space, two: &Space) -> Result<()> {
    serve(home, "own", json!({"database": "shop"})).await?;
    with_row(home, "own", 1).await?;
    let spec = json!({"instance": "own", "allowedNamespaces": [two.name]});
    home.back_up("own", spec).await?;
    user(home).delete("dbinstance/own").await
}

/// The older of two backups is named by restores that may not read it, and is to go.
pub async fn held_back(home: &Space, victim: &Space) -> Result<()> {
    let old = "shop-01";
    for name in [old, "shop-02"] {
        let mut backup = ours("DatabaseBackup", name, json!({"instance": "shop"}));
        backup["metadata"]["labels"] = json!({LABEL_SCHEDULED: "true"});
        victim.apply(&backup.to_string()).await?;
        victim.until_backup(name, BackupPhase::Ready).await?;
    }
    let backup = json!({"name": old, "namespace": victim.name});
    let restore = json!({"backup": backup, "instance": "never"});
    user(home)
        .apply(&ours("DatabaseRestore", "waiting", restore))
        .await?;
    let from = json!({"restoreFrom": {"backup": backup}});
    user(home)
        .apply_instance("waiting", small(ENGINE.name(), from))
        .await?;
    let why = "BackupNotAvailable";
    home.until_restore_says("waiting", "Stalled", "True", why)
        .await?;
    home.until_condition("waiting", "Stalled", "True", why)
        .await?;
    victim
        .patch("shop", json!({"backup": {"retention": {"keepLast": 1}}}))
        .await?;
    until_gone(victim, &format!("dbbackup/{old}")).await
}

/// An instance with two backups that could be restored only on a node that is not there.
pub async fn heavy(home: &Space) -> Result<()> {
    serve(home, "heavy", json!({})).await?;
    let much = json!({"stopped": true, "resources": {"requests": {"memory": "1000Gi"}}});
    user(home)
        .patch("dbinstance/heavy", json!({"spec": much}))
        .await?;
    until_gone(home, "pod/heavy-0").await?;
    for name in ["heavy-1", "heavy-2"] {
        let backup = ours("DatabaseBackup", name, json!({"instance": "heavy"}));
        user(home).apply(&backup).await?;
        home.until_backup(name, BackupPhase::Ready).await?;
    }
    Ok(())
}

/// Their verifications begin and do not end; another namespace's has to end.
pub async fn verifications(home: &Space, victim: &Space) -> Result<()> {
    for name in ["heavy-1", "heavy-2"] {
        let proved = json!({"spec": {"verify": true}});
        user(home)
            .patch(&format!("dbbackup/{name}"), proved)
            .await?;
    }
    let words = [
        "get",
        "dbinstances",
        "-l=minidbaas.dev/verifies",
        "-o=jsonpath={.items[*].status.conditions[?(@.type==\"Stalled\")].reason}",
    ];
    let stuck = || async { Ok(home.kubectl(&words, "").await?.contains("Unschedulable")) };
    home.until("a verification fits no node", stuck).await?;
    victim
        .back_up("proved", json!({"instance": "shop", "verify": true}))
        .await?;
    victim
        .until_backup_says("proved", "Verified", "True", "Checked")
        .await
        .map(|_| ())
}

/// The verifications give their places back.
pub async fn no_proofs(home: &Space) -> Result<()> {
    let words = [
        "delete",
        "dbbackup",
        "heavy-1",
        "heavy-2",
        "--ignore-not-found",
        "--wait=false",
    ];
    home.kubectl(&words, "").await.map(|_| ())
}

/// Tables that a careless script would take for commands of the client or the shell. If one were run, the check would
/// not end well.
pub async fn table_names(victim: &Space) -> Result<()> {
    let database = Database::bound(victim, ENGINE, "shop").await?;
    database.reached().await?;
    for name in [
        r#""; \! kill -9 $PPID"#,
        r#"\! kill -9 $PPID"#,
        r#"$(kill -9 $PPID)"#,
        r#"`kill -9 $PPID`"#,
        r#"x"; DROP TABLE t; --"#,
        "a\n\\! kill -9 $PPID\n",
        "--file=/etc/passwd",
        "../../../../etc/passwd",
    ] {
        let quoted = name.replace('"', "\"\"");
        let sql = format!("CREATE TABLE \"{quoted}\" (\"{quoted}\" int PRIMARY KEY)");
        database.sql(&sql).await.with_context(|| name.to_owned())?;
    }
    let spec = json!({"instance": "shop", "verify": true});
    victim.back_up(VICTIMS_BACKUP, spec).await?;
    let said = victim
        .until_backup_says(VICTIMS_BACKUP, "Verified", "True", "Checked")
        .await?;
    let found = rows(victim, "shop").await?;
    ensure!(
        found == VICTIMS_ROW.to_string(),
        "the rows are now: {found} ({said})"
    );
    Ok(())
}
