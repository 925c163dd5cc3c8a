//! The law: no write touches an object that is not ours, and no object that bears data loses its last protection.
//!
//! The worlds are random. Strangers' objects lie under every name that we use, with labels that are missing, forged or
//! of another resource, and with owners of their own; our finalizers are set by hand; the status is forged. Which
//! object is whose, the worlds know by UIDs that the rules never look at.

mod backups;

use api::Engine;
use api::names::{FINALIZER_FINAL_BACKUP, FINALIZER_HA_CLUSTER, FINALIZER_IMPORTED_SNAPSHOT};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::{Just, Strategy, any, proptest};
use proptest::prop_oneof;
use serde_json::{Value, json};

use crate::ha_cluster::tests::world::World as ClusterWorld;
use crate::instance::tests::world::{World, merge};
use crate::{Kind, Write};

/// The UIDs of conflicts' objects begin like this.
const THEIRS: &str = "theirs";

/// An object of somebody else.
#[derive(Clone, Debug)]
struct Conflict {
    labels: Labels,
    owner: Option<&'static str>,
    bound: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Labels {
    Missing,
    OfAnother,
    Forged,
}

fn conflict() -> impl Strategy<Value = Conflict> {
    let labels = prop_oneof![
        Just(Labels::Missing),
        Just(Labels::OfAnother),
        Just(Labels::Forged)
    ];
    let owner = prop_oneof![
        Just(None),
        Just(Some("Deployment")),
        Just(Some("DatabaseInstance"))
    ];
    (labels, owner, any::<bool>()).prop_map(|(labels, owner, bound)| Conflict {
        labels,
        owner,
        bound,
    })
}

impl Conflict {
    /// What is kept has no owner while it waits for the next resource of the name: then labels are all that tells, and
    /// whoever may set them on an object has it anyway.
    fn of_kept(mut self) -> Self {
        if self.labels == Labels::Forged && self.owner.is_none() {
            self.owner = Some("Deployment");
        }
        self
    }

    fn object(&self, name: &str, label: &str, more: Value) -> Value {
        let labels = match self.labels {
            Labels::Missing => json!({}),
            Labels::OfAnother => {
                json!({"app.kubernetes.io/managed-by": "minidbaas", label: "other"})
            }
            Labels::Forged => json!({
                "app.kubernetes.io/managed-by": "minidbaas", label: "shop", "application": "spilo",
                    "cluster-name": "shop",
                "minidbaas.dev/final": "true",
            }),
        };
        let owners = self.owner.map(|kind| {
            json!({"apiVersion": "v1", "kind": kind, "name": "other", "uid": "others", "controller": true})
        });
        let phase = if self.bound { "Bound" } else { "Pending" };
        let mut object = json!({
            "metadata": {
                "name": name, "namespace": "demo", "uid": format!("{THEIRS}-{name}"), "labels": labels,
                "ownerReferences": owners.into_iter().collect::<Vec<_>>(),
                "creationTimestamp": "2027-01-15T08:00:00Z",
            },
            "spec": {}, "status": {"phase": phase, "conditions": [{"type": "Complete", "status": "True"}]},
        });
        merge(&mut object, &more);
        object
    }
}

/// What was there before the resource is deleted.
#[derive(Clone, Debug)]
enum History {
    /// Nothing was ever made.
    None,
    /// It served.
    Served,
    /// A former one served and was retained; the spec of this one fits its data, or does not.
    Retained { fits: bool },
}

fn history() -> impl Strategy<Value = History> {
    prop_oneof![
        Just(History::None),
        Just(History::Served),
        any::<bool>().prop_map(|fits| History::Retained { fits })
    ]
}

fn policy() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("Retain"), Just("Snapshot"), Just("Delete")]
}

/// Objects that are there under the names of children, by place.
fn conflicts(places: usize) -> impl Strategy<Value = Vec<Option<Conflict>>> {
    let one = proptest::option::weighted(0.3, conflict());
    proptest::collection::vec(one, places)
}

/// What a user or a forger does besides.
#[derive(Clone, Debug)]
struct Forgery {
    finalizers: bool,
    served: bool,
    backup: bool,
    changed: Option<&'static str>,
    seconds: u16,
}

