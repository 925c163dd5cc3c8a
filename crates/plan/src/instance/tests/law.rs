//! The law: after a plan was carried out, there is nothing left to do, and the same to say.

use api::Engine;
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};
use serde_json::{Value, json};

use super::world::World;
use crate::{Kind, Write};

fn engines() -> impl Strategy<Value = Engine> {
    prop_oneof![
        Just(Engine::Postgresql),
        Just(Engine::Mysql),
        Just(Engine::Mariadb)
    ]
}

fn changes() -> impl Strategy<Value = Value> {
    prop_oneof![
        (1_u32..40).prop_map(|size| json!({"storage": {"size": format!("{size}Gi")}})),
        (600_u32..4000)
            .prop_map(|memory| json!({"resources": {"limits": {"memory": format!("{memory}Mi")}}})),
        proptest::bool::ANY.prop_map(|stopped| json!({"stopped": stopped})),
        proptest::bool::ANY.prop_map(|on| json!({"deletionProtection": on})),
        prop_oneof![Just("Retain"), Just("Snapshot"), Just("Delete")]
            .prop_map(|policy| json!({"deletionPolicy": policy})),
        (1_u32..500).prop_map(|n| json!({"parameters": {"max_connections": n.to_string()}})),
        Just(json!({"parameters": null})),
        Just(json!({"backup": {"schedule": "*/7 * * * *", "retention": {"keepLast": 2}}})),
        Just(json!({"backup": {"schedule": "never"}})),
        Just(json!({"backup": null})),
        Just(json!({"network": {"allowFrom": [{"podSelector": {"matchLabels": {"app": "web"}}}]}})),
        Just(json!({"service": {"type": "LoadBalancer", "annotations": {"a": "b"}}})),
        Just(json!({"scheduling": {"nodeSelector": {"disk": "ssd"}}})),
        Just(json!({"resources": {"requests": {"cpu": "0.5"}}})),
    ]
}

/// Lets everything that is asked for come true.
fn fulfil(world: &mut World) {
    for _ in 0..6 {
        world.settle();
        world.observed.storage_class = crate::instance::StorageClass::Found {
            name: "fast".into(),
            can_grow: true,
            provisioner: "csi.example".into(),
            access_mode: crate::storage_class::EXCLUSIVE,
        };
        while !world.observed.jobs.is_empty() {
            world.end_job("Complete", "", "");
            world.settle();
        }
        if world.cr.spec.stopped {
            world.observed.pod = None;
        } else if world.observed.stateful_set.is_some() {
            world.serve();
        }
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]
    #[test]
    fn a_plan_carried_out_leaves_nothing_to_do(engine in engines(), changes in proptest::collection::vec(changes(),
        0..6)) {
        let mut world = World::new(engine, json!({}));
        fulfil(&mut world);
        for change in changes {
            let size_before = json!(world.observed.claim)["spec"]["resources"]["requests"]["storage"].clone();
            world.change(change);
            for write in world.decide().writes {
                assert!(!matches!(write, Write::Delete {
                    kind: Kind::PersistentVolumeClaim | Kind::Secret | Kind::StatefulSet, .. }));
            }
            fulfil(&mut world);
            let size = json!(world.observed.claim)["spec"]["resources"]["requests"]["storage"].clone();
            let bytes = |size: &Value| crate::quantity::bytes(size.as_str().unwrap()).unwrap();
            assert!(bytes(&size) >= bytes(&size_before), "a volume shrank");
        }
        let plan = world.decide();
        assert_eq!(plan.writes, vec![]);
        assert_eq!(Some(&plan.status), world.cr.status.as_ref());
        assert_eq!(plan.events, vec![]);
    }
}
