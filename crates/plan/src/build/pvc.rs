//! The volume claim, made directly: growing is one patch, and no StatefulSet can delete it.

use api::external::snapshot;
use api::names::{
    ANNOTATION_ACCEPTED_BY, ANNOTATION_DATABASE, ANNOTATION_ENGINE, ANNOTATION_RESTORED_FROM,
    ANNOTATION_USERNAME, ANNOTATION_VERSION, COMPONENT_DATABASE,
};
use serde_json::{Value, json};

use crate::valid::Subject;
use crate::{Kind, Object};

/// A new claim that says whose data it is going to hold.
pub fn claim(subject: &Subject<'_>, access_mode: &str) -> Object {
    let storage = &subject.cr.spec.storage;
    let mut object = subject.kept(
        Kind::PersistentVolumeClaim,
        subject.name,
        COMPONENT_DATABASE,
        json!({"spec": {"accessModes": [access_mode], "resources": {"requests": {"storage": storage.size}}}}),
    );
    if let Some(class) = &storage.class_name {
        object.value["spec"]["storageClassName"] = json!(class);
    }
    object.value["metadata"]["annotations"] = annotations(subject);
    if let (Some(from), Some(snapshot)) = (&subject.restored_from, &subject.data_source) {
        object.value["metadata"]["annotations"][ANNOTATION_RESTORED_FROM] =
            json!(json!(from).to_string());
        object.value["spec"]["dataSource"] =
            json!({"apiGroup": snapshot::GROUP, "kind": "VolumeSnapshot", "name": snapshot});
    }
    object.value["metadata"]["ownerReferences"] = owners(subject);
    object
}

/// What an existing claim should say; its size is added where it is to grow.
pub fn annotations(subject: &Subject<'_>) -> Value {
    json!({
        ANNOTATION_ENGINE: subject.cr.spec.engine.name(),
        ANNOTATION_VERSION: subject.version,
        ANNOTATION_DATABASE: subject.database,
        ANNOTATION_USERNAME: subject.cr.spec.username,
        ANNOTATION_ACCEPTED_BY: subject.uid,
    })
}

/// Owner references of everything that shares the data's fate.
pub fn owners(subject: &Subject<'_>) -> Value {
    if subject.data_is_owned() {
        json!([subject.owner_reference()])
    } else {
        json!([])
    }
}
