//! What must never happen, whatever is killed, refused, late or read too early.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use api::condition::reason;
use api::names::admin_secret;
use serde_json::Value;

use super::api_server::{Cluster, Key, Objects, Stored};
use super::machines::{self, second, text};
use super::operator::KINDS;

/// All backups of the stories that go by age may do so after so many seconds.
const AGE_SECONDS: i64 = 24 * 3600;

/// What was seen of resources, also of those that are gone.
#[derive(Clone, Default)]
pub struct Ledger {
    /// `spec.deletionPolicy` by UID, as it was the last time.
    policies: BTreeMap<String, String>,
    /// The strangers as they were.
    strangers: BTreeMap<Key, Rc<Stored>>,
    /// Versions up to which resources were looked at.
    seen: u64,
    /// Whether a backup or a restore has failed.
    has_failed: bool,
}

impl Ledger {
    /// Looks at what a step has done.
    pub fn check(&mut self, cluster: &mut Cluster) {
        for (data_bearer, data) in std::mem::take(&mut cluster.lost) {
            if data.rows == 0 {
                continue;
            }
            match data_bearer.value["spec"]["volumeSnapshotRef"].is_object() {
                true => lost_snapshot(cluster, &data_bearer.value),
                false => self.lost_claim(cluster, &data_bearer.value, data.rows),
            }
        }
        if self.seen == cluster.version {
            return;
        }
        self.seen = cluster.version;
        for kind in KINDS {
            for (_, stored) in cluster.of_kind(kind) {
                let policy = text(&stored.value, "/spec/deletionPolicy");
                self.policies
                    .insert(stored.uid().to_owned(), policy.to_owned());
                let of_backups = ["DatabaseBackup", "DatabaseRestore"].contains(&kind);
                let failed = stored.value["status"]["phase"] == "Failed";
                let conditions = stored.value["status"]["conditions"].as_array();
                let mut conditions = conditions.into_iter().flatten();
                let unchecked = conditions.any(|said| said["reason"] == reason::NOT_CHECKED);
                self.has_failed |= of_backups && (failed || unchecked);
            }
        }
        bindings_are_known(cluster);
        for key in &cluster.strangers {
            let before = self.strangers.get(key);
            let now = cluster.objects.get(key);
            match (before, now) {
                (None, Some(now)) => {
                    self.strangers.insert(key.clone(), now.clone());
                }
                (Some(before), now) => {
                    let same = now.is_some_and(|now| now.version == before.version);
                    assert!(
                        same,
                        "{}/{} is a stranger's, and was changed or deleted",
                        key.0, key.2
                    );
                }
                (None, None) => {}
            }
        }
    }

    /// Whether a backup or a restore has failed, or a verification was given up. A hold may be too short, and a clock
    /// be wrong; then it is told, and the end is another one.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    fn lost_claim(&self, cluster: &Cluster, claim: &Value, rows: u64) {
        let name = text(claim, "/metadata/name");
        let owner = text(claim, "/metadata/ownerReferences/0/uid");
        let policy = self.policies.get(owner).map(String::as_str);
        match policy {
            Some("Delete") => {}
            Some("Snapshot") => assert!(
                kept(cluster, rows),
                "the claim {name} went with {rows} rows, and no backup has them"
            ),
            other => panic!(
                "the claim {name} went with {rows} rows; the policy of its owner {owner} is {other:?}"
            ),
        }
        let accepted = text(claim, "/metadata/annotations/minidbaas.dev~1accepted-by");
        let of_zalando = claim["metadata"]["labels"]["application"] == "spilo";
        assert!(
            accepted == owner || of_zalando,
            "the claim {name} of {accepted} went with {owner}"
        );
    }
}

/// No binding has a password that the database has yet to get.
fn bindings_are_known(cluster: &Cluster) {
    for (key, claim) in cluster.living("PersistentVolumeClaim") {
        let Some(data) = cluster.volumes.get(claim.uid()) else {
            continue;
        };
        let secret = |name: &str, field: &str| machines::secret(cluster, &key.1, name, field);
        let keyed = secret(&admin_secret(&key.2), "id").is_some_and(|id| id == data.keyed);
        if let Some(password) = secret(&key.2, "password").filter(|_| keyed) {
            let known = data.had.contains(&password);
            assert!(
                known,
                "the binding of {} has a password that the database never had",
                key.2
            );
        }
    }
}

