//! Objects by kind, namespace and name, as an API server keeps them: UIDs, versions, generations, finalizers, owners
//! whose going takes what they own. Beside them what a machine room has: the data of volumes and of snapshots.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::instance::tests::world::merge;

/// Kind, namespace and name.
pub type Key = (&'static str, Rc<str>, Rc<str>);
/// All objects of one moment.
pub type Objects = BTreeMap<Key, Rc<Stored>>;

/// One version of an object.
pub struct Stored {
    pub value: Value,
    /// `metadata.resourceVersion`.
    pub version: u64,
    /// What the operator has applied: fields that it does not apply any more go.
    applied: Value,
    typed: RefCell<Option<Rc<dyn Any>>>,
}

impl Stored {
    fn new(value: Value, version: u64, applied: Value) -> Rc<Self> {
        let typed = RefCell::new(None);
        Rc::new(Stored {
            value,
            version,
            applied,
            typed,
        })
    }

    /// The object as a type of its own; decoded once.
    pub fn typed<T: DeserializeOwned + Clone + 'static>(&self) -> T {
        let known = self.typed.borrow().clone();
        if let Some(known) = known.and_then(|known| known.downcast::<T>().ok()) {
            return (*known).clone();
        }
        let decoded =
            T::deserialize(&self.value).unwrap_or_else(|error| panic!("{error}: {}", self.value));
        *self.typed.borrow_mut() = Some(Rc::new(decoded.clone()));
        decoded
    }

    pub fn uid(&self) -> &str {
        self.value["metadata"]["uid"].as_str().unwrap_or_default()
    }

    pub fn leaves(&self) -> bool {
        self.value["metadata"]["deletionTimestamp"].is_string()
    }
}

/// What is on a volume, or in a snapshot of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Data {
    pub rows: u64,
    pub database: String,
    /// The password of the user, and all that it ever had.
    pub password: String,
    pub had: BTreeSet<String>,
    /// The set of credentials that it is keyed to.
    pub keyed: String,
}

/// Why a write was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Conflict,
    NotFound,
    Exists,
}

impl Data {
    pub fn set_password(&mut self, password: String) {
        self.had.insert(password.clone());
        self.password = password;
    }
}

type Answer = Result<(), Refusal>;

#[derive(Clone)]
pub struct Cluster {
    pub objects: Objects,
    /// Seconds since 1970 by the API server's clock.
    pub now: i64,
    /// Grows with each write that changes something.
    pub version: u64,
    count: u64,
    /// What is on the volumes, by the claim's UID.
    pub volumes: BTreeMap<String, Data>,
    /// What the storage has of snapshots, by handle.
    pub snapshots: BTreeMap<String, Data>,
    /// Objects that are none of the operator's business.
    pub strangers: BTreeSet<Key>,
    /// Claims and snapshot handles that went since the last look, with what was on them.
    pub lost: Vec<(Rc<Stored>, Data)>,
}

pub fn key(kind: &'static str, namespace: &str, name: &str) -> Key {
    (kind, namespace.into(), name.into())
}

/// Whether objects of the kind belong to no namespace.
fn is_global(kind: &str) -> bool {
    kind == "VolumeSnapshotContent"
}

