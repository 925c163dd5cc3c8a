//! A Job that changes something inside the running database, in the engine's own image.

use std::collections::BTreeMap;

use api::names::{
    ANNOTATION_CANDIDATE, ANNOTATION_CHANGES, COMPONENT_APPLY, COMPONENT_CHECK, check_job, host,
    password_job, settings_job,
};
use serde_json::{Value, json};

use super::pod;
use crate::engine::{CANDIDATE_PATH, Settings};
use crate::valid::Subject;
use crate::{Kind, Object};

/// Exit code of apply.sh for "the engine says no", which trying again does not change.
const REFUSED: i32 = 1;
/// Seconds after which a check is given up.
const CHECK_SECONDS: i64 = 3600;

/// Checks these settings with the engine's own parser, then makes the dynamic changes.
pub fn settings(
    subject: &Subject<'_>,
    hash: &str,
    settings: &Settings,
    changes: &BTreeMap<String, Option<String>>,
) -> Object {
    let lines = changes.iter().map(|(name, value)| match value {
        Some(value) => format!("{name}\t{value}\n"),
        None => format!("{name}\n"),
    });
    let annotations = json!({
        ANNOTATION_CANDIDATE: subject.engine.render(settings),
        ANNOTATION_CHANGES: lines.collect::<String>(),
    });
    job(subject, &settings_job(subject.name, hash), "", &annotations)
}

/// Changes the application user's password to this revision of the administrator's Secret.
pub fn password(subject: &Subject<'_>, revision: &str) -> Object {
    let annotations = json!({ANNOTATION_CANDIDATE: "", ANNOTATION_CHANGES: ""});
    job(
        subject,
        &password_job(subject.name, revision),
        revision,
        &annotations,
    )
}

fn job(subject: &Subject<'_>, name: &str, revision: &str, annotations: &Value) -> Object {
    let mut container = client(subject, COMPONENT_APPLY);
    container["resources"] =
        json!({"requests": {"cpu": "10m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}});
    if let Some(env) = container["env"].as_array_mut() {
        env.push(json!({"name": "REVISION", "value": revision}));
    }
    if let Some(mounts) = container["volumeMounts"].as_array_mut() {
        mounts.push(json!({"name": "candidate", "mountPath": CANDIDATE_PATH, "readOnly": true}));
    }
    // Files of the downward API, because an environment variable would be expanded.
    let item = |path: &str, annotation: &str| {
        json!({"path": path,
        "fieldRef": {"fieldPath": format!("metadata.annotations['{annotation}']")}})
    };
    let mut spec = pod::spec(subject);
    if let Some(volumes) = spec["volumes"].as_array_mut() {
        let items = [
            item("settings", ANNOTATION_CANDIDATE),
            item("changes", ANNOTATION_CHANGES),
        ];
        volumes.push(json!({"name": "candidate", "downwardAPI": {"items": items}}));
    }
    spec["containers"] = json!([container]);
    let pod = json!({"metadata": {"annotations": annotations}, "spec": spec});
    once(subject, name, COMPONENT_APPLY, 300, pod)
}

/// Lets the engine's own checks run over a restored database.
pub fn check(subject: &Subject<'_>) -> Object {
    let mut spec = pod::spec(subject);
    spec["containers"] = json!([client(subject, COMPONENT_CHECK)]);
    let name = check_job(subject.name);
    once(
        subject,
        &name,
        COMPONENT_CHECK,
        CHECK_SECONDS,
        json!({"spec": spec}),
    )
}

/// A container that runs the script of its name and finds the server.
pub fn client(subject: &Subject<'_>, name: &str) -> Value {
    let script = format!("/etc/minidbaas/{name}.sh");
    let mut container = pod::container(subject, name, &["bash", &script], true);
    if let Some(env) = container["env"].as_array_mut() {
        env.push(json!({"name": "HOST", "value": host(subject.name, subject.namespace)}));
        env.push(json!({"name": "PORT", "value": subject.engine.port().to_string()}));
    }
    container
}

/// A Job that is tried again unless the engine says no. Its container is called like the component.
fn once(
    subject: &Subject<'_>,
    name: &str,
    component: &str,
    seconds: i64,
    mut template: Value,
) -> Object {
    template["spec"]["restartPolicy"] = json!("Never");
    template["metadata"]["labels"] = subject.labels(component);
    subject.owned(
        Kind::Job,
        name,
        component,
        json!({"spec": {
            "activeDeadlineSeconds": seconds,
            "backoffLimit": 5,
            "podFailurePolicy": {"rules": [
                {"action": "FailJob", "onExitCodes": {"containerName": component, "operator": "In",
                    "values": [REFUSED]}},
            ]},
            "template": template,
        }}),
    )
}
