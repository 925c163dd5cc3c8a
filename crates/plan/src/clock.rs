//! Whether the operator's clock can be trusted to say what is old. Every time stamp that an age is counted from is of
//! another clock.

/// While the clocks differ by more seconds than this, or by an unknown number, nothing is deleted by age.
pub const TOLERANCE_SECONDS: i64 = 300;

/// Whether age may end anything; `skew` is how many seconds the operator's clock is ahead of the API server's.
pub fn is_trusted(skew: Option<i64>) -> bool {
    skew.is_some_and(|skew| skew.unsigned_abs() <= TOLERANCE_SECONDS.unsigned_abs())
}

/// How far the clocks are apart, for people.
pub fn difference(skew: Option<i64>) -> String {
    match skew {
        Some(skew) => format!(
            "the operator's clock is {} s {} the API server's",
            skew.unsigned_abs(),
            if skew < 0 { "behind" } else { "ahead of" }
        ),
        None => "how far the operator's clock is from the API server's is not known".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_minutes_either_way_are_no_difference() {
        assert!([0, 300, -300].iter().all(|skew| is_trusted(Some(*skew))));
        assert!(
            [301, -301, i64::MIN]
                .iter()
                .all(|skew| !is_trusted(Some(*skew)))
        );
        assert!(!is_trusted(None));
    }

    #[test]
    fn the_direction_is_told() {
        assert!(difference(Some(-700)).contains("700 s behind"));
        assert!(difference(Some(700)).contains("700 s ahead of"));
    }
}
