//! When a schedule is due: five cron fields read in an IANA time zone, with a rule for the days on which clocks change.
//! Crate croner knows the calendar and is asked about local times only; what a change of clocks does to them is decided
//! here.

mod fields;
#[cfg(test)]
mod tests;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use k8s_openapi::jiff::civil::DateTime;
use k8s_openapi::jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::quote::quoted;

const NANOSECOND: SignedDuration = SignedDuration::from_nanos(1);
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// A cron schedule in a time zone.
///
/// Five fields: minute (0-59), hour (0-23), day-of-month (1-31), month (1-12 or JAN-DEC), day-of-week (0-7 or SUN-SAT;
/// 0 and 7 are Sunday). A field is `*`, or a list of values and ranges (`1,15`, `MON-FRI`); `*` and a range take a step
/// (`*/15`, `8-18/2`). If both day fields are restricted, a day that satisfies either of them counts, as in cron.
/// Seconds, years, `@daily` and its like, and `L`, `W`, `#` and `?` are refused.
///
/// When clocks change, there are two rules:
///
/// - A schedule that is bound to hours (`30 2 * * *`, `0 */6 * * *`) fires once for each of its local times. A local
///   time that is skipped when clocks go forward fires at the first instant after the skipped time; several of them
///   then fire as one. A local time that comes twice when clocks go back fires the first time only.
/// - A schedule whose hour field selects every hour (`*/15 * * * *`, `0 * * * *`) fires whenever the local clock shows
///   one of its times. A change by a whole hour is then not noticed: the same time passes between two firings as on any
///   other day. (Where clocks change by half an hour, a firing around the change comes that much sooner or later.)
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
    every_hour: bool,
}

/// Which text could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The cron fields.
    Schedule,
    /// The time zone's name.
    TimeZone,
}

/// A schedule that cannot be read, or that never fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unparsable {
    /// Which of the two texts.
    pub field: Field,
    /// For people: what is wrong, and what to write instead.
    pub message: String,
}

/// A stretch of time in which a zone's offset from UTC stays the same.
struct Stretch {
    /// Its first instant.
    start: Timestamp,
    /// The first instant after it; none if it does not end.
    end: Option<Timestamp>,
    offset: Offset,
    /// The offset of the stretch before it; its own if there is none.
    offset_before: Offset,
}

/// The longest schedule that is read.
const CRON_BYTES: usize = 100;

impl Schedule {
    /// Reads a schedule.
    ///
    /// `cron` has five fields (see [`Schedule`]); `time_zone` is an IANA name such as `Europe/Berlin` or `UTC`, looked
    /// up in the database that is part of this program, so that the answer does not depend on where it runs.
    ///
    /// # Errors
    ///
    /// A field that cannot be read or is out of range, a date that never comes (30 February), an unknown time zone.
    pub fn parse(cron: &str, time_zone: &str) -> Result<Schedule, Unparsable> {
        let refused = |message: String| Unparsable {
            field: Field::Schedule,
            message: format!(
                "\"{}\": {message}; five fields are minute hour day-of-month month day-of-week",
                quoted(cron)
            ),
        };
        // Before it is taken apart: what is wrong may quote any part of it.
        if cron.len() > CRON_BYTES {
            return Err(refused(format!("this has more than {CRON_BYTES} bytes")));
        }
        let checked = fields::check(cron).map_err(&refused)?;
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(&checked)
            .map_err(|error| refused(error.to_string()))?;
        fields::check_ever_due(&cron).map_err(&refused)?;
        Ok(Schedule {
            every_hour: cron.pattern.hours.values().len() == 24,
            cron,
            zone: zone(time_zone)?,
        })
    }

    /// The time zone, in which also days and months are counted.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first time after `after`, which itself does not count; `None` only at the end of the calendar.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut stretch = self.stretch(after);
        let local = stretch.offset.to_datetime(after).checked_add(SECOND).ok()?;
        let mut from = local.max(self.first_slot(&stretch));
        loop {
            let slot = self.cron.find_next_occurrence(&from, true).ok()?;
            let at = stretch.instant(slot)?;
            match stretch.end {
                Some(end) if at >= end => stretch = self.stretch(end),
                _ => return Some(at),
            }
            from = self.first_slot(&stretch);
        }
    }

    /// The last time that is later than `not_before` and not later than `now`: what to catch up with, once, whatever
    /// number was missed. `None` if nothing was due. It searches backwards from `now`, so that a long absence costs
    /// nothing.
    pub fn latest_at_or_before(&self, now: Timestamp, not_before: Timestamp) -> Option<Timestamp> {
        let mut stretch = self.stretch(now);
        let mut until = stretch.offset.to_datetime(now);
        loop {
            let slot = self.cron.find_previous_occurrence(&until, true).ok()?;
            if slot >= self.first_slot(&stretch) {
                return stretch.instant(slot).filter(|at| *at > not_before);
            }
            if stretch.start <= not_before {
                return None;
            }
            let end = stretch.start;
            stretch = self.stretch(end.checked_sub(NANOSECOND).ok()?);
            until = stretch.offset.to_datetime(end).checked_sub(SECOND).ok()?;
        }
    }

    /// Whether the schedule fires at exactly this instant.
    pub fn matches(&self, at: Timestamp) -> bool {
        at.checked_sub(NANOSECOND)
            .is_ok_and(|before| self.next_after(before) == Some(at))
    }

    /// The first local time that belongs to a stretch.
    ///
    /// Bound to hours, a schedule's local times go on where the stretch before ended: skipped ones become part of this
    /// stretch (and `instant` puts them at its start), repeated ones stay part of the one before. Otherwise what the
    /// clock shows counts.
    fn first_slot(&self, stretch: &Stretch) -> DateTime {
        let offset = if self.every_hour {
            stretch.offset
        } else {
            stretch.offset_before
        };
        offset.to_datetime(stretch.start)
    }

    fn stretch(&self, at: Timestamp) -> Stretch {
        // `preceding` does not count `at` itself, which may be the first instant.
        let change = at
            .checked_add(NANOSECOND)
            .ok()
            .and_then(|next| self.zone.preceding(next).next());
        let start = change.map_or(Timestamp::MIN, |change| change.timestamp());
        let before = start.checked_sub(NANOSECOND).unwrap_or(start);
        Stretch {
            start,
            end: self.zone.following(at).next().map(|next| next.timestamp()),
            offset: self.zone.to_offset(at),
            offset_before: self.zone.to_offset(before),
        }
    }
}

impl Stretch {
    /// When a local time comes in this stretch.
    fn instant(&self, slot: DateTime) -> Option<Timestamp> {
        Some(self.offset.to_timestamp(slot).ok()?.max(self.start))
    }
}

fn zone(name: &str) -> Result<TimeZone, Unparsable> {
    TimeZoneDatabase::bundled()
        .get(name)
        .ok()
        .filter(|zone| !zone.is_unknown())
        .ok_or_else(|| Unparsable {
            field: Field::TimeZone,
            message: format!(
                "\"{}\" is not in the time zone database; write an IANA name such as Europe/Berlin or UTC",
                quoted(name)
            ),
        })
}
