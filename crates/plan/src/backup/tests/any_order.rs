//! Whatever happens in whatever order: no consistency that was not there, no second snapshot, and an end.

use api::Engine;
use api::backup::{BackupPhase, Consistency, Method};
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};
use serde_json::json;

use super::world::{START, UID, World, words};

const HOLD: i64 = 20;

#[derive(Clone, Debug)]
enum Event {
    Pass,
    PassWithoutReport,
    Second(i64),
    /// The Job gets its lock, or the server's pod stops and waits.
    Hold,
    /// The hold ends, for whatever reason.
    End,
    Cut,
    Complete,
    DriverError,
    /// The kubelet or the watch was too slow: the pod is gone without a word.
    Silence,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => Just(Event::Pass),
        1 => Just(Event::PassWithoutReport),
        2 => (1_i64..15).prop_map(Event::Second),
        3 => Just(Event::Hold),
        1 => Just(Event::End),
        3 => Just(Event::Cut),
        2 => Just(Event::Complete),
        1 => Just(Event::DriverError),
        1 => Just(Event::Silence),
    ];
    proptest::collection::vec(event, 0..30)
}

/// What is true of the hold and the cut, whoever saw it.
#[derive(Default)]
struct Truth {
    held_since: Option<i64>,
    held_at_cut: bool,
    was_held: bool,
}

impl Truth {
    fn end(&mut self, world: &mut World, released: i64) {
        let Some(since) = self.held_since.take() else {
            return;
        };
        match world.cr.spec.method {
            Method::Offline => world.holder(UID, json!({"terminated": {"exitCode": 0}})),
            _ if world.observed.job.is_some() => {
                world.job_pod(false, Some(&words(released, (released - since) * 1000)));
            }
            _ => world.let_go(released, (released - since) * 1000),
        }
    }

    fn happen(&mut self, world: &mut World, event: &Event) {
        let now = world.now.0.as_second();
        match event {
            Event::Pass => {
                world.pass();
            }
            Event::PassWithoutReport => {
                world.pass_without_report();
            }
            Event::Second(seconds) => world.after(*seconds),
            Event::Hold if self.held_since.is_some() => {}
            Event::Hold => match world.cr.spec.method {
                Method::Quiesced
                    if world.observed.job.is_some() && world.observed.job_pod.is_none() =>
                {
                    world.job_pod(true, None);
                    self.held_since = Some(now);
                }
                Method::Offline if crate::reading::backup::wants_server_down(&world.cr) => {
                    // A pod after the first takes its time.
                    world.after(3 * i64::from(std::mem::replace(&mut self.was_held, true)));
                    let since = world.now.0.as_second();
                    world.holder(UID, json!({"running": {"startedAt": world.now}}));
                    self.held_since = Some(since);
                }
                _ => {}
            },
            Event::End => self.end(world, now),
            Event::Cut => {
                let snapshot = world.observed.snapshot.as_ref();
                if snapshot
                    .is_some_and(|s| s.status.as_ref().is_none_or(|s| s.creation_time.is_none()))
                {
                    world.cut();
                    self.held_at_cut = self.held_since.is_some();
                }
            }
            Event::Complete => {
                let status = world
                    .observed
                    .snapshot
                    .as_ref()
                    .and_then(|s| s.status.clone());
                if status.is_some_and(|status| status.creation_time.is_some()) {
                    world.complete();
                }
            }
            Event::DriverError if world.observed.snapshot.is_some() => world.driver_says("busy"),
            Event::DriverError => {}
            Event::Silence => {
                if self.held_since.is_none() && world.observed.job.is_none() {
                    world.observed.job_pod = None;
                }
            }
        }
        // The Job was deleted: it lets go. A hold lets go by itself when its time is over.
        let now = world.now.0.as_second();
        if world.cr.spec.method == Method::Quiesced && world.observed.job.is_none() {
            self.end(world, now);
        }
        if let Some(since) = self.held_since.filter(|since| now >= since + HOLD) {
            self.end(world, since + HOLD);
        }
    }
}

fn methods() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("Online"), Just("Quiesced"), Just("Offline")]
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(256))]
    #[test]
    fn no_consistency_is_claimed_that_was_not_there(method in methods(), events in events()) {
        let mut world = World::new(Engine::Mysql, json!({"method": method, "holdSeconds": HOLD}));
        let mut truth = Truth::default();
        for event in &events {
            truth.happen(&mut world, event);
            assert!(world.made <= world.deleted + 1, "two snapshots at a time");
            let status = world.status();
            if status.phase == Some(BackupPhase::Ready) {
                assert_eq!((world.made, world.deleted), (1, 0));
                assert!(status.taken_at >= status.started_at && status.source.is_some());
                assert!(world.observed.job.is_none());
                match status.consistency.unwrap() {
                    Consistency::CrashConsistent => assert_eq!(method, "Online"),
                    Consistency::Quiesced | Consistency::Offline => assert!(truth.held_at_cut, "{events:?}"),
                }
                assert_eq!(status.held_milliseconds.is_some(), method == "Quiesced");
            }
        }
        // However it stands, it comes to an end in which nothing is left of a bad one.
        for _ in 0..4 {
            world.after(300);
            truth.happen(&mut world, &Event::Pass);
            world.settle();
        }
        match world.status().phase {
            Some(BackupPhase::Ready) => assert_eq!((world.made, world.deleted), (1, 0)),
            Some(BackupPhase::Failed) => assert_eq!(world.made, world.deleted),
            phase => panic!("{phase:?} after {} s", world.now.0.as_second() - START),
        }
        assert!(world.observed.job.is_none());
    }
}
