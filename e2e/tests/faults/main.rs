//! Stories that crash the node, take the operator away, or need it undisturbed: each has the cluster to itself.

mod backup_no_api;
mod idle;
mod leader;
mod memory;
mod power;
mod uninstall;
