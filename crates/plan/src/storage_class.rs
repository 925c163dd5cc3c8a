//! The storage class of a volume, as far as rules look at it.

/// A storage class, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageClass {
    /// It was not looked for.
    Unread,
    /// There is none of this name, or no default one.
    Missing,
    /// It exists.
    Found {
        /// Its name.
        name: String,
        /// allowVolumeExpansion.
        can_grow: bool,
        /// The driver that makes its volumes.
        provisioner: String,
        /// The access mode of its new claims.
        access_mode: &'static str,
    },
}

/// One pod at a time may mount the volume; Kubernetes sees to that.
pub const EXCLUSIVE: &str = "ReadWriteOncePod";

/// The access mode of new claims of a class with this annotation. Every CSI driver knows the exclusive one; for storage
/// that is not CSI and refuses it, the class says so.
pub fn access_mode(annotation: Option<&str>) -> &'static str {
    match annotation {
        Some("ReadWriteOnce") => "ReadWriteOnce",
        _ => EXCLUSIVE,
    }
}
