//! Stories that crash the node, kill the operator, or need it undisturbed: they run one after another, and beside nothing else
//! (`cargo test -p e2e --test faults -- --test-threads=1`).

mod backup_crash;
mod backup_figures;
mod backup_no_api;
mod backup_operator_killed;
mod crash;
mod end_state;
mod gate;
mod ha_absent;
mod ha_crash;
mod idle;
mod leader;
mod operator;
mod operator_killed;
mod scope;
mod zalando;
