//! One schedule: all goes well up to some act, then everybody acts in any order and much goes wrong, then all goes well
//! again until nothing moves.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use super::STEPS;
use super::api_server::{Cluster, Key, Objects};
use super::laws::{Ledger, end_state};
use super::machines;
use super::operator::{KINDS, Operator, Stepped};
use super::random::Random;
use super::stories::{Story, remedy};

/// How many moments of the past are kept, to be read late.
const PAST: usize = 8;
/// Seconds after which something may be tried again; in the end nothing may move after any of them.
const PAUSES: [i64; 3] = [16, 65, 1000];
/// So many rounds are enough for any story.
const ROUNDS: usize = 600;
const YEAR: i64 = 365 * 24 * 3600;

#[derive(Clone)]
pub struct Schedule {
    cluster: Cluster,
    operator: Operator,
    ledger: Ledger,
    story: &'static Story,
    act: usize,
    random: Random,
    /// Moments of the past, with their number.
    past: VecDeque<(usize, Objects)>,
    moment: usize,
    /// When each resource was last worked on, and when the operator was started.
    worked: Vec<(Key, usize)>,
    started: usize,
    /// Whether the clock of the operator jumps in this one.
    jumps: bool,
    /// Whether a backup or a restore has failed.
    has_failed: bool,
    /// What the world was after the last pass over a resource, in the end.
    settled: BTreeMap<Key, u64>,
}

fn note(step: impl FnOnce() -> String) {
    STEPS.with_borrow_mut(|steps| steps.push(step()));
}

