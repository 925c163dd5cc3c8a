//! A Job that changes something inside the running database, in the engine's own image.

use std::collections::BTreeMap;

use api::names::{
    ANNOTATION_CANDIDATE, ANNOTATION_CHANGES, COMPONENT_APPLY, host, password_job, settings_job,
};
use serde_json::{Value, json};

use super::{Subject, pod};
use crate::engine::{CANDIDATE_PATH, Settings};
use crate::{Kind, Object};

/// Exit code of apply.sh for "the engine says no", which trying again does not change.
const REFUSED: i32 = 1;

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
    let mut container =
        pod::container(subject, "apply", &["bash", "/etc/minidbaas/apply.sh"], true);
    container["resources"] =
        json!({"requests": {"cpu": "10m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}});
    let more = [
        ("HOST", host(subject.name, subject.namespace)),
        ("PORT", subject.engine.port().to_string()),
        ("REVISION", revision.to_owned()),
    ];
    if let Some(env) = container["env"].as_array_mut() {
        env.extend(
            more.iter()
                .map(|(name, value)| json!({"name": name, "value": value})),
        );
    }
    if let Some(mounts) = container["volumeMounts"].as_array_mut() {
        mounts.push(json!({"name": "candidate", "mountPath": CANDIDATE_PATH, "readOnly": true}));
    }
    // Files of the downward API, because an environment variable would be expanded.
    let item = |path: &str, annotation: &str| json!({"path": path, "fieldRef": {"fieldPath": format!("metadata.annotations['{annotation}']")}});
    let mut spec = pod::spec(subject);
    if let Some(volumes) = spec["volumes"].as_array_mut() {
        let items = [
            item("settings", ANNOTATION_CANDIDATE),
            item("changes", ANNOTATION_CHANGES),
        ];
        volumes.push(json!({"name": "candidate", "downwardAPI": {"items": items}}));
    }
    spec["restartPolicy"] = json!("Never");
    spec["containers"] = json!([container]);
    subject.owned(
        Kind::Job,
        name,
        COMPONENT_APPLY,
        json!({"spec": {
            "activeDeadlineSeconds": 300,
            "backoffLimit": 5,
            "podFailurePolicy": {"rules": [
                {"action": "FailJob", "onExitCodes": {"containerName": "apply", "operator": "In", "values": [REFUSED]}},
            ]},
            "template": {"metadata": {"labels": subject.labels(COMPONENT_APPLY), "annotations": annotations}, "spec": spec},
        }}),
    )
}
