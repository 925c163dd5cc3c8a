//! The password that a user asks for by spec.credentialsSecret.

use api::condition::reason;
use api::instance::CredentialsSecret;
use k8s_openapi::api::core::v1::Secret;

use crate::Invalid;
use crate::facts::text;
use crate::quote::quoted;

/// The type of Secrets with a user's password; what has another one is not for us.
const TYPE: &str = "kubernetes.io/basic-auth";

/// The password of the Secret that `reference` names, if it names one and it can be used for this user.
pub fn asked(
    reference: Option<&CredentialsSecret>,
    username: &str,
    secret: Option<&Secret>,
) -> Result<Option<String>, Invalid> {
    let Some(CredentialsSecret { name }) = reference else {
        return Ok(None);
    };
    let name = quoted(name);
    let invalid = |what: String| {
        Invalid::surroundings(
            reason::CREDENTIALS_INVALID,
            format!("spec.credentialsSecret: the Secret {name} {what}"),
        )
    };
    let Some(secret) = secret else {
        return Err(Invalid::surroundings(
            reason::CREDENTIALS_NOT_FOUND,
            format!(
                "spec.credentialsSecret: there is no Secret {name} in the namespace. Create it with type {TYPE} and \
                    the key password."
            ),
        ));
    };
    // Whoever may make instances but not read Secrets would else have the operator read any of them out to a database
    // of theirs.
    if secret.type_.as_deref() != Some(TYPE) {
        let found = quoted(secret.type_.as_deref().unwrap_or("Opaque"));
        return Err(invalid(format!(
            "is of type {found}, and only one of type {TYPE} is taken, because that says that it is meant for this. \
                The type of a Secret cannot be changed: delete it and create it with that one."
        )));
    }
    if text(secret, "username").is_some_and(|found| found != username) {
        return Err(invalid(format!(
            "has another username than spec.username, which is {}. Correct or remove the key username.",
            quoted(username)
        )));
    }
    let present = secret
        .data
        .as_ref()
        .is_some_and(|data| data.contains_key("password"));
    let Some(password) = text(secret, "password") else {
        return Err(invalid(if present {
            "has a password that is not UTF-8. Use another.".to_owned()
        } else {
            "has no key password. Add it.".to_owned()
        }));
    };
    if password.is_empty() || password.len() > 200 || password.chars().any(char::is_control) {
        return Err(invalid("has a password that is empty, longer than 200 bytes, or contains a control character (a \
            line break at the end is one; `printf` writes none). Use another.".to_owned()));
    }
    Ok(Some(password))
}
