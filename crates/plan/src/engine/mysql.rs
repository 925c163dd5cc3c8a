//! MySQL 8.4 and later.

use serde_json::{Value, json};

use super::{Engine, MIB, Settings, mysql_family};

/// The MySQL engine.
pub struct Mysql;

impl Engine for Mysql {
    fn title(&self) -> &'static str {
        "MySQL"
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
        ]
    }
    fn settings_key(&self) -> &'static str {
        "my.cnf"
    }
    fn command(&self) -> Vec<&'static str> {
        vec!["mysqld", "--defaults-file=/etc/minidbaas/my.cnf"]
    }
    fn environment(&self) -> Vec<(&'static str, &'static str)> {
        vec![("ENGINE", "mysql"), ("LANG", "C.UTF-8")]
    }
    fn run_path(&self) -> &'static str {
        "/run/mysqld"
    }
    fn shared_memory(&self) -> bool {
        false
    }
    fn probe(&self) -> Value {
        json!({"tcpSocket": {"port": "database"}, "timeoutSeconds": 5})
    }
    fn stop_command(&self) -> Option<Vec<&'static str>> {
        None
    }
    fn grace_seconds(&self) -> i64 {
        300
    }
    fn default_memory(&self) -> &'static str {
        "768Mi"
    }
    fn least_memory(&self) -> i128 {
        512 * MIB
    }
    fn derived(&self, memory: i128) -> Settings {
        mysql_family::buffer_pool(memory, 400 * MIB)
    }
    fn parameter_table(&self) -> &'static str {
        include_str!("parameters/mysql.txt")
    }
    fn unusable_database(&self, name: &str) -> Option<&'static str> {
        mysql_family::unusable_database(name)
    }
    fn forbidden(&self, name: &str) -> Option<&'static str> {
        mysql_family::forbidden(name)
    }
    fn unwritable(&self, value: &str) -> Option<&'static str> {
        mysql_family::unwritable(value)
    }
    fn render(&self, settings: &Settings) -> String {
        mysql_family::render("mysqld", BASE, settings)
    }
    fn knows_extension_settings(&self) -> bool {
        false
    }
    fn error_marks(&self) -> &'static [&'static str] {
        mysql_family::ERROR_MARKS
    }
    fn complaint(&self, last_words: &str) -> Option<(String, String)> {
        mysql_family::complaint(last_words)
    }
}

const BASE: &str = "\
mysqlx = OFF
secure_file_priv = NULL
";
