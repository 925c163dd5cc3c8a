//! MariaDB 10.11 and later.

use super::MIB;
use super::mysql_family::Member;

/// The MariaDB engine.
pub const MARIADB: Member = Member {
    title: "MariaDB",
    program: "mariadbd",
    // At 2, the default, every probe of the port would be a line in the log.
    settings: "log_warnings = 1\n",
    parameter_table: include_str!("parameters/mariadb.txt"),
    default_memory: "512Mi",
    least_memory: 192 * MIB,
    memory_besides_buffer_pool: 160 * MIB,
};
