//! The hold of an Offline backup: an annotation and a first init container on the pod template, while the backup wants
//! it.

use api::Engine;
use api::condition::{READY, reason};
use rstest::rstest;
use serde_json::{Value, json};

use super::{World, add, edit, failed, time};
use crate::instance::tests::scenarios::running;

const START: i64 = 1_800_000_000;

/// An Offline backup that began at this second of the first minute.
fn begins(world: &mut World, name: &str, second: u32) {
    let at = time(&format!("2027-01-15T08:00:{second:02}Z"));
    let rest = json!({"spec": {"method": "Offline", "holdSeconds": 20}, "status": {"phase": "Running",
        "startedAt": at}});
    add(world, name, &at, false, rest);
}

fn template(world: &World) -> Value {
    json!(world.observed.stateful_set)["spec"]["template"].clone()
}

fn held_for(world: &World) -> Value {
    template(world)["metadata"]["annotations"]["minidbaas.dev/held-for-backup"].clone()
}

fn until(world: &World) -> i64 {
    let env = template(world)["spec"]["initContainers"][0]["env"].clone();
    let mut env = env.as_array().unwrap().iter();
    let until = env.find(|item| item["name"] == "HOLD_UNTIL").unwrap();
    until["value"].as_str().unwrap().parse().unwrap()
}

#[rstest]
fn the_template_holds_the_server_while_the_backup_wants_it(
    #[values(Engine::Postgresql, Engine::Mysql, Engine::Mariadb)] engine: Engine,
    #[values("cut", "failed", "deleted", "gone")] end: &str,
) {
    let mut world = running(engine, json!({}));
    let before = template(&world);
    add(
        &mut world,
        "online",
        &time("2027-01-15T08:00:00Z"),
        false,
        json!({"status": {"phase": "Running", "startedAt": time("2027-01-15T08:00:00Z")}}),
    );
    add(
        &mut world,
        "pending",
        &time("2027-01-15T08:00:00Z"),
        false,
        json!({"spec": {"method": "Offline"}, "status": {"phase": "Pending"}}),
    );
    world.settle();
    assert_eq!(template(&world), before);

    begins(&mut world, "nightly", 0);
    world.pass();
    assert_eq!(held_for(&world), "uid-of-nightly");
    let containers = &template(&world)["spec"]["initContainers"];
    assert_eq!(
        (&containers[0]["name"], &containers[1]["name"]),
        (&json!("hold"), &json!("prepare"))
    );
    let mounts = containers[0]["volumeMounts"].as_array().unwrap();
    assert!(
        mounts.iter().all(|mount| mount["name"] != "data"),
        "the hold must not touch the data"
    );
    world.observed.pod = None;
    world.settle();
    assert_eq!(world.reason(READY), reason::OFFLINE_BACKUP);

    match end {
        "cut" => edit(
            &mut world,
            "nightly",
            json!({"status": {"consistency": "Offline"}}),
        ),
        "failed" => edit(&mut world, "nightly", failed("no")),
        "deleted" => edit(
            &mut world,
            "nightly",
            json!({"metadata": {"deletionTimestamp": time("2027-01-15T08:00:00Z")}}),
        ),
        _ => world.observed.backups.clear(),
    }
    world.pass();
    assert_eq!(template(&world), before);
}

#[test]
fn the_hold_has_its_time_from_its_turn_and_no_pass_moves_it() {
    let mut world = running(Engine::Postgresql, json!({}));
    let grace = crate::engine::of(Engine::Postgresql).grace_seconds();
    begins(&mut world, "first", 1);
    begins(&mut world, "second", 2);
    world.now = time("2027-01-15T08:00:05Z");
    world.pass();
    assert_eq!(
        (held_for(&world), until(&world)),
        (json!("uid-of-first"), START + 5 + grace + 20)
    );
    world.now = time("2027-01-15T08:00:30Z");
    world.observed.pod = None;
    world.settle();
    assert_eq!(until(&world), START + 5 + grace + 20);

    // The first takes long; the second gets its own time.
    world.now = time("2027-01-15T08:08:00Z");
    edit(
        &mut world,
        "first",
        json!({"status": {"consistency": "Offline"}}),
    );
    world.pass();
    assert_eq!(
        (held_for(&world), until(&world)),
        (json!("uid-of-second"), START + 480 + grace + 20)
    );
    edit(
        &mut world,
        "second",
        json!({"status": {"consistency": "Offline"}}),
    );
    world.pass();
    assert_eq!(held_for(&world), Value::Null);
}

#[test]
fn a_stopped_instance_needs_no_hold() {
    let mut world = running(Engine::Postgresql, json!({}));
    world.change(json!({"stopped": true}));
    world.pass();
    world.observed.pod = None;
    world.settle();
    begins(&mut world, "nightly", 0);
    world.settle();
    assert_eq!(
        (held_for(&world), world.reason(READY).as_str()),
        (Value::Null, reason::STOPPED)
    );
}
