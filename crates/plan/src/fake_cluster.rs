//! A cluster in memory, for all deciders at once: an API server, a kubelet, the StatefulSet, Job and snapshot
//! controllers and the Zalando operator as small functions, and the operator itself, of which every pass can be killed
//! between any two writes, refused, made to read what was a moment ago, and given a wrong time.
//!
//! Each schedule tells one of the stories in another order of events. Whatever the order, nothing may be written to
//! what is not ours, no bearer of data may be lost, and in the end everything stands as if nothing had happened, and
//! nothing more is written. Passes run in any order, so a lost or a late event needs no case of its own.
//!
//! `FAKE_CLUSTER_SCHEDULES` says how many; `FAKE_CLUSTER_SEED` runs that one alone and prints all steps;
//! `FAKE_CLUSTER_STORY` keeps to the stories whose names contain it.

mod api_server;
mod laws;
mod machines;
mod observe;
mod operator;
mod random;
mod run;
mod storage;
mod stories;
mod zalando;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};

use run::{Schedule, undisturbed};
use stories::Story;

/// How many schedules run without an environment variable.
const SCHEDULES: u64 = 10_000;

thread_local! {
    /// What the schedule that runs has done so far.
    static STEPS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

fn asked() -> &'static [Story] {
    let part = std::env::var("FAKE_CLUSTER_STORY").unwrap_or_default();
    let stories = stories::all().into_iter();
    let stories: Vec<Story> = stories.filter(|story| story.name.contains(&part)).collect();
    assert!(!stories.is_empty(), "no story is called {part}");
    stories.leak()
}

/// What a run of a story comes to; a panic with all that was done before.
fn told<T>(what: &str, run: impl FnOnce() -> T + std::panic::UnwindSafe) -> Result<T, String> {
    STEPS.with_borrow_mut(Vec::clear);
    catch_unwind(run).map_err(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| {
            panic
                .downcast_ref::<&str>()
                .map(|words| (*words).to_owned())
        });
        let steps = STEPS.take();
        let shown = if number("FAKE_CLUSTER_SEED").is_some() {
            usize::MAX
        } else {
            40
        };
        let from = steps.len().saturating_sub(shown);
        format!(
            "{what}: {}\n  {}",
            words.unwrap_or_default(),
            steps[from..].join("\n  ")
        )
    })
}

type Ends = BTreeMap<&'static str, Vec<String>>;

/// The end of each story when nothing goes wrong.
fn ends(stories: &'static [Story]) -> Ends {
    let ends = stories.iter().map(|story| {
        let end = told(story.name, || undisturbed(story));
        (
            story.name,
            end.unwrap_or_else(|failure| panic!("undisturbed: {failure}")),
        )
    });
    ends.collect()
}

fn one(seed: u64, stories: &'static [Story], ends: &Ends) -> Result<(), String> {
    let story = &stories[usize::try_from(seed).unwrap() % stories.len()];
    let what = format!("seed {seed}, story {}", story.name);
    told(&what, || Schedule::run(seed, story, &ends[story.name]))
}

#[test]
fn whatever_happens_the_end_is_the_same_and_nothing_is_lost() {
    let stories = asked();
    let ends = ends(stories);
    if let Some(seed) = number("FAKE_CLUSTER_SEED") {
        one(seed, stories, &ends).unwrap_or_else(|failure| panic!("{failure}"));
        return;
    }
    let schedules = number("FAKE_CLUSTER_SCHEDULES").unwrap_or(SCHEDULES);
    let (next, failures) = (AtomicU64::new(0), std::sync::Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let failed = failures.lock().unwrap().len();
                    if seed >= schedules || failed >= 5 {
                        return;
                    }
                    if let Err(failure) = one(seed, stories, &ends) {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    println!(
        "{} schedules of {} stories",
        next.into_inner().min(schedules),
        stories.len()
    );
    assert!(
        failures.is_empty(),
        "again with FAKE_CLUSTER_SEED:\n{}",
        failures.join("\n")
    );
}
