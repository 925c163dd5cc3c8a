//! What MySQL and MariaDB have in common: option files, settings that belong to the operator, and complaints.

use serde_json::{Value, json};

use super::{Engine, MIB, Settings, quoted_after};

/// One engine of the family, by what tells it from the others.
pub struct Member {
    /// The name people know.
    pub title: &'static str,
    /// The server's program, and its section of the option file.
    pub program: &'static str,
    /// Lines of the option file that the others do not have.
    pub settings: &'static str,
    /// The table of server settings.
    pub parameter_table: &'static str,
    /// Memory limit when the spec has none.
    pub default_memory: &'static str,
    /// Least memory limit, in bytes.
    pub least_memory: i128,
    /// What the server needs besides its buffer pool, in bytes.
    pub memory_besides_buffer_pool: i128,
}

impl Engine for Member {
    fn title(&self) -> &'static str {
        self.title
    }
    fn port(&self) -> i32 {
        3306
    }
    fn uri_scheme(&self) -> &'static str {
        "mysql"
    }
    fn numbers_of_series(&self) -> usize {
        2
    }
    fn administrator(&self) -> &'static str {
        "minidbaas"
    }
    fn files(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("common.sh", include_str!("scripts/mysql_family/common.sh")),
            (
                "prepare.sh",
                include_str!("scripts/mysql_family/prepare.sh"),
            ),
            ("apply.sh", include_str!("scripts/mysql_family/apply.sh")),
            ("client.sh", include_str!("scripts/mysql_family/client.sh")),
            (
                "quiesce.sh",
                include_str!("scripts/mysql_family/quiesce.sh"),
            ),
            ("check.sh", include_str!("scripts/mysql_family/check.sh")),
            ("volume.sh", include_str!("scripts/volume.sh")),
            ("serve.sh", include_str!("scripts/serve.sh")),
            ("hold.sh", include_str!("scripts/hold.sh")),
            ("started.sh", include_str!("scripts/started.sh")),
            ("stop.sh", include_str!("scripts/stop.sh")),
            (
                "quiesce_common.sh",
                include_str!("scripts/quiesce_common.sh"),
            ),
        ]
    }
    fn settings_key(&self) -> &'static str {
        "my.cnf"
    }
    fn command(&self) -> Vec<&'static str> {
        vec![self.program, "--defaults-file=/etc/minidbaas/my.cnf"]
    }
    fn environment(&self) -> Vec<(&'static str, &'static str)> {
        vec![("LANG", "C.UTF-8")]
    }
    fn run_path(&self) -> &'static str {
        "/run/mysqld"
    }
    fn shared_memory(&self) -> bool {
        false
    }
    fn probe(&self) -> Value {
        // The port opens only when recovery is over.
        json!({"tcpSocket": {"port": "database"}, "timeoutSeconds": 5})
    }
    fn probe_command(&self) -> Vec<&'static str> {
        vec!["bash", "-c", "(: </dev/tcp/127.0.0.1/3306) 2>/dev/null"]
    }
    fn stop_signal(&self) -> &'static str {
        "TERM"
    }
    fn grace_seconds(&self) -> i64 {
        300
    }
    fn default_memory(&self) -> &'static str {
        self.default_memory
    }
    fn least_memory(&self) -> i128 {
        self.least_memory
    }
    fn derived(&self, memory: i128) -> Settings {
        buffer_pool(memory, self.memory_besides_buffer_pool)
    }
    fn parameter_table(&self) -> &'static str {
        self.parameter_table
    }
    fn unusable_database(&self, name: &str) -> Option<&'static str> {
        unusable_database(name)
    }
    fn forbidden(&self, name: &str) -> Option<&'static str> {
        forbidden(name)
    }
    fn unwritable(&self, value: &str) -> Option<&'static str> {
        unwritable(value)
    }
    fn render(&self, settings: &Settings) -> String {
        render(self.program, self.settings, settings)
    }
    fn knows_extension_settings(&self) -> bool {
        false
    }
    fn error_marks(&self) -> &'static [&'static str] {
        &["[ERROR]", "Can't "]
    }
    fn complaint(&self, last_words: &str) -> Option<(String, String)> {
        complaint(last_words)
    }
}

