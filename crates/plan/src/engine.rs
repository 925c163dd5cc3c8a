//! What differs between engines, as one trait; the one `match` from an engine's name to its file is here.

mod mariadb;
mod mysql;
mod mysql_family;
mod postgresql;

use std::collections::BTreeMap;

use serde_json::Value;

/// Where the volume is mounted; the data directory is `data` below it.
pub const VOLUME_PATH: &str = "/var/lib/minidbaas";
/// Where the settings file and the scripts are mounted.
pub const CONFIG_PATH: &str = "/etc/minidbaas";
/// Where the administrator's Secret is mounted, in the init container and in Jobs only.
pub const CREDENTIALS_PATH: &str = "/run/secrets/minidbaas";
/// Where a Job finds the settings to be checked and changed.
pub const CANDIDATE_PATH: &str = "/etc/minidbaas-candidate";

/// Server settings by name; values as the engine writes them.
pub type Settings = BTreeMap<String, String>;

/// Everything the operator knows of one engine.
pub trait Engine: Sync {
    /// The name people know.
    fn title(&self) -> &'static str;
    /// TCP port.
    fn port(&self) -> i32;
    /// Scheme of the binding's `uri`, as the engine's drivers expect it.
    fn uri_scheme(&self) -> &'static str;
    /// How many numbers of a version name a series within which data directories are compatible.
    fn numbers_of_series(&self) -> usize;
    /// Name of the administrator who may log in from a Job.
    fn administrator(&self) -> &'static str;
    /// Scripts and fixed files, by name.
    fn files(&self) -> Vec<(&'static str, &'static str)>;
    /// Key of the ConfigMap under which the settings file lies.
    fn settings_key(&self) -> &'static str;
    /// The server's command.
    fn command(&self) -> Vec<&'static str>;
    /// Environment of every container, by name.
    fn environment(&self) -> Vec<(&'static str, &'static str)>;
    /// Directory of sockets and pid files, writable.
    fn run_path(&self) -> &'static str;
    /// Whether the engine uses POSIX shared memory beyond a container's default of 64 MiB.
    fn shared_memory(&self) -> bool;
    /// Probe that succeeds while the server accepts connections; without credentials.
    fn probe(&self) -> Value;
    /// Command in the server's container that tells the same once.
    fn probe_command(&self) -> Vec<&'static str>;
    /// The signal that begins a clean end of the server, for stop.sh.
    fn stop_signal(&self) -> &'static str;
    /// Seconds a clean stop may take.
    fn grace_seconds(&self) -> i64;
    /// Memory limit when the spec has none.
    fn default_memory(&self) -> &'static str;
    /// Least memory limit, in bytes, with which the server works.
    fn least_memory(&self) -> i128;
    /// Settings derived from the memory limit in bytes; the spec's parameters come before them.
    fn derived(&self, memory: i128) -> Settings;
    /// The table of server settings: lines of a name and `dynamic` or `restart`.
    fn parameter_table(&self) -> &'static str;
    /// What is wrong with the name of a database, if something is that admission does not see.
    fn unusable_database(&self, _name: &str) -> Option<&'static str> {
        None
    }
    /// Why a setting may not be set by a user, if so.
    fn forbidden(&self, name: &str) -> Option<&'static str>;
    /// What a value must not contain, if it does.
    fn unwritable(&self, value: &str) -> Option<&'static str>;
    /// The settings file.
    fn render(&self, settings: &Settings) -> String;
    /// Whether names such as `extension.setting` are taken although the table does not list them.
    fn knows_extension_settings(&self) -> bool;
    /// What marks a line of the server's log as an error.
    fn error_marks(&self) -> &'static [&'static str];
    /// The setting that the server complains about in its last words, and the line in which it does.
    fn complaint(&self, last_words: &str) -> Option<(String, String)>;
}

/// The engine of this name.
pub fn of(engine: api::Engine) -> &'static dyn Engine {
    match engine {
        api::Engine::Postgresql => &postgresql::Postgresql,
        api::Engine::Mysql => &mysql::MYSQL,
        api::Engine::Mariadb => &mariadb::MARIADB,
    }
}

/// Whole MiB of a number of bytes, as both engine families write sizes.
fn mebibytes(bytes: i128) -> String {
    format!("{}M", bytes / MIB)
}

const MIB: i128 = 1 << 20;

/// The text between the first pair of these delimiters after `before`.
fn quoted_after<'a>(line: &'a str, before: &str, open: char, close: char) -> Option<&'a str> {
    let rest = &line[line.find(before)? + before.len()..];
    let rest = &rest[rest.find(open)? + open.len_utf8()..];
    Some(&rest[..rest.find(close)?])
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// The first process of a container does not get a signal that it does not listen for yet.
    #[test]
    fn a_server_is_told_to_end_until_it_has() {
        let stop = include_str!("engine/scripts/stop.sh");
        let ends_at_third = format!(
            "said=$(mktemp); kill() {{ echo \"$*\" >>$said; [ $(wc -l <$said) -lt 3 ]; }}; sleep() {{ :; }}
            set -- TERM\n{stop}\nwait; cat $said; rm $said"
        );
        let told = Command::new("bash").args(["-c", &ends_at_third]).output();
        let told = String::from_utf8(told.unwrap().stdout).unwrap();
        assert_eq!(told, "-s TERM 1\n".repeat(3));
    }
}
