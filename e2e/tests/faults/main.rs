//! Stories that crash the node, kill the operator, or need it undisturbed: they run one after another, and beside nothing else
//! (`cargo test -p e2e --test faults -- --test-threads=1`).

mod crash;
mod end_state;
mod idle;
mod leader;
mod operator;
mod operator_killed;
mod scope;
