//! What Kubernetes objects may be called. The patterns are those of the schema; the functions are for resources that
//! were stored before the schema had them, and for whoever puts a name into a URL.

/// DNS-1123 subdomain: the name of most objects.
pub const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// DNS-1123 label: the name of a namespace.
pub const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A namespace, or "*" for all.
pub const LABEL_OR_ALL: &str = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$";
/// An instance: its Service has the same name, and those begin with a letter.
pub const INSTANCE: &str = r"^[a-z]([-a-z0-9]*[a-z0-9])?$";

/// Whether there can be an object of this name: at most 253 characters, as in [`SUBDOMAIN`].
pub fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns)
}

/// Whether there can be a namespace of this name: at most 63 characters, as in [`LABEL`].
pub fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_dns(name)
}

/// Whether there can be an instance of this name: at most 52 characters, as in [`INSTANCE`].
pub fn is_instance(name: &str) -> bool {
    name.len() <= 52 && is_dns(name) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

fn is_dns(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}