/// Whether a snapshot that somebody can restore has so many rows.
fn kept(cluster: &Cluster, rows: u64) -> bool {
    cluster
        .living("VolumeSnapshot")
        .iter()
        .any(|(_, snapshot)| {
            let content = text(&snapshot.value, "/status/boundVolumeSnapshotContentName");
            let content = cluster.value("VolumeSnapshotContent", "", content);
            let data = cluster
                .snapshots
                .get(text(&content, "/status/snapshotHandle"));
            data.is_some_and(|data| data.rows == rows)
        })
}

fn lost_snapshot(cluster: &Cluster, content: &Value) {
    let of = &content["spec"]["volumeSnapshotRef"];
    let (namespace, name) = (text(of, "/namespace"), text(of, "/name"));
    let backup = cluster.value("DatabaseBackup", namespace, name);
    let good = backup["status"]["readyAt"].is_string()
        && backup["metadata"]["deletionTimestamp"].is_null();
    assert!(!good, "the data of the good backup {name} went");
}

/// The operator is about to delete a backup.
pub fn may_delete_backup(cluster: &Cluster, key: &Key) {
    let Some(backup) = cluster.objects.get(key) else {
        return;
    };
    let of = |stored: &Stored| {
        (
            second(&stored.value["status"]["takenAt"]),
            stored.value["spec"]["instance"].clone(),
        )
    };
    if backup.value["status"]["readyAt"].is_null() {
        return;
    }
    let (taken, instance) = of(backup);
    let aged = cluster.now - taken >= AGE_SECONDS;
    let newer = cluster.living("DatabaseBackup").iter().any(|(at, other)| {
        let ready = other.value["status"]["readyAt"].is_string()
            && other.value["status"]["phase"] != "Failed";
        let is_newer = (of(other).0, &at.2) > (taken, &key.2);
        ready && of(other).1 == instance && is_newer
    });
    let used = cluster
        .living("DatabaseRestore")
        .iter()
        .any(|(_, restore)| {
            let phase = text(&restore.value, "/status/phase");
            restore.value["spec"]["backup"]["name"] == key.2.as_ref()
                && !["Ready", "Failed"].contains(&phase)
        });
    assert!(
        aged,
        "{} is deleted by age, and is {} s old",
        key.2,
        cluster.now - taken
    );
    assert!(newer, "{} is deleted, and is the newest good one", key.2);
    assert!(!used, "{} is deleted while a restore waits for it", key.2);
}

/// How everything stands, without what differs from one run to the next: UIDs, times, random values.
pub fn end_state(objects: &Objects, strangers: &BTreeSet<Key>) -> Vec<String> {
    let ours = objects.iter().filter(|(key, _)| !strangers.contains(*key));
    let mut lines: Vec<String> = ours.map(|(key, stored)| line(key, stored)).collect();
    lines.sort();
    lines
}

fn line(key: &Key, stored: &Stored) -> String {
    let mut value = stored.value.clone();
    let object = value.as_object_mut().unwrap();
    for field in ["data", "stringData"] {
        let keys = object
            .get(field)
            .and_then(Value::as_object)
            .map(|data| data.keys().cloned().collect::<Vec<_>>());
        if let Some(keys) = keys.filter(|_| key.0 == "Secret" || key.2.contains("-scripts-")) {
            object.insert(field.to_owned(), serde_json::json!(keys));
        }
    }
    let status = object.remove("status").unwrap_or_default();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "generation",
            "managedFields",
        ] {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.retain(|name, _| {
                !["done", "password", "minidbaas.dev/asked-again"].contains(&name.as_str())
            });
        }
    }
    let mut said = vec![text(&status, "/phase").to_owned()];
    if KINDS.contains(&key.0) {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        said.extend(conditions.map(|c| {
            format!(
                "{}={} {}",
                text(c, "/type"),
                text(c, "/status"),
                text(c, "/reason")
            )
        }));
        said.sort();
    }
    without_numbers(&format!("{}/{}/{} {said:?} {value}", key.0, key.1, key.2))
}

/// Every time, and every run of eight or more hex digits, becomes `#`.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let run = rest.find(|c| !is_hex(c)).unwrap_or(rest.len());
        let bytes = rest.as_bytes();
        let is_time =
            bytes.len() >= 20 && bytes[4] == b'-' && bytes[10] == b'T' && bytes[19] == b'Z';
        let length = match run {
            _ if is_time => 20,
            0 => first.len_utf8(),
            run => run,
        };
        out.push_str(if is_time || run >= 8 {
            "#"
        } else {
            &rest[..length]
        });
        rest = &rest[length..];
    }
    out
}
