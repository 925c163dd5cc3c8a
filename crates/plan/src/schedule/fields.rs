//! Checks the five fields of a schedule before croner reads them: croner lets more pass than is documented here (empty
//! list items, names in any field, macros), and its messages name neither the field nor the remedy.

use croner::Cron;

struct Rule {
    name: &'static str,
    least: u8,
    greatest: u8,
    /// What stands for the values from `least` on.
    names: &'static [&'static str],
}

const RULES: [Rule; 5] = [
    rule("minute", 0, 59, &[]),
    rule("hour", 0, 23, &[]),
    rule("day-of-month", 1, 31, &[]),
    rule(
        "month",
        1,
        12,
        &[
            "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ],
    ),
    rule(
        "day-of-week",
        0,
        7,
        &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    ),
];

const fn rule(name: &'static str, least: u8, greatest: u8, names: &'static [&'static str]) -> Rule {
    Rule {
        name,
        least,
        greatest,
        names,
    }
}

/// The text for croner, or what is wrong with it.
pub(super) fn check(cron: &str) -> Result<String, String> {
    if let Some(instead) = instead_of_macro(cron.trim()) {
        return Err(format!("names with @ are not supported, write {instead}"));
    }
    let fields: Vec<&str> = cron.split_whitespace().collect();
    if fields.len() != RULES.len() {
        return Err(format!("this has {} fields", fields.len()));
    }
    for (rule, field) in RULES.iter().zip(&fields) {
        for item in field.split(',') {
            if item == "*" && *field != "*" {
                return Err(format!("{} * stands alone, not in a list", rule.name));
            }
            rule.check(item)?;
        }
    }
    // To croner a day field restricts the days unless it is a plain `*`; with `*/1` nobody means a restriction.
    let plain = fields.iter().map(|f| if *f == "*/1" { "*" } else { f });
    Ok(plain.collect::<Vec<_>>().join(" "))
}

/// Refuses days that no chosen month has: croner would search the centuries for them.
pub(super) fn check_ever_due(cron: &Cron) -> Result<(), String> {
    let pattern = &cron.pattern;
    let days_of = |month| match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let longest = pattern.months.values().into_iter().map(days_of).max();
    match (pattern.days.values().first(), longest) {
        // A restricted day of week is an alternative that always comes.
        (Some(day), Some(longest)) if *day > longest && pattern.is_dow_wildcard() => Err(format!(
            "this never comes, day-of-month {day} is in none of the months"
        )),
        _ => Ok(()),
    }
}

fn instead_of_macro(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => Some("\"0 0 1 1 *\""),
        "@monthly" => Some("\"0 0 1 * *\""),
        "@weekly" => Some("\"0 0 * * 0\""),
        "@daily" | "@midnight" => Some("\"0 0 * * *\""),
        "@hourly" => Some("\"0 * * * *\""),
        other if other.starts_with('@') => Some("five fields"),
        _ => None,
    }
}

impl Rule {
    /// One item of a list: `*` or a range with or without a step, or a value.
    fn check(&self, item: &str) -> Result<(), String> {
        let (span, step) = match item.split_once('/') {
            Some((span, step)) => (span, Some(step)),
            None => (item, None),
        };
        if let Some(step) = step {
            let known = number(step).is_some_and(|step| (1..=self.greatest).contains(&step));
            if !known {
                return Err(format!(
                    "{} step \"{step}\" is not in 1-{}",
                    self.name, self.greatest
                ));
            }
        }
        if span == "*" {
            return Ok(());
        }
        match (span.split_once('-'), step) {
            (Some((first, last)), _) => {
                let (from, mut to) = (self.value(first)?, self.value(last)?);
                // Sunday ends a week as well as it begins one.
                if last.eq_ignore_ascii_case("SUN") {
                    to = 7;
                }
                if from > to {
                    return Err(format!(
                        "{} range {span} runs backwards, write {first}-{},{}-{last}",
                        self.name, self.greatest, self.least
                    ));
                }
                Ok(())
            }
            (None, None) => self.value(span).map(drop),
            (None, Some(step)) => {
                self.value(span)?;
                Err(format!(
                    "{} {item} steps from a single value, write {span}-{}/{step}",
                    self.name, self.greatest
                ))
            }
        }
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let named = self.names.iter().position(|n| n.eq_ignore_ascii_case(text));
        if let Some(position) = named.and_then(|position| u8::try_from(position).ok()) {
            return Ok(self.least + position);
        }
        let (name, least, greatest) = (self.name, self.least, self.greatest);
        match number(text) {
            Some(value) if (least..=greatest).contains(&value) => Ok(value),
            _ if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                Err(format!("{name} {text} is not in {least}-{greatest}"))
            }
            _ => Err(format!(
                "{name} \"{text}\" is not a value (numbers {least}-{greatest}{}; no L, W, # or ?)",
                match (self.names.first(), self.names.last()) {
                    (Some(first), Some(last)) => format!(" or {first}-{last}"),
                    _ => String::new(),
                }
            )),
        }
    }
}

/// A number of one to three digits; `parse` alone would take a sign.
fn number(text: &str) -> Option<u8> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}
