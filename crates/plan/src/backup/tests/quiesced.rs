//! Quiesced: the hold is there before the cut, proved at it, let go after it, and measured.

use api::Engine;
use api::condition::{READY, reason};
use rstest::rstest;
use serde_json::json;

use super::world::{START, World, at, typed, words};
use crate::instance::tests::world::without_hash_of_scripts;
use crate::{Kind, Write};

fn quiesced() -> World {
    World::new(
        Engine::Mysql,
        json!({"method": "Quiesced", "holdSeconds": 20}),
    )
}

/// Writes are held, and the snapshot is asked for.
fn asked() -> World {
    let mut world = quiesced();
    world.pass();
    world.job_pod(true, None);
    world.pass();
    assert_eq!(world.made, 1);
    world
}

#[rstest]
#[case::postgresql(Engine::Postgresql)]
#[case::mysql(Engine::Mysql)]
#[case::mariadb(Engine::Mariadb)]
fn the_job_lets_go_by_itself(#[case] engine: Engine) {
    let world = World::new(engine, json!({"method": "Quiesced", "holdSeconds": 20}));
    let plan = world.decide();
    let [Write::Create(job)] = &plan.writes[..] else {
        panic!("{:?}", plan.writes)
    };
    let instance = world.observed.instance.as_ref().unwrap();
    let job = without_hash_of_scripts(&job.value, instance);
    insta::assert_yaml_snapshot!(format!("job-{}", engine.name()), job);
}

#[test]
fn the_cut_is_asked_for_only_when_writes_are_held() {
    let mut world = quiesced();
    world.pass();
    assert!(world.observed.job.is_some());
    world.settle();
    world.job_pod(false, None);
    world.settle();
    assert_eq!(
        (world.made, world.reason(READY).as_str()),
        (0, reason::HOLDING)
    );
    world.job_pod(true, None);
    world.pass();
    assert_eq!(world.made, 1);
}

#[test]
fn the_consistency_is_on_record_before_the_hold_is_let_go() {
    let mut world = asked();
    world.after(1);
    world.cut();
    let plan = world.pass();
    assert_eq!(
        (plan.writes, world.consistency().as_str()),
        (vec![], "Quiesced")
    );
    let plan = world.pass();
    assert!(
        matches!(
            &plan.writes[..],
            [Write::Delete {
                kind: Kind::Job,
                ..
            }]
        ),
        "at the cut, and not when the snapshot is complete: {:?}",
        plan.writes
    );
}

#[test]
fn it_is_ready_only_with_the_time_that_writes_were_held() {
    let mut world = asked();
    world.after(1);
    world.cut();
    world.complete();
    world.settle();
    assert_eq!(world.phase(), "Running");
    world.let_go(START + 2, 1234);
    world.settle();
    assert_eq!(world.phase(), "Ready");
    assert_eq!(world.status().held_milliseconds, Some(1234));
    assert_eq!((world.made, world.deleted), (1, 0));
}

#[rstest]
fn a_crash_before_any_report_ends_in_the_same_state(
    #[values(0, 1, 2, 3, 4, 5, 6)] crash_at: usize,
) {
    let mut world = quiesced();
    for step in 0..9 {
        let had_job = world.observed.job.is_some();
        if step == crash_at {
            world.pass_without_report();
        } else {
            world.pass();
        }
        if had_job && world.observed.job.is_none() {
            world.let_go(START + 2, 900);
        } else if world.observed.job.is_some() {
            world.job_pod(true, None);
        }
        if world
            .observed
            .snapshot
            .as_ref()
            .is_some_and(|s| s.status.is_none())
        {
            world.cut();
            world.complete();
        }
    }
    world.settle();
    assert_eq!(
        (world.phase().as_str(), world.consistency().as_str()),
        ("Ready", "Quiesced")
    );
    assert_eq!((world.made, world.deleted), (1, 0));
    assert_eq!(world.status().held_milliseconds, Some(900));
    assert_eq!(world.status().started_at, Some(at(START)));
}

#[test]
fn a_lock_that_is_not_had_fails_in_the_engines_words() {
    let mut world = quiesced();
    world.pass();
    world.job_pod(
        false,
        Some("connecting\nERROR 1205: no lock within 10 s.\n"),
    );
    let message = world.assert_failed(reason::QUIESCE_FAILED);
    assert!(
        message.contains("ERROR 1205: no lock within 10 s. "),
        "{message}"
    );
    assert!(message.contains("method Online"), "{message}");
    assert_eq!(world.made, 0);
}

