//! PostgreSQL 15 and later.

use serde_json::{Value, json};

use super::{Engine, MIB, Settings, mebibytes, quoted_after};

/// The PostgreSQL engine.
pub struct Postgresql;

/// Settings that belong to the operator, with the reason. A name that ends with a dot means all settings of that
/// extension.
const FORBIDDEN: [(&[&str], &str); 6] = [
    (
        &[
            "basebackup_to_shell.",
            "basic_archive.",
            "bg_mon.",
            "extwlist.",
            "pljava.",
            "plperl.",
        ],
        "the extension's settings name programs, paths or addresses inside the container, which belong to the operator",
    ),
    (
        &[
            "data_directory",
            "config_file",
            "hba_file",
            "ident_file",
            "external_pid_file",
            "unix_socket_directories",
            "unix_socket_group",
            "unix_socket_permissions",
            "krb_server_keyfile",
            "dynamic_library_path",
            "extension_control_path",
            "local_preload_libraries",
            "log_directory",
            "log_filename",
            "stats_temp_directory",
            "ssl_ca_file",
            "ssl_cert_file",
            "ssl_crl_dir",
            "ssl_crl_file",
            "ssl_dh_params_file",
            "ssl_key_file",
        ],
        "paths inside the container belong to the operator",
    ),
    (
        &["listen_addresses", "port", "bonjour", "bonjour_name"],
        "the address belongs to the operator; see spec.service and spec.network",
    ),
    (
        &[
            "password_encryption",
            "authentication_timeout",
            "db_user_namespace",
            "gss_accept_delegation",
            "krb_caseins_users",
            "ssl",
            "ssl_passphrase_command",
            "oauth_validator_libraries",
            "session_preload_libraries",
            "allow_alter_system",
        ],
        "authentication belongs to the operator",
    ),
    (
        &[
            "logging_collector",
            "log_destination",
            "event_source",
            "syslog_facility",
            "syslog_ident",
        ],
        "the log goes to the container's standard error",
    ),
    (
        &[
            "fsync",
            "full_page_writes",
            "zero_damaged_pages",
            "ignore_checksum_failure",
            "ignore_invalid_pages",
            "ignore_system_indexes",
            "allow_system_table_mods",
            "archive_command",
            "archive_library",
            "archive_mode",
            "archive_cleanup_command",
            "restore_command",
            "recovery_end_command",
            "primary_conninfo",
            "primary_slot_name",
            "promote_trigger_file",
            "recovery_target",
            "recovery_target_action",
            "recovery_target_inclusive",
            "recovery_target_lsn",
            "recovery_target_name",
            "recovery_target_time",
            "recovery_target_timeline",
            "recovery_target_xid",
            "restart_after_crash",
            "summarize_wal_source",
        ],
        "it can lose data or runs commands in the container",
    ),
];

