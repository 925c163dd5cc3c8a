//! Checks spec.parameters and makes the server's settings of it.

use std::collections::BTreeMap;

use api::condition::reason;
use api::limits::{PARAMETER_NAME, PARAMETER_VALUE};

use crate::Invalid;
use crate::engine::{Engine, Settings};
use crate::quote::quoted;

/// Whether a setting takes effect in the running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Dynamic,
    Restart,
}

fn effect(engine: &dyn Engine, name: &str) -> Option<Effect> {
    engine.parameter_table().lines().find_map(|line| {
        let (known, effect) = line.split_once(' ')?;
        (known == name).then_some(if effect == "dynamic" {
            Effect::Dynamic
        } else {
            Effect::Restart
        })
    })
}

/// Settings of extensions ("pg_stat_statements.max") are not in the table; the engine takes any such name.
fn is_extension(engine: &dyn Engine, name: &str) -> bool {
    engine.knows_extension_settings()
        && name.split('.').count() == 2
        && name.split('.').all(|part| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        })
}

/// Refuses names that the engine does not know, settings of the operator, and values that cannot be written.
pub fn check(engine: &dyn Engine, parameters: &BTreeMap<String, String>) -> Result<(), Invalid> {
    let refuse = |message: String| Err(Invalid::spec(reason::INVALID_PARAMETER, message));
    for (name, value) in parameters {
        // Before anything else is made of it.
        if name.len() > PARAMETER_NAME {
            return refuse(format!(
                "spec.parameters: '{}' is not a setting of {}: no name has more than {PARAMETER_NAME} bytes. Remove \
                    it.",
                quoted(name),
                engine.title()
            ));
        }
        let usual = name.to_ascii_lowercase().replace('-', "_");
        let (asked, name) = (name, quoted(name));
        if let Some(why) = engine.forbidden(&usual) {
            return refuse(format!(
                "spec.parameters.{name} cannot be set: {why}. Remove it."
            ));
        }
        if effect(engine, asked).is_none() && !is_extension(engine, asked) {
            return refuse(match effect(engine, &usual) {
                Some(_) => format!(
                    "spec.parameters.{name} is written '{}' here: lower-case letters and '_'.",
                    quoted(&usual)
                ),
                None => format!(
                    "spec.parameters.{name} is not a setting of {}. {}Correct or remove it.",
                    engine.title(),
                    nearest(engine, &usual)
                        .map(|near| format!("Did you mean '{near}'? "))
                        .unwrap_or_default()
                ),
            });
        }
        if value.len() > PARAMETER_VALUE || value.chars().any(char::is_control) {
            return refuse(format!(
                "spec.parameters.{name}: a value is one line of at most {PARAMETER_VALUE} bytes."
            ));
        }
        if let Some(what) = engine.unwritable(value) {
            return refuse(format!(
                "spec.parameters.{name}: the value contains {what}."
            ));
        }
    }
    Ok(())
}

/// The most edits by which a name is taken for another one.
const EDITS: usize = 3;

/// Names of which one can be made from the other by so few edits. None is compared with a name that is much longer,
/// because the work grows with the length of both.
fn comparable(known: &str, name: &str) -> bool {
    known.len().abs_diff(name.len()) <= EDITS
}

/// The known name with the fewest edits, if there are few.
fn nearest(engine: &dyn Engine, name: &str) -> Option<&'static str> {
    let names = engine
        .parameter_table()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, _)| name);
    names
        .filter(|known| !known.starts_with('#') && comparable(known, name))
        .map(|known| (edits(known, name), known))
        .min()
        .filter(|(edits, _)| *edits <= EDITS)
        .map(|(_, known)| known)
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The settings that need a restart.
pub fn restart_only(engine: &dyn Engine, settings: &Settings) -> Settings {
    let needs = |name: &str| effect(engine, name) != Some(Effect::Dynamic);
    settings
        .iter()
        .filter(|(name, _)| needs(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// What differs between two sets of settings: names with the new value, or `None` for back to the default.
pub fn changes(from: &Settings, to: &Settings) -> BTreeMap<String, Option<String>> {
    let gone = from
        .keys()
        .filter(|name| !to.contains_key(*name))
        .map(|name| (name.clone(), None));
    let set = to
        .iter()
        .filter(|(name, value)| from.get(*name) != Some(value))
        .map(|(name, value)| (name.clone(), Some(value.clone())));
    gone.chain(set).collect()
}

/// Splits changes into those that the running server takes and the names of those that need a restart.
pub fn split(
    engine: &dyn Engine,
    changes: BTreeMap<String, Option<String>>,
) -> (BTreeMap<String, Option<String>>, Vec<String>) {
    let (dynamic, restart): (BTreeMap<_, _>, BTreeMap<_, _>) = changes
        .into_iter()
        .partition(|(name, _)| effect(engine, name) == Some(Effect::Dynamic));
    (dynamic, restart.into_keys().collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{check, comparable, nearest};
    use crate::engine;

    /// Levenshtein distance takes as many steps as the product of both lengths; these are counted, not the time.
    #[test]
    fn a_long_name_costs_no_comparison() {
        for name in ["work_mem".repeat(8_000), "a".repeat(1 << 20)] {
            for which in api::Engine::ALL {
                let table = engine::of(which).parameter_table();
                let names = table.lines().filter_map(|line| line.split_once(' '));
                let compared = names.filter(|(known, _)| comparable(known, &name));
                let steps: usize = compared.map(|(known, _)| known.len() * name.len()).sum();
                assert_eq!(steps, 0, "{which:?}");
            }
        }
    }

    #[test]
    fn a_near_name_is_still_found() {
        let postgresql = engine::of(api::Engine::Postgresql);
        assert_eq!(nearest(postgresql, "work_men"), Some("work_mem"));
        assert_eq!(nearest(postgresql, "workmem"), Some("work_mem"));
        assert_eq!(nearest(postgresql, "nothing_like_it"), None);
    }

    #[test]
    fn a_megabyte_is_refused_in_few_words() {
        let long = "x".repeat(1 << 20);
        let dotted = format!("a.{}", "x".repeat(120));
        let cases = [
            (long.as_str(), "1"),
            ("work_mem", long.as_str()),
            (dotted.as_str(), "a\nb"),
        ];
        for (name, value) in cases {
            let parameters = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            let invalid = check(engine::of(api::Engine::Postgresql), &parameters).unwrap_err();
            let message = invalid.message;
            assert!(message.chars().count() < 300, "{}", message.len());
            assert!(!message.contains(&"x".repeat(101)), "{message}");
        }
    }
}
