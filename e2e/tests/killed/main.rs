//! Stories with an operator of their own, a process for one namespace that can be killed at any moment. The Deployment
//! has no pod meanwhile, so they run side by side, but beside no other stories (`cargo test -p e2e --test killed`).

mod backup_operator_killed;
mod end_state;
mod gate;
mod operator;
mod operator_killed;
mod scope;
