//! Stories that crash the node, take the operator away, or need it undisturbed: they run one after another, and beside
//! nothing else (`cargo test -p e2e --test faults -- --test-threads=1`).

mod backup_no_api;
mod idle;
mod leader;
mod memory;
mod power;
mod uninstall;
