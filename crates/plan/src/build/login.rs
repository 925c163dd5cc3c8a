//! The Job that logs in to an HACluster as a client does. The Zalando operator does not tell when user, database and
//! password are as they were asked for; a login does.

use api::external::zalando::secret;
use api::names::{COMPONENT_LOGIN, host, login_job};
use serde_json::{Value, json};

use super::ha_secret::PORT;
use super::postgresql::{GID, UID};
use crate::child::owner_reference;
use crate::engine::CREDENTIALS_PATH;
use crate::valid::Cluster;
use crate::{Kind, Object};

/// Seconds after which it is given up, and made anew.
const SECONDS: i64 = 600;

/// Tries until it can log in with this revision of the password; in the servers' own image, which is on the nodes.
pub fn login(cluster: &Cluster<'_>, image: &str, revision: &str) -> Object {
    let metadata = &cluster.cr.metadata;
    let name = login_job(metadata.uid.as_deref().unwrap_or_default(), revision);
    let labels = cluster.labels(COMPONENT_LOGIN);
    let username = &cluster.cr.spec.username;
    let value = |name: &str, value: &str| json!({"name": name, "value": value});
    let environment: [Value; 7] = [
        value("PGHOST", &host(cluster.name, cluster.namespace)),
        value("PGPORT", &PORT.to_string()),
        value("PGUSER", username),
        value("PGDATABASE", &cluster.database),
        value("PGSSLMODE", "require"),
        value("PGCONNECT_TIMEOUT", "5"),
        value("PGPASSFILE", "/tmp/pgpass"),
    ];
    let container = json!({
        "name": "login", "image": image, "imagePullPolicy": "IfNotPresent", "env": environment,
        "command": ["bash", "-c", include_str!("login.sh")],
        "volumeMounts": [
            {"name": "credentials", "mountPath": CREDENTIALS_PATH, "readOnly": true},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
    });
    let (api_version, kind, _) = Kind::Job.api();
    Object {
        kind: Kind::Job,
        value: json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {
                "name": name, "namespace": cluster.namespace, "labels": labels,
                "ownerReferences": [owner_reference(Kind::HACluster, metadata)],
            },
            "spec": {
                "backoffLimit": 5,
                "activeDeadlineSeconds": SECONDS,
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
                        "automountServiceAccountToken": false, "enableServiceLinks": false,
                        "securityContext": {
                            "runAsNonRoot": true, "runAsUser": UID, "runAsGroup": GID, "fsGroup": GID,
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "containers": [container],
                        "volumes": [
                            {"name": "credentials", "secret": {"secretName": secret(username, cluster.name),
                                "defaultMode": 0o440}},
                            {"name": "tmp", "emptyDir": {}},
                        ],
                    },
                },
            },
        }),
    }
}
