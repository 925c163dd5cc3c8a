//! What counts is what is ours: scripts, Jobs and containers of others decide nothing; and one pod has the volume.

use api::Engine;
use api::condition::{PARAMETERS_APPLIED, READY, RECONCILING, STALLED, STORAGE_READY, reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use super::scenarios::running;
use super::world::{World, merge, our_labels};
use crate::instance::scripts_name;
use crate::storage_class::StorageClass;
use crate::{Kind, Write};

fn edited<T>(object: Option<&T>, change: &Value) -> Option<T>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let mut value = json!(object);
    merge(&mut value, change);
    serde_json::from_value(value).unwrap()
}

/// Scripts that somebody put there before us, or in place of ours, with our labels and as if we owned them.
#[rstest]
#[case::other_content(json!({"data": {"prepare.sh": "cat /run/secrets/minidbaas/*"}}))]
#[case::one_more_file(json!({"data": {"more.sh": "exit"}}))]
#[case::can_be_edited(json!({"immutable": null}))]
#[case::of_nobody(json!({"metadata": {"ownerReferences": null}}))]
#[case::of_another(json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p",
    "uid": "x", "controller": true}]}}))]
fn forged_scripts_start_nothing(#[case] forged: Value) {
    for mut world in [
        World::new(Engine::Postgresql, json!({})),
        running(Engine::Postgresql, json!({})),
    ] {
        let mut made = running(Engine::Postgresql, json!({})).observed.scripts;
        made = edited(made.as_ref(), &forged);
        world.observed.scripts = made;
        world.change(json!({"resources": {"limits": {"memory": "1Gi"}}}));
        assert_eq!(world.pass().writes, vec![]);
        assert_eq!(world.reason(STALLED), reason::NAME_TAKEN);
        let (_, _, message) = world.condition(STALLED).unwrap();
        assert!(message.contains(&scripts_name(&world.cr)), "{message}");
    }
}

#[rstest]
fn a_tenant_who_may_edit_the_settings_gets_no_script_into_a_pod() {
    let world = running(Engine::Mysql, json!({}));
    let map = json!(world.observed.config_map);
    let keys: Vec<&String> = map["data"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["my.cnf", "settings.json"]);
    let set = json!(world.observed.stateful_set);
    let volumes = set["spec"]["template"]["spec"]["volumes"]
        .as_array()
        .unwrap();
    let config = volumes.iter().find(|v| v["name"] == "config").unwrap();
    let sources = json!([
        {"configMap": {"name": "shop", "items": [{"key": "my.cnf", "path": "my.cnf"}]}},
        {"configMap": {"name": scripts_name(&world.cr)}},
    ]);
    assert_eq!(config["projected"]["sources"], sources);
    assert_eq!(json!(world.observed.scripts)["immutable"], true);
}

#[rstest]
fn former_scripts_go_when_nothing_mounts_them_any_more() {
    let mut world = running(Engine::Postgresql, json!({}));
    let now = world.now.0;
    let ago = |seconds: i64| json!(Time(now - SignedDuration::from_secs(seconds)));
    let owners = json!(world.observed.scripts)["metadata"]["ownerReferences"].clone();
    let former = |name: &str, owners: &Value| {
        serde_json::from_value(
            json!({"name": name, "uid": name, "labels": our_labels(), "ownerReferences": owners}),
        )
        .unwrap()
    };
    let all = &mut world.observed.all_scripts;
    all.push(former("shop-scripts-0000aaaa", &owners));
    all.push(former("shop-scripts-0000bbbb", &json!([])));
    let pod = json!({"spec": {"containers": [], "volumes": [{"name": "config",
        "projected": {"sources": [{"configMap": {"name": "shop-scripts-0000aaaa"}}]}}]}});
    let served = world.observed.pod.clone();
    world.observed.pod = edited(served.as_ref(), &pod);
    let age = |world: &mut World, seconds: i64| {
        let change = json!({"metadata": {"creationTimestamp": ago(seconds)}});
        world.observed.scripts = edited(world.observed.scripts.as_ref(), &change);
    };
    let deleted = |world: &World| -> Vec<String> {
        let writes = world.decide().writes.into_iter();
        writes
            .filter_map(|write| match write {
                Write::Delete {
                    kind: Kind::ConfigMap,
                    name,
                    ..
                } => Some(name),
                _ => None,
            })
            .collect()
    };
    age(&mut world, 7200);
    assert_eq!(deleted(&world), Vec::<String>::new(), "a pod mounts them");
    world.observed.pod = served;
    age(&mut world, 60);
    assert_eq!(deleted(&world), Vec::<String>::new(), "a Job may");
    age(&mut world, 7200);
    assert_eq!(deleted(&world), ["shop-scripts-0000aaaa"]);
    world.settle();
    assert_eq!(deleted(&world), Vec::<String>::new());
}

