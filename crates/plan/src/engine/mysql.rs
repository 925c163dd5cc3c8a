//! MySQL 8.4 and later.

use super::MIB;
use super::mysql_family::Member;

/// The MySQL engine.
pub const MYSQL: Member = Member {
    title: "MySQL",
    program: "mysqld",
    settings: "\
mysqlx = OFF
secure_file_priv = NULL
",
    parameter_table: include_str!("parameters/mysql.txt"),
    default_memory: "768Mi",
    least_memory: 512 * MIB,
    memory_besides_buffer_pool: 400 * MIB,
};
