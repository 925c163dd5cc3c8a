//! Given clocks around changes of local time, and what is refused; `reading` compares with a second reading of the
//! rules.

mod reading;

use super::{Field, Schedule};
use k8s_openapi::jiff::Timestamp;
use rstest::rstest;

const BERLIN: &str = "Europe/Berlin";
const NEW_YORK: &str = "America/New_York";
const LORD_HOWE: &str = "Australia/Lord_Howe";

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule::parse(cron, zone).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The first firings after a time, as local times with offset.
fn firings(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(cron, zone);
    let mut last = at(after);
    std::iter::repeat_with(|| {
        let next = schedule.next_after(last).unwrap();
        assert!(schedule.matches(next));
        assert_eq!(schedule.latest_at_or_before(next, last), Some(next));
        last = next;
        let local = next.to_zoned(schedule.zone().clone());
        local.strftime("%d %H:%M%:z").to_string()
    })
    .take(count)
    .collect()
}

#[rstest]
// 29 March 2026 and 25 October 2026.
#[case::skipped("30 2 * * *", BERLIN, "2026-03-28T12:00:00Z", &["29 03:00+02:00", "30 02:30+02:00"])]
#[case::some_skipped("*/20 2,3 * * *", BERLIN, "2026-03-28T12:00:00Z", &["29 03:00+02:00", "29 03:20+02:00"])]
#[case::beside("0 1 * * *", BERLIN, "2026-03-28T12:00:00Z", &["29 01:00+01:00", "30 01:00+02:00"])]
#[case::repeated("30 2 * * *", BERLIN, "2026-10-24T12:00:00Z", &["25 02:30+02:00", "26 02:30+01:00"])]
#[case::skips_every_hour("30 * * * *", BERLIN, "2026-03-29T00:00:00Z", &["29 01:30+01:00", "29 03:30+02:00"])]
#[case::repeats_every_hour("0 * * * *", BERLIN, "2026-10-24T23:30:00Z", &["25 02:00+02:00", "25 02:00+01:00",
    "25 03:00+01:00"])]
#[case::even_hours("0 */2 * * *", BERLIN, "2026-03-28T22:30:00Z", &["29 00:00+01:00", "29 03:00+02:00",
    "29 04:00+02:00"])]
// 8 March 2026 and 1 November 2026.
#[case::skipped("15 2 * * *", NEW_YORK, "2026-03-08T00:00:00Z", &["08 03:00-04:00", "09 02:15-04:00"])]
#[case::repeated("15 1 * * *", NEW_YORK, "2026-11-01T00:00:00Z", &["01 01:15-04:00", "02 01:15-05:00"])]
#[case::skips_every_hour("*/30 * * * *", NEW_YORK, "2026-03-08T06:15:00Z", &["08 01:30-05:00", "08 03:00-04:00"])]
#[case::repeats_every_hour("*/30 0-23 * * *", NEW_YORK, "2026-11-01T05:15:00Z", &["01 01:30-04:00", "01 01:00-05:00",
    "01 01:30-05:00", "01 02:00-05:00"])]
// Half an hour: 4 October 2026 from 2:00 to 2:30, 5 April 2026 from 2:00 to 1:30.
#[case::skipped("10 2 * * *", LORD_HOWE, "2026-10-03T00:00:00Z", &["04 02:30+11:00", "05 02:10+11:00"])]
#[case::repeated("40 1 * * *", LORD_HOWE, "2026-04-04T00:00:00Z", &["05 01:40+11:00", "06 01:40+10:30"])]
#[case::skips_every_hour("0 * * * *", LORD_HOWE, "2026-10-03T14:00:00Z", &["04 01:00+10:30", "04 03:00+11:00"])]
#[case::repeats_every_hour("45 * * * *", LORD_HOWE, "2026-04-04T14:00:00Z", &["05 01:45+11:00", "05 01:45+10:30",
    "05 02:45+10:30"])]
// Midnight itself is skipped on 24 April 2026; a whole day, 30 December, was skipped in 2011.
#[case::midnight("0 0 * * FRI", "Africa/Cairo", "2026-04-20T00:00:00Z", &["24 01:00+03:00"])]
#[case::day("0 6 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", &["29 06:00-10:00", "31 00:00+14:00",
    "31 06:00+14:00"])]
#[case::leap_day("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", &["29 00:00+00:00"])]
#[case::either_day("0 0 13 * fri", "UTC", "2026-03-10T00:00:00Z", &["13 00:00+00:00", "20 00:00+00:00"])]
#[case::no_restriction("0 0 13 */1 */1", "UTC", "2026-03-10T00:00:00Z", &["13 00:00+00:00", "13 00:00+00:00"])]
#[case::week_end("0 0 * * sat-SUN", "UTC", "2026-03-10T00:00:00Z", &["14 00:00+00:00", "15 00:00+00:00",
    "21 00:00+00:00"])]
