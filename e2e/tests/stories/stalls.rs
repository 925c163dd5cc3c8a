//! What the API server cannot see stalls an instance: the status says why, nothing is made or touched, and it goes on
//! by itself when the cause is gone. Instances are stopped here: all is made but the pod.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use api::Engine;
use api::reported::Reported;
use e2e::Space;
use e2e::space::story;
use serde_json::{Value, json};

use crate::deletion::versions;

/// A spec with these changes.
pub fn spec(engine: &str, changes: Value) -> Value {
    let mut spec = json!({"engine": engine, "storage": {"size": "1Gi"}, "stopped": true});
    if let (Value::Object(spec), Value::Object(changes)) = (&mut spec, changes) {
        spec.extend(changes);
    }
    spec
}

/// A text has all of these words.
pub fn says(said: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(said.contains(word), "no word of '{word}' in: {said}");
    }
    Ok(())
}

/// Waits until the instance says this of itself in Ready and Stalled.
pub async fn stalled(space: &Space, name: &str, reason: &str, words: &[&str]) -> Result<()> {
    let message = space
        .until_condition(name, "Stalled", "True", reason)
        .await?;
    says(&message, words)?;
    let instance = space.instances().get(name).await?;
    let ready = instance.condition("Ready");
    ensure!(
        ready.is_some_and(|ready| ready.status == "False" && ready.reason == reason),
        "{name} is stalled by {reason}, and Ready is {ready:?}"
    );
    Ok(())
}

/// Waits until everything is made and at rest, but for the pod.
pub async fn stopped(space: &Space, name: &str) -> Result<()> {
    space
        .until_condition(name, "Ready", "False", "Stopped")
        .await?;
    let instance = space.instances().get(name).await?;
    ensure!(
        instance.is_at_rest(),
        "{name} is not at rest: {:?}",
        instance.status
    );
    Ok(())
}

/// Nothing but instances was made, and nothing was touched.
async fn untouched(space: &Space, before: &BTreeMap<String, String>) -> Result<()> {
    let mut now = space.objects().await?;
    now.retain(|name, _| !name.starts_with("DatabaseInstance/"));
    ensure!(now == *before, "before: {before:?}, now: {now:?}");
    Ok(())
}

#[tokio::test]
async fn what_a_spec_names_and_what_is_missing_stalls_it_until_it_is_there() -> Result<()> {
    story("story-refusals-missing", |space| async move {
        let space = &space;
        let class = ["delete", "storageclass", "story-refusals", "--ignore-not-found"];
        space.kubectl(&class, "").await?;
        let secret = |name: &str, type_: &str, data: Value| {
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": type_,
                "stringData": data}).to_string()
        };
        let (mine_only, password) = ("kubernetes.io/basic-auth", json!({"password": "secret word"}));
        let (username, both) = (json!({"username": "app"}), json!({"username": "app", "password": "secret word"}));
        space.apply(&secret("no-password", mine_only, username)).await?;
        space.apply(&secret("another-type", "Opaque", password.clone())).await?;
        let before = space.objects().await?;
        let mine = |name: &str| json!({"credentialsSecret": {"name": name}});
        let set = |name: &str| json!({"parameters": {name: "1"}});
        let storage = json!({"storage": {"size": "1Gi", "className": "story-refusals"}});
        let little = json!({"resources": {"limits": {"memory": "64Mi"}}});
        let cases: &[(&str, &str, Value, &str, &[&str])] = &[
            ("secret", "postgresql", mine("later"), "CredentialsNotFound", &["spec.credentialsSecret", "later",
                "Create it"]),
            ("password", "mysql", mine("no-password"), "CredentialsInvalid", &["spec.credentialsSecret",
                "key password", "Add it"]),
            ("type", "mariadb", mine("another-type"), "CredentialsInvalid", &["spec.credentialsSecret", "type Opaque",
                "kubernetes.io/basic-auth"]),
            ("class", "mariadb", storage, "StorageClassNotFound", &["spec.storage.className", "story-refusals",
                "Create it"]),
            ("forbidden", "postgresql", set("data_directory"), "InvalidParameter", &["spec.parameters.data_directory",
                "Remove it"]),
            ("unknown", "postgresql", set("work_men"), "InvalidParameter", &["spec.parameters.work_men",
                "Did you mean 'work_mem'"]),
            ("secured", "mysql", set("skip_grant_tables"), "InvalidParameter", &["spec.parameters.skip_grant_tables",
                "Remove it"]),
            ("memory", "mariadb", little, "InvalidResources", &["spec.resources.limits.memory", "at least"]),
        ];
        for (name, engine, changes, ..) in cases {
            space.apply_instance(name, spec(engine, changes.clone())).await?;
        }
        for (name, _, _, reason, words) in cases {
            stalled(space, name, reason, words).await?;
        }
        untouched(space, &before).await?;
        space.apply(&secret("later", mine_only, password.clone())).await?;
        space.apply(&secret("no-password", mine_only, both)).await?;
        space.kubectl(&["delete", "secret", "another-type"], "").await?;
        space.apply(&secret("another-type", mine_only, password)).await?;
        let class = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "story-refusals"},
            "provisioner": "btrfs.csi.minidbaas.dev", "volumeBindingMode": "WaitForFirstConsumer",
        });
        space.apply(&class.to_string()).await?;
        for name in ["forbidden", "unknown", "secured"] {
            space.patch(name, json!({"parameters": null})).await?;
        }
        space.patch("memory", json!({"resources": null})).await?;
        let cured = async {
            for (name, ..) in cases {
                stopped(space, name).await?;
            }
            space.patch("secret", json!({"stopped": false})).await?;
            space.until_settled("secret").await
        };
        space.step("all cured", cured).await?;
        space.kubectl(&["delete", "storageclass", "story-refusals"], "").await?;
        Ok(())
    })
    .await
}

