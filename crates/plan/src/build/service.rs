//! The Service by which applications reach the database.

use api::names::{COMPONENT_DATABASE, server_selector};
use serde_json::json;

use crate::valid::Subject;
use crate::{Kind, Object};

/// One port, of the type the spec asks for.
pub fn service(subject: &Subject<'_>) -> Object {
    let asked = subject.cr.spec.service.clone().unwrap_or_default();
    let mut object = subject.owned(
        Kind::Service,
        subject.name,
        COMPONENT_DATABASE,
        json!({"spec": {
            "type": asked.type_.name(),
            "selector": server_selector(subject.name),
            // There is no other server to turn to, and this one says itself when it is ready: the kubelet, which looks
            // once a second, says so later.
            "publishNotReadyAddresses": true,
            "ports": [{"name": "database", "port": subject.engine.port(), "protocol": "TCP", "targetPort": "database"}],
        }}),
    );
    if !asked.annotations.is_empty() {
        object.value["metadata"]["annotations"] = json!(asked.annotations);
    }
    object
}