#[test]
fn a_job_that_does_not_get_to_run_fails_the_backup() {
    let mut world = quiesced();
    world.pass();
    let mut job = json!(world.observed.job);
    job["status"] =
        json!({"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]});
    world.observed.job = Some(typed(job));
    let message = world.assert_failed(reason::QUIESCE_FAILED);
    assert!(message.contains("kubectl describe"), "{message}");
}

#[test]
fn a_hold_that_was_over_before_the_snapshot_was_asked_for_was_too_short() {
    let mut world = quiesced();
    world.pass();
    world.after(60);
    world.job_pod(false, Some(&words(START + 25, 20_000)));
    let message = world.assert_failed(reason::HOLD_EXCEEDED);
    assert!(message.contains("spec.holdSeconds (20 s)"), "{message}");
    assert_eq!(world.made, 0);
}

#[rstest]
fn a_hold_that_ends_before_the_cut_fails_and_deletes_the_snapshot(
    #[values("ended", "gone", "evicted")] how: &str,
) {
    let mut world = asked();
    world.settle();
    match how {
        "ended" => world.job_pod(false, Some(&words(START + 20, 20_000))),
        "gone" => world.observed.job_pod = None,
        _ => {
            let pod = world.observed.job_pod.as_mut().unwrap();
            pod.metadata.deletion_timestamp = Some(at(START + 5));
        }
    }
    world.assert_failed(reason::HOLD_EXCEEDED);
    assert_eq!(world.deleted, 1);
}

/// The operator comes back long after the cut.
fn away(taken: i64, pod: impl Fn(&mut World)) -> World {
    let mut world = asked();
    world.now = at(taken);
    world.cut();
    world.complete();
    world.after(300);
    pod(&mut world);
    world
}

#[rstest]
#[case::until_the_budget_was_over(START + 18, START + 20, 20)]
#[case::ended_early(START + 5, START + 11, 11)]
fn words_prove_a_cut_that_nobody_saw(#[case] taken: i64, #[case] released: i64, #[case] held: i64) {
    let mut world = away(taken, |world| {
        world.job_pod(false, Some(&words(released, held * 1000)))
    });
    world.settle();
    world.let_go(released, held * 1000);
    world.settle();
    assert_eq!(
        (world.phase().as_str(), world.consistency().as_str()),
        ("Ready", "Quiesced")
    );
    assert_eq!(world.status().held_milliseconds, Some(held * 1000));
}

#[rstest]
#[case::within_the_second_of_the_cut(Some(START + 6))]
#[case::before_the_cut(Some(START + 4))]
#[case::a_lost_session_is_noticed_late(Some(START + 10))]
#[case::no_words(None)]
fn without_proof_a_cut_that_nobody_saw_is_no_backup(#[case] released: Option<i64>) {
    let mut world = away(START + 5, |world| match released {
        Some(released) => world.job_pod(false, Some(&words(released, 4000))),
        None => world.observed.job_pod = None,
    });
    world.assert_failed(reason::HOLD_EXCEEDED);
}

#[rstest]
#[case::not_ready(false)]
#[case::being_deleted(true)]
fn a_hold_that_is_just_ending_is_not_taken_for_one_that_lasts(#[case] deleted: bool) {
    let mut world = away(START + 19, |world| {
        world.job_pod(deleted, None);
        let pod = world.observed.job_pod.as_mut().unwrap();
        pod.metadata.deletion_timestamp = deleted.then(|| at(START + 20));
    });
    world.settle();
    assert_eq!(
        (world.consistency(), world.reason(READY)),
        (String::new(), reason::HOLDING.to_owned())
    );
    let mut late = world.clone();
    late.job_pod(false, Some(&words(START + 18, 18_000)));
    late.assert_failed(reason::HOLD_EXCEEDED);
    world.job_pod(false, Some(&words(START + 22, 22_000)));
    world.settle();
    assert_eq!(world.consistency(), "Quiesced");
}

#[test]
fn words_that_contradict_what_the_pod_showed_win() {
    let mut world = asked();
    world.after(10);
    world.cut();
    world.complete();
    world.pass();
    world.pass();
    assert_eq!(world.consistency(), "Quiesced");
    world.let_go(START + 5, 5000);
    world.assert_failed(reason::HOLD_EXCEEDED);
}

#[rstest]
#[case::pod_gone(true, 15)]
#[case::pod_of_a_lost_node(false, 20)]
fn lost_words_leave_a_coarse_bound(#[case] gone: bool, #[case] seconds: i64) {
    let mut world = asked();
    world.after(1);
    world.cut();
    world.complete();
    world.settle();
    if gone {
        world.observed.job_pod = None;
    }
    world.after(seconds - 1);
    world.settle();
    assert_eq!(world.phase(), "Running");
    world.after(1);
    world.settle();
    assert_eq!(world.phase(), "Ready");
    assert_eq!(world.status().held_milliseconds, Some((seconds + 1) * 1000));
}

#[test]
fn a_server_that_does_not_serve_is_waited_for_until_the_deadline() {
    let mut world = quiesced();
    let pod = world.observed.pod.take();
    world.settle();
    assert_eq!(
        (world.phase().as_str(), world.reason(READY).as_str()),
        ("Running", reason::HOLDING)
    );
    assert!(world.observed.job.is_none());
    let mut served = world.clone();
    served.observed.pod = pod;
    served.pass();
    assert!(served.observed.job.is_some());
    world.after(600);
    let message = world.assert_failed(reason::DEADLINE_EXCEEDED);
    assert!(message.contains("does not accept connections"), "{message}");
}

#[test]
fn a_stopped_database_needs_no_hold() {
    let mut world = quiesced();
    world.stop();
    world.pass();
    assert!(world.observed.job.is_none());
    world.cut();
    world.complete();
    world.settle();
    assert_eq!(
        (world.phase().as_str(), world.consistency().as_str()),
        ("Ready", "Offline")
    );
    assert_eq!(world.status().held_milliseconds, Some(0));
}

#[test]
fn a_database_that_is_stopped_after_the_hold_was_over_was_not_stopped_at_the_cut() {
    let mut world = away(START + 30, |world| {
        world.job_pod(false, Some(&words(START + 21, 20_000)));
        world.stop();
    });
    world.assert_failed(reason::HOLD_EXCEEDED);
}

#[test]
fn an_engine_version_without_an_image_fails_by_name() {
    let mut world = quiesced();
    let mut claim = json!(world.observed.claim);
    claim["metadata"]["annotations"]["minidbaas.dev/version"] = json!("5.0");
    world.observed.claim = Some(typed(claim));
    let message = world.assert_failed(reason::UNKNOWN_VERSION);
    assert!(message.contains("mysql 5.0"), "{message}");
}

#[test]
fn a_hold_that_was_too_short_for_a_driver_in_trouble_names_the_trouble() {
    let mut world = asked();
    world.driver_says("no space left");
    world.settle();
    world.job_pod(false, Some(&words(START + 20, 20_000)));
    let message = world.assert_failed(reason::HOLD_EXCEEDED);
    assert!(
        message.starts_with("The storage driver reports: no space left. The hold"),
        "{message}"
    );
}

/// The pod of a hold shows its end late, so that the cut may seem to be held when it is not; its exit code tells who
/// ended it.
#[rstest]
#[case::by_itself(3, true)]
#[case::by_us(0, false)]
fn a_hold_that_ended_by_itself_around_the_cut_is_no_hold(#[case] exit: i32, #[case] lapsed: bool) {
    let mut world = quiesced();
    world.cr.status = Some(api::DatabaseBackupStatus {
        consistency: Some(api::backup::Consistency::Quiesced),
        ..Default::default()
    });
    let said = words(START + 5, 5000);
    world.observed.last_words = Some(format!("{{\"exit\":{exit}}}\n{said}"));
    assert_eq!(
        crate::backup::hold::was_over(&world.cr, &world.observed, &at(START + 5)),
        lapsed
    );
}

/// A Job and a pod that bear the names and labels of the hold, made by somebody else: nothing was held.
#[test]
fn what_only_looks_like_the_hold_is_none() {
    let mut world = quiesced();
    world.pass();
    world.job_pod(true, None);
    let job = world.observed.job.as_mut().unwrap();
    job.metadata.owner_references = None;
    let plan = world.pass();
    assert_eq!(plan.writes, vec![]);
    assert_eq!(world.reason(READY), reason::NAME_TAKEN);
}
