//! The law: no message quotes more than a person reads of what somebody wrote, wherever it was written. The schema
//! refuses most such text; a resource that was stored before the schema had limits gets the same short answer.

use api::Engine;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::PlannedEvent;
use crate::catalog::Catalog;
use crate::quote::{QUOTED, SAID};
use crate::storage_class::StorageClass;

const LONG: usize = 60_000;

/// Every form of a value in which one string, or one more key of an object, is long.
fn swollen(value: &Value) -> Vec<Value> {
    let long = "q".repeat(LONG);
    let mut forms = match value {
        Value::String(_) => vec![json!(long)],
        Value::Object(fields) => {
            let mut with_key = value.clone();
            with_key[&long] = json!("1");
            let mut forms = vec![with_key];
            for (key, field) in fields {
                forms.extend(swollen(field).into_iter().map(|field| {
                    let mut form = value.clone();
                    form[key] = field;
                    form
                }));
            }
            forms
        }
        _ => Vec::new(),
    };
    if let Value::Array(items) = value {
        for (at, item) in items.iter().enumerate() {
            forms.extend(swollen(item).into_iter().map(|item| {
                let mut form = value.clone();
                form[at] = item;
                form
            }));
        }
    }
    forms
}

/// The resources with such specs, as far as they can be read.
fn resources<T: DeserializeOwned>(kind: &str, spec: &Value) -> Vec<T> {
    let forms: Vec<T> = swollen(spec)
        .into_iter()
        .filter_map(|spec| {
            serde_json::from_value(json!({
                "apiVersion": "minidbaas.dev/v1alpha1", "kind": kind, "spec": spec,
                "metadata": {"name": "shop", "namespace": "demo", "uid": "cr-uid", "generation": 1},
            }))
            .ok()
        })
        .collect();
    assert!(forms.len() > 2, "{kind}: nothing is tried");
    forms
}

fn short(conditions: &[Condition], events: &[PlannedEvent]) {
    let said = conditions.iter().map(|condition| &condition.message);
    for message in said.chain(events.iter().map(|event| &event.message)) {
        assert!(
            !message.contains(&"q".repeat(QUOTED + 1)),
            "{}",
            &message[..200]
        );
        assert!(message.len() < 10 * SAID, "{}", &message[..200]);
    }
}

#[test]
fn of_an_instance() {
    use crate::instance::tests::world::World;
    let spec = json!({
        "engine": "postgresql", "version": "17", "database": "orders", "username": "app",
        "storage": {"size": "1Gi", "className": "fast"}, "parameters": {"work_mem": "1MB"},
        "resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "1Gi"}},
        "credentialsSecret": {"name": "mine"}, "service": {"annotations": {"a": "b"}},
        "scheduling": {"nodeSelector": {"a": "b"}, "priorityClassName": "high"},
        "backup": {"schedule": "0 3 * * *", "timeZone": "UTC", "snapshotClassName": "s", "allowedNamespaces": ["a"]},
        "restoreFrom": {"backup": {"name": "nightly", "namespace": "source"}},
    });
    for engine in Engine::ALL {
        let mut spec = spec.clone();
        spec["engine"] = json!(engine.name());
        for cr in resources("DatabaseInstance", &spec) {
            let mut world = World::new(engine, json!({}));
            world.cr = cr;
            for class in [world.observed.storage_class.clone(), StorageClass::Missing] {
                world.observed.storage_class = class;
                let plan = world.decide();
                short(&plan.status.conditions, &plan.events);
            }
        }
    }
}

#[test]
fn of_a_backup() {
    use crate::backup::tests::world::World;
    let spec = json!({"instance": "shop", "snapshotClassName": "s", "allowedNamespaces": ["a"]});
    for cr in resources("DatabaseBackup", &spec) {
        let mut world = World::new(Engine::Mysql, json!({}));
        world.cr = cr;
        let plan = world.decide();
        short(&plan.status.conditions, &plan.events);
    }
}

#[test]
fn of_a_restore() {
    use crate::origin::Source;
    use crate::restore::tests::{NOW, found};
    use crate::restore::{Observed, decide};
    let spec = json!({
        "backup": {"name": "nightly", "namespace": "source"}, "instance": "copy",
        "overrides": {"version": "17", "storage": {"size": "1Gi", "className": "fast"},
            "credentialsSecret": {"name": "mine"},
            "resources": {"limits": {"memory": "1Gi"}}},
    });
    let now: Time = serde_json::from_value(json!(NOW)).unwrap();
    let consent = json!({"spec": {"allowedNamespaces": ["*"]}});
    for cr in resources("DatabaseRestore", &spec) {
        for source in [
            Source::Unavailable,
            found(Engine::Postgresql, consent.clone(), json!({})),
        ] {
            let observed = Observed {
                catalog: Catalog::built_in(),
                source,
                instance: None,
                retained: None,
                storage_class: StorageClass::Missing,
            };
            let plan = decide(&cr, &observed, &now);
            short(&plan.status.conditions, &plan.events);
        }
    }
}

#[test]
fn of_a_cluster() {
    use crate::ha_cluster::tests::world::World;
    let spec = json!({
        "engine": "postgresql", "version": "17", "database": "orders", "username": "app", "replicas": 2,
        "storage": {"size": "1Gi", "className": "fast"}, "parameters": {"work_mem": "1MB"},
        "resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "1Gi"}},
            "credentialsSecret": {"name": "mine"},
    });
    for cr in resources("HACluster", &spec) {
        let mut world = World::new(json!({}));
        world.cr = cr;
        let plan = world.decide();
        short(&plan.status.conditions, &plan.events);
    }
}

/// What others said is longer than what a user wrote, and has an end all the same.
#[test]
fn of_what_was_said() {
    let said = crate::facts::sentence(&"q ".repeat(LONG));
    assert!(said.chars().count() <= SAID);
}