/// Settings of both that belong to the operator, with the reason.
const FORBIDDEN: [(&[&str], &str); 5] = [
    (
        &[
            "datadir",
            "basedir",
            "tmpdir",
            "socket",
            "pid_file",
            "plugin_dir",
            "plugin_load",
            "plugin_load_add",
            "secure_file_priv",
            "character_sets_dir",
            "lc_messages_dir",
            "innodb_data_home_dir",
            "innodb_log_group_home_dir",
            "innodb_undo_directory",
            "innodb_tmpdir",
            "innodb_directories",
            "innodb_temp_tablespaces_dir",
            "innodb_doublewrite_dir",
            "slave_load_tmpdir",
            "replica_load_tmpdir",
            "log_error",
            "general_log_file",
            "slow_query_log_file",
            "log_bin",
            "log_bin_index",
            "log_bin_basename",
            "relay_log",
            "relay_log_index",
            "aria_log_dir_path",
            "init_file",
            "chroot",
            "user",
            "defaults_file",
            "mysqlx_socket",
            "ssl_ca",
            "ssl_cert",
            "ssl_key",
            "ssl_capath",
            "ssl_crl",
            "ssl_crlpath",
            "tls_ca",
            "admin_ssl_ca",
        ],
        "paths inside the container belong to the operator",
    ),
    (
        &[
            "bind_address",
            "port",
            "admin_address",
            "admin_port",
            "mysqlx",
            "mysqlx_bind_address",
            "mysqlx_port",
            "skip_networking",
            "extra_port",
            "report_host",
            "report_port",
        ],
        "the address belongs to the operator; see spec.service and spec.network",
    ),
    (
        &[
            "skip_grant_tables",
            "authentication_policy",
            "default_authentication_plugin",
            "old_passwords",
            "secure_auth",
            "skip_name_resolve",
            "init_connect",
            "local_infile",
            "require_secure_transport",
            "strict_password_validation",
            "caching_sha2_password_auto_generate_rsa_keys",
            "caching_sha2_password_private_key_path",
            "caching_sha2_password_public_key_path",
            "partial_revokes",
            "mandatory_roles",
        ],
        "authentication belongs to the operator",
    ),
    (
        &[
            "innodb_force_recovery",
            "innodb_doublewrite",
            "innodb_read_only",
            "innodb_fast_shutdown",
            "lower_case_table_names",
            "innodb_page_size",
            "innodb_data_file_path",
            "innodb_temp_data_file_path",
            "innodb_undo_tablespaces",
            "unireg_check",
            "initialize",
            "initialize_insecure",
            "bootstrap",
            "help",
            "verbose",
            "version",
            "validate_config",
            "daemonize",
            "gdb",
            "console",
            "skip_stack_trace",
            "upgrade",
        ],
        "it can lose data or make it unreadable, or is not a setting of a running server",
    ),
    (
        &["super_read_only", "offline_mode", "read_only"],
        "the operator changes passwords inside the database and needs to write",
    ),
];

/// What is wrong with the name of a database, if something is: a grant on it has at most 64 characters, its folder at
/// most 255 bytes, of which most characters but ASCII's letters and digits take five.
fn unusable_database(name: &str) -> Option<&'static str> {
    let in_grant = name
        .chars()
        .map(|c| 1 + usize::from(matches!(c, '_' | '%' | '\\')));
    let in_folder = name.chars().map(|c| {
        if c.is_ascii_alphanumeric() || c == '_' {
            1
        } else {
            5
        }
    });
    if in_grant.sum::<usize>() > 64 {
        Some("is longer than 64 characters, where each of _, % and \\ counts twice")
    } else if in_folder.sum::<usize>() > 255 {
        Some(
            "is too long for the name of a folder, in which other characters than ASCII's letters and digits take five \
                bytes of 255",
        )
    } else {
        None
    }
}

/// Why a setting may not be set by a user, if so.
fn forbidden(name: &str) -> Option<&'static str> {
    FORBIDDEN
        .iter()
        .find(|(names, _)| names.contains(&name))
        .map(|(_, why)| *why)
}

/// Option files have no way to write a double quote inside a quoted value that all versions read alike.
fn unwritable(value: &str) -> Option<&'static str> {
    value
        .contains('"')
        .then_some("a double quote; use single quotes")
}

/// An option file with the given section.
fn render(section: &str, base: &str, settings: &Settings) -> String {
    let lines = settings
        .iter()
        .map(|(name, value)| format!("{name} = \"{}\"\n", value.replace('\\', "\\\\")));
    format!("[{section}]\n{COMMON}{base}{}", lines.collect::<String>())
}

/// Buffer pool that fits beside what the rest of the server needs.
fn buffer_pool(memory: i128, overhead: i128) -> Settings {
    let pool = ((memory - overhead) / 4 * 3).max(32 * MIB);
    [("innodb_buffer_pool_size".to_owned(), super::mebibytes(pool))].into()
}

/// The variable named in an `[ERROR]` line.
fn complaint(last_words: &str) -> Option<(String, String)> {
    let tidy = |line: &str| line.trim().to_owned();
    last_words.lines().find_map(|line| {
        let name = quoted_after(line, "unknown variable", '\'', '=')
            .or_else(|| quoted_after(line, "unknown variable", '\'', '\''))
            .or_else(|| quoted_after(line, "unknown option", '\'', '\''))
            .or_else(|| {
                quoted_after(line, "while setting value", '\'', '\'')
                    .and(quoted_after(line, "' to", '\'', '\''))
            })
            .or_else(|| {
                quoted_after(line, "option", '\'', '\'').filter(|_| line.contains("adjusted to"))
            })
            .or_else(|| quoted_after(line, "for variable", '\'', '\''))
            .or_else(|| quoted_after(line, "Variable", '\'', '\''))?;
        Some((name.trim_start_matches('-').replace('-', "_"), tidy(line)))
    })
}

const COMMON: &str = "\
datadir = /var/lib/minidbaas/data
socket = /run/mysqld/mysqld.sock
pid_file = /run/mysqld/mysqld.pid
tmpdir = /tmp
port = 3306
bind_address = *
skip_name_resolve = ON
host_cache_size = 0
character_set_server = utf8mb4
";

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// On a busy node the client is stopped between the two writes of a line.
    #[test]
    fn a_word_of_the_session_is_heard_though_its_end_comes_later() {
        let script = include_str!("scripts/mysql_family/quiesce.sh");
        let (_, answer) = script.split_once("\nanswer() {").unwrap();
        let (answer, _) = answer.split_once("\n}\n").unwrap();
        let heard = format!(
            "work=$(mktemp -d); mkfifo \"$work/out\"; exec {{out}}<>\"$work/out\"; rm -r \"$work\"; process=$$
            answer() {{{answer}\n}}
            (printf rea; sleep 0.5; printf 'dy\\n') >&\"$out\" &
            answer 10 ready"
        );
        let end = Command::new("bash").args(["-c", &heard]).status().unwrap();
        assert!(end.success(), "{end}");
    }
}
