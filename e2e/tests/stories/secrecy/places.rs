//! Where a password could leak to, watched from before the first instance until after the last change: processes, Jobs
//! and their logs come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use e2e::audit::Mark;
use e2e::{Cluster, Space};

/// Objects in which no password may be; Secrets are the only others.
const KINDS: &str = "dbinstances,pods,jobs,statefulsets,controllerrevisions,\
    configmaps,services,networkpolicies,pvc,haclusters,postgresqls,endpoints";

/// What is found, by place.
pub type Found = Vec<(&'static str, String)>;

#[derive(Default)]
struct Seen {
    arguments: BTreeSet<Vec<u8>>,
    environments: BTreeSet<Vec<u8>>,
    logs: BTreeMap<PathBuf, Vec<u8>>,
    objects: BTreeSet<String>,
}

/// The places while they are watched.
pub struct Places {
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    watching: JoinHandle<()>,
    listing: tokio::task::JoinHandle<Result<()>>,
    mark: Mark,
}

impl Places {
    /// Begins to watch.
    pub fn watch(space: &Space) -> Result<Self> {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let logs = space.cluster.state().join("log/pods");
        let prefix = format!("{}_", space.name);
        let watching = std::thread::spawn({
            let (seen, over) = (Arc::clone(&seen), Arc::clone(&over));
            move || {
                let mut known = BTreeMap::new();
                for round in 0_u32.. {
                    // A log stays longer than a process.
                    if round.is_multiple_of(20) {
                        of_containers(&logs, &prefix, &mut locked(&seen));
                    }
                    processes(&mut known, &mut locked(&seen));
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(25));
                }
                of_containers(&logs, &prefix, &mut locked(&seen));
            }
        });
        let listing = tokio::spawn(list(
            space.cluster.clone(),
            space.name.clone(),
            Arc::clone(&seen),
            Arc::clone(&over),
        ));
        Ok(Places {
            seen,
            over,
            watching,
            listing,
            mark: space.cluster.mark()?,
        })
    }

    /// Whether a process had this word in its arguments.
    pub fn processes_contain(&self, word: &str) -> bool {
        let seen = locked(&self.seen);
        seen.arguments
            .iter()
            .any(|text| String::from_utf8_lossy(text).contains(word))
    }

    /// Ends the watching and adds what keeps by itself.
    pub async fn end(self, space: &Space) -> Result<Found> {
        self.over.store(true, Ordering::Relaxed);
        self.watching
            .join()
            .map_err(|_| anyhow!("the watching panicked"))?;
        self.listing.await??;
        let events = space.kubectl(&["get", "events", "-o", "json"], "").await?;
        let log = ["-n", "minidbaas-system", "logs", "deployment/minidbaas"];
        let log = space.cluster.kubectl(&log, "").await?;
        let audit = space.cluster.audit_text_since(&self.mark)?;
        let seen = locked(&self.seen);
        let joined = |texts: Vec<&[u8]>| String::from_utf8_lossy(&texts.join(&b'\n')).into_owned();
        let of = |texts: &BTreeSet<Vec<u8>>| joined(texts.iter().map(Vec::as_slice).collect());
        let objects: Vec<&str> = seen.objects.iter().map(String::as_str).collect();
        Ok(vec![
            ("process arguments", of(&seen.arguments)),
            ("process environments", of(&seen.environments)),
            (
                "container logs",
                joined(seen.logs.values().map(Vec::as_slice).collect()),
            ),
            ("objects", objects.join("\n")),
            ("Events", events),
            ("operator's log", log),
            ("audit log", audit),
        ])
    }
}

fn locked(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every process of the machine, the node's among them, as often as it may still become another program; `known` says
/// how often each was looked at.
fn processes(known: &mut BTreeMap<u32, u32>, seen: &mut Seen) {
    let before = std::mem::take(known);
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|number| *number != std::process::id()) else {
            continue;
        };
        let looks = before.get(&number).copied().unwrap_or_default();
        known.insert(number, looks + 1);
        if looks > 3 && !looks.is_multiple_of(40) {
            continue;
        }
        // It may have ended meanwhile.
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        seen.arguments.insert(read("cmdline"));
        seen.environments.insert(read("environ"));
    }
}

/// Every log of the namespace's containers.
fn of_containers(logs: &Path, prefix: &str, seen: &mut Seen) {
    for entry in fs::read_dir(logs).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            keep(&entry.path(), seen);
        }
    }
}

/// A log that is gone keeps what it was.
fn keep(path: &Path, seen: &mut Seen) {
    if path.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            keep(&entry.path(), seen);
        }
    } else if let Ok(text) = fs::read(path) {
        seen.logs.insert(path.to_owned(), text);
    }
}

/// The namespace's objects, as they are again and again.
async fn list(
    cluster: Cluster,
    namespace: String,
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
) -> Result<()> {
    while !over.load(Ordering::Relaxed) {
        let words = ["-n", &namespace, "get", KINDS, "-o", "json"];
        let text = cluster.kubectl(&words, "").await?;
        let list: serde_json::Value = serde_json::from_str(&text)?;
        for object in list["items"].as_array().into_iter().flatten() {
            locked(&seen).objects.insert(object.to_string());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}