/// One object of each kind of a child, of somebody else.
fn conflicts() -> Vec<(&'static str, &'static str, Value)> {
    let pod = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let set = json!({"replicas": 0, "serviceName": "a", "selector": {"matchLabels": {"a": "b"}}, "template": pod});
    let claim =
        json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    vec![
        ("v1", "Secret", json!({})),
        ("v1", "ConfigMap", json!({})),
        ("v1", "Service", json!({"spec": {"ports": [{"port": 1}]}})),
        ("v1", "PersistentVolumeClaim", json!({"spec": claim})),
        ("apps/v1", "StatefulSet", json!({"spec": set})),
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}}}),
        ),
    ]
}

#[tokio::test]
async fn objects_of_others_are_never_taken_over() -> Result<()> {
    story("story-refusals-conflicts", |space| async move {
        let mut names: Vec<(String, String, &str)> = Vec::new();
        for (version, kind, mut object) in conflicts() {
            let name = format!("a-{}", kind.to_lowercase());
            let wanted = if kind == "Secret" {
                vec![name.clone(), "b-secret-admin".to_owned()]
            } else {
                vec![name.clone()]
            };
            for conflict in wanted {
                object["apiVersion"] = json!(version);
                object["kind"] = json!(kind);
                object["metadata"] = json!({"name": conflict});
                space.apply(&object.to_string()).await?;
                let instance = conflict.trim_end_matches("-admin").to_owned();
                names.push((instance, conflict, kind));
            }
        }
        let seen = || async {
            let path = ".status.observedGeneration";
            Ok(!space.field("sts/a-statefulset", path).await?.is_empty())
        };
        space.until("the StatefulSet has its status", seen).await?;
        let before = space.objects().await?;
        for (instance, ..) in &names {
            space
                .apply_instance(instance, spec("mariadb", json!({})))
                .await?;
        }
        for (instance, conflict, kind) in &names {
            stalled(
                &space,
                instance,
                "NameTaken",
                &[&format!("{kind} {conflict} "), "Rename or delete it"],
            )
            .await?;
        }
        untouched(&space, &before).await?;
        for (_, conflict, kind) in &names {
            space.kubectl(&["delete", kind, conflict], "").await?;
        }
        let cured = async {
            for (instance, ..) in &names {
                stopped(&space, instance).await?;
            }
            Ok(())
        };
        space.step("all cured", cured).await
    })
    .await
}

async fn only_data_is_left(space: &Space) -> Result<()> {
    let only = || async {
        let left: Vec<String> = space.objects().await?.into_keys().collect();
        let data = [
            "PersistentVolumeClaim/kept",
            "Secret/kept",
            "Secret/kept-admin",
        ];
        Ok(left == data)
    };
    space.until("only data is left", only).await
}

#[tokio::test]
async fn a_retained_volume_is_not_started_as_something_else() -> Result<()> {
    story("story-refusals-retained", |space| async move {
        let space = &space;
        space
            .apply_instance("kept", spec("postgresql", json!({})))
            .await?;
        stopped(space, "kept").await?;
        let delete = ["delete", "dbinstance", "kept"];
        space.kubectl(&delete, "").await?;
        only_data_is_left(space).await?;
        let before = space.objects().await?;
        let cases: &[(&str, Value, &[&str])] = &[
            (
                "mysql",
                json!({}),
                &["spec.engine", "postgresql", "PersistentVolumeClaim"],
            ),
            (
                "postgresql",
                json!({"username": "other"}),
                &["spec.username", "app"],
            ),
            (
                "postgresql",
                json!({"database": "other"}),
                &["spec.database", "kept"],
            ),
        ];
        for (engine, changes, words) in cases {
            space
                .apply_instance("kept", spec(engine, changes.clone()))
                .await?;
            stalled(space, "kept", "RetainedDataMismatch", words).await?;
            untouched(space, &before).await?;
            space.kubectl(&delete, "").await?;
        }
        for (data, reason) in [("16", "MajorVersionChange"), ("17.999", "VersionDowngrade")] {
            // The former server's StatefulSet is collected in its own time.
            only_data_is_left(space).await?;
            annotate(space, data).await?;
            let before = space.objects().await?;
            let (_, exact) = versions(space, Engine::Postgresql).await?;
            space
                .apply_instance("kept", spec("postgresql", json!({"version": exact})))
                .await?;
            stalled(space, "kept", reason, &["spec.version", data]).await?;
            untouched(space, &before).await?;
            annotate(space, "17").await?;
            space
                .step("the former version", stopped(space, "kept"))
                .await?;
            space.kubectl(&delete, "").await?;
        }
        Ok(())
    })
    .await
}

async fn annotate(space: &Space, version: &str) -> Result<()> {
    let annotation = format!("minidbaas.dev/version={version}");
    space
        .kubectl(&["annotate", "--overwrite", "pvc/kept", &annotation], "")
        .await?;
    Ok(())
}