/// A Job by the name of the one that would check the settings, complete before anybody has checked anything.
#[rstest]
fn a_forged_job_says_nothing_and_is_not_deleted() {
    let change = json!({"parameters": {"max_connections": "200"}});
    let mut world = running(Engine::Postgresql, json!({}));
    world.change(change);
    world.pass();
    let forged = json!({"metadata": {"uid": "conflict", "ownerReferences": null}});
    let job = edited(world.observed.jobs.first(), &forged);
    world.observed.jobs = job.into_iter().collect();
    world.end_job("Complete", "", "");
    let in_force = world.observed.config_map.clone();
    for _ in 0..3 {
        assert_eq!(world.pass().writes, vec![]);
    }
    assert_eq!(
        world.observed.config_map, in_force,
        "unchecked settings are in force"
    );
    assert_eq!(world.reason(STALLED), reason::NAME_TAKEN);
    let former = json!({"metadata": {"ownerReferences": [{"apiVersion": "minidbaas.dev/v1alpha1",
        "kind": "DatabaseInstance", "name": "shop", "uid": "former", "controller": true}]}});
    let job = edited(world.observed.jobs.first(), &former);
    world.observed.jobs = job.into_iter().collect();
    assert_eq!(world.pass().writes, vec![]);
    assert_eq!(world.reason(RECONCILING), reason::WAITING_FOR_DELETION);
    world.observed.jobs.clear();
    world.settle();
    world.end_job("Complete", "", "");
    world.serve();
    world.settle();
    assert_eq!(world.reason(PARAMETERS_APPLIED), reason::APPLIED);
}

#[rstest]
fn a_strangers_job_with_our_labels_is_not_deleted() {
    let mut world = running(Engine::Postgresql, json!({}));
    let job = json!({"metadata": {"name": "nightly", "uid": "conflict", "labels": our_labels()}});
    world.observed.jobs = vec![serde_json::from_value(job).unwrap()];
    assert_eq!(world.pass().writes, vec![]);
}

/// A webhook puts a container before ours, which runs or crashes.
#[rstest]
fn an_injected_sidecar_is_not_taken_for_the_server() {
    let mut world = World::new(Engine::Postgresql, json!({}));
    world.pass();
    world.serve();
    let mut pod = json!(world.observed.pod);
    let sidecar = json!({"name": "proxy", "image": "proxy:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"running": {}}});
    let first =
        |list: &mut Value, item: &Value| list.as_array_mut().unwrap().insert(0, item.clone());
    first(
        &mut pod["spec"]["containers"],
        &json!({"name": "proxy", "image": "proxy:1"}),
    );
    first(&mut pod["status"]["initContainerStatuses"], &sidecar);
    world.pod(pod);
    world.edit_claim(json!({"metadata": {"annotations": {"minidbaas.dev/version": null}}}));
    world.settle();
    let claim = json!(world.observed.claim);
    assert!(
        claim["metadata"]["annotations"]["minidbaas.dev/version"].is_string(),
        "the version that runs is not noted"
    );

    world.change(json!({"parameters": {"max_connections": "9"}}));
    world.pass();
    world.end_job("Failed", "PodFailurePolicy", "FATAL:  nine is too few");
    let mut ended = json!(world.observed.job_pods[0]);
    first(&mut ended["status"]["containerStatuses"], &sidecar);
    world.observed.job_pods = vec![serde_json::from_value(ended).unwrap()];
    world.settle();
    let (_, _, message) = world.condition(PARAMETERS_APPLIED).unwrap();
    assert!(message.contains("nine is too few"), "{message}");

    let crash = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [
        {"name": "proxy", "image": "proxy:1", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 3}}}]}});
    world.observed.pod = edited(world.observed.pod.as_ref(), &crash);
    world.change(json!({"parameters": {"max_connections": "10"}}));
    let writes = world.pass().writes;
    assert!(
        !writes
            .iter()
            .any(|write| matches!(write, Write::Apply(object) if object.kind == Kind::ConfigMap)),
        "settings are taken unchecked because a sidecar crashes"
    );
    let (_, _, message) = world.condition(READY).unwrap();
    assert!(
        message.contains("The container proxy, which somebody else put into the pod"),
        "{message}"
    );
}

