//! The Zalando operator, as far as it is seen from outside: it makes what a `postgresql` asks for and deletes it with
//! it.

use api::external::zalando::{LABEL_CLUSTER, SYSTEM_USERS, secret as user_secret};
use api::names::LABEL_HA_CLUSTER;
use serde_json::{Value, json};

use super::api_server::{Cluster, Key, Stored, key};
use super::machines::{secret, text};

const FINALIZER: &str = "postgres-operator.acid.zalan.do";

pub fn labels(name: &str) -> Value {
    json!({"application": "spilo", "cluster-name": name})
}

pub fn is_of_zalando(value: &Value) -> bool {
    value["metadata"]["labels"]["application"] == "spilo"
}

/// One step for one cluster.
pub fn step(cluster: &mut Cluster) -> bool {
    for (key, found) in cluster.of_kind("postgresql") {
        if cluster.strangers.contains(&key) {
            continue;
        }
        if found.leaves() {
            return delete(cluster, &key);
        }
        // It acts on what has changed since it last said that it was done.
        let wanted = json!([
            found.value["spec"],
            found.value["metadata"]["annotations"]["minidbaas.dev/asked-again"]
        ]);
        let wanted = wanted.to_string();
        if text(&found.value, "/metadata/annotations/done") != wanted {
            carry_out(cluster, &key, &found, &wanted);
            return true;
        }
    }
    false
}

fn carry_out(cluster: &mut Cluster, of: &Key, found: &Stored, wanted: &str) {
    let (namespace, name) = (of.1.clone(), of.2.clone());
    let make = |cluster: &mut Cluster, kind: &'static str, object: &str, more: Value| {
        let mut value = more;
        value["metadata"]["name"] = json!(object);
        value["metadata"]["labels"] = labels(&name);
        cluster.create(kind, &namespace, value).ok();
    };
    let count = found.value["spec"]["numberOfInstances"]
        .as_i64()
        .unwrap_or_default();
    let template = json!({"metadata": {"annotations": found.value["spec"]["podAnnotations"]},
        "spec": {"containers": [{"name": "postgres", "image": "spilo:17"}]}});
    make(cluster, "Service", &name, json!({}));
    make(cluster, "Endpoints", &name, json!({}));
    for user in SYSTEM_USERS {
        make(cluster, "Secret", &user_secret(user, &name), json!({}));
    }
    make(
        cluster,
        "StatefulSet",
        &name,
        json!({"spec": {"serviceName": name.as_ref(), "selector": {}}}),
    );
    let set = key("StatefulSet", &namespace, &name);
    cluster.merge(
        &set,
        &json!({"spec": {"replicas": count, "template": template},
        "status": {"replicas": count, "observedGeneration": 1000, "updateRevision": "r"}}),
    );
    let size = &found.value["spec"]["volume"]["size"];
    for number in 0..9 {
        let pod = format!("{name}-{number}");
        if number >= count {
            cluster.delete(&key("Pod", &namespace, &pod));
            continue;
        }
        let claim = format!("pgdata-{pod}");
        let requests = json!({"resources": {"requests": {"storage": size}}});
        make(
            cluster,
            "PersistentVolumeClaim",
            &claim,
            json!({"spec": requests}),
        );
        cluster.merge(
            &key("PersistentVolumeClaim", &namespace, &claim),
            &json!({"spec": requests}),
        );
        make(cluster, "Pod", &pod, server(cluster, number == 0));
        cluster.merge(&key("Pod", &namespace, &pod), &json!({"metadata": {"labels": {
            "spilo-role": if number == 0 { "master" } else { "replica" }, "controller-revision-hash": "r"}}}));
    }
    let done = json!({"manager": "postgres-operator", "operation": "Update", "subresource": "status",
        "time": cluster.time()});
    let username = found.value["spec"]["users"]
        .as_object()
        .and_then(|users| users.keys().next().cloned());
    let password = username
        .and_then(|user| secret(cluster, &namespace, &user_secret(&user, &name), "password"));
    cluster.edit(of, |value| {
        let mut entries = value["metadata"]["managedFields"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        entries.retain(|entry| entry["subresource"] != "status");
        entries.push(done);
        value["metadata"]["managedFields"] = json!(entries);
        value["metadata"]["finalizers"] = json!([FINALIZER]);
        value["metadata"]["annotations"]["done"] = json!(wanted);
        value["metadata"]["annotations"]["password"] = json!(password);
        value["status"] = json!({"PostgresClusterStatus": "Running"});
    });
}

fn server(cluster: &Cluster, primary: bool) -> Value {
    let mut member = json!({"state": "running", "role": if primary { "master" } else { "replica" },
        "version": "4.0.7"});
    if !primary {
        member["replication_state"] = json!("streaming");
    }
    json!({"metadata": {"annotations": {"status": member.to_string()}}, "status": {"phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": cluster.time()}]}})
}

/// It deletes what it made, and leaves the volumes and what Patroni keeps.
fn delete(cluster: &mut Cluster, of: &Key) -> bool {
    let (namespace, name) = (&of.1, &of.2);
    for kind in ["StatefulSet", "Pod", "Service", "Secret"] {
        let all = cluster.living(kind).into_iter();
        let mut its = all.filter(|(key, stored)| {
            let labels = &stored.value["metadata"]["labels"];
            key.1 == *namespace
                && is_of_zalando(&stored.value)
                && labels[LABEL_CLUSTER] == name.as_ref()
        });
        if let Some((key, _)) = its.next() {
            cluster.delete(&key);
            return true;
        }
    }
    cluster.edit(of, |value| value["metadata"]["finalizers"] = json!([]));
    true
}

/// A client logs in with the password of the user's Secret.
pub fn log_in(cluster: &mut Cluster, job: &Key, value: &Value) -> bool {
    let name = value["metadata"]["labels"][LABEL_HA_CLUSTER]
        .as_str()
        .unwrap_or_default();
    let found = cluster.value("postgresql", &job.1, name);
    let username = found["spec"]["users"]
        .as_object()
        .and_then(|users| users.keys().next().cloned());
    let asked = secret(
        cluster,
        &job.1,
        &user_secret(&username.unwrap_or_default(), name),
        "password",
    );
    let in_force = text(&found, "/metadata/annotations/password");
    let serves = cluster
        .stored("Pod", &job.1, &format!("{name}-0"))
        .is_some();
    if !serves || asked.as_deref() != Some(in_force) {
        return false;
    }
    let conditions =
        json!([{"type": "Complete", "status": "True", "lastTransitionTime": cluster.time()}]);
    cluster.merge(
        job,
        &json!({"status": {"conditions": conditions, "succeeded": 1}}),
    );
    true
}
