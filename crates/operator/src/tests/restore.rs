//! Restores: what another namespace may learn of a backup, and that nothing is made by a pass that refuses.

use std::sync::Arc;

use api::{DatabaseInstance, DatabaseRestore};
use kube::core::DeserializeGuard;
use serde_json::{Value, json};

use super::server::{Asked, context, instance, refusal};
use crate::pass;

const BACKUP: &str = "GET /apis/minidbaas.dev/v1alpha1/namespaces/other/databasebackups/nightly";

/// A cluster with one class and nothing else, in which the backup other/nightly is answered for like this.
fn cluster(backup: (u16, Value)) -> impl Fn(&Asked) -> (u16, Value) + Send + 'static {
    move |asked| {
        let class = json!({"metadata": {"name": "fast",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "x"});
        let list = |items: Vec<Value>| {
            (
                200,
                json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}),
            )
        };
        match asked.what.split_once(' ') {
            _ if asked.what == BACKUP => backup.clone(),
            Some(("GET", path)) if path.ends_with("/storageclasses") => list(vec![class]),
            Some(("GET", path))
                if path.ends_with("/jobs")
                    || path.ends_with("/configmaps")
                    || path.ends_with("/databasebackups")
                    || path.ends_with("/volumesnapshotclasses") =>
            {
                list(vec![])
            }
            Some(("GET", _)) => refusal(404, "NotFound", "there is none"),
            Some(("PATCH", path)) if path.ends_with("/status") => {
                let spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"},
                    "backup": {"name": "nightly"}, "instance": "copy"});
                asked.taken("X", spec)
            }
            _ => (201, asked.body.clone()),
        }
    }
}

/// The reason and message of Ready, after a look that everything else was only read.
fn told(asked: &[Asked]) -> (Value, Value) {
    let writes = asked.iter().filter(|asked| !asked.what.starts_with("GET"));
    let (mut status, mut others) = (Value::Null, Vec::new());
    for write in writes {
        if write.what.ends_with("/status") {
            status = write.status()["conditions"][0].clone();
        } else if !write.what.contains("events.k8s.io") {
            others.push(write.what.clone());
        }
    }
    assert_eq!(others, Vec::<String>::new());
    (status["reason"].clone(), status["message"].clone())
}

fn silent_backup() -> Value {
    json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseBackup",
        "metadata": {"name": "nightly", "namespace": "other", "uid": "backup-uid"}, "spec": {"instance": "old"},
    })
}

async fn told_to_an_instance(backup: (u16, Value)) -> (Value, Value) {
    let mut cr = serde_json::to_value(instance()).unwrap();
    cr["spec"]["restoreFrom"] = json!({"backup": {"name": "nightly", "namespace": "other"}});
    let cr: DatabaseInstance = serde_json::from_value(cr).unwrap();
    let (context, asked) = context(cluster(backup));
    pass::run(Arc::new(DeserializeGuard(Ok(cr))), context)
        .await
        .unwrap();
    told(&asked.lock().unwrap())
}

async fn told_to_a_restore(backup: (u16, Value)) -> (Value, Value) {
    let cr: DatabaseRestore = serde_json::from_value(json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseRestore",
        "metadata": {"name": "again", "namespace": "demo", "uid": "restore-uid", "generation": 1,
            "resourceVersion": "1"},
        "spec": {"backup": {"name": "nightly", "namespace": "other"}, "instance": "copy"},
    }))
    .unwrap();
    let (context, asked) = context(cluster(backup));
    pass::run(Arc::new(DeserializeGuard(Ok(cr))), context)
        .await
        .unwrap();
    told(&asked.lock().unwrap())
}

#[tokio::test]
async fn an_absent_a_silent_and_an_unreadable_backup_look_the_same() {
    let absent = || refusal(404, "NotFound", "there is none");
    let forbidden = || refusal(403, "Forbidden", "not here");
    let silent = || (200, silent_backup());
    let to_instance = told_to_an_instance(absent()).await;
    assert_eq!(to_instance.0, "BackupNotAvailable");
    assert_eq!(told_to_an_instance(forbidden()).await, to_instance);
    assert_eq!(told_to_an_instance(silent()).await, to_instance);
    let to_restore = told_to_a_restore(absent()).await;
    assert_eq!(to_restore.0, "BackupNotAvailable");
    assert_eq!(told_to_a_restore(forbidden()).await, to_restore);
    assert_eq!(told_to_a_restore(silent()).await, to_restore);
}

#[tokio::test]
async fn a_backup_that_could_not_be_read_is_not_taken_for_an_absent_one() {
    let mut cr = serde_json::to_value(instance()).unwrap();
    cr["metadata"]["namespace"] = json!("other");
    cr["spec"]["restoreFrom"] = json!({"backup": {"name": "nightly"}, "ifExists": true});
    let cr: DatabaseInstance = serde_json::from_value(cr).unwrap();
    for answer in [
        refusal(500, "InternalError", "etcd is away"),
        refusal(403, "Forbidden", "not here"),
        (200, json!({"spec": {"instance": 5}})),
    ] {
        let (context, asked) = context(cluster(answer));
        let guard = Arc::new(DeserializeGuard(Ok(cr.clone())));
        pass::run(guard, context).await.unwrap_err();
        let asked = asked.lock().unwrap();
        assert!(asked.iter().all(|asked| asked.what.starts_with("GET")));
    }
}

/// Resources that were stored before the schema knew what a name is.
#[tokio::test]
async fn a_name_that_no_object_has_is_told_of_and_never_sent() {
    for bad in [
        "a b",
        "a?b#c",
        "../../x",
        "..",
        "a/b",
        "Upper",
        "x,metadata.name=y",
    ] {
        for (field, spec) in [
            (
                "spec.backup.name",
                json!({"backup": {"name": bad}, "instance": "copy"}),
            ),
            (
                "spec.backup.namespace",
                json!({"backup": {"name": "a", "namespace": bad}, "instance": "copy"}),
            ),
            (
                "spec.instance",
                json!({"backup": {"name": "nightly"}, "instance": bad}),
            ),
            (
                "spec.overrides.storage.className",
                json!({"backup": {"name": "a"}, "instance": "copy", "overrides": {"storage": {"className": bad}}}),
            ),
        ] {
            let restore: DatabaseRestore = serde_json::from_value(json!({
                "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseRestore",
                "metadata": {"name": "r", "namespace": "demo", "uid": "u", "resourceVersion": "1"}, "spec": spec,
            }))
            .unwrap();
            let (context, asked) = context(cluster((404, json!({}))));
            pass::run(Arc::new(DeserializeGuard(Ok(restore))), context)
                .await
                .unwrap();
            let asked = asked.lock().unwrap();
            let (reason, message) = told(&asked);
            assert_eq!(reason, "InvalidName", "{field} {bad}: {message}");
            assert!(message.as_str().unwrap().starts_with(field), "{message}");
            let seen =
                |what: &str| what.contains(bad) || what.contains("%2") || what.contains("..");
            let sent = asked.iter().find(|asked| seen(&asked.what));
            assert!(sent.is_none(), "{:?}", sent.map(|asked| &asked.what));
        }
    }
}