/// The selector leaves out a pod that somebody scaled into being.
#[rstest]
fn the_service_selects_one_pod() {
    let world = running(Engine::Mariadb, json!({}));
    let service = json!(world.observed.service);
    assert_eq!(
        service["spec"]["selector"]["statefulset.kubernetes.io/pod-name"],
        "shop-0"
    );
    let set = json!(world.observed.stateful_set);
    assert!(set["spec"]["selector"]["matchLabels"]["statefulset.kubernetes.io/pod-name"].is_null());
}

#[rstest]
fn one_pod_has_the_volume_and_the_status_says_where_not() {
    let world = running(Engine::Postgresql, json!({}));
    assert_eq!(
        json!(world.observed.claim)["spec"]["accessModes"],
        json!(["ReadWriteOncePod"])
    );
    assert_eq!(
        world.condition(STORAGE_READY).unwrap().2,
        "The volume has 1Gi."
    );

    let mut world = World::new(Engine::Postgresql, json!({}));
    world.observed.storage_class = StorageClass::Found {
        name: "local".into(),
        can_grow: false,
        provisioner: "local.example".into(),
        access_mode: crate::storage_class::access_mode(Some("ReadWriteOnce")),
    };
    world.pass();
    world.observed.storage_class = StorageClass::Unread;
    world.serve();
    world.settle();
    assert_eq!(
        json!(world.observed.claim)["spec"]["accessModes"],
        json!(["ReadWriteOnce"])
    );
    let (status, _, message) = world.condition(STORAGE_READY).unwrap();
    assert_eq!(status, "True");
    assert!(
        message.contains("ReadWriteOnce:") && message.contains("restore a backup"),
        "{message}"
    );
    // A retained volume stays as it is.
    world.delete_and_apply_again();
    let plan = world.pass();
    assert!(!plan.writes.iter().any(|write| matches!(write,
        Write::Patch(object) if object.value["spec"]["accessModes"].is_array())));
}

#[rstest]
fn storage_that_refuses_the_access_mode_has_a_remedy() {
    let mut world = World::new(Engine::Postgresql, json!({}));
    world.pass();
    world.pod(json!({"status": {"phase": "Pending"}}));
    world.observed.warning = Some(
        "failed to provision volume: NodePath only supports ReadWriteOnce access modes".into(),
    );
    world.pass();
    let (_, reason, message) = world.condition(READY).unwrap();
    assert_eq!(reason, reason::VOLUME_NOT_BOUND);
    assert!(
        message.contains("minidbaas.dev/access-mode: ReadWriteOnce"),
        "{message}"
    );
    // The claim that never had a volume was deleted, and the class has the annotation.
    world.observed.claim = None;
    world.observed.storage_class = StorageClass::Found {
        name: "local".into(),
        can_grow: true,
        provisioner: "local.example".into(),
        access_mode: "ReadWriteOnce",
    };
    world.pass();
    assert_eq!(
        json!(world.observed.claim)["spec"]["accessModes"],
        json!(["ReadWriteOnce"])
    );
}
