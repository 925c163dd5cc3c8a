//! Every object of a namespace as text, without what differs between two runs that did the same: identities, times,
//! addresses, random passwords and what is derived from them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use e2e::Space;
use e2e::space::story;
use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use crate::operator::Operator;

/// Fields that are of one run only, wherever they are. The generation is not among them: it counts changes.
const OF_ONE_RUN: [&str; 35] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "lastTransitionTime",
    "lastProbeTime",
    "startTime",
    "startedAt",
    "finishedAt",
    "containerID",
    "clusterIP",
    "clusterIPs",
    "podIP",
    "podIPs",
    "volumeName",
    "currentRevision",
    "updateRevision",
    "controller-revision-hash",
    "minidbaas.dev/hash",
    "minidbaas.dev/credentials",
    "minidbaas.dev/revision",
    "kubectl.kubernetes.io/last-applied-configuration",
    "qosClass",
    "allocatedResources",
    "time",
    "creationTime",
    "takenAt",
    "readyAt",
    "completedAt",
    "verifiedAt",
    "heldMilliseconds",
    "restoreSeconds",
    "duration",
    "seconds",
    "boundVolumeSnapshotContentName",
];

/// Parts of texts and names that are of one run only: times and UIDs. `d` is a digit and `x` a hexadecimal one.
const PARTS_OF_ONE_RUN: [&str; 2] = [
    "dddd-dd-ddTdd:dd:ddZ",
    "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
];

/// Keys of Secrets with random values.
const RANDOM: [&str; 5] = ["password", "admin-password", "id", "revision", "uri"];

/// Kinds that are made by others than the operator and its workloads' controllers, or say only what happened on the
/// way.
const NOT_COMPARED: [&str; 3] = ["events", "endpoint", "leases"];

/// Does something in a namespace with an operator of its own; returns what is left then.
pub async fn left(
    name: &str,
    doing: impl AsyncFnOnce(&Space, &mut Operator) -> Result<()>,
) -> Result<BTreeMap<String, String>> {
    let found = Mutex::new(BTreeMap::new());
    let there = &found;
    story(name, |space| async move {
        let state = Operator::only_for(&space, async |operator| {
            doing(&space, operator).await?;
            of(&space).await
        });
        *there.lock().unwrap_or_else(PoisonError::into_inner) = state.await?;
        Ok(())
    })
    .await?;
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The objects by kind and name.
async fn of(space: &Space) -> Result<BTreeMap<String, String>> {
    let list = ["api-resources", "--verbs=list", "--namespaced", "-o=name"];
    let kinds = space.kubectl(&list, "").await?;
    let kinds: Vec<&str> = kinds
        .lines()
        .filter(|kind| {
            !NOT_COMPARED
                .iter()
                .any(|not_compared| kind.starts_with(not_compared))
        })
        .collect();
    let text = space
        .kubectl(&["get", &kinds.join(","), "-o", "json"], "")
        .await?;
    let found: Value = serde_json::from_str(&text)?;
    let mut objects = BTreeMap::new();
    for object in found["items"].as_array().context("no list")? {
        let (name, text) = normal(object.clone(), &space.name)?;
        objects.insert(name, text);
    }
    Ok(objects)
}

fn normal(mut object: Value, namespace: &str) -> Result<(String, String)> {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let mut name = object["metadata"]["name"]
        .as_str()
        .context("no name")?
        .to_owned();
    if kind == "ControllerRevision" {
        // Its name ends in a hash of the pod template, in which the credentials' id is.
        name = name.rsplit_once('-').context("no hash")?.0.to_owned();
        object["metadata"]["name"] = json!(name);
        object["metadata"]["labels"] = Value::Null;
    }
    if kind == "Secret"
        && let Some(data) = object["data"].as_object_mut()
    {
        decode(data)?;
    }
    strip(&mut object);
    if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
        conditions.sort_by_key(|condition| condition["type"].to_string());
    }
    let text = serde_json::to_string_pretty(&object)?.replace(namespace, "NAMESPACE");
    Ok((format!("{kind}/{name}"), text))
}

/// Base64 would hide the namespace's name.
fn decode(data: &mut Map<String, Value>) -> Result<()> {
    for (key, value) in data {
        let bytes: ByteString = serde_json::from_value(value.take())?;
        *value = if RANDOM.contains(&key.as_str()) {
            json!("random")
        } else {
            json!(String::from_utf8(bytes.0)?)
        };
    }
    Ok(())
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !OF_ONE_RUN.contains(&name.as_str()));
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::String(text) => {
            for part in PARTS_OF_ONE_RUN {
                *text = without(text, part);
            }
        }
        _ => {}
    }
}

fn without(text: &str, part: &str) -> String {
    let fits = |found: &str| {
        let mut pairs = found.chars().zip(part.chars());
        pairs.all(|(found, wanted)| match wanted {
            'd' => found.is_ascii_digit(),
            'x' => found.is_ascii_hexdigit(),
            _ => found == wanted,
        })
    };
    let (mut rest, mut result) = (text, String::new());
    while let Some(first) = rest.chars().next() {
        if rest.get(..part.len()).is_some_and(fits) {
            result.push_str(part);
            rest = &rest[part.len()..];
        } else {
            result.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    result
}

/// The same objects with the same content.
pub fn compare(
    expected: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> Result<()> {
    let names = |state: &BTreeMap<String, String>| state.keys().cloned().collect::<Vec<_>>();
    ensure!(
        names(expected) == names(found),
        "other objects: {:?} and {:?}",
        names(expected),
        names(found)
    );
    for (name, text) in expected {
        let other = &found[name];
        let differences: Vec<(&str, &str)> = text
            .lines()
            .zip(other.lines())
            .filter(|(one, other)| one != other)
            .collect();
        ensure!(text == other, "{name} differs: {differences:#?}");
    }
    eprintln!("killed: {} objects are the same", expected.len());
    Ok(())
}
