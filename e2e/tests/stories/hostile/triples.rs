//! Names and passwords that mean something to a shell, to SQL, to a URI or to an option file.

use api::Engine;

/// A user, its database and its password.
#[derive(Clone, Debug)]
pub struct Triple {
    pub user: String,
    pub database: String,
    pub password: String,
}

const FRAGMENTS: [&str; 61] = [
    "'",
    "\"",
    "`",
    "\\",
    "$",
    "$$",
    "$(id)",
    "${PATH}",
    ";",
    "--",
    "/*",
    "*/",
    "%",
    "_",
    "#",
    "&",
    "|",
    "<",
    ">",
    "a b",
    "ü",
    "漢字",
    "e\u{301}",
    "\u{5d0}\u{202e}x",
    "-",
    "@",
    ":",
    "/",
    "?",
    "=",
    "select",
    "\\n",
    "\\0",
    "*",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "!",
    "~",
    "^",
    "+",
    ",",
    ".",
    "..",
    "%s",
    "%41",
    "''",
    "\"\"",
    "``",
    "\\'",
    "'; --",
    "\u{a0}",
    "\u{200b}",
    "\u{feff}",
    "\\\\",
    "$1",
    ":'x'",
    "\\x41",
];

/// A hundred, the same each time; users and databases are all different.
pub fn hundred(engine: Engine) -> Vec<Triple> {
    let mut triples: Vec<Triple> = (0..96).map(|n| composed(engine, n)).collect();
    triples.extend((0..4).map(|n| longest(engine, n)));
    triples
}

fn composed(engine: Engine, n: usize) -> Triple {
    let fragment = |n: usize| FRAGMENTS[n % FRAGMENTS.len()];
    let (one, other) = (fragment(n), fragment(7 * n + 3));
    let user = match n % 4 {
        0 => format!("{one}{n}{other}"),
        1 => format!("{n}{other}{one}"),
        2 => format!("{other}{one}{n}"),
        _ => format!("{one}{n}"),
    };
    let database = format!("{other}{n}{one}");
    let password = match n % 3 {
        0 => format!("{one}{other}{one}"),
        1 => format!(" {other}\u{1f600}{one} "),
        _ => format!("-p{one} {other}{n}"),
    };
    Triple {
        user: allowed(engine, user),
        database,
        password,
    }
}

/// What MySQL and MariaDB read otherwise is refused by the API.
fn allowed(engine: Engine, user: String) -> String {
    let quoted = user.starts_with('\'') && user.ends_with('\'');
    if quoted && engine != Engine::Postgresql {
        user + "x"
    } else {
        user
    }
}

/// As long as names can be, and a password of 200 bytes.
fn longest(engine: Engine, n: usize) -> Triple {
    let ends = ["\\", "\"", "`", "x"];
    // In PostgreSQL bytes count. In the others a _ counts twice in a grant, and a database is a folder, in whose name a
    // letter that is not ASCII takes five of 255 bytes.
    let (user, database) = match engine {
        Engine::Postgresql => ("ü".repeat(31), "ü".repeat(31)),
        Engine::Mysql => (
            "漢".repeat(31),
            if n < 2 {
                "_".repeat(31)
            } else {
                "漢".repeat(50)
            },
        ),
        Engine::Mariadb => (
            "漢".repeat(62),
            if n < 2 {
                "_".repeat(31)
            } else {
                "漢".repeat(50)
            },
        ),
    };
    Triple {
        user: user + ends[n],
        database: database + ["a", "b", "c", "d"][n],
        password: ["\\", "'", "\"", "é"][n].repeat(if n == 3 { 100 } else { 200 }),
    }
}

/// Those that go through the API, the operator and a Secret.
pub fn through_secrets(engine: Engine) -> Vec<Triple> {
    let triple = |user: &str, database: &str, password: &str| Triple {
        user: user.to_owned(),
        database: database.to_owned(),
        password: password.to_owned(),
    };
    vec![
        triple(
            "'; DROP TABLE t; --",
            "`x`; DROP DATABASE `y`; \\",
            "'\"\\`$(id)${HOME};--",
        ),
        triple(
            "a@b:c/d?e=f&g#h%41",
            "a/b?c#d%2F@e:f&g=h",
            "@:/?#[]!$&'()*+,;=%25<>|^~{}",
        ),
        triple(
            "漢字 e\u{301} \u{5d0}\u{202e}",
            "\u{202e}\u{5d0} ü_%漢字",
            "\u{1f600}\u{1f468}\u{200d}\u{1f469} ü漢字",
        ),
        triple(
            "-u$(id)\"`\\",
            "-d \"x\" $HOME '\\",
            " leading and trailing ",
        ),
        longest(engine, 0),
    ]
}
