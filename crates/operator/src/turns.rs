//! Whose turn it was last, of namespaces that share something. Kept here and not in a status, which can be written in
//! the namespace.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many namespaces are remembered; with more, all begin anew.
const MOST: usize = 10_000;
/// So many of a namespace are heard at a time: it has one turn at a time, and who asks in vain asks again.
const MOST_OF_ONE: usize = 100;
/// Who has its turn has this long to begin, and is taken for one that began meanwhile. After that it is no more than
/// one that waits.
const BEGINS: Duration = Duration::from_secs(30);
/// Who waits asks again every few seconds. Who has not for so long, because its passes fail, lets others go first.
const ASKS: Duration = Duration::from_secs(60);

/// Counts turns.
#[derive(Debug, Default)]
pub struct Turns {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    count: u64,
    last_of: HashMap<String, Turn>,
    /// By namespace and UID.
    asked: HashMap<String, HashMap<String, Instant>>,
}

#[derive(Debug)]
struct Turn {
    number: u64,
    uid: String,
    at: Instant,
}

impl Turns {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the namespace's last turn; 0: it had none since the operator started.
    pub fn last(&self, namespace: &str) -> u64 {
        let taken = self.taken();
        taken.last_of.get(namespace).map_or(0, |turn| turn.number)
    }

    /// Whether the object with this UID has its turn, and may not have been seen to begin.
    pub fn has(&self, namespace: &str, uid: &str, now: Instant) -> bool {
        let taken = self.taken();
        let turn = taken.last_of.get(namespace);
        turn.is_some_and(|turn| turn.uid == uid && now.duration_since(turn.at) < BEGINS)
    }

    /// The object with this UID asks for its turn.
    pub fn ask(&self, namespace: &str, uid: &str, now: Instant) {
        let mut taken = self.taken();
        let lately = |at: &Instant| now.duration_since(*at) < ASKS;
        if taken.asked.len() >= MOST {
            taken.asked.retain(|_, of| of.values().any(lately));
        }
        if taken.asked.len() >= MOST && !taken.asked.contains_key(namespace) {
            return;
        }
        let of = taken.asked.entry(namespace.to_owned()).or_default();
        if of.len() >= MOST_OF_ONE {
            of.retain(|_, at| lately(at));
        }
        if of.len() < MOST_OF_ONE || of.contains_key(uid) {
            of.insert(uid.to_owned(), now);
        }
    }

    /// Whether it has asked lately.
    pub fn asked(&self, namespace: &str, uid: &str, now: Instant) -> bool {
        let taken = self.taken();
        let at = taken.asked.get(namespace).and_then(|of| of.get(uid));
        at.is_some_and(|at| now.duration_since(*at) < ASKS)
    }

    /// The object of the namespace has its turn now.
    pub fn take(&self, namespace: &str, uid: &str, now: Instant) {
        let mut taken = self.taken();
        if taken.last_of.len() >= MOST && !taken.last_of.contains_key(namespace) {
            taken.last_of.clear();
        }
        taken.count += 1;
        let turn = Turn {
            number: taken.count,
            uid: uid.to_owned(),
            at: now,
        };
        taken.last_of.insert(namespace.to_owned(), turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_had_a_turn_comes_after_who_had_none() {
        let (turns, now) = (Turns::default(), Instant::now());
        for namespace in ["a", "b", "a"] {
            turns.take(namespace, "u", now);
        }
        assert_eq!(
            (turns.last("c"), turns.last("b"), turns.last("a")),
            (0, 2, 3)
        );
        for number in 0..MOST {
            turns.take(&number.to_string(), "u", now);
        }
        assert!(turns.taken().last_of.len() <= MOST);
    }

    #[test]
    fn who_does_not_ask_holds_nobody_up() {
        let (turns, now) = (Turns::default(), Instant::now());
        turns.ask("a", "u", now);
        let later = now + Duration::from_secs(59);
        assert!(turns.asked("a", "u", later) && !turns.asked("a", "v", now));
        assert!(!turns.asked("a", "u", now + ASKS) && !turns.asked("b", "u", now));
        for number in 0..2 * MOST {
            turns.ask(&number.to_string(), "u", now);
        }
        assert!(turns.taken().asked.len() <= MOST);
        turns.ask("w", "w", now + ASKS);
        assert!(turns.asked("w", "w", now + ASKS));
    }

    #[test]
    fn who_asks_for_many_leaves_room_for_others() {
        let (turns, now) = (Turns::default(), Instant::now());
        for number in 0..2 * MOST {
            turns.ask("many", &number.to_string(), now);
        }
        turns.ask("one", "u", now);
        assert!(turns.asked("one", "u", now));
        assert_eq!(turns.taken().asked["many"].len(), MOST_OF_ONE);
        turns.ask("many", "0", now + Duration::from_secs(30));
        assert!(turns.asked("many", "0", now + ASKS));
    }

    /// Else a third would begin before it is seen that the first two did.
    #[test]
    fn who_has_its_turn_is_taken_for_one_that_began_for_a_while() {
        let (turns, now) = (Turns::default(), Instant::now());
        turns.take("a", "u", now);
        assert!(turns.has("a", "u", now + Duration::from_secs(29)));
        assert!(!turns.has("a", "other", now) && !turns.has("b", "u", now));
        assert!(!turns.has("a", "u", now + BEGINS));
    }
}
