//! The documented rules read a second time, one minute after the other, to compare with.

use super::{BERLIN, LORD_HOWE, NEW_YORK, at, schedule};
use k8s_openapi::jiff::civil::DateTime;
use k8s_openapi::jiff::tz::TimeZone;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, proptest};
use proptest::sample::select;

/// A schedule as lists of values; all weekdays are written `*`.
#[derive(Debug)]
struct Reading {
    minutes: Vec<i8>,
    hours: Vec<i8>,
    weekdays: Vec<i8>,
}

impl Reading {
    fn cron(&self) -> String {
        let list = |values: &[i8]| {
            let texts: Vec<String> = values.iter().map(i8::to_string).collect();
            texts.join(",")
        };
        let weekdays = if self.weekdays.len() == 7 {
            "*".to_string()
        } else {
            list(&self.weekdays)
        };
        format!(
            "{} {} * * {weekdays}",
            list(&self.minutes),
            list(&self.hours)
        )
    }

    fn shows(&self, local: DateTime) -> bool {
        self.minutes.contains(&local.minute())
            && self.hours.contains(&local.hour())
            && self
                .weekdays
                .contains(&local.weekday().to_sunday_zero_offset())
    }

    fn fires(&self, zone: &TimeZone, at: Timestamp) -> bool {
        let local = zone.to_datetime(at);
        if self.hours.len() == 24 {
            return self.shows(local);
        }
        let minute = SignedDuration::from_mins(1);
        let earlier = zone.to_ambiguous_timestamp(local).earlier().unwrap();
        let skipped = std::iter::successors(local.checked_sub(minute).ok(), |time| {
            time.checked_sub(minute).ok()
        })
        .take_while(|time| *time > zone.to_datetime(at - minute))
        .any(|time| self.shows(time));
        (self.shows(local) && earlier == at) || skipped
    }
}

fn reading() -> impl Strategy<Value = Reading> {
    let some = |values: std::ops::Range<i8>, most: usize| {
        let all: Vec<i8> = values.collect();
        proptest::sample::subsequence(all, 1..=most)
    };
    (some(0..60, 6), some(0..24, 6), some(0..7, 7), any::<bool>()).prop_map(
        |(minutes, hours, weekdays, every_hour)| Reading {
            minutes,
            hours: if every_hour { (0..24).collect() } else { hours },
            weekdays,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn fires_as_documented(
        reading in reading(),
        zone in select(vec![BERLIN, NEW_YORK, LORD_HOWE, "Africa/Cairo", "UTC"]),
        // The day before a change of clocks somewhere, or any day.
        day in select(vec!["2026-03-28", "2026-10-24", "2026-03-07", "2026-10-31", "2026-10-03", "2026-04-04",
            "2026-04-23", "2026-10-29", "2026-07-01"]),
        offset in 0_i64..86_400,
    ) {
        let schedule = schedule(&reading.cron(), zone);
        let begin = at(&format!("{day}T00:00:00Z"));
        let minutes = |count| begin + SignedDuration::from_mins(count);
        let expected: Vec<Timestamp> = (0..3 * 1440).map(minutes)
            .filter(|at| reading.fires(schedule.zone(), *at)).collect();
        let end = minutes(3 * 1440 - 1);
        let first = begin - SignedDuration::from_secs(1);
        let all: Vec<Timestamp> = std::iter::successors(schedule.next_after(first), |at| schedule.next_after(*at))
            .take_while(|at| *at <= end).collect();
        prop_assert_eq!(&all, &expected);
        let now = begin + SignedDuration::from_secs(offset) + SignedDuration::from_hours(24);
        let latest = expected.iter().copied().rfind(|at| *at <= now);
        prop_assert_eq!(schedule.latest_at_or_before(now, first), latest);
        prop_assert_eq!(schedule.next_after(now),
            expected.iter().copied().find(|at| *at > now).or(schedule.next_after(end)));
        prop_assert_eq!(schedule.matches(minutes(offset / 60)), expected.contains(&minutes(offset / 60)));
    }
}
