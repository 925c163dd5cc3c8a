//! The two Secrets of an instance: what applications read, and what only the pod's first container and Jobs read.

use api::names::{
    ANNOTATION_ACCEPTED_BY, ANNOTATION_REVISION, COMPONENT_DATABASE, admin_secret, host,
};
use serde_json::{Value, json};

use super::pvc::owners;
use crate::valid::Subject;
use crate::{Kind, Object};

/// The binding of the service-binding specification; the application's password as of `revision`.
pub fn binding(subject: &Subject<'_>, password: &str, revision: &str) -> Object {
    let mut object = subject.kept(
        Kind::Secret,
        subject.name,
        COMPONENT_DATABASE,
        json!({
            "type": format!("servicebinding.io/{}", subject.cr.spec.engine.name()),
            "stringData": binding_data(subject, password),
        }),
    );
    object.value["metadata"]["annotations"] =
        json!({ANNOTATION_REVISION: revision, ANNOTATION_ACCEPTED_BY: subject.uid});
    object.value["metadata"]["ownerReferences"] = owners(subject);
    object
}

/// Keys of the binding.
pub fn binding_data(subject: &Subject<'_>, password: &str) -> Value {
    let (host, port) = (host(subject.name, subject.namespace), subject.engine.port());
    let username = &subject.cr.spec.username;
    let uri = format!(
        "{}://{}:{}@{host}:{port}/{}",
        subject.engine.uri_scheme(),
        percent_encoded(username),
        percent_encoded(password),
        percent_encoded(&subject.database)
    );
    json!({
        "type": subject.cr.spec.engine.name(), "provider": "minidbaas", "host": host, "port": port.to_string(),
        "database": subject.database, "username": username, "password": password, "uri": uri,
    })
}

/// What the first start and later changes of credentials work with.
pub struct Admin<'a> {
    /// Names this set of credentials; data keyed to another one is keyed again before the server starts.
    pub id: &'a str,
    /// The administrator's password.
    pub admin_password: &'a str,
    /// The application user's password.
    pub password: &'a str,
    /// Names the application user's password.
    pub revision: &'a str,
}

/// The administrator's Secret. User and database lie in it as files, because an environment variable would be expanded.
pub fn admin(subject: &Subject<'_>, admin: &Admin<'_>) -> Object {
    let mut object = subject.kept(
        Kind::Secret,
        &admin_secret(subject.name),
        COMPONENT_DATABASE,
        json!({"type": "Opaque", "stringData": {
            "id": admin.id, "admin-username": subject.engine.administrator(), "admin-password": admin.admin_password,
            "username": subject.cr.spec.username, "password": admin.password, "database": subject.database,
            "revision": admin.revision,
        }}),
    );
    object.value["metadata"]["annotations"] = json!({ANNOTATION_ACCEPTED_BY: subject.uid});
    object.value["metadata"]["ownerReferences"] = owners(subject);
    object
}

/// Everything but RFC 3986's unreserved characters as `%XX`, so that any parser of URIs reads the same name.
pub fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn everything_reserved_is_encoded() {
        assert_eq!(
            super::percent_encoded("a:b@c/d?e#f%g h'ü"),
            "a%3Ab%40c%2Fd%3Fe%23f%25g%20h%27%C3%BC"
        );
    }
}
