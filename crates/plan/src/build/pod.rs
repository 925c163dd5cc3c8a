//! What the server's pod and a Job's pod have in common: identity, security, volumes.

use api::names::admin_secret;
use serde_json::{Value, json};

use super::config_map::scripts_name;
use crate::engine::{CONFIG_PATH, CREDENTIALS_PATH};
use crate::valid::Subject;

/// User and group of the official images.
const UID: i64 = 999;

/// A restricted pod without a service-account token.
pub fn spec(subject: &Subject<'_>) -> Value {
    let engine = subject.engine;
    // Of the ConfigMap that can be edited only the settings file: no other key of it becomes a script.
    let settings = json!({"name": subject.name, "items": [{"key": engine.settings_key(),
        "path": engine.settings_key()}]});
    let sources = json!([{"configMap": settings}, {"configMap": {"name": scripts_name(subject.name, engine)}}]);
    let mut volumes = vec![
        json!({"name": "config", "projected": {"sources": sources, "defaultMode": 0o444}}),
        json!({"name": "credentials", "secret": {"secretName": admin_secret(subject.name), "defaultMode": 0o440}}),
        json!({"name": "tmp", "emptyDir": {}}),
        json!({"name": "run", "emptyDir": {}}),
    ];
    if engine.shared_memory() {
        volumes.push(json!({"name": "shared-memory", "emptyDir": {"medium": "Memory"}}));
    }
    json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": UID, "runAsGroup": UID, "fsGroup": UID,
                "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": volumes,
    })
}

/// A container of the engine's image. Its last words become the termination message when it fails.
pub fn container(subject: &Subject<'_>, name: &str, command: &[&str], credentials: bool) -> Value {
    let engine = subject.engine;
    let env: Vec<Value> = engine
        .environment()
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let mut mounts = vec![
        json!({"name": "config", "mountPath": CONFIG_PATH, "readOnly": true}),
        json!({"name": "tmp", "mountPath": "/tmp"}),
        json!({"name": "run", "mountPath": engine.run_path()}),
    ];
    if credentials {
        mounts
            .push(json!({"name": "credentials", "mountPath": CREDENTIALS_PATH, "readOnly": true}));
    }
    if engine.shared_memory() {
        mounts.push(json!({"name": "shared-memory", "mountPath": "/dev/shm"}));
    }
    json!({
        "name": name, "image": subject.image, "imagePullPolicy": "IfNotPresent", "command": command, "env": env,
        "volumeMounts": mounts,
        "resources": subject.resources,
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}
