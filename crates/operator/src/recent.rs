//! What is remembered of objects between passes: bounded in number, because nobody says when an object is gone for
//! good.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Nothing that is still of use was touched longer ago: whoever waits for it comes by more often.
const LIFETIME: Duration = Duration::from_secs(3600);

/// A value for each of the objects that were touched last.
pub struct Recent<V> {
    most: usize,
    entries: HashMap<String, (Instant, V)>,
}

impl<V: Default> Recent<V> {
    /// Remembers so many at most.
    pub fn new(most: usize) -> Self {
        Recent {
            most,
            entries: HashMap::new(),
        }
    }

    /// What is remembered of this object.
    pub fn get(&self, key: &str) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// The same, to be changed; the one that was not touched for the longest time makes room for a new one.
    pub fn touch(&mut self, key: &str) -> &mut V {
        let now = Instant::now();
        if self.entries.len() >= self.most && !self.entries.contains_key(key) {
            self.make_room(now);
        }
        let entry = self
            .entries
            .entry(key.to_owned())
            .or_insert_with(|| (now, V::default()));
        entry.0 = now;
        &mut entry.1
    }

    /// Forgets this object.
    pub fn forget(&mut self, key: &str) -> Option<V> {
        self.entries.remove(key).map(|(_, value)| value)
    }

    fn make_room(&mut self, now: Instant) {
        self.entries
            .retain(|_, (touched, _)| now.duration_since(*touched) < LIFETIME);
        if self.entries.len() < self.most {
            return;
        }
        let oldest = self.entries.iter().min_by_key(|(_, (touched, _))| *touched);
        if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn the_oldest_makes_room() {
        let mut recent = Recent::new(3);
        for (number, key) in ["a", "b", "c", "a", "d"].into_iter().enumerate() {
            *recent.touch(key) = number;
        }
        assert_eq!(recent.get("b"), None);
        assert_eq!(
            [recent.get("c"), recent.get("a"), recent.get("d")],
            [Some(&2), Some(&3), Some(&4)]
        );
        assert_eq!(recent.entries.len(), 3);
        assert_eq!((recent.forget("a"), recent.get("a")), (Some(3), None));
    }
}
