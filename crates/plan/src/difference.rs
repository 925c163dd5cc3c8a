//! Tells whether a desired object is already in force, so that nothing is written when nothing changed.

use api::names::ANNOTATION_HASH;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::quantity::thousandths;
use crate::{Kind, Write};

/// Eight hex digits of the SHA-256 of a value's JSON (keys are sorted, so equal values have equal hashes).
pub fn hash(value: &Value) -> String {
    let digest = Sha256::digest(value.to_string().as_bytes());
    digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The object with the hash of itself as an annotation: [`in_force`] sees by it that a field is no longer asked for.
pub fn with_hash(mut object: Value) -> Value {
    let hash = hash(&object);
    object["metadata"]["annotations"][ANNOTATION_HASH] = Value::String(hash);
    object
}

/// Whether `observed` has every field of `desired` with an equal value; more fields (defaults, status) do not matter.
pub fn in_force(desired: &Value, observed: &Value) -> bool {
    match (desired, observed) {
        (Value::Object(desired), Value::Object(observed)) => {
            desired.iter().all(|(key, value)| match observed.get(key) {
                Some(observed) => in_force(value, observed),
                None => is_empty(value),
            })
        }
        (Value::Array(desired), Value::Array(observed)) => {
            desired.len() == observed.len()
                && desired
                    .iter()
                    .zip(observed)
                    .all(|(desired, observed)| in_force(desired, observed))
        }
        (Value::String(desired), Value::String(observed)) => {
            desired == observed
                || thousandths(desired).is_some_and(|value| thousandths(observed) == Some(value))
        }
        _ => desired == observed || is_empty(desired) && is_empty(observed),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// Whether these and no others are an object's owner references.
pub fn is_owned_by(metadata: &ObjectMeta, owners: &Value) -> bool {
    let found = metadata.owner_references.clone().unwrap_or_default();
    in_force(owners, &json!(found))
}

/// Owner references say with whom an object goes: the change that makes them these, if they are others.
pub fn change_owners(kind: Kind, metadata: &ObjectMeta, owners: Value) -> Option<Write> {
    let change = json!({"metadata": {"ownerReferences": owners}});
    (!is_owned_by(metadata, &owners)).then(|| Write::patch(kind, metadata, change))
}

#[cfg(test)]
mod tests {
    use super::{hash, in_force, with_hash};
    use serde_json::json;

    #[test]
    fn defaults_and_quantities_do_not_differ() {
        let desired =
            json!({"spec": {"cpu": "0.5", "size": "1024Mi", "list": [{"a": 1}], "empty": {}}});
        let observed = json!({"spec": {"cpu": "500m", "size": "1Gi", "list": [{"a": 1, "b": 2}], "more": 1},
            "status": {}});
        assert!(in_force(&desired, &observed));
    }

    #[test]
    fn another_value_and_another_length_differ() {
        assert!(!in_force(&json!({"a": "1"}), &json!({"a": "2"})));
        assert!(!in_force(&json!({"a": [1]}), &json!({"a": [1, 2]})));
        assert!(!in_force(&json!({"a": "x"}), &json!({})));
    }

    #[test]
    fn a_field_no_longer_asked_for_differs_by_the_hash() {
        let before = with_hash(json!({"metadata": {}, "spec": {"a": 1, "b": 2}}));
        let after = with_hash(json!({"metadata": {}, "spec": {"a": 1}}));
        assert!(!in_force(&after, &before));
        assert_ne!(hash(&before), hash(&after));
    }
}
