//! Objects of people who have nothing to do with ours, under names that ours would use.

use anyhow::{Context, Result, ensure};
use e2e::Space;
use e2e::space::PATIENCE;
use serde_json::{Value, json};

use super::data::delete;
use super::people::{ours, user};
use crate::backup_deletion::until_gone;
use crate::backup_refusals::small;

/// Objects as they were.
pub struct Kept(Vec<(String, Value)>);

/// What of an object is its maker's: not its status and not what servers write down about writes.
async fn made(space: &Space, object: &str) -> Result<Option<Value>> {
    let words = ["get", object, "--ignore-not-found", "-o=json"];
    let text = space.kubectl(&words, "").await?;
    if text.is_empty() {
        return Ok(None);
    }
    let mut value: Value = serde_json::from_str(&text)?;
    for field in ["resourceVersion", "managedFields", "generation"] {
        value["metadata"][field].take();
    }
    value["status"].take();
    Ok(Some(value))
}

/// The object; it is there, and nothing is about to end it.
async fn spared(space: &Space, object: &str) -> Result<Value> {
    let now = made(space, object).await?;
    let now = now.with_context(|| format!("{object} is gone"))?;
    let metadata = &now["metadata"];
    for field in ["deletionTimestamp", "ownerReferences"] {
        ensure!(
            metadata[field].is_null(),
            "{object} has {field}: {metadata}"
        );
    }
    Ok(now)
}

impl Kept {
    /// Looks at objects that are there.
    pub async fn see(space: &Space, objects: &[String]) -> Result<Self> {
        let mut seen = Vec::new();
        for object in objects {
            let found = made(space, object).await?;
            seen.push((
                object.clone(),
                found.with_context(|| format!("no {object}"))?,
            ));
        }
        Ok(Kept(seen))
    }

    /// They are as they were. Of a Secret nothing is told but its metadata.
    pub async fn unchanged(&self, space: &Space) -> Result<()> {
        for (object, before) in &self.0 {
            let now = spared(space, object).await?;
            let metadata = &now["metadata"];
            ensure!(&now == before, "{object} was changed: {metadata}");
        }
        Ok(())
    }

    /// The same objects are there, and nothing is about to end them.
    pub async fn stay(&self, space: &Space) -> Result<()> {
        for (object, before) in &self.0 {
            let now = spared(space, object).await?;
            let metadata = &now["metadata"];
            ensure!(
                metadata["uid"] == before["metadata"]["uid"],
                "another {object}"
            );
        }
        Ok(())
    }
}

fn claim(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "labels": labels},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "immediate",
            "resources": {"requests": {"storage": "1Gi"}}},
    })
}

fn secret(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels},
        "stringData": {"password": "a conflict's"},
    })
}

/// Makes them, waits until the claim has its volume, and looks at them.
async fn make(space: &Space, items: Vec<Value>) -> Result<Kept> {
    let names = items.iter().map(|item| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
        format!(
            "{}/{}",
            text(&item["kind"]),
            text(&item["metadata"]["name"])
        )
    });
    let names: Vec<String> = names.collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    // Created, not applied: kubectl would keep a Secret's text in an annotation.
    space
        .kubectl(&["create", "-f", "-"], &list.to_string())
        .await?;
    let claims = names
        .iter()
        .filter(|name| name.starts_with("persistentvolumeclaim/"));
    for claim in claims {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        let bound = "--for=jsonpath={.status.phase}=Bound";
        space.kubectl(&["wait", bound, &timeout, claim], "").await?;
    }
    Kept::see(space, &names).await
}

/// An instance that was told to choose another name, and does.
pub async fn stalled(space: &Space, name: &str, policy: &str) -> Result<()> {
    let none = json!({});
    let admin = format!("{name}-admin");
    let items = vec![
        claim(name, &none),
        secret(name, &none),
        secret(&admin, &none),
    ];
    let conflicts = make(space, items).await?;
    let spec = small("postgresql", json!({"deletionPolicy": policy}));
    user(space).apply_instance(name, spec).await?;
    space
        .until_condition(name, "Stalled", "True", "NameTaken")
        .await?;
    delete(space, name, policy).await?;
    conflicts.unchanged(space).await
}

/// A cluster that was never made, with a finalizer that only a user has set, and objects that a cluster of that name
/// would have.
pub async fn deputy(space: &Space, name: &str, labels: Value) -> Result<()> {
    let mut labels = labels;
    labels["application"] = json!("spilo");
    labels["cluster-name"] = json!(name);
    let pod = json!({"app": name});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 0, "serviceName": name, "selector": {"matchLabels": pod},
            "template": {"metadata": {"labels": pod}, "spec": {"containers": [{"name": "server", "image": "none"}]}},
        },
    });
    let volume = format!("pgdata-{name}-0");
    let of_user = format!("app.{name}.credentials.postgresql.acid.zalan.do");
    let items = vec![
        set,
        secret(name, &labels),
        secret(&of_user, &labels),
        claim(&volume, &labels),
    ];
    let conflicts = make(space, items).await?;
    let mut cluster = ours(
        "HACluster",
        name,
        json!({"engine": "postgresql", "storage": {"size": "1Gi"}, "deletionPolicy": "Delete"}),
    );
    cluster["metadata"]["finalizers"] = json!(["minidbaas.dev/ha-cluster"]);
    user(space).apply(&cluster).await?;
    let cluster = format!("hacluster/{name}");
    user(space).delete(&cluster).await?;
    // The operator waits a minute for the Zalando operator; when the resource is gone, nothing of it acts any more.
    until_gone(space, &cluster).await?;
    conflicts.unchanged(space).await
}

/// Clusters whose servers would take what is not theirs: a claim with its data, a Secret with its password, records.
pub async fn names_of_servers(space: &Space) -> Result<()> {
    let none = json!({});
    let record = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
    let items = vec![
        claim("pgdata-mail-0", &none),
        secret("postgres.keys.credentials.postgresql.acid.zalan.do", &none),
        record("Endpoints", "news-leader"),
        record("ConfigMap", "notes-config"),
    ];
    let conflicts = make(space, items).await?;
    for name in ["mail", "keys", "news", "notes"] {
        let spec = json!({"engine": "postgresql", "replicas": 2, "storage": {"size": "1Gi"}});
        let cluster = ours("HACluster", name, spec);
        user(space).apply(&cluster).await?;
        space
            .until_ha_says(name, "Stalled", "True", "NameTaken")
            .await?;
        let cluster = format!("hacluster/{name}");
        user(space).delete(&cluster).await?;
        until_gone(space, &cluster).await?;
    }
    conflicts.unchanged(space).await
}
