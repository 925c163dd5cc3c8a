//! What is remembered of objects between passes: bounded in number, because nobody says when an object is gone for
//! good.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Nothing that is still of use was touched longer ago: whoever waits for it comes by more often.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The key of an object: its namespace, and what no other one has.
pub fn key(object: &ObjectMeta) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", text(&object.namespace), text(&object.uid))
}

fn namespace(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

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

    /// The same, to be changed. The one that was not touched for the longest time makes room for a new one, of those of
    /// the namespace that has the most: who has many objects forgets one's own. A key begins with its namespace and a
    /// slash.
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

    /// Whether there is no room for more, and most of what there is is of the namespace of this object.
    pub fn is_crowded(&self, key: &str) -> bool {
        let of = || {
            self.entries
                .keys()
                .filter(|other| namespace(other) == namespace(key))
        };
        self.entries.len() >= self.most && of().count() > self.most / 2
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
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for key in self.entries.keys() {
            *counts.entry(namespace(key)).or_default() += 1;
        }
        let many = |key: &str| counts.get(namespace(key)).copied().unwrap_or_default();
        let entries = self.entries.iter();
        let first = entries.max_by_key(|(key, (touched, _))| (many(key), Reverse(*touched)));
        if let Some(first) = first.map(|(key, _)| key.clone()) {
            self.entries.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn the_oldest_makes_room() {
        let mut recent = Recent::new(3);
        for (number, key) in ["n/a", "n/b", "n/c", "n/a", "n/d"].into_iter().enumerate() {
            *recent.touch(key) = number;
        }
        assert_eq!(recent.get("n/b"), None);
        assert_eq!(
            [recent.get("n/c"), recent.get("n/a"), recent.get("n/d")],
            [Some(&2), Some(&3), Some(&4)]
        );
        assert_eq!(recent.entries.len(), 3);
        assert_eq!((recent.forget("n/a"), recent.get("n/a")), (Some(3), None));
    }

    #[test]
    fn who_has_many_makes_room_for_others() {
        let mut recent = Recent::<usize>::new(10);
        recent.touch("one/a");
        for number in 0..100 {
            recent.touch(&format!("many/{number}"));
        }
        recent.touch("two/a");
        assert!(recent.get("one/a").is_some() && recent.get("two/a").is_some());
        assert!(recent.get("many/99").is_some() && recent.get("many/0").is_none());
        assert!(recent.is_crowded("many/0") && !recent.is_crowded("two/b"));
    }
}