impl Engine for Postgresql {
    fn title(&self) -> &'static str {
        "PostgreSQL"
    }
    fn port(&self) -> i32 {
        5432
    }
    fn uri_scheme(&self) -> &'static str {
        "postgresql"
    }
    fn numbers_of_series(&self) -> usize {
        1
    }
    fn administrator(&self) -> &'static str {
        "postgres"
    }
    fn files(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("common.sh", include_str!("scripts/postgresql/common.sh")),
            ("prepare.sh", include_str!("scripts/postgresql/prepare.sh")),
            ("apply.sh", include_str!("scripts/postgresql/apply.sh")),
            ("quiesce.sh", include_str!("scripts/postgresql/quiesce.sh")),
            ("check.sh", include_str!("scripts/postgresql/check.sh")),
            ("volume.sh", include_str!("scripts/volume.sh")),
            ("serve.sh", include_str!("scripts/serve.sh")),
            ("hold.sh", include_str!("scripts/hold.sh")),
            ("started.sh", include_str!("scripts/started.sh")),
            ("stop.sh", include_str!("scripts/stop.sh")),
            (
                "quiesce_common.sh",
                include_str!("scripts/quiesce_common.sh"),
            ),
            (
                "pg_hba.conf",
                "local all postgres peer\nhost all all all scram-sha-256\n",
            ),
        ]
    }
    fn settings_key(&self) -> &'static str {
        "postgresql.conf"
    }
    fn command(&self) -> Vec<&'static str> {
        vec![
            "postgres",
            "-D",
            "/var/lib/minidbaas/data",
            "-c",
            "config_file=/etc/minidbaas/postgresql.conf",
        ]
    }
    fn environment(&self) -> Vec<(&'static str, &'static str)> {
        vec![("LANG", "C.UTF-8")]
    }
    fn run_path(&self) -> &'static str {
        "/run/postgresql"
    }
    fn shared_memory(&self) -> bool {
        true
    }
    fn probe(&self) -> Value {
        // Over TCP a starting or recovering server already takes connections and refuses them; pg_isready tells the
        // difference.
        json!({"exec": {"command": self.probe_command()}, "timeoutSeconds": 5})
    }
    fn probe_command(&self) -> Vec<&'static str> {
        vec![
            "pg_isready",
            "--quiet",
            "--host=127.0.0.1",
            "--port=5432",
            "--timeout=3",
        ]
    }
    fn stop_signal(&self) -> &'static str {
        // SIGTERM, which comes next, would wait for every client to leave; after SIGINT it changes nothing.
        "INT"
    }
    fn grace_seconds(&self) -> i64 {
        180
    }
    fn default_memory(&self) -> &'static str {
        "256Mi"
    }
    fn least_memory(&self) -> i128 {
        128 * MIB
    }
    fn derived(&self, memory: i128) -> Settings {
        [
            ("shared_buffers", mebibytes(memory / 4) + "B"),
            ("effective_cache_size", mebibytes(memory / 4 * 3) + "B"),
            (
                "maintenance_work_mem",
                mebibytes((memory / 16).min(1024 * MIB)) + "B",
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
    fn parameter_table(&self) -> &'static str {
        include_str!("parameters/postgresql.txt")
    }
    fn forbidden(&self, name: &str) -> Option<&'static str> {
        FORBIDDEN
            .iter()
            .find(|(names, _)| {
                names.iter().any(|known| match known.ends_with('.') {
                    true => name.starts_with(known),
                    false => name == *known,
                })
            })
            .map(|(_, why)| *why)
    }
    fn unwritable(&self, _value: &str) -> Option<&'static str> {
        None
    }
    fn render(&self, settings: &Settings) -> String {
        let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "''");
        let lines = settings
            .iter()
            .map(|(name, value)| format!("{name} = '{}'\n", quoted(value)));
        BASE.to_owned() + &lines.collect::<String>()
    }
    fn knows_extension_settings(&self) -> bool {
        true
    }
    fn error_marks(&self) -> &'static [&'static str] {
        &["FATAL:", "PANIC:", "ERROR:"]
    }
    fn complaint(&self, last_words: &str) -> Option<(String, String)> {
        let bears = [
            ("unrecognized configuration parameter", '"'),
            ("invalid value for parameter", '"'),
            ("outside the valid range for parameter", '"'),
            ("requires a Boolean value", '"'),
            ("could not access file", '"'),
        ];
        // Without time, process and level, which begin a line of the log.
        let bare = |line: &str| {
            let levels = ["LOG:  ", "FATAL:  ", "ERROR:  ", "WARNING:  "];
            let found = levels.iter().find_map(|level| line.split_once(level));
            found.map_or(line, |(_, words)| words).trim().to_owned()
        };
        last_words.lines().find_map(|line| {
            if let Some(name) = line
                .strip_suffix(" requires a Boolean value")
                .and_then(|l| l.rsplit('"').nth(1))
            {
                return Some((name.to_owned(), bare(line)));
            }
            if line.contains("could not access file") {
                return Some(("shared_preload_libraries".to_owned(), bare(line)));
            }
            bears.iter().find_map(|(words, quote)| {
                quoted_after(line, words, *quote, *quote).map(|name| (name.to_owned(), bare(line)))
            })
        })
    }
}

const BASE: &str = "\
listen_addresses = '*'
port = 5432
hba_file = '/etc/minidbaas/pg_hba.conf'
unix_socket_directories = '/run/postgresql'
password_encryption = 'scram-sha-256'
log_destination = 'stderr'
logging_collector = off
log_timezone = 'UTC'
timezone = 'UTC'
lc_messages = 'C'
default_text_search_config = 'pg_catalog.english'
";