fn forgery() -> impl Strategy<Value = Forgery> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let changed = proptest::option::of(policy());
    (flags, changed, 0..200_u16).prop_map(|((finalizers, served, backup), changed, seconds)| {
        Forgery {
            finalizers,
            served,
            backup,
            changed,
            seconds,
        }
    })
}

/// No write is to, or of, an object of somebody else.
fn none_of_theirs(writes: &[Write]) -> Result<(), String> {
    for write in writes {
        let uid = match write {
            Write::Delete { uid, .. } => uid.as_str(),
            Write::Apply(object) | Write::Patch(object) => {
                object.value["metadata"]["uid"].as_str().unwrap_or_default()
            }
            Write::Create(_) | Write::Finalizers(_) => continue,
        };
        if uid.starts_with(THEIRS) {
            return Err(format!("a conflict's object is written: {write:?}"));
        }
    }
    Ok(())
}

/// The Zalando operator takes what has the names of a cluster's servers, claims, Secrets and records: it is told of
/// none while these are somebody else's.
fn none_is_handed_over(world: &ClusterWorld, writes: &[Write]) -> Result<(), String> {
    let begins = |write: &&Write| match write {
        Write::Apply(object) | Write::Create(object) => object.kind == Kind::Postgresql,
        _ => false,
    };
    let begun = world.observed.postgresql.is_some() || world.observed.others.is_empty();
    match writes.iter().find(begins).filter(|_| !begun) {
        Some(write) => Err(format!(
            "a conflict's object is handed to the Zalando operator: {:?}, {write:?}",
            world.observed.others
        )),
        None => Ok(()),
    }
}

