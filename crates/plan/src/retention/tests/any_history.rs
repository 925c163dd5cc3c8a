//! What must hold on every history: the newest good backup stays, and asking again names nothing more.

use super::{NOW, at, berlin};
use crate::retention::{Candidate, Policy, State, expired};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

fn backup() -> impl Strategy<Value = (Timestamp, i64, State, bool)> {
    let state =
        prop_oneof![3 => Just(State::Good), 1 => Just(State::Failed), 1 => Just(State::Unfinished)];
    (0_i64..100 * 24, 0_i64..3, state, any::<bool>()).prop_map(|(hours, later, state, in_use)| {
        (
            at(NOW) - SignedDuration::from_hours(hours),
            later,
            state,
            in_use,
        )
    })
}

proptest! {
    #[test]
    fn the_newest_good_one_stays_and_nothing_is_left_to_do(
        backups in proptest::collection::vec(backup(), 0..40),
        rules in [proptest::option::of(0_u32..8), proptest::option::of(0_u32..8), proptest::option::of(0_u32..4),
            proptest::option::of(0_u32..90)],
        other_good in any::<bool>(),
    ) {
        let [keep_last, keep_daily, keep_monthly, max_age_days] = rules;
        let policy = Policy { keep_last, keep_daily, keep_monthly, max_age_days };
        let names: Vec<String> = (0..backups.len()).map(|n| format!("b{n:02}")).collect();
        let mut candidates: Vec<Candidate> = backups.iter().zip(&names).map(|((created, later, state, in_use),
            name)| Candidate {
            name,
            taken_at: (*state == State::Good && *later > 0).then(|| *created + SignedDuration::from_hours(*later)),
            created_at: *created,
            state: *state,
            in_use: *in_use,
        }).collect();
        let run = |candidates: &[Candidate<'_>]| -> Vec<String> {
            let gone = expired(&policy, candidates, other_good, &berlin(), at(NOW));
            gone.into_iter().map(str::to_string).collect()
        };
        let gone = run(&candidates);
        let newest = candidates.iter().filter(|c| c.state == State::Good).max_by_key(|c| (c.at(), c.name));
        if let Some(newest) = newest && !other_good {
            prop_assert!(!gone.iter().any(|name| name == newest.name));
        }
        for name in &gone {
            let found = candidates.iter().filter(|c| c.name == name).collect::<Vec<_>>();
            prop_assert!(matches!(found[..], [c] if !c.in_use && c.state != State::Unfinished));
        }
        candidates.reverse();
        prop_assert_eq!(&run(&candidates), &gone);
        candidates.retain(|c| !gone.iter().any(|name| name == c.name));
        prop_assert_eq!(run(&candidates), Vec::<String>::new());
    }
}
