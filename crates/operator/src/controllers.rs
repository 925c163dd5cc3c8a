//! One file per kind of resource: its watches and what a pass reads.

pub mod instance;
