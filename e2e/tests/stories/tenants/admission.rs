//! What must not get past the API server.

use anyhow::{Context, Result, ensure};
use e2e::Space;
use serde_json::{Value, json};

use super::people::{Person, admin, ours, user};
use crate::backup_refusals::small;

const KINDS: [&str; 4] = [
    "DatabaseInstance",
    "DatabaseBackup",
    "DatabaseRestore",
    "HACluster",
];

/// The shortest spec of a kind that is admitted.
fn shortest(kind: &str) -> Value {
    match kind {
        "DatabaseBackup" => json!({"instance": "shop"}),
        "DatabaseRestore" => json!({"backup": {"name": "private"}, "instance": "copy"}),
        _ => json!({"engine": "postgresql", "storage": {"size": "1Gi"}}),
    }
}

/// Such an object with a value in a field, given as a JSON pointer below spec.
fn with(kind: &str, name: &str, pointer: &str, value: Value) -> Value {
    let mut spec = shortest(kind);
    let mut field = &mut spec;
    for key in pointer.split('/') {
        field = &mut field[key];
    }
    *field = value;
    ours(kind, name, spec)
}

/// Each of these is refused; the same without what is wrong with them is not.
async fn refused(person: &Person<'_>, items: Vec<(String, Value)>) -> Result<()> {
    let good = KINDS.map(|kind| ours(kind, "good", shortest(kind)));
    let admitted = person.admitted(good.to_vec()).await?;
    ensure!(
        admitted.len() == KINDS.len(),
        "only {admitted:?} are admitted"
    );
    let mut what = Vec::new();
    let mut objects = Vec::new();
    for (number, (told, mut object)) in items.into_iter().enumerate() {
        let name = format!("bad-{number:03}");
        object["metadata"]["name"] = json!(name);
        what.push((name, told));
        objects.push(object);
    }
    let admitted = person.admitted(objects).await?;
    let admitted = what.iter().filter(|(name, _)| admitted.contains(name));
    let admitted: Vec<&str> = admitted.map(|(_, told)| told.as_str()).collect();
    ensure!(
        admitted.is_empty(),
        "{} of {} are admitted: {}",
        admitted.len(),
        what.len(),
        admitted.join("; ")
    );
    Ok(())
}

/// Each field that names an object, or is part of a name.
const NAMES: &[(&str, &str)] = &[
    ("DatabaseInstance", "credentialsSecret/name"),
    ("DatabaseInstance", "storage/className"),
    ("DatabaseInstance", "scheduling/priorityClassName"),
    ("DatabaseInstance", "backup/snapshotClassName"),
    ("DatabaseInstance", "backup/allowedNamespaces/0"),
    ("DatabaseInstance", "restoreFrom/backup/name"),
    ("DatabaseInstance", "restoreFrom/backup/namespace"),
    ("DatabaseBackup", "instance"),
    ("DatabaseBackup", "snapshotClassName"),
    ("DatabaseBackup", "allowedNamespaces/0"),
    ("DatabaseRestore", "backup/name"),
    ("DatabaseRestore", "backup/namespace"),
    ("DatabaseRestore", "instance"),
    ("DatabaseRestore", "overrides/storage/className"),
    ("DatabaseRestore", "overrides/credentialsSecret/name"),
    ("HACluster", "credentialsSecret/name"),
    ("HACluster", "storage/className"),
    ("HACluster", "teamId"),
];

/// Names that are more than a name in a URL.
pub async fn names_in_urls(home: &Space) -> Result<()> {
    let mut items = Vec::new();
    for (kind, field) in NAMES {
        for value in ["a b", "a?b#c", "../../x"] {
            let mut value_of = json!(value);
            let mut pointer = *field;
            if let Some(list) = field.strip_suffix("/0") {
                (pointer, value_of) = (list, json!([value]));
            }
            let mut object = with(kind, "", pointer, value_of);
            if *field == "restoreFrom/backup/namespace" {
                object["spec"]["restoreFrom"]["backup"]["name"] = json!("private");
            }
            if field.starts_with("backup/") && *kind == "DatabaseInstance" {
                object["spec"]["backup"]["schedule"] = json!("0 3 * * *");
            }
            items.push((format!("{kind} spec.{field} {value}"), object));
        }
    }
    refused(&user(home), items).await
}

