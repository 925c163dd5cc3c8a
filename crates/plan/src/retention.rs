//! Which backups of one schedule have served their time. Only a choice of names: the caller observes and deletes.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use k8s_openapi::jiff::tz::TimeZone;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How many failed backups newer than the newest good one stay, for a person to look at.
const FAILED_TO_KEEP: usize = 3;

/// What to keep. Every rule is optional; without any, everything is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Keep this many of the newest good backups.
    pub keep_last: Option<u32>,
    /// Keep the newest good backup of each of this many days; days without one do not count.
    pub keep_daily: Option<u32>,
    /// Keep the newest good backup of each of this many months; months without one do not count.
    pub keep_monthly: Option<u32>,
    /// Keep nothing for longer than this many days of 24 hours, whatever the other rules say.
    pub max_age_days: Option<u32>,
}

/// A backup that the schedule made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// The moment whose data it holds; `None`: `created_at` stands for it.
    pub taken_at: Option<Timestamp>,
    /// When the resource was made.
    pub created_at: Timestamp,
    /// What became of it.
    pub state: State,
    /// Whether something needs it now, such as a restore.
    pub in_use: bool,
}

/// What became of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can be restored.
    Good,
    /// It is under way or not known yet.
    Unfinished,
    /// It will never be good.
    Failed,
}

impl Candidate<'_> {
    fn at(&self) -> Timestamp {
        match self.state {
            State::Good => self.taken_at.unwrap_or(self.created_at),
            State::Unfinished | State::Failed => self.created_at,
        }
    }
}

/// The names of the backups to delete, oldest first, those of equal age by name.
///
/// - Only good backups count for the rules; one is kept if any of them selects it. "The last 3", "one for each of the
///   last 7 days" and "one for each of the last 12 months" add up, and a backup may serve several of them. Of a day or
///   a month it is the newest that stays, and one without a good backup does not use up its place. Days and months are
///   those of `zone`, the schedule's.
/// - Without such a rule, age alone decides. Past the maximum age a backup goes even if a rule selects it.
/// - The newest good backup always stays, so that there is one to restore, unless it is past the maximum age and
///   `other_good`: there is a good backup elsewhere, such as one made by hand, that is newer than all of these.
/// - What is in use or unfinished stays.
/// - Failed backups go once a good one was taken after them; until then the 3 newest stay.
///
/// Deleting these and asking again for the same `now` names nothing more.
pub fn expired<'a>(
    policy: &Policy,
    candidates: &[Candidate<'a>],
    other_good: bool,
    zone: &TimeZone,
    now: Timestamp,
) -> Vec<&'a str> {
    let mut newest_first: Vec<&Candidate> = candidates.iter().collect();
    newest_first.sort_by_key(|candidate| std::cmp::Reverse((candidate.at(), candidate.name)));
    let of = |state| {
        let all = newest_first.iter().copied();
        all.filter(move |candidate| candidate.state == state)
    };

    let newest = of(State::Good).next().map(Candidate::at);
    let good = of(State::Good)
        .zip(selected(policy, of(State::Good).map(Candidate::at), zone))
        .enumerate()
        .filter(|(position, (candidate, selected))| {
            let too_old = is_too_old(policy, candidate.at(), now);
            match position {
                0 => too_old && other_good,
                _ => too_old || !selected,
            }
        })
        .map(|(_, (candidate, _))| candidate);
    let failed = of(State::Failed)
        .enumerate()
        .filter(|(position, candidate)| {
            *position >= FAILED_TO_KEEP || newest.is_some_and(|newest| candidate.at() < newest)
        })
        .map(|(_, candidate)| candidate);

    let mut gone: Vec<&Candidate> = good.chain(failed).filter(|c| !c.in_use).collect();
    gone.sort_by_key(|candidate| (candidate.at(), candidate.name));
    gone.into_iter().map(|candidate| candidate.name).collect()
}

/// For each of the good ones, newest first, whether a rule selects it; all of them if there is no rule.
fn selected(
    policy: &Policy,
    good: impl Iterator<Item = Timestamp>,
    zone: &TimeZone,
) -> impl Iterator<Item = bool> {
    let (mut days, mut months) = (BTreeSet::new(), BTreeSet::new());
    let no_rule =
        policy.keep_last.is_none() && policy.keep_daily.is_none() && policy.keep_monthly.is_none();
    good.enumerate().map(move |(position, at)| {
        let day = zone.to_datetime(at).date();
        // The first of its day or month is the newest of it; both sets have to grow whatever the other rules say.
        let (opens_day, opens_month) = (days.insert(day), months.insert(day.first_of_month()));
        no_rule
            || within(policy.keep_last, position + 1)
            || opens_day && within(policy.keep_daily, days.len())
            || opens_month && within(policy.keep_monthly, months.len())
    })
}

fn within(limit: Option<u32>, count: usize) -> bool {
    limit.is_some_and(|limit| usize::try_from(limit).is_ok_and(|limit| count <= limit))
}

fn is_too_old(policy: &Policy, taken_at: Timestamp, now: Timestamp) -> bool {
    policy.max_age_days.is_some_and(|days| {
        now.duration_since(taken_at) > SignedDuration::from_hours(24 * i64::from(days))
    })
}
