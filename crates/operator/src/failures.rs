//! Failed passes in a row, by object: how long to pause after one, and when the user is to read of it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::recent::Recent;

/// Longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// So many failures in a row are no accident.
const TOLD_AFTER: u32 = 3;
/// A conflict is cured by looking again; after so many (some minutes of them) it is not.
const CONFLICTS_TOLD_AFTER: u32 = 10;
/// The words of a lasting failure may be others each time; written at each pass, they would themselves bring the next
/// one.
const TOLD_EVERY: Duration = LONGEST_PAUSE;
/// Objects that fail at the same time.
const MOST: usize = 5000;

#[derive(Default)]
struct Row {
    failures: u32,
    conflicts: u32,
    /// When the user was told, and of which generation.
    told: Option<(Instant, i64)>,
}

/// The failures of all objects, by namespace and UID.
pub struct Failures(Mutex<Recent<Row>>);

impl Default for Failures {
    fn default() -> Self {
        Failures(Mutex::new(Recent::new(MOST)))
    }
}

impl Failures {
    /// Remembers a failure of this object; whether it is one of so many that the user is to read of it.
    pub fn count(&self, key: &str, is_conflict: bool) -> bool {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = rows.touch(key);
        if is_conflict {
            row.conflicts = row.conflicts.saturating_add(1);
        } else {
            row.failures = row.failures.saturating_add(1);
        }
        row.failures >= TOLD_AFTER || row.conflicts >= CONFLICTS_TOLD_AFTER
    }

    /// How long to pause after the last failure: 0.5 s, doubled by each failure in a row.
    pub fn pause(&self, key: &str) -> Duration {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of so many at a time, no row lasts until the next failure: each would look like the first.
        if rows.is_crowded(key) {
            return LONGEST_PAUSE;
        }
        let count = rows
            .get(key)
            .map_or(1, |row| row.failures.saturating_add(row.conflicts));
        Duration::from_millis(250)
            .saturating_mul(1 << count.min(10))
            .min(LONGEST_PAUSE)
    }

    /// Whether the user may be told now; of a new generation at once, else not again and again.
    pub fn may_be_told(&self, key: &str, generation: i64) -> bool {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = &mut rows.touch(key).told;
        let lately = told.is_some_and(|(at, of)| of == generation && at.elapsed() < TOLD_EVERY);
        if !lately {
            *told = Some((Instant::now(), generation));
        }
        !lately
    }

    /// Forgets the failures of this object.
    pub fn forget(&self, key: &str) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.forget(key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Failures;

    #[test]
    fn pauses_grow_with_each_failure_and_end_with_a_success() {
        let failures = Failures::default();
        let pause = |key: &str| {
            failures.count(key, false);
            failures.pause(key)
        };
        let pauses: Vec<Duration> = (0..12).map(|_| pause("a")).collect();
        assert_eq!(pauses[0], Duration::from_millis(500));
        assert_eq!(pauses[1], Duration::from_secs(1));
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(30)));
        assert_eq!(pause("b"), Duration::from_millis(500));
        failures.forget("a");
        assert_eq!(pause("a"), Duration::from_millis(500));
    }

    #[test]
    fn who_has_too_many_waits_the_longest_and_others_do_not() {
        let failures = Failures::default();
        for number in 0..=super::MOST {
            failures.count(&format!("many/{number}"), false);
        }
        failures.count("one/a", false);
        assert_eq!(failures.pause("one/a"), Duration::from_millis(500));
        assert_eq!(failures.pause("many/0"), Duration::from_secs(30));
    }

    #[test]
    fn what_is_told_once_is_told_again_of_a_new_generation_only() {
        let failures = Failures::default();
        let told = [1, 1, 2, 2].map(|generation| failures.may_be_told("a", generation));
        assert_eq!(told, [true, false, true, false]);
    }
}
