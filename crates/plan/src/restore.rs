//! `DatabaseRestore`: the record of one restore into a new instance.

pub mod preflight;
