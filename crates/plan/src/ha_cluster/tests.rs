//! The rules of clusters, tried on a small world with a Zalando operator and a Patroni that do as they are told.

mod creation;
mod delegate;
mod deletion;
mod edits;
mod law;
mod refusals;
mod status;
pub(crate) mod world;
