//! Stories on a real cluster with real engines: one file a story. `make test` brings the cluster up first.

mod backups;
mod creation;
mod examples;
mod hostile;
mod leaving;
mod lifecycle;
mod refusals;
mod secrecy;
mod stalls;
mod troubles;
