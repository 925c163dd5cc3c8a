//! Compares versions of engines as far as both say.

use std::cmp::Ordering;

fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

/// Whether two versions belong to the same series, given how many numbers name a series ("17": 1, "11.8": 2).
pub fn same_series(a: &str, b: &str, numbers_of_series: usize) -> bool {
    let (a, b) = (numbers(a), numbers(b));
    a.iter()
        .zip(&b)
        .take(numbers_of_series)
        .all(|(a, b)| a == b)
}

/// Order of two versions; "17" and "17.6" are equal, because the shorter one does not say.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (numbers(a), numbers(b));
    a.iter()
        .zip(&b)
        .map(|(a, b)| a.cmp(b))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::{compare, same_series};
    use std::cmp::Ordering;

    #[test]
    fn compares_as_far_as_both_say() {
        assert_eq!(compare("17.10", "17.9"), Ordering::Greater);
        assert_eq!(compare("17", "17.9"), Ordering::Equal);
        assert_eq!(compare("8.4.8", "8.4.9"), Ordering::Less);
        assert!(same_series("17", "17.9", 1));
        assert!(!same_series("16.1", "17.1", 1));
        assert!(same_series("11.8.1", "11.8.9", 2));
        assert!(!same_series("11.4", "11.8", 2));
    }
}
