//! Names of objects in a spec. The schema admits nothing else; a resource that was stored before it did is told of
//! here, because no object can have such a name and nothing would ever come of it.

use api::condition::reason;
use api::object_name::{is_instance, is_label, is_subdomain};
use api::restore::BackupReference;

use crate::Invalid;
use crate::quote::quoted;

/// What a field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A namespace.
    Namespace,
    /// An instance.
    Instance,
    /// Any other object.
    Object,
}

/// Refuses a name that no object can have.
pub fn check(field: &str, name: Option<&str>, named: Named) -> Result<(), Invalid> {
    let Some(name) = name else { return Ok(()) };
    let (fits, form) = match named {
        Named::Namespace => (
            is_label(name),
            "a namespace has at most 63 lower-case letters, digits and '-'",
        ),
        Named::Instance => (
            is_instance(name),
            "an instance has at most 52 lower-case letters, digits and '-', and begins with a letter",
        ),
        Named::Object => (
            is_subdomain(name),
            "a name has at most 253 lower-case letters, digits, '-' and '.'",
        ),
    };
    if fits {
        return Ok(());
    }
    Err(Invalid::spec(
        reason::INVALID_NAME,
        format!(
            "{field}: nothing can be called '{}': {form}. Correct it, or create the resource anew with another one.",
            quoted(name)
        ),
    ))
}

/// Refuses a reference to a backup that there can never be.
pub fn check_backup(field: &str, backup: &BackupReference) -> Result<(), Invalid> {
    let namespace = backup.namespace.as_deref();
    check(&format!("{field}.name"), Some(&backup.name), Named::Object)?;
    check(&format!("{field}.namespace"), namespace, Named::Namespace)
}
