//! What the status of a resource means to rules, its own and others'. One floor below all that decide by it, so that
//! the kinds do not have to know each other.

pub mod backup;
pub mod instance;
pub mod restore;
