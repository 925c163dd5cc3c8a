//! Objects that look like the operator's own, and a resource that is held by its finalizer.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use api::names::{
    ANNOTATION_BACKUP_NAME, COMPONENT_APPLY, COMPONENT_QUIESCE, LABEL_COMPONENT, LABEL_INSTANCE,
    LABEL_MANAGED_BY, MANAGED_BY, quiesce_job,
};
use e2e::Space;
use serde_json::{Value, json};

use super::conflicts::Kept;
use super::data::pause;
use super::people::{admin, ours, user};
use crate::backup_refusals::small;

fn labels(instance: &str, component: &str) -> Value {
    json!({
        LABEL_MANAGED_BY: MANAGED_BY, LABEL_COMPONENT: component, LABEL_INSTANCE: instance,
        "app.kubernetes.io/name": "postgresql", "app.kubernetes.io/part-of": "minidbaas",
    })
}

/// A Job that never runs.
fn job(name: &str, labels: &Value, annotations: &Value) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": labels,
            "annotations": annotations},
        "spec": {"suspend": true, "template": {
            "metadata": {"labels": labels},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "job", "image": "none"}]},
        }},
    })
}

/// A Job of the instance, by its labels; the instance works meanwhile.
pub async fn forged_job(space: &Space, instance: &str) -> Result<()> {
    let labels = labels(instance, COMPONENT_APPLY);
    let name = format!("{instance}-settings-0badc0de");
    admin(space).apply(&job(&name, &labels, &json!({}))).await?;
    let conflict = Kept::see(space, &[format!("job/{name}")]).await?;
    let parameters = json!({"spec": {"parameters": {"log_min_duration_statement": "1234"}}});
    user(space)
        .patch(&format!("dbinstance/{instance}"), parameters)
        .await?;
    space.until_settled(instance).await?;
    conflict.stay(space).await?;
    let labels = ["get", "pods", "-l=minidbaas.dev/instance=shop", "-o=name"];
    let pods = space.kubectl(&labels, "").await?;
    ensure!(
        pods.contains(&format!("pod/{instance}-0")),
        "only {pods} run"
    );
    Ok(())
}

/// Within this a backup comes to its end, or says what it waits for.
const TIME_TO_CUT: Duration = Duration::from_secs(12);

/// A Job and a ready pod under the name that the hold of this very backup will have.
pub async fn forged_hold(space: &Space, instance: &str) -> Result<()> {
    let (name, thief) = ("unheld", admin(space));
    let mut backup = ours(
        "DatabaseBackup",
        name,
        json!({"instance": instance, "method": "Quiesced"}),
    );
    backup["metadata"]["annotations"] = json!({"minidbaas.dev/paused": "true"});
    user(space).apply(&backup).await?;
    let uid = space
        .field(&format!("dbbackup/{name}"), ".metadata.uid")
        .await?;
    let hold = quiesce_job(&uid);
    let mut labels = labels(instance, COMPONENT_QUIESCE);
    let annotations = json!({ANNOTATION_BACKUP_NAME: name});
    thief.apply(&job(&hold, &labels, &annotations)).await?;
    labels["batch.kubernetes.io/job-name"] = json!(hold);
    let image = space
        .field(&format!("pod/{instance}-0"), ".spec.containers[0].image")
        .await?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client-hold", "labels": labels,
            "annotations": annotations},
        "spec": {
            "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "quiesce", "image": image, "command": ["sleep", "infinity"],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    thief.apply(&pod).await?;
    let wait = [
        "wait",
        "--for=condition=Ready",
        "--timeout=20s",
        "pod/client-hold",
    ];
    space.kubectl(&wait, "").await?;
    let conflicts = Kept::see(
        space,
        &[format!("job/{hold}"), "pod/client-hold".to_owned()],
    )
    .await?;
    let free = json!({"metadata": {"annotations": {"minidbaas.dev/paused": null}}});
    user(space).patch(&format!("dbbackup/{name}"), free).await?;
    let began = Instant::now();
    while began.elapsed() < TIME_TO_CUT {
        let held = space
            .field(&format!("dbbackup/{name}"), ".status.consistency")
            .await?;
        ensure!(
            held != "Quiesced",
            "the backup says that writes were held, and nobody held them"
        );
        conflicts.stay(space).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}

/// What was forged for that goes.
pub async fn no_hold(space: &Space) -> Result<()> {
    let words = [
        "delete",
        "dbbackup/unheld",
        "pod/client-hold",
        "--ignore-not-found",
        "--wait=false",
    ];
    space.kubectl(&words, "").await?;
    let words = [
        "delete",
        "jobs",
        "--wait=false",
        "-l=app.kubernetes.io/component=quiesce",
    ];
    space.kubectl(&words, "").await.map(|_| ())
}

/// An instance with something to wait for that is paused and deleted.
pub async fn paused_and_deleted(space: &Space, name: &str) -> Result<()> {
    let spec = json!({"credentialsSecret": {"name": "none"}, "deletionPolicy": "Snapshot"});
    user(space)
        .apply_instance(name, small("postgresql", spec))
        .await?;
    space
        .until_condition(name, "Stalled", "True", "CredentialsNotFound")
        .await?;
    let paused = json!({"minidbaas.dev/paused": "true"});
    let held = json!({"annotations": paused, "finalizers": ["minidbaas.dev/final-backup"]});
    let instance = format!("dbinstance/{name}");
    user(space)
        .patch(&instance, json!({"metadata": held}))
        .await?;
    user(space).delete(&instance).await?;
    let says = || async {
        let path = ".status.conditions[?(@.type==\"Stalled\")].reason";
        Ok(space.field(&instance, path).await? == "Paused")
    };
    space.until("the status says Paused", says).await
}

/// It is let go.
pub async fn unpaused(space: &Space, name: &str) -> Result<()> {
    let object = format!("dbinstance/{name}");
    if space.field(&object, ".metadata.uid").await?.is_empty() {
        return Ok(());
    }
    pause(space, name, None).await
}
