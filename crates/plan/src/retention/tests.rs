//! The rules on given histories; `any_history` says what must hold on every other.

mod any_history;

use super::{Candidate, Policy, State, expired};
use k8s_openapi::jiff::tz::{TimeZone, TimeZoneDatabase};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

const NOW: &str = "2026-06-30T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn berlin() -> TimeZone {
    TimeZoneDatabase::bundled().get("Europe/Berlin").unwrap()
}

/// A history whose names are the times taken.
struct History(Vec<(String, Timestamp, State)>);

impl History {
    /// `count` good ones, one every `hours` hours, the newest an hour before now.
    fn every(hours: i64, count: i64) -> Self {
        let newest = at(NOW) - SignedDuration::from_hours(1);
        let times = (0..count).map(|back| newest - SignedDuration::from_hours(hours * back));
        History(times.map(|at| (at.to_string(), at, State::Good)).collect())
    }

    fn of(backups: &[(&str, State)]) -> Self {
        let named = |(time, state): &(&str, State)| (time.to_string(), at(time), *state);
        History(backups.iter().map(named).collect())
    }

    fn candidates(&self) -> Vec<Candidate<'_>> {
        // Their order must not matter.
        let backups = self.0.iter().rev();
        backups
            .map(|(name, at, state)| Candidate {
                name,
                taken_at: (*state == State::Good).then_some(*at),
                created_at: *at,
                state: *state,
                in_use: false,
            })
            .collect()
    }

    fn expired(&self, policy: &Policy) -> Vec<&str> {
        expired(policy, &self.candidates(), false, &berlin(), at(NOW))
    }

    fn kept(&self, policy: &Policy) -> Vec<&str> {
        let gone = self.expired(policy);
        let names = self.0.iter().map(|(name, ..)| name.as_str());
        names.filter(|name| !gone.contains(name)).collect()
    }
}

fn last(count: u32) -> Policy {
    Policy {
        keep_last: Some(count),
        ..Policy::default()
    }
}

#[test]
fn of_twenty_the_last_three_stay() {
    let history = History::every(24, 20);
    assert_eq!(
        history.kept(&last(3)),
        [
            "2026-06-30T11:00:00Z",
            "2026-06-29T11:00:00Z",
            "2026-06-28T11:00:00Z"
        ]
    );
    let gone = history.expired(&last(3));
    assert_eq!((gone.len(), gone[0]), (17, "2026-06-11T11:00:00Z"));
    assert!(gone.is_sorted());
}

#[test]
fn days_and_months_add_up() {
    let policy = Policy {
        keep_daily: Some(7),
        keep_monthly: Some(3),
        ..Policy::default()
    };
    let kept = History::every(12, 300);
    let kept = kept.kept(&policy);
    // June's newest is also the newest day's; 23:00 UTC is the next day in Berlin.
    let days = [
        "30T11", "29T11", "28T11", "27T11", "26T11", "25T11", "24T11",
    ];
    assert_eq!(kept[..7], days.map(|day| format!("2026-06-{day}:00:00Z")));
    assert_eq!(kept[7..], ["2026-05-31T11:00:00Z", "2026-04-30T11:00:00Z"]);
}

#[test]
fn a_day_without_a_backup_uses_up_no_place() {
    let policy = Policy {
        keep_daily: Some(2),
        ..Policy::default()
    };
    let (old, older) = ("2026-05-01T10:00:00Z", "2026-04-01T10:00:00Z");
    let history = History::of(&[
        ("2026-06-29T10:00:00Z", State::Good),
        (old, State::Good),
        (older, State::Good),
    ]);
    assert_eq!(history.expired(&policy), [older]);
}

#[test]
fn a_short_term_and_a_long_term() {
    let policy = Policy {
        keep_last: Some(7 * 24),
        keep_daily: Some(30),
        max_age_days: Some(30),
        ..Policy::default()
    };
    let history = History::every(1, 60 * 24);
    let kept = history.kept(&policy);
    // The last week whole, then the newest of each of the 22 days of June before it.
    assert_eq!(kept[167], "2026-06-23T12:00:00Z");
    assert_eq!(kept[168], "2026-06-22T21:00:00Z");
    assert_eq!(kept.last(), Some(&"2026-06-01T21:00:00Z"));
    assert_eq!(kept.len(), 168 + 22);
    let hourly = Policy {
        keep_last: Some(24),
        ..policy
    };
    assert_eq!(history.kept(&hourly).len(), 24 + 28);
}

