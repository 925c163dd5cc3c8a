//! Our own slices of foreign resources: only the fields that are set or read, tolerant of everything else.

pub mod snapshot;
