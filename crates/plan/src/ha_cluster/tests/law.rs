//! The law: whatever happens, in whichever order, a pass that was carried out leaves nothing to do and the same to say;
//! and no more than one part is edited at a time.

use proptest::prelude::{Just, Strategy, any, proptest};
use proptest::prop_oneof;
use serde_json::{Value, json};

use super::world::World;
use crate::instance::tests::world::credentials;

#[derive(Clone, Debug)]
enum Happening {
    Change(Value),
    Password(u8),
    Told(&'static str),
    Pods(i32),
    LoggedIn,
    Time(u8),
}

fn happening() -> impl Strategy<Value = Happening> {
    let change = prop_oneof![
        (1..6_i32).prop_map(|replicas| json!({"replicas": replicas})),
        (1..6_i32).prop_map(|size| json!({"storage": {"size": format!("{size}Gi")}})),
        (25..60_i32).prop_map(|most| json!({"maxConnections": most})),
        Just(json!({"sharedBuffers": "9Ti"})),
        Just(json!({"sharedBuffers": null})),
        Just(json!({"synchronous": "Off"})),
        Just(json!({"parameters": {"work_mem": "8MB"}})),
    ];
    prop_oneof![
        change.prop_map(Happening::Change),
        any::<u8>().prop_map(Happening::Password),
        prop_oneof![
            Just("Creating"),
            Just("Updating"),
            Just("Running"),
            Just("UpdateFailed")
        ]
        .prop_map(Happening::Told),
        (0..6_i32).prop_map(Happening::Pods),
        Just(Happening::LoggedIn),
        any::<u8>().prop_map(Happening::Time),
    ]
}

fn happens(world: &mut World, happening: Happening) {
    match happening {
        Happening::Change(change) => world.change(change),
        Happening::Password(number) => {
            world.observed.credentials =
                Some(credentials(&[("password", &format!("password-{number}"))]));
            world.change(json!({"credentialsSecret": {"name": "mine"}}));
        }
        Happening::Told(word) => world.carried_out(word),
        Happening::Pods(count) => world.pods(count, 0),
        Happening::LoggedIn if !world.observed.jobs.is_empty() => world.logged_in(),
        Happening::LoggedIn => {}
        Happening::Time(seconds) => world.tick(i64::from(seconds)),
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(96))]
    #[test]
    fn a_plan_carried_out_leaves_nothing_to_do(happenings in proptest::collection::vec(happening(), 0..14)) {
        let mut world = World::new(json!({}));
        world.pass();
        for event in happenings {
            happens(&mut world, event);
            let before = world.postgresql().clone();
            world.pass();
            let after = world.postgresql();
            let parts: [&[&str]; 4] = [&["/users"], &["/volume"], &["/resources", "/postgresql", "/patroni"],
                &["/numberOfInstances"]];
            let differs = |field: &&str| before.pointer(field) != after.pointer(field);
            let edited = parts.iter().filter(|part| part.iter().any(differs));
            assert!(edited.count() <= 1, "{before} {after}");
            world.settle();
        }
    }
}
