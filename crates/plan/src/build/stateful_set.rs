//! The StatefulSet with one pod: an init container that makes or re-keys the data, and the server.

use api::names::{
    ANNOTATION_CREDENTIALS, ANNOTATION_RESTART, ANNOTATION_RETRY, COMPONENT_DATABASE, selector,
};
use serde_json::{Value, json};

use super::{Subject, pod};
use crate::engine::VOLUME_PATH;
use crate::{Kind, Object};

/// What makes a pod be replaced besides its own spec.
pub struct Revision<'a> {
    /// The set of credentials that the data must be keyed to.
    pub credentials: &'a str,
    /// Hash of the settings that need a restart.
    pub restart: &'a str,
    /// Hash of settings that replaced others with which the server could not start, if any.
    pub retry: Option<&'a str>,
}

/// The StatefulSet.
pub fn stateful_set(subject: &Subject<'_>, revision: &Revision<'_>) -> Object {
    let spec = &subject.cr.spec;
    let mut annotations =
        json!({ANNOTATION_CREDENTIALS: revision.credentials, ANNOTATION_RESTART: revision.restart});
    if let Some(retry) = revision.retry {
        annotations[ANNOTATION_RETRY] = json!(retry);
    }
    subject.owned(
        Kind::StatefulSet,
        subject.name,
        COMPONENT_DATABASE,
        json!({"spec": {
            "replicas": i32::from(!spec.stopped),
            "serviceName": subject.name,
            // With OrderedReady a pod that never gets ready would block the update that cures it.
            "podManagementPolicy": "Parallel",
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": selector(subject.name)},
            "template": {
                "metadata": {"labels": subject.labels(COMPONENT_DATABASE), "annotations": annotations},
                "spec": pod_spec(subject),
            },
        }}),
    )
}

fn pod_spec(subject: &Subject<'_>) -> Value {
    let engine = subject.engine;
    let data = json!({"name": "data", "mountPath": VOLUME_PATH});
    let mut prepare = pod::container(
        subject,
        "prepare",
        &["bash", "/etc/minidbaas/prepare.sh"],
        true,
    );
    let mut server = pod::container(subject, "database", &engine.command(), false);
    for container in [&mut prepare, &mut server] {
        if let Some(mounts) = container["volumeMounts"].as_array_mut() {
            mounts.push(data.clone());
        }
    }
    let probe = |period: i32, failures: i32, mut probe: Value| {
        probe["periodSeconds"] = json!(period);
        probe["failureThreshold"] = json!(failures);
        probe
    };
    server["ports"] =
        json!([{"name": "database", "containerPort": engine.port(), "protocol": "TCP"}]);
    // Crash recovery of a large database can take long; it is never interrupted within an hour.
    server["startupProbe"] = probe(1, 3600, engine.probe());
    server["readinessProbe"] = probe(10, 3, engine.probe());
    server["livenessProbe"] = probe(
        10,
        6,
        json!({"tcpSocket": {"port": "database"}, "timeoutSeconds": 5}),
    );
    if let Some(command) = engine.stop_command() {
        server["lifecycle"] = json!({"preStop": {"exec": {"command": command}}});
    }
    let mut spec = pod::spec(subject);
    spec["terminationGracePeriodSeconds"] = json!(engine.grace_seconds());
    spec["initContainers"] = json!([prepare]);
    spec["containers"] = json!([server]);
    if let Some(volumes) = spec["volumes"].as_array_mut() {
        volumes.push(json!({"name": "data", "persistentVolumeClaim": {"claimName": subject.name}}));
    }
    if let (Value::Object(fields), Some(spec)) =
        (json!(subject.cr.spec.scheduling), spec.as_object_mut())
    {
        spec.extend(fields);
    }
    spec
}