#[test]
fn age_decides_alone_or_in_the_end() {
    let age = Policy {
        max_age_days: Some(2),
        ..Policy::default()
    };
    let history = History::of(&[
        ("2026-06-29T12:00:00Z", State::Good),
        ("2026-06-28T12:00:00Z", State::Good),
        ("2026-06-28T11:59:59Z", State::Good),
    ]);
    assert_eq!(history.expired(&age), ["2026-06-28T11:59:59Z"]);
    assert_eq!(
        history.expired(&Policy {
            keep_last: Some(9),
            ..age
        }),
        ["2026-06-28T11:59:59Z"]
    );
    assert!(history.expired(&Policy::default()).is_empty());
    // The only one stays however old, unless there is a newer one elsewhere.
    let old = History::of(&[("2020-01-01T00:00:00Z", State::Good)]);
    assert!(old.expired(&age).is_empty());
    let elsewhere = |policy| expired(policy, &old.candidates(), true, &berlin(), at(NOW)).len();
    assert_eq!((elsewhere(&age), elsewhere(&last(0))), (1, 0));
}

#[test]
fn days_are_those_of_the_zone_also_when_they_have_23_or_25_hours() {
    let policy = Policy {
        keep_daily: Some(2),
        ..Policy::default()
    };
    // 29 March 2026 lasts from 28T23:00Z until 29T22:00Z in Berlin.
    let history = History::of(&[
        ("2026-03-29T22:00:00Z", State::Good),
        ("2026-03-29T21:59:59Z", State::Good),
        ("2026-03-28T23:00:00Z", State::Good),
        ("2026-03-28T22:59:59Z", State::Good),
    ]);
    assert_eq!(
        history.kept(&policy),
        ["2026-03-29T22:00:00Z", "2026-03-29T21:59:59Z"]
    );
    // 25 October 2025 ends at 22:00Z, the 26th at 23:00Z: 25 hours.
    let history = History::of(&[
        ("2025-10-26T22:59:59Z", State::Good),
        ("2025-10-25T22:00:00Z", State::Good),
        ("2025-10-25T21:59:59Z", State::Good),
    ]);
    assert_eq!(
        history.kept(&policy),
        ["2025-10-26T22:59:59Z", "2025-10-25T21:59:59Z"]
    );
}

#[test]
fn failed_ones_go_with_the_next_good_one() {
    use State::{Failed, Good, Unfinished};
    let history = History::of(&[
        ("2026-06-30T10:00:00Z", Unfinished),
        ("2026-06-29T10:00:00Z", Failed),
        ("2026-06-28T10:00:00Z", Failed),
        ("2026-06-27T10:00:00Z", Failed),
        ("2026-06-26T10:00:00Z", Failed),
        ("2026-06-25T10:00:00Z", Good),
        ("2026-06-24T10:00:00Z", Failed),
        ("2026-06-23T10:00:00Z", Unfinished),
    ]);
    let gone = ["2026-06-24T10:00:00Z", "2026-06-26T10:00:00Z"];
    assert_eq!(history.expired(&last(1)), gone);
    // They count for no rule, nor does age matter to them.
    assert_eq!(history.expired(&Policy::default()), gone);
}

#[test]
fn what_is_in_use_stays_and_equal_times_go_by_name() {
    let backup = |name, in_use| Candidate {
        name,
        taken_at: None,
        created_at: at("2026-06-01T00:00:00Z"),
        state: State::Good,
        in_use,
    };
    let backups = [
        backup("c", false),
        backup("a", true),
        backup("d", false),
        backup("b", false),
    ];
    let gone = expired(&last(1), &backups, false, &berlin(), at(NOW));
    assert_eq!(gone, ["b", "c"]);
}