/// Whether a write has an object collected with the resource.
fn hands_over(write: &Write, kind: Kind) -> bool {
    matches!(write, Write::Patch(object) if object.kind == kind
        && object.value["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty()))
}

fn later(now: &Time, seconds: u16) -> Time {
    Time(Timestamp::from_second(now.0.as_second() + i64::from(seconds)).unwrap())
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// An instance with that history; whether it has accepted the data that lies under its name.
fn instance(engine: Engine, history: &History, policy: &str) -> (World, bool) {
    let mut world = World::new(engine, json!({"deletionPolicy": policy}));
    if matches!(history, History::None) {
        return (world, false);
    }
    if matches!(history, History::Retained { .. }) {
        world.change(json!({"deletionPolicy": "Retain"}));
    }
    world.settle();
    world.serve();
    world.settle();
    let History::Retained { fits } = history else {
        return (world, true);
    };
    world.delete_and_apply_again();
    let other = (!fits).then_some("other");
    world.cr.spec.database = other.map(str::to_owned);
    world.change(json!({"deletionPolicy": policy}));
    (world, *fits)
}

/// Strangers take the places of children.
fn invade(world: &mut World, conflicts: &[Option<Conflict>]) {
    let label = "minidbaas.dev/instance";
    let observed = &mut world.observed;
    for (place, conflict) in conflicts.iter().enumerate() {
        let Some(conflict) = conflict.clone() else {
            continue;
        };
        let kept = conflict.clone().of_kept();
        match place {
            0 => observed.claim = typed(kept.object("shop", label, json!({}))),
            1 => observed.binding = typed(kept.object("shop", label, json!({"spec": null, "status": null}))),
            2 => observed.admin = typed(kept.object("shop-admin", label, json!({"spec": null, "status": null}))),
            3 => observed.config_map = typed(conflict.object("shop", label, json!({"spec": null, "status": null}))),
            4 => observed.service = typed(conflict.object("shop", label, json!({"status": null}))),
            5 => observed.network_policy = typed(conflict.object("shop", label, json!({"status": null}))),
            6 => observed.stateful_set = typed(conflict.object("shop", label, json!({
                "spec": {"replicas": 1, "serviceName": "x", "selector": {}, "template": {}}, "status": {"replicas": 1,
                    "conditions": null},
            }))),
            _ => observed.jobs.push(typed(conflict.object("shop-settings-x", label,
                json!({"spec": {"template": {}}})))),
        }
    }
}

/// A status and a backup that say what is not so.
fn forge(world: &mut World, forgery: &Forgery) {
    if forgery.finalizers {
        let ours = [FINALIZER_FINAL_BACKUP, FINALIZER_IMPORTED_SNAPSHOT];
        world.cr.metadata.finalizers = Some(ours.map(str::to_owned).into());
    }
    let mut status = json!(world.cr.status);
    if forgery.served {
        merge(
            &mut status,
            &json!({"storage": {"requested": "1Gi", "capacity": "1Gi"}, "phase": "Running"}),
        );
    } else {
        merge(&mut status, &json!({"storage": null}));
    }
    world.cr.status = typed(status);
    if forgery.backup {
        let name = format!(
            "shop-final-{}",
            world
                .cr
                .metadata
                .uid
                .as_deref()
                .unwrap()
                .get(..8)
                .unwrap_or("cr-uid")
        );
        let at = &world.now;
        world.observed.backups.push(typed(json!({
            "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseBackup",
            "metadata": {"name": name, "namespace": "demo", "uid": "forged", "creationTimestamp": at,
                "labels": {"minidbaas.dev/final": "true"}},
            "spec": {"instance": "shop", "method": "Offline"},
            "status": {
                "phase": "Ready", "readyAt": at, "takenAt": at,
                "source": {"instance": "shop", "uid": world.cr.metadata.uid, "pvc": "shop", "engine": "mysql",
                    "version": "8", "database": "d", "username": "u"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "Completed", "message": "",
                    "lastTransitionTime": at}],
            },
        })));
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(400))]
    #[test]
    fn an_instance_touches_nothing_of_others_and_loses_no_data(
        engine in prop_oneof![Just(Engine::Postgresql), Just(Engine::Mysql), Just(Engine::Mariadb)],
        history in history(), policy in policy(), conflicts in conflicts(8), forgery in forgery(),
    ) {
        let (mut world, fits) = instance(engine, &history, policy);
        let bears_data = world.observed.claim.is_some() && conflicts[0].is_none();
        invade(&mut world, &conflicts);
        // A resource that finds conflicts in its way has accepted nothing.
        let at_peace = conflicts[..7].iter().all(Option::is_none);
        let accepted = fits && (at_peace || matches!(history, History::Served));
        for _ in 0..2 {
            none_of_theirs(&world.decide().writes).unwrap();
            world.pass();
        }
        forge(&mut world, &forgery);
        world.cr.metadata.deletion_timestamp = Some(world.now.clone());
        for pass in 0..5 {
            if pass == 2 && let Some(policy) = forgery.changed {
                world.change(json!({"deletionPolicy": policy}));
            }
            world.now = later(&world.now, forgery.seconds);
            let plan = world.decide();
            none_of_theirs(&plan.writes).unwrap();
            let now = json!(world.cr.spec)["deletionPolicy"].clone();
            for write in plan.writes.iter().filter(|write| hands_over(write, Kind::PersistentVolumeClaim)) {
                assert!(!bears_data || accepted && now == "Delete",
                    "data loses its last protection ({now}, {history:?}): {write:?}");
            }
            world.pass();
        }
    }

    #[test]
    fn a_cluster_touches_nothing_of_others_and_loses_no_data(
        history in history(), policy in prop_oneof![Just("Retain"), Just("Delete")], conflicts in conflicts(12),
            forgery in forgery(),
    ) {
        let (mut world, mut accepted) = cluster(&history, policy);
        let there = world.observed.postgresql.is_some();
        surround(&mut world, &conflicts);
        for _ in 0..2 {
            let plan = world.decide();
            none_of_theirs(&plan.writes).unwrap();
            none_is_handed_over(&world, &plan.writes).unwrap();
            world.pass();
        }
        let marked = |world: &ClusterWorld| {
            let found = world.observed.postgresql.as_ref();
            found.is_some_and(|found| !found.metadata.uid.as_deref().unwrap_or_default().starts_with(THEIRS))
        };
        accepted &= there && marked(&world);
        if forgery.finalizers {
            world.cr.metadata.finalizers = Some(vec![FINALIZER_HA_CLUSTER.into()]);
        }
        let capacity = forgery.served.then_some("1Gi");
        let mut status = json!(world.cr.status);
        merge(&mut status, &json!({"storage": {"requested": "1Gi", "capacity": capacity}, "phase": "Running"}));
        world.cr.status = typed(status);
        world.cr.metadata.deletion_timestamp = Some(world.now.clone());
        for pass in 0..6 {
            world.tick(i64::from(forgery.seconds));
            let plan = world.decide();
            none_of_theirs(&plan.writes).unwrap();
            let hands_over = plan.writes.iter().any(|write| hands_over(write, Kind::PersistentVolumeClaim));
            assert!(!hands_over || accepted && policy == "Delete",
                "data loses its last protection ({history:?}): {:?}", plan.writes);
            world.pass();
            // The Zalando operator has gone over its part, or nobody has.
            if pass == 2 && forgery.backup {
                world.observed.stateful_set.take_if(|set| set.metadata.uid.as_deref() == Some("set-uid"));
                world.observed.pods.clear();
            }
        }
    }
}

/// A cluster with that history; whether it has accepted what lies under its name.
fn cluster(history: &History, policy: &str) -> (ClusterWorld, bool) {
    if matches!(history, History::None) {
        return (ClusterWorld::new(json!({"deletionPolicy": policy})), false);
    }
    let mut world = ClusterWorld::serving(json!({}));
    let History::Retained { fits } = history else {
        world.change(json!({"deletionPolicy": policy}));
        return (world, true);
    };
    world.delete();
    world.cr.metadata.deletion_timestamp = None;
    world.cr.metadata.finalizers = None;
    world.cr.metadata.uid = Some("another-uid".into());
    world.cr.status = None;
    world.observed.pods.clear();
    let other = (!fits).then_some("other");
    world.change(json!({"deletionPolicy": policy, "database": other}));
    (world, *fits)
}

/// Strangers take the places of what a cluster and the Zalando operator make.
fn surround(world: &mut ClusterWorld, conflicts: &[Option<Conflict>]) {
    let label = "minidbaas.dev/ha-cluster";
    let zalando = json!({"metadata": {"labels": {"application": "spilo", "cluster-name": "shop"}}});
    let observed = &mut world.observed;
    for (place, conflict) in conflicts.iter().enumerate() {
        let Some(conflict) = conflict.clone() else {
            continue;
        };
        let kept = conflict.clone().of_kept();
        let with = |more: Value| {
            let mut all = zalando.clone();
            merge(&mut all, &more);
            all
        };
        match place {
            0 => observed.binding = typed(kept.object("shop", label, json!({"spec": null, "status": null}))),
            1 => observed.user = typed(kept.object("app.shop.credentials.postgresql.acid.zalan.do", label,
                json!({"spec": null, "status": null}))),
            2 => observed.postgresql = typed(kept.object("shop", label, json!({"spec": {"numberOfInstances": 3}}))),
            // Another team's, which the Zalando operator serves too. Where ours is, no other one can be.
            3 if observed.postgresql.is_none() => {
                observed.postgresql = typed(kept.object("shop", label,
                    with(json!({"spec": {"numberOfInstances": 3}}))));
            }
            4 if observed.stateful_set.is_none() => observed.stateful_set = typed(conflict.object("shop", label,
                with(json!({
                "spec": {"replicas": 1, "serviceName": "x", "selector": {}, "template": {}}, "status": {"replicas": 1,
                    "conditions": null},
            })))),
            5 if observed.claims.is_empty() => {
                observed.claims.push(typed(conflict.object("pgdata-shop-0", label, zalando.clone())));
            }
            6 => observed.jobs.push(typed(conflict.object("login-x-y", label, json!({"spec": {"template": {}}})))),
            // Among those that our own cluster has, one without an owner is one of them.
            7 if conflict.owner.is_some() || observed.postgresql.is_none() => {
                let service: Value = conflict.object("shop-repl", label, zalando.clone());
                observed.others.push((Kind::Service, typed(service["metadata"].clone())));
            }
            // What is read besides where there is no `postgresql`: whatever does not bear the cluster's mark.
            8..12 if observed.postgresql.is_none() => {
                let (kind, name) = [
                    (Kind::PersistentVolumeClaim, "pgdata-shop-0"),
                    (Kind::Secret, "postgres.shop.credentials.postgresql.acid.zalan.do"),
                    (Kind::Endpoints, "shop-config"),
                    (Kind::ConfigMap, "shop-leader"),
                ][place - 8];
                let found: Value = conflict.object(name, label, json!({}));
                observed.others.push((kind, typed(found["metadata"].clone())));
            }
            _ => {}
        }
    }
}
