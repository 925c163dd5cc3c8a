//! Text of others in our messages: one line, and never more than a person reads.

use std::borrow::Cow;

/// Most characters that a message quotes of what a user wrote.
pub const QUOTED: usize = 100;
/// Most characters that a message quotes of what an engine, a driver, a scheduler or the API server said. More than of
/// a value: cut after a hundred characters, most errors would end before they come to what is wrong.
pub const SAID: usize = 300;

/// What a user wrote, as it is quoted.
pub fn quoted(text: &str) -> Cow<'_, str> {
    cut(text, QUOTED)
}

/// The beginning of a text, with an ellipsis if that is not all, and with control characters made visible.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    let short = text.char_indices().nth(most).is_none();
    if short && !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let seen = text.chars().flat_map(|character| {
        let escaped = character.is_control().then(|| character.escape_default());
        let plain = (!character.is_control()).then_some(character);
        escaped.into_iter().flatten().chain(plain)
    });
    let mut line: String = seen.take(most + 1).collect();
    if let Some((end, _)) = line.char_indices().nth(most) {
        let last = line.char_indices().nth(most - 1);
        line.truncate(last.map_or(end, |(at, _)| at));
        line.push('…');
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::{QUOTED, quoted};

    #[test]
    fn what_is_short_stays_as_it_is() {
        assert_eq!(quoted("my.secret"), "my.secret");
        assert_eq!(quoted("a\nb\u{7}"), "a\\nb\\u{7}");
        let most = "ä".repeat(QUOTED);
        assert_eq!(quoted(&most), most);
        let more = quoted(&"ä".repeat(QUOTED + 1)).into_owned();
        assert_eq!(more, "ä".repeat(QUOTED - 1) + "…");
    }

    proptest! {
        #[test]
        fn nothing_is_longer_and_all_is_one_line(text in "(?s).{0,300}") {
            let line = quoted(&text);
            assert!(line.chars().count() <= QUOTED);
            assert!(!line.chars().any(char::is_control));
        }
    }

    #[test]
    fn of_a_megabyte_only_the_beginning_is_looked_at() {
        let mut looked_at = 0;
        let text = "a".repeat(1 << 20);
        let line = super::cut(&text, QUOTED);
        looked_at += line.len();
        assert!(looked_at <= QUOTED + '…'.len_utf8());
    }
}
