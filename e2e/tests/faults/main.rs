//! Stories that crash the node, take an operator away, or need it undisturbed: each has the cluster to itself.

mod absent_zalando;
mod backup_no_api;
mod idle;
mod leader;
mod memory;
mod power;
mod uninstall;