fn names(value: &Value, field: &str) -> Vec<String> {
    let list = value["metadata"][field].as_array().into_iter().flatten();
    list.filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

impl Cluster {
    pub fn new() -> Self {
        Cluster {
            objects: Objects::new(),
            now: 1_800_000_000,
            version: 0,
            count: 0,
            volumes: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            strangers: BTreeSet::new(),
            lost: Vec::new(),
        }
    }

    pub fn time(&self) -> Value {
        json!(Time(Timestamp::from_second(self.now).unwrap()))
    }

    /// A number that was not there before.
    pub fn fresh(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    pub fn stored(&self, kind: &'static str, namespace: &str, name: &str) -> Option<&Rc<Stored>> {
        self.objects.get(&key(kind, namespace, name))
    }

    pub fn value(&self, kind: &'static str, namespace: &str, name: &str) -> Value {
        let found = self.stored(kind, namespace, name);
        found.map_or(Value::Null, |found| found.value.clone())
    }

    /// All of a kind that are not being deleted.
    pub fn living(&self, kind: &'static str) -> Vec<(Key, Rc<Stored>)> {
        let of_kind = self.of_kind(kind).into_iter();
        of_kind.filter(|(_, stored)| !stored.leaves()).collect()
    }

    pub fn of_kind(&self, kind: &'static str) -> Vec<(Key, Rc<Stored>)> {
        let from = self.objects.range(key(kind, "", "")..);
        let of_kind = from.take_while(|(found, _)| found.0 == kind);
        of_kind
            .map(|(key, stored)| (key.clone(), stored.clone()))
            .collect()
    }

    fn key_of(kind: &'static str, namespace: &str, value: &Value) -> Key {
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        key(kind, if is_global(kind) { "" } else { namespace }, name)
    }

    fn put(&mut self, key: Key, mut value: Value, applied: Value) {
        self.version += 1;
        value["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects
            .insert(key, Stored::new(value, self.version, applied));
    }

    pub fn create(&mut self, kind: &'static str, namespace: &str, mut value: Value) -> Answer {
        let key = Self::key_of(kind, namespace, &value);
        if self.objects.contains_key(&key) {
            return Err(Refusal::Exists);
        }
        let number = self.fresh();
        value["metadata"]["uid"] = json!(format!("{number:08x}-0000-4000-8000-{number:012x}"));
        value["metadata"]["creationTimestamp"] = self.time();
        value["metadata"]["generation"] = json!(1);
        if !is_global(kind) {
            value["metadata"]["namespace"] = json!(namespace);
        }
        if kind == "Secret" {
            encode(&mut value);
        }
        let applied = value.clone();
        self.put(key, value, applied);
        Ok(())
    }

    /// Changes an object by a function; nothing is written if that changes nothing.
    pub fn edit(&mut self, key: &Key, change: impl FnOnce(&mut Value)) {
        let Some(stored) = self.objects.get(key).cloned() else {
            return;
        };
        let mut value = stored.value.clone();
        change(&mut value);
        if key.0 == "Secret" {
            encode(&mut value);
        }
        if value == stored.value {
            return;
        }
        if value["spec"] != stored.value["spec"] {
            let generation = value["metadata"]["generation"].as_i64().unwrap_or(1);
            value["metadata"]["generation"] = json!(generation + 1);
        }
        if stored.leaves() && names(&value, "finalizers").is_empty() {
            return self.remove(key);
        }
        self.put(key.clone(), value, stored.applied.clone());
    }

    /// A merge patch, or a change of the status.
    pub fn merge(&mut self, key: &Key, change: &Value) {
        self.edit(key, |value| merge(value, change));
    }

    fn observed(&self, key: &Key, uid: &Value) -> Result<Rc<Stored>, Refusal> {
        let stored = self.objects.get(key).ok_or(Refusal::NotFound)?;
        match uid.as_str() {
            Some(uid) if uid != stored.uid() => Err(Refusal::Conflict),
            _ => Ok(stored.clone()),
        }
    }

    /// JSON merge patch of the very object that the change names by its UID.
    pub fn patch(&mut self, kind: &'static str, namespace: &str, change: &Value) -> Answer {
        let key = Self::key_of(kind, namespace, change);
        let stored = self.observed(&key, &change["metadata"]["uid"])?;
        let version = &change["metadata"]["resourceVersion"];
        if version
            .as_str()
            .is_some_and(|version| version != stored.version.to_string())
        {
            return Err(Refusal::Conflict);
        }
        self.merge(&key, change);
        Ok(())
    }

    /// Server-side apply.
    pub fn apply(&mut self, kind: &'static str, namespace: &str, wanted: &Value) -> Answer {
        let key = Self::key_of(kind, namespace, wanted);
        let uid = &wanted["metadata"]["uid"];
        let stored = match self.observed(&key, uid) {
            // What was not seen is applied where there is none.
            Ok(_) if uid.is_null() => return Err(Refusal::Conflict),
            Ok(stored) => stored,
            Err(Refusal::NotFound) if uid.is_null() => {
                self.create(kind, namespace, wanted.clone())?;
                self.managed(&key);
                return Ok(());
            }
            Err(refusal) => return Err(refusal),
        };
        let mut value = stored.value.clone();
        drop_missing(&mut value, &stored.applied, wanted);
        merge(&mut value, wanted);
        value["metadata"]["resourceVersion"] = stored.value["metadata"]["resourceVersion"].clone();
        self.edit(&key, |now| *now = value);
        if let Some(stored) = self.objects.get(&key).cloned() {
            let entry = Stored::new(stored.value.clone(), stored.version, wanted.clone());
            self.objects.insert(key.clone(), entry);
        }
        self.managed(&key);
        Ok(())
    }

    /// When an object was applied, where that is read.
    fn managed(&mut self, key: &Key) {
        if key.0 == "postgresql" {
            let entry = json!({"manager": "minidbaas", "operation": "Apply", "time": self.time()});
            self.edit(key, |value| {
                let mut entries = value["metadata"]["managedFields"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                entries.retain(|entry| entry["manager"] != "minidbaas");
                entries.push(entry);
                value["metadata"]["managedFields"] = json!(entries);
            });
        }
    }

    pub fn delete_uid(
        &mut self,
        kind: &'static str,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Answer {
        let key = key(kind, if is_global(kind) { "" } else { namespace }, name);
        match self.observed(&key, &json!(uid)) {
            Ok(_) => self.delete(&key),
            // The operator looks before, and takes both for done.
            Err(_) => return Ok(()),
        }
        Ok(())
    }

    pub fn delete(&mut self, key: &Key) {
        let Some(stored) = self.objects.get(key).cloned() else {
            return;
        };
        if names(&stored.value, "finalizers").is_empty() {
            self.remove(key);
        } else if !stored.leaves() {
            let (time, mut value) = (self.time(), stored.value.clone());
            value["metadata"]["deletionTimestamp"] = time;
            let generation = value["metadata"]["generation"].as_i64().unwrap_or(1);
            value["metadata"]["generation"] = json!(generation + 1);
            self.put(key.clone(), value, stored.applied.clone());
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some(stored) = self.objects.remove(key) else {
            return;
        };
        self.version += 1;
        let handle = stored.value["status"]["snapshotHandle"].as_str();
        let data = match key.0 {
            "PersistentVolumeClaim" => self.volumes.remove(stored.uid()),
            "VolumeSnapshotContent" if stored.value["spec"]["deletionPolicy"] == "Delete" => {
                handle.and_then(|handle| self.snapshots.remove(handle))
            }
            _ => None,
        };
        if let Some(data) = data {
            self.lost.push((stored, data));
        }
    }

    /// Garbage collection: what has owners, and none of them is there any more, goes.
    pub fn collect(&mut self) -> bool {
        let uids: BTreeSet<String> = self
            .objects
            .values()
            .map(|stored| stored.uid().to_owned())
            .collect();
        let orphan = self.objects.iter().find(|(_, stored)| {
            let owners = stored.value["metadata"]["ownerReferences"].as_array();
            let owners = owners.filter(|owners| !owners.is_empty() && !stored.leaves());
            owners.is_some_and(|owners| {
                owners
                    .iter()
                    .all(|owner| !uids.contains(owner["uid"].as_str().unwrap_or_default()))
            })
        });
        let orphan = orphan.map(|(key, _)| key.clone());
        if let Some(key) = &orphan {
            self.delete(key);
        }
        orphan.is_some()
    }
}

/// Of a Secret, `stringData` becomes `data`.
fn encode(value: &mut Value) {
    let Some(Value::Object(text)) = value
        .as_object_mut()
        .and_then(|object| object.remove("stringData"))
    else {
        return;
    };
    for (name, text) in text {
        let bytes = k8s_openapi::ByteString(text.as_str().unwrap_or_default().as_bytes().to_vec());
        value["data"][name] = json!(bytes);
    }
}

/// Takes away what was applied and is not any more.
fn drop_missing(value: &mut Value, applied: &Value, wanted: &Value) {
    let (Value::Object(value), Value::Object(applied), Value::Object(wanted)) =
        (value, applied, wanted)
    else {
        return;
    };
    let empty = Value::Object(Map::new());
    for (name, was) in applied {
        match (value.get_mut(name), wanted.get(name)) {
            (Some(_), None) if name == "metadata" || name == "status" => {}
            (Some(now), None) if was.is_object() => drop_missing(now, was, &empty),
            (Some(_), None)
                if !matches!(
                    name.as_str(),
                    "uid" | "creationTimestamp" | "generation" | "namespace"
                ) =>
            {
                value.remove(name);
            }
            (Some(now), Some(wanted)) => drop_missing(now, was, wanted),
            _ => {}
        }
    }
}