thread_local! {
    /// Stories up to an act, in which nothing went wrong: many schedules begin alike.
    static BEGUN: RefCell<BTreeMap<(&'static str, usize), Schedule>> = const { RefCell::new(BTreeMap::new()) };
}

/// The end of a story in which nothing goes wrong.
pub fn undisturbed(story: &'static Story) -> Vec<String> {
    let mut schedule = Schedule::new(story);
    schedule.calm(usize::MAX);
    (story.end)(&schedule.cluster);
    assert!(!schedule.has_failed, "a backup failed undisturbed");
    end_state(&schedule.cluster.objects, &schedule.cluster.strangers)
}

impl Schedule {
    fn new(story: &'static Story) -> Self {
        Schedule {
            cluster: Cluster::new(),
            operator: Operator::new(),
            ledger: Ledger::default(),
            story,
            act: 0,
            random: Random::new(0),
            past: VecDeque::new(),
            moment: 0,
            worked: Vec::new(),
            started: 0,
            jumps: false,
            has_failed: false,
            settled: BTreeMap::new(),
        }
    }

    /// A schedule in which nothing has gone wrong yet, up to so many acts.
    fn begun(story: &'static Story, acts: usize) -> Self {
        BEGUN.with_borrow_mut(|begun| {
            let begun = begun.entry((story.name, acts)).or_insert_with(|| {
                let mut schedule = Schedule::new(story);
                schedule.calm(acts);
                schedule
            });
            begun.clone()
        })
    }

    /// Runs the schedule of this seed, and compares the end with that of the undisturbed one.
    pub fn run(seed: u64, story: &'static Story, expected: &[String]) {
        let mut random = Random::new(seed);
        // What goes wrong does so around one of the acts, the later ones as often as the first.
        let acts = random.below(story.acts.len() + 1);
        let mut schedule = Schedule::begun(story, acts);
        note(|| format!("-- from act {acts} on much goes wrong"));
        schedule.jumps = random.percent(30);
        let steps = 15 + random.below(65);
        schedule.random = random;
        if schedule.jumps && schedule.random.percent(50) {
            // Everybody sees the wrong clock once before anything else goes wrong.
            schedule.jump();
            schedule.settled.clear();
            schedule.round();
        }
        schedule.go_on(steps, expected);
    }

    fn go_on(mut self, steps: usize, expected: &[String]) {
        for _ in 0..steps {
            self.disturbed();
            self.look();
            self.remember();
        }
        self.operator.skew = 0;
        self.operator.knows_skew = true;
        note(|| "-- from here on all goes well".to_owned());
        self.calm(usize::MAX);
        (self.story.end)(&self.cluster);
        let end = end_state(&self.cluster.objects, &self.cluster.strangers);
        // A hold that was too short, or a deadline by a wrong clock, is told; all else must be as ever.
        if self.story.depends_on_when || self.has_failed {
            return;
        }
        let more: Vec<&String> = end.iter().filter(|line| !expected.contains(line)).collect();
        let less: Vec<&String> = expected.iter().filter(|line| !end.contains(line)).collect();
        assert!(
            more.is_empty() && less.is_empty(),
            "another end.\nthere: {more:#?}\nexpected: {less:#?}"
        );
    }

    fn look(&mut self) {
        self.operator.listen(&self.cluster);
        self.ledger.check(&mut self.cluster);
        self.has_failed |= self.ledger.has_failed();
    }

    fn remember(&mut self) {
        self.moment += 1;
        if self.past.len() == PAST {
            self.past.pop_front();
        }
        let now = (self.moment, self.cluster.objects.clone());
        self.past.push_back(now);
    }

    fn resources(&self) -> Vec<Key> {
        let kinds = KINDS.into_iter();
        kinds
            .flat_map(|kind| self.cluster.of_kind(kind))
            .map(|(key, _)| key)
            .collect()
    }

    fn disturbed(&mut self) {
        match self.random.below(100) {
            0..45 => self.operate(),
            45..78 => {
                let machine = machines::ALL[self.random.below(machines::ALL.len())];
                machine(&mut self.cluster);
            }
            78..90 => {
                self.user();
            }
            90..93 => {
                note(|| "the operator is killed".to_owned());
                self.operator.kill();
                self.started = self.moment;
            }
            93..96 if self.jumps => self.jump(),
            93..99 => self.cluster.now += i64::try_from(self.random.below(12)).unwrap(),
            _ => {
                remedy(&mut self.cluster);
            }
        }
    }

    /// The operator's clock is set; it may not know by how much it is wrong.
    fn jump(&mut self) {
        let jumps = [0, YEAR, YEAR, YEAR, YEAR, -YEAR, 600, -200];
        self.operator.skew = jumps[self.random.below(jumps.len())];
        self.operator.knows_skew = self.random.percent(75);
        note(|| {
            let known = self.operator.knows_skew;
            format!(
                "the clock is {} s ahead, known: {known}",
                self.operator.skew
            )
        });
    }

    /// The next act of the user, if it is time for it.
    fn user(&mut self) -> bool {
        let Some((when, does)) = self.story.acts.get(self.act) else {
            return false;
        };
        let now = when(&self.cluster);
        if now {
            note(|| format!("act {}", self.act));
            does(&mut self.cluster);
            self.act += 1;
        }
        now
    }

    /// A step of a pass that is under way, or the beginning of one.
    fn operate(&mut self) {
        let resources = self.resources();
        if resources.is_empty() {
            return;
        }
        let at = &resources[self.random.below(resources.len())];
        if self.operator.is_at(at) {
            let refuse = self.random.percent(4);
            let stepped = self.operator.step(&mut self.cluster, at, refuse);
            note(|| format!("{at:?} {stepped:?} {}", if refuse { "refused" } else { "" }));
            self.worked.retain(|(key, _)| key != at);
            self.worked.push((at.clone(), self.moment + 1));
            return;
        }
        // The cache may be behind, but not behind the start of the operator; what is read live is not older than this
        // resource's last pass.
        let late = self.random.percent(30);
        let cached = self
            .earlier(at, self.started, late)
            .and_then(|objects| objects.get(at).cloned());
        let worked = self
            .worked
            .iter()
            .find(|(key, _)| key == at)
            .map_or(0, |(_, moment)| *moment);
        let torn = self.random.percent(30);
        let live = self.earlier(at, worked.max(self.started), torn);
        let before = live.unwrap_or_else(|| self.cluster.objects.clone());
        let resource = cached.unwrap_or_else(|| self.cluster.objects[at].clone());
        let torn = self.random.next();
        self.operator
            .begin(&self.cluster, at, &resource, &before, torn);
    }

    /// A moment of the past that is not older than this one, nor than the resource: what a pass reads, it reads after
    /// the resource was there.
    fn earlier(&mut self, at: &Key, from: usize, late: bool) -> Option<Objects> {
        let past = self.past.iter();
        let possible = past.filter(|(moment, objects)| *moment >= from && objects.contains_key(at));
        let possible: Vec<&Objects> = possible.map(|(_, objects)| objects).collect();
        let one = self.random.below(possible.len());
        let found = possible.get(one).filter(|_| late);
        found.map(|objects| (*objects).clone())
    }

    /// Everybody acts in turn, until so many acts are done, or all, and nothing moves.
    fn calm(&mut self, acts: usize) {
        let mut pause = 0;
        for _ in 0..ROUNDS {
            if self.act >= acts {
                return;
            }
            if !self.round() {
                let acted = self.user() || remedy(&mut self.cluster);
                if acted {
                    self.look();
                    pause = 0;
                    continue;
                }
                let Some(seconds) = PAUSES.get(pause) else {
                    let told = self.story.acts.len() == self.act;
                    assert!(
                        told,
                        "the story stops before act {}: {}",
                        self.act,
                        self.state()
                    );
                    return;
                };
                self.cluster.now += seconds;
                pause += 1;
            } else {
                pause = 0;
                self.cluster.now += 1;
            }
        }
        let last = self.operator.log.len().saturating_sub(12);
        panic!(
            "it does not come to rest: {:#?}\n{}",
            &self.operator.log[last..],
            self.state()
        );
    }

    /// Whether something moved.
    fn round(&mut self) -> bool {
        let before = self.cluster.version;
        for machine in machines::ALL {
            while machine(&mut self.cluster) {
                self.look();
            }
        }
        for at in self.resources() {
            let settled = self.settled.get(&at);
            if settled == Some(&self.cluster.version) && !self.operator.is_due(&self.cluster, &at) {
                continue;
            }
            if !self.operator.is_at(&at) {
                let Some(resource) = self.cluster.objects.get(&at).cloned() else {
                    continue;
                };
                let objects = Objects::new();
                self.operator
                    .begin(&self.cluster, &at, &resource, &objects, 0);
            }
            loop {
                let stepped = self.operator.step(&mut self.cluster, &at, false);
                self.look();
                if stepped == Stepped::Over {
                    break;
                }
                note(|| format!("{stepped:?}"));
            }
            self.settled.insert(at, self.cluster.version);
        }
        self.cluster.version != before
    }

    fn state(&self) -> String {
        let resources = self.resources().into_iter();
        let states =
            resources.map(|at| format!("{at:?}: {}", self.cluster.objects[&at].value["status"]));
        states.collect::<Vec<_>>().join("\n")
    }
}