/// Objects whose own names are paths; kubectl itself would not even ask with some of them.
pub async fn paths_as_names(home: &Space) -> Result<()> {
    let items = KINDS.iter().flat_map(|kind| {
        ["../x", "..", "../../default/x"].map(|name| ours(kind, name, shortest(kind)))
    });
    let admitted = user(home).admitted(items.collect()).await?;
    ensure!(admitted.is_empty(), "admitted: {admitted:?}");
    Ok(())
}

/// Objects that would cost the operator memory and time.
pub async fn large_keys(home: &Space) -> Result<()> {
    let (megabyte, kilobytes) = ("k".repeat(1_000_000), "k".repeat(60_000));
    let each_short: Value = (0..9)
        .map(|number| (format!("k{number}"), json!("v".repeat(2000))))
        .collect();
    let cases: [(&str, &str, Value); 11] = [
        ("DatabaseInstance", "parameters", each_short.clone()),
        (
            "DatabaseInstance",
            "service/annotations",
            each_short.clone(),
        ),
        ("HACluster", "parameters", each_short),
        (
            "DatabaseRestore",
            "overrides/resources/limits",
            json!({&megabyte: "1"}),
        ),
        (
            "DatabaseInstance",
            "resources/limits",
            json!({&megabyte: "1"}),
        ),
        (
            "DatabaseInstance",
            "service/annotations",
            json!({"a": megabyte}),
        ),
        (
            "DatabaseInstance",
            "scheduling/nodeSelector",
            json!({&megabyte: "1"}),
        ),
        ("DatabaseInstance", "parameters", json!({&kilobytes: "1"})),
        (
            "DatabaseInstance",
            "parameters",
            json!({"work_mem": kilobytes}),
        ),
        ("HACluster", "parameters", json!({&kilobytes: "1"})),
        ("HACluster", "resources/limits", json!({&megabyte: "1"})),
    ];
    // Not all at once: a list of them is larger than what the API server would take.
    let mut admitted = Vec::new();
    for (kind, field, value) in cases {
        let object = with(kind, "", field, value);
        let what = vec![(format!("{kind} spec.{field}"), object)];
        if let Err(error) = refused(&user(home), what).await {
            admitted.push(format!("{error:#}"));
        }
    }
    let crowds = KINDS.iter().flat_map(|kind| {
        crowds().map(|(field, value)| {
            let mut object = ours(kind, "", shortest(kind));
            object["metadata"][field] = value;
            (format!("{kind} metadata.{field}"), object)
        })
    });
    if let Err(error) = refused(&user(home), crowds.collect()).await {
        admitted.push(format!("{error:#}"));
    }
    ensure!(admitted.is_empty(), "{}", admitted.join("; "));
    Ok(())
}

