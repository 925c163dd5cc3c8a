//! The same law for a backup: conflicts' objects lie where its snapshot, its hold and its proof would be.

use api::names::{LABEL_VERIFIES, quiesce_job, verification_instance};
use api::{DatabaseBackup, Engine};
use proptest::prelude::{Just, Strategy, any, proptest};
use proptest::prop_oneof;
use serde_json::{Value, json};

use super::{Conflict, conflicts, later, none_of_theirs, typed};
use crate::backup::Peers;
use crate::backup::tests::world::{START, UID, World, at, good};
use crate::instance::tests::world::merge;
use crate::reading::backup::{is_good, is_sound};
use crate::{Kind, Write};

/// How far the backup has come before anybody interferes.
#[derive(Clone, Copy, Debug)]
enum Stage {
    New,
    Begun,
    Cut,
    Ready,
}

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![
        Just(Stage::New),
        Just(Stage::Begun),
        Just(Stage::Cut),
        Just(Stage::Ready)
    ]
}

fn backup(stage: Stage, method: &str, verify: bool) -> World {
    let spec = json!({"method": method, "verify": verify, "retentionDays": 1});
    if matches!(stage, Stage::Ready) {
        let mut world = World::ready(Engine::Mysql, json!({"verify": verify, "retentionDays": 1}));
        world.settle();
        return world;
    }
    let mut world = World::new(Engine::Mysql, spec);
    if matches!(stage, Stage::New) {
        return world;
    }
    world.pass();
    if matches!(stage, Stage::Cut) && world.observed.snapshot.is_some() {
        world.cut();
        world.pass();
    }
    world
}

/// Strangers take the places of what a backup makes.
fn invade(world: &mut World, conflicts: &[Option<Conflict>]) {
    let observed = &mut world.observed;
    let object = |conflict: &Conflict, name: &str, more: Value| {
        let mut all = json!({"metadata": {"labels": {LABEL_VERIFIES: UID, "batch.kubernetes.io/job-name": name}}});
        merge(&mut all, &more);
        conflict.object(name, "minidbaas.dev/instance", all)
    };
    for (place, conflict) in conflicts.iter().enumerate() {
        let Some(conflict) = conflict else { continue };
        match place {
            // Its content is a conflict's too: whoever may write that annotation on a snapshot has given it away.
            0 => {
                let other = json!({"metadata": {"annotations": {"minidbaas.dev/backup-uid": "other"}},
                    "spec": {"source": {}}, "status": null});
                observed.snapshot = typed(object(conflict, "nightly", other));
            }
            1 => {
                let pod = json!({"spec": {"template": {}}});
                observed.job = typed(object(conflict, &quiesce_job(UID), pod));
            }
            2 => {
                let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [{"name": "quiesce", "image": "i", "imageID": "", "ready": true,
                        "restartCount": 0, "state": {"running": {}}}]}});
                observed.job_pod = typed(object(conflict, "quiesce", ready));
            }
            _ => {
                let proved = json!({
                    "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance",
                    "spec": {"engine": "mysql", "storage": {"size": "1Gi"}},
                    "status": {"phase": "Running", "conditions": [{"type": "Verified", "status": "True",
                        "reason": "Checked", "message": "",
                        "lastTransitionTime": at(START)}]},
                });
                observed.verification =
                    typed(object(conflict, &verification_instance(UID), proved));
            }
        }
    }
}

/// What a status may say that is not so.
fn forged() -> impl Strategy<Value = Value> {
    let end = json!({"phase": "Ready", "readyAt": at(START), "takenAt": at(START - 90_000_000)});
    let verified = json!({"verification": {"instance": "x", "verifiedAt": at(START)}});
    prop_oneof![
        Just(json!({})),
        Just(json!({"phase": "Failed"})),
        Just(end),
        Just(verified),
        Just(json!({"verification": {"instance": "x"}})),
        Just(json!({"startedAt": at(START), "consistency": "Quiesced", "takenAt": at(START)})),
    ]
}

/// Whether there is a newer backup to restore than this one.
fn is_superseded(siblings: &[DatabaseBackup]) -> bool {
    siblings.iter().any(is_sound)
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(400))]
    #[test]
    fn a_backup_touches_nothing_of_others_and_stays_while_it_is_the_last(
        stage in stage(), method in prop_oneof![Just("Online"), Just("Quiesced"), Just("Offline")],
            verify in any::<bool>(),
        conflicts in conflicts(4), forged in forged(), superseded in any::<bool>(),
        skew in proptest::sample::select(vec![None, Some(0), Some(31_536_000)]), leaving in any::<bool>(),
            seconds in 0..200_u16,
    ) {
        let mut world = backup(stage, method, verify);
        invade(&mut world, &conflicts);
        let mut status = json!(world.cr.status);
        merge(&mut status, &forged);
        world.cr.status = typed(status);
        world.observed.clock_skew = skew;
        let siblings = superseded.then(|| good("newer", START + 90_000_000)).into_iter().collect();
        world.observed.peers = Some(Peers { siblings, ..Peers::default() });
        if leaving {
            world.cr.metadata.deletion_timestamp = Some(world.now.clone());
        }
        for days in [0, 1, 400] {
            world.now = later(&at(START + days * 86_400), seconds);
            let plan = world.decide();
            none_of_theirs(&plan.writes).unwrap();
            let goes = plan.writes.iter().any(|write| matches!(write, Write::Delete { kind: Kind::DatabaseBackup,
                .. }));
            let siblings = &world.observed.peers.as_ref().unwrap().siblings;
            let is_lost = world.observed.snapshot.is_none() || conflicts[0].is_some();
            let may_go = skew == Some(0) && (is_superseded(siblings) || is_lost);
            assert!(!goes || may_go, "the last good backup goes: {:?}", plan.writes);
            // What is a conflict's makes nothing good.
            assert!(conflicts[0].is_none() || plan.status.ready_at.is_some() || !is_good(&world.cr));
            world.cr.status = Some(plan.status);
        }
    }
}
