//! Stories with an operator of their own, a process for one namespace that can be killed at any moment. The Deployment
//! has no pod meanwhile, so each has the cluster to itself.

mod backup_operator_killed;
mod end_state;
mod gate;
mod operator;
mod operator_killed;
mod scope;
mod successor;
