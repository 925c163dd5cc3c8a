//! The StatefulSet with one pod: an init container that makes or re-keys the data, and the server.

use api::names::{
    ANNOTATION_CREDENTIALS, ANNOTATION_HOLD, ANNOTATION_RESTART, ANNOTATION_RETRY,
    COMPONENT_DATABASE, selector,
};
use serde_json::{Value, json};

use super::pod;
use crate::engine::VOLUME_PATH;
use crate::facts::{HOLD, PREPARE, SERVER};
use crate::valid::Subject;
use crate::{Kind, Object};

/// What makes a pod be replaced besides its own spec.
pub struct Revision<'a> {
    /// The set of credentials that the data must be keyed to.
    pub credentials: &'a str,
    /// Hash of the settings that need a restart.
    pub restart: &'a str,
    /// Hash of settings that replaced others with which the server could not start, if any.
    pub retry: Option<&'a str>,
    /// The Offline backup for which the server is held back.
    pub hold: Option<&'a Hold>,
}

/// Keeps the server down for the cut of an Offline backup. It ends by itself, whoever dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// UID of the backup.
    pub backup_uid: String,
    /// Name of the backup.
    pub backup_name: String,
    /// Seconds it may last at most, from when the server has stopped.
    pub seconds: i64,
    /// Unix time after which it does not last in any case.
    pub until: i64,
}

/// The StatefulSet.
pub fn stateful_set(subject: &Subject<'_>, revision: &Revision<'_>) -> Object {
    let spec = &subject.cr.spec;
    let mut annotations =
        json!({ANNOTATION_CREDENTIALS: revision.credentials, ANNOTATION_RESTART: revision.restart});
    if let Some(retry) = revision.retry {
        annotations[ANNOTATION_RETRY] = json!(retry);
    }
    if let Some(hold) = revision.hold {
        annotations[ANNOTATION_HOLD] = json!(hold.backup_uid);
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
                "spec": pod_spec(subject, revision.hold),
            },
        }}),
    )
}

/// Crash recovery of a large database can take long; it is never interrupted within an hour: a round takes at least 4
/// s.
const STARTUP_ROUNDS: i32 = 900;

/// The kubelet asks once a second at most; this one waits for the server, and so is answered at once.
fn started(probe_command: &[&str]) -> Value {
    let waiting = ["bash", "/etc/minidbaas/started.sh"];
    let command: Vec<&str> = waiting.iter().chain(probe_command).copied().collect();
    json!({"exec": {"command": command}, "timeoutSeconds": 10})
}

fn pod_spec(subject: &Subject<'_>, hold: Option<&Hold>) -> Value {
    let engine = subject.engine;
    let data = json!({"name": "data", "mountPath": VOLUME_PATH});
    let mut prepare = pod::container(
        subject,
        PREPARE,
        &["bash", "/etc/minidbaas/prepare.sh"],
        true,
    );
    // The first start on a restored volume has more to do than any other; which one it is, the volume remembers.
    if let (Some(from), Some(env)) = (&subject.restored_from, prepare["env"].as_array_mut()) {
        env.push(json!({"name": "RESTORED_FROM", "value": from.uid}));
    }
    let serve = ["bash", "/etc/minidbaas/serve.sh"];
    let command: Vec<&str> = serve.into_iter().chain(engine.command()).collect();
    let mut server = pod::container(subject, SERVER, &command, false);
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
    server["startupProbe"] = probe(1, STARTUP_ROUNDS, started(&engine.probe_command()));
    server["readinessProbe"] = probe(10, 3, engine.probe());
    server["livenessProbe"] = probe(
        10,
        6,
        json!({"tcpSocket": {"port": "database"}, "timeoutSeconds": 5}),
    );
    let stop = ["bash", "/etc/minidbaas/stop.sh", engine.stop_signal()];
    server["lifecycle"] = json!({"preStop": {"exec": {"command": stop}}});
    let mut spec = pod::spec(subject);
    spec["terminationGracePeriodSeconds"] = json!(engine.grace_seconds());
    let mut first = vec![prepare];
    if let Some(hold) = hold {
        let mut holder = pod::container(subject, HOLD, &["bash", "/etc/minidbaas/hold.sh"], false);
        if let Some(env) = holder["env"].as_array_mut() {
            env.push(json!({"name": "HOLD_SECONDS", "value": hold.seconds.to_string()}));
            env.push(json!({"name": "HOLD_UNTIL", "value": hold.until.to_string()}));
        }
        first.insert(0, holder);
    }
    spec["initContainers"] = json!(first);
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