fn fires(#[case] cron: &str, #[case] zone: &str, #[case] after: &str, #[case] expected: &[&str]) {
    assert_eq!(firings(cron, zone, after, expected.len()), expected);
}

#[test]
fn however_many_were_missed_the_latest_is_due() {
    let nightly = schedule("30 2 * * *", BERLIN);
    // Down from Friday until Monday, over the night in which 2:30 did not exist.
    let (before, after) = (at("2026-03-27T12:00:00Z"), at("2026-03-29T12:00:00Z"));
    let due = nightly.latest_at_or_before(after, before);
    assert_eq!(due, Some(at("2026-03-29T01:00:00Z")));
    assert_eq!(nightly.latest_at_or_before(after, due.unwrap()), None);
    // In the repeated hour, what is due came an hour ago.
    let again = nightly.latest_at_or_before(at("2026-10-25T01:45:00Z"), before);
    assert_eq!(again, Some(at("2026-10-25T00:30:00Z")));
    // A year of every minute.
    let minutes = schedule("* * * * *", BERLIN);
    let due = minutes.latest_at_or_before(at("2027-03-27T12:00:31.5Z"), before);
    assert_eq!(due, Some(at("2027-03-27T12:00:00Z")));
}

#[test]
fn parts_of_a_second_are_not_on_time() {
    let schedule = schedule("0 12 * * *", "UTC");
    assert!(schedule.matches(at("2026-01-01T12:00:00Z")));
    assert!(!schedule.matches(at("2026-01-01T12:00:00.5Z")));
    assert_eq!(
        schedule.next_after(at("2026-01-01T11:59:59.9Z")),
        Some(at("2026-01-01T12:00:00Z"))
    );
    assert_eq!(schedule.next_after(Timestamp::MAX), None);
}

#[rstest]
#[case("0 25 * * *", "hour 25 is not in 0-23")]
#[case("60 * * * *", "minute 60 is not in 0-59")]
#[case("0 0 0 * *", "day-of-month 0 is not in 1-31")]
#[case("0 0 1 1000 *", "month 1000 is not in 1-12")]
#[case("MON 0 * * *", "minute \"MON\" is not a value (numbers 0-59;")]
#[case(
    "0 0 * * 5L",
    "day-of-week \"5L\" is not a value (numbers 0-7 or SUN-SAT;"
)]
#[case("0 0 ? * 1#2", "day-of-month \"?\" is not a value")]
#[case("0 0 1,,2 * *", "day-of-month \"\" is not a value")]
#[case("0 0 +1 * *", "day-of-month \"+1\" is not a value")]
#[case("0 22-2 * * *", "hour range 22-2 runs backwards, write 22-23,0-2")]
#[case("5/15 * * * *", "minute 5/15 steps from a single value, write 5-59/15")]
#[case("*/0 * * * *", "minute step \"0\" is not in 1-59")]
#[case("*,5 * * * *", "minute * stands alone")]
#[case(
    "0 0 30 2 *",
    "this never comes, day-of-month 30 is in none of the months"
)]
#[case("0 0 31 4,6 *", "this never comes")]
#[case("0 0 12 * * *", "this has 6 fields")]
#[case("", "this has 0 fields")]
#[case("@daily", "names with @ are not supported, write \"0 0 * * *\"")]
#[case("@reboot", "names with @ are not supported, write five fields")]
fn is_refused(#[case] cron: &str, #[case] message: &str) {
    let refused = Schedule::parse(cron, "UTC").unwrap_err();
    assert_eq!(refused.field, Field::Schedule);
    let start = format!("\"{cron}\": {message}");
    assert!(refused.message.starts_with(&start), "{}", refused.message);
    assert!(
        refused
            .message
            .ends_with("minute hour day-of-month month day-of-week")
    );
}

#[rstest]
fn a_zone_must_exist(
    #[values(
        "",
        "Berlin",
        "Europe/Berlin2",
        "+02:00",
        "Local",
        "CET-1CEST",
        "Etc/Unknown"
    )]
    name: &str,
) {
    let refused = Schedule::parse("0 0 * * *", name).unwrap_err();
    assert_eq!(refused.field, Field::TimeZone);
    assert!(
        refused.message.contains("write an IANA name"),
        "{}",
        refused.message
    );
}

#[rstest]
#[case("0 22-23,0-2 * * FRI-7,0-MON")]
#[case("0-59/7 */23 1-31/30 JAN-dec/11 0-7/2")]
#[case(" 0\t0  28-31 2 * ")]
#[case("0 0 30 2 MON")]
fn is_read(#[case] cron: &str) {
    assert!(
        schedule(cron, "UTC")
            .next_after(at("2026-01-01T00:00:00Z"))
            .is_some()
    );
}