/// Metadata beyond what an object of ours may have; no schema limits it.
fn crowds() -> [(&'static str, Value); 7] {
    let names = || (0..65).map(|number| format!("example.org/{number}"));
    let pairs = || names().map(|name| (name, json!("x"))).collect::<Value>();
    let owner = |kind: &str, number: usize| {
        json!({"apiVersion": "v1", "kind": kind, "name": format!("o{number}"),
        "uid": format!("u{number}")})
    };
    [
        ("labels", pairs()),
        ("annotations", pairs()),
        (
            "annotations",
            json!({"example.org/long": "x".repeat(132_000)}),
        ),
        ("finalizers", names().collect()),
        (
            "finalizers",
            json!([format!(
                "example.org{}/{}",
                ".example".repeat(28),
                "x".repeat(60)
            )]),
        ),
        (
            "ownerReferences",
            (0..17).map(|number| owner("ConfigMap", number)).collect(),
        ),
        ("ownerReferences", json!([owner(&"K".repeat(300), 0)])),
    ]
}

/// A throw-away instance made by hand, which would take a place of those that prove backups.
pub async fn verification(home: &Space) -> Result<()> {
    let mut object = ours("DatabaseInstance", "", shortest("DatabaseInstance"));
    object["metadata"]["labels"] = json!({"minidbaas.dev/verifies": "0"});
    refused(&user(home), vec![("verifies".to_owned(), object)]).await
}

/// A priority over the cluster's own pods.
pub async fn priority(home: &Space) -> Result<()> {
    let classes = ["system-cluster-critical", "system-node-critical"];
    let items = classes.map(|class| {
        let field = "scheduling/priorityClassName";
        let object = with("DatabaseInstance", "", field, json!(class));
        (class.to_owned(), object)
    });
    refused(&user(home), items.to_vec()).await
}

/// The definitions, while there are objects of each; the objects do nothing.
pub async fn definitions(home: &Space) -> Result<()> {
    for kind in KINDS {
        let mut object = ours(kind, "present", shortest(kind));
        object["metadata"]["annotations"] = json!({"minidbaas.dev/paused": "true"});
        user(home).apply(&object).await?;
    }
    let mut deleted = Vec::new();
    for kind in KINDS {
        let crd = format!("crd/{}s.minidbaas.dev", kind.to_lowercase());
        let words = ["delete", &crd, "--dry-run=server"];
        match home.cluster.kubectl(&words, "").await {
            Ok(_) => deleted.push(crd),
            Err(error) => {
                let said = format!("{error:#}");
                ensure!(
                    said.contains("enied") || said.contains("orbidden"),
                    "{said}"
                );
            }
        }
    }
    ensure!(
        deleted.is_empty(),
        "these would have been deleted: {deleted:?}"
    );
    Ok(())
}

/// Those objects go.
pub async fn no_objects(home: &Space) -> Result<()> {
    for kind in KINDS {
        let words = [
            "delete",
            kind,
            "present",
            "--ignore-not-found",
            "--wait=false",
        ];
        home.kubectl(&words, "").await?;
        let object = format!("{kind}/present");
        if !home.field(&object, ".metadata.uid").await?.is_empty() {
            let words = ["annotate", &object, "minidbaas.dev/paused-"];
            home.kubectl(&words, "").await.ok();
        }
    }
    Ok(())
}

/// The scripts that the server's pod mounts, wherever they are.
pub async fn scripts(space: &Space, instance: &str) -> Result<()> {
    let set = space
        .field(&format!("sts/{instance}"), ".spec.template.spec.volumes")
        .await?;
    let volumes: Vec<Value> = serde_json::from_str(&set)?;
    let mut maps = Vec::new();
    for volume in &volumes {
        let projected = volume["projected"]["sources"].as_array();
        let sources = projected.into_iter().flatten().chain([volume]);
        let names = sources.filter_map(|source| source["configMap"]["name"].as_str());
        maps.extend(names.map(str::to_owned));
    }
    maps.sort();
    maps.dedup();
    let (mut found, mut edited) = (0, Vec::new());
    for map in maps {
        let object = format!("configmap/{map}");
        let data: Value = serde_json::from_str(&space.field(&object, ".data").await?)?;
        let keys = data.as_object().context("no data")?.keys();
        for key in keys.filter(|key| key.ends_with(".sh")) {
            found += 1;
            let change = json!({"data": {key: "echo edited"}});
            match admin(space).patch(&object, change).await {
                Ok(()) => edited.push(format!("{map}/{key}")),
                Err(error) => {
                    let said = format!("{error:#}");
                    ensure!(said.contains("immutable"), "{said}");
                }
            }
        }
    }
    ensure!(found > 0, "no script is mounted");
    ensure!(edited.is_empty(), "these were edited: {edited:?}");
    Ok(())
}

/// A Secret that was not made to be a user's credentials; who made it has not agreed.
pub async fn type_of_secret(home: &Space) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "another"}, "type": "Opaque",
        "stringData": {"username": "app", "password": "another application's"},
    });
    home.kubectl(&["create", "-f", "-"], &secret.to_string())
        .await?;
    let spec = json!({"credentialsSecret": {"name": "another"}, "stopped": true, "deletionPolicy": "Delete"});
    user(home)
        .apply_instance("typed", small("postgresql", spec))
        .await?;
    home.until("the operator has seen it", || async {
        Ok(!home
            .field("dbinstance/typed", ".status.phase")
            .await?
            .is_empty())
    })
    .await?;
    let path = ".status.conditions[?(@.type==\"Stalled\")].reason";
    let reason = home.field("dbinstance/typed", path).await?;
    ensure!(
        reason == "CredentialsInvalid",
        "it is not refused ({reason})"
    );
    for child in ["sts/typed", "secret/typed", "pvc/typed"] {
        let uid = home.field(child, ".metadata.uid").await?;
        ensure!(uid.is_empty(), "{child} was made");
    }
    Ok(())
}
