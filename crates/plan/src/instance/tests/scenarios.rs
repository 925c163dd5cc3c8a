//! One test for each rule a user could event.

use api::Engine;
use api::condition::{PARAMETERS_APPLIED, READY, RECONCILING, STALLED, STORAGE_READY, reason};
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{World, credentials, without_hash_of_scripts};
use crate::storage_class::StorageClass;
use crate::{Kind, Write};

const ENGINES: [Engine; 3] = Engine::ALL;

pub fn running(engine: Engine, spec: Value) -> World {
    let mut world = World::new(engine, spec);
    world.pass();
    world.serve();
    world.settle();
    assert_eq!(
        world.reason(READY),
        reason::RUNNING,
        "{:?}",
        world.condition(READY)
    );
    world
}

/// What the cluster is sent for a new instance, without scripts.
#[rstest]
#[case::postgresql(Engine::Postgresql)]
#[case::mysql(Engine::Mysql)]
#[case::mariadb(Engine::Mariadb)]
fn creation(#[case] engine: Engine) {
    let world = World::new(engine, json!({"parameters": {"max_connections": "200"}}));
    let plan = world.decide();
    let objects: Vec<Value> = plan
        .writes
        .iter()
        .map(|write| {
            let (Write::Create(object) | Write::Apply(object)) = write else {
                panic!("{write:?}")
            };
            let mut value = object.value.clone();
            if let Some(data) = value.get_mut("data").and_then(Value::as_object_mut) {
                data.retain(|key, _| !key.ends_with(".sh"));
            }
            if let Some(annotations) = value
                .pointer_mut("/metadata/annotations")
                .and_then(Value::as_object_mut)
            {
                annotations.remove(api::names::ANNOTATION_HASH);
            }
            without_hash_of_scripts(&value, &world.cr)
        })
        .collect();
    insta::assert_yaml_snapshot!(format!("creation-{}", engine.name()), objects);
}

#[rstest]
fn a_creation_takes_eight_child_writes_and_two_of_status() {
    for engine in ENGINES {
        let mut world = World::new(engine, json!({}));
        assert_eq!(world.pass().writes.len(), 8);
        let first = world.cr.status.clone();
        world.edit_claim(
            json!({"spec": {"storageClassName": "fast"}, "status": {"phase": "Bound",
            "capacity": {"storage": "1Gi"}}}),
        );
        world.pod(json!({"status": {"phase": "Pending"}}));
        assert!(world.pass().writes.is_empty());
        assert_eq!(world.cr.status, first, "a state on the way was written");
        world.serve();
        assert!(world.pass().writes.is_empty());
        let second = world.cr.status.clone();
        assert_ne!(second, first);
        world.settle();
        assert_eq!(world.cr.status, second);
    }
}

#[rstest]
fn retained_data_comes_back_with_its_password() {
    let mut world = running(Engine::Mysql, json!({}));
    let password = World::secret_text(world.observed.binding.as_ref(), "password");
    world.delete_and_apply_again();
    let plan = world.pass();
    let secrets_or_claims = plan.writes.iter().filter(|write| matches!(write,
        Write::Create(object) if object.kind == Kind::Secret || object.kind == Kind::PersistentVolumeClaim));
    assert_eq!(secrets_or_claims.count(), 0);
    world.serve();
    world.settle();
    assert_eq!(
        World::secret_text(world.observed.binding.as_ref(), "password"),
        password
    );
    assert!(world.observed.jobs.is_empty());
}

#[rstest]
fn the_delete_policy_owns_the_data_unless_it_is_protected() {
    let mut world = running(Engine::Postgresql, json!({}));
    let owners = |world: &World| {
        json!(world.observed.claim)["metadata"]["ownerReferences"]
            .as_array()
            .map_or(0, Vec::len)
    };
    assert_eq!(owners(&world), 0);
    world.change(json!({"deletionPolicy": "Delete"}));
    world.settle();
    assert_eq!(owners(&world), 1);
    assert_eq!(json!(world.cr.status)["deletionPolicy"], "Delete");
    world.change(json!({"deletionProtection": true}));
    world.settle();
    assert_eq!(owners(&world), 0);
    assert_eq!(
        world
            .cr
            .metadata
            .finalizers
            .as_deref()
            .unwrap_or_default()
            .len(),
        1
    );
}

#[rstest]
fn a_protected_instance_is_not_let_go() {
    let mut world = running(Engine::Postgresql, json!({"deletionProtection": true}));
    world.cr.metadata.deletion_timestamp = Some(world.now.clone());
    assert!(world.pass().writes.is_empty());
    assert_eq!(world.reason(STALLED), reason::DELETION_PROTECTED);
    world.change(json!({"deletionProtection": false}));
    assert_eq!(world.pass().writes, [Write::Finalizers(vec![])]);
}

#[rstest]
fn a_dynamic_parameter_is_changed_without_a_restart() {
    let mut world = running(Engine::Postgresql, json!({}));
    let template = json!(world.observed.stateful_set)["spec"]["template"].clone();
    world.change(json!({"parameters": {"work_mem": "8MB"}}));
    let plan = world.pass();
    assert!(
        matches!(&plan.writes[..], [Write::Create(job)] if job.kind == Kind::Job),
        "{:?}",
        plan.writes
    );
    assert_eq!(world.reason(RECONCILING), reason::UPDATING);
    world.end_job("Complete", "", "");
    world.settle();
    assert!(
        json!(world.observed.config_map)["data"]["postgresql.conf"]
            .as_str()
            .unwrap()
            .contains("work_mem = '8MB'")
    );
    assert_eq!(
        json!(world.observed.stateful_set)["spec"]["template"],
        template
    );
    assert!(world.observed.jobs.is_empty());
    assert_eq!(world.reason(PARAMETERS_APPLIED), reason::APPLIED);
}

#[rstest]
fn a_parameter_that_needs_it_restarts_the_server() {
    let mut world = running(Engine::Postgresql, json!({}));
    let template = json!(world.observed.stateful_set)["spec"]["template"].clone();
    world.change(json!({"parameters": {"max_connections": "77"}}));
    assert_eq!(world.pass().status.pending_changes, ["max_connections"]);
    world.end_job("Complete", "", "");
    world.pass();
    assert_ne!(
        json!(world.observed.stateful_set)["spec"]["template"],
        template
    );
}

#[rstest]
fn more_memory_and_its_settings_take_one_restart() {
    let mut world = running(Engine::Postgresql, json!({}));
    let template = |world: &World| json!(world.observed.stateful_set)["spec"]["template"].clone();
    let before = template(&world);
    world.change(json!({"resources": {"limits": {"memory": "1Gi"}}}));
    world.pass();
    assert_eq!(
        template(&world),
        before,
        "the pod restarts before the Job has ended"
    );
    world.end_job("Complete", "", "");
    world.pass();
    let after = template(&world);
    assert_ne!(after, before);
    world.pass();
    let pending = world.cr.status.clone().unwrap().pending_changes;
    assert_eq!(pending, ["shared_buffers"], "what the restart is for");
    world.serve();
    world.settle();
    assert_eq!(template(&world), after);
    assert!(world.cr.status.clone().unwrap().pending_changes.is_empty());
}

#[rstest]
fn a_refused_value_changes_nothing_and_is_named() {
    let mut world = running(Engine::Postgresql, json!({}));
    let (settings, status) = (json!(world.observed.config_map), world.condition(READY));
    world.change(json!({"parameters": {"work_mem": "lots"}}));
    world.pass();
    world.end_job(
        "Failed",
        "PodFailurePolicy",
        "invalid value for parameter \"work_mem\": \"lots\"",
    );
    world.settle();
    assert_eq!(json!(world.observed.config_map), settings);
    assert_eq!(world.condition(READY), status);
    let (_, reason, message) = world.condition(STALLED).unwrap();
    assert_eq!(reason, reason::PARAMETER_REJECTED);
    assert!(
        message.contains("spec.parameters.work_mem") && message.contains("\"lots\""),
        "{message}"
    );
    world.change(json!({"parameters": null}));
    world.settle();
    assert_eq!(world.condition(STALLED), None);
    assert!(world.observed.jobs.is_empty());
}

#[rstest]
fn a_server_that_cannot_start_gets_better_settings_at_once() {
    let mut world = World::new(
        Engine::Mariadb,
        json!({"parameters": {"innodb_flush_log_at_trx_commit": "maybe"}}),
    );
    world.pass();
    let words = "[ERROR] /usr/sbin/mariadbd: Error while setting value 'maybe' to 'innodb_flush_log_at_trx_commit'";
    world.pod(json!({"status": {"phase": "Running", "containerStatuses": [{"name": "database", "image": "i",
        "imageID": "", "ready": false, "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 7,
            "message": words}}}]}}));
    world.pass();
    let (_, reason, message) = world.condition(READY).unwrap();
    assert_eq!(reason, reason::PARAMETER_REJECTED);
    assert!(
        message.contains("innodb_flush_log_at_trx_commit"),
        "{message}"
    );
    let template = json!(world.observed.stateful_set)["spec"]["template"].clone();
    world.change(json!({"parameters": null}));
    let kinds: Vec<Kind> = world
        .pass()
        .writes
        .iter()
        .filter_map(|write| {
            if let Write::Apply(object) = write {
                Some(object.kind)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(kinds, [Kind::ConfigMap, Kind::StatefulSet]);
    assert_ne!(
        json!(world.observed.stateful_set)["spec"]["template"],
        template
    );
}

#[rstest]
fn a_changed_password_is_changed_inside_first() {
    let mut world = World::new(
        Engine::Mysql,
        json!({"credentialsSecret": {"name": "mine"}}),
    );
    world.observed.credentials = Some(credentials(&[("username", "app"), ("password", "one")]));
    world.pass();
    world.serve();
    world.settle();
    world.observed.credentials = Some(credentials(&[("password", "two")]));
    world.pass();
    let plan = world.pass();
    assert!(plan.writes.is_empty());
    assert_eq!(world.observed.jobs.len(), 1);
    assert_eq!(
        World::secret_text(world.observed.binding.as_ref(), "password"),
        "one"
    );
    world.end_job("Complete", "", "");
    world.settle();
    assert_eq!(
        World::secret_text(world.observed.binding.as_ref(), "password"),
        "two"
    );
    assert!(World::secret_text(world.observed.binding.as_ref(), "uri").contains(":two@"));
    assert!(world.observed.jobs.is_empty());
}

#[rstest]
fn a_lost_binding_is_made_again_and_keyed() {
    let mut world = running(Engine::Postgresql, json!({}));
    world.observed.binding = None;
    world.pass();
    assert_eq!(
        world.pass().writes.len(),
        1,
        "a Job makes the password true"
    );
    world.end_job("Complete", "", "");
    world.settle();
    assert!(world.observed.jobs.is_empty());
}

#[rstest]
fn lost_administrator_credentials_restart_the_server_to_be_keyed() {
    let mut world = running(Engine::Mariadb, json!({}));
    let kept = World::secret_text(world.observed.binding.as_ref(), "password");
    let template = json!(world.observed.stateful_set)["spec"]["template"].clone();
    world.observed.admin = None;
    world.pass();
    assert_ne!(
        json!(world.observed.stateful_set)["spec"]["template"],
        template
    );
    assert_eq!(
        World::secret_text(world.observed.admin.as_ref(), "password"),
        kept
    );
}

#[rstest]
fn a_volume_grows_by_one_patch() {
    let mut world = running(Engine::Postgresql, json!({}));
    world.change(json!({"storage": {"size": "2Gi"}}));
    let plan = world.pass();
    assert!(
        matches!(&plan.writes[..], [Write::Patch(claim)] if claim.kind == Kind::PersistentVolumeClaim)
    );
    world.pass();
    assert_eq!(world.reason(STORAGE_READY), reason::RESIZING);
    world.serve();
    world.settle();
    assert_eq!(world.reason(STORAGE_READY), reason::BOUND);
    world.change(json!({"storage": {"size": "3Gi"}}));
    world.observed.storage_class = StorageClass::Found {
        name: "fast".into(),
        can_grow: false,
        provisioner: "csi.example".into(),
        access_mode: crate::storage_class::EXCLUSIVE,
    };
    assert!(world.pass().writes.is_empty());
    assert_eq!(world.reason(STALLED), reason::STORAGE_CLASS_CANNOT_GROW);
}

#[rstest]
fn a_paused_instance_is_reported_and_not_written() {
    let mut world = running(Engine::Postgresql, json!({}));
    assert_eq!(world.reason(STALLED), "");
    world.cr.metadata.annotations =
        Some([("minidbaas.dev/paused".to_owned(), "true".to_owned())].into());
    world.observed.service = None;
    assert!(world.pass().writes.is_empty());
    assert_eq!(world.reason(STALLED), reason::PAUSED);
    assert_eq!(world.reason(READY), reason::RUNNING);
}

/// Who waits for a change must not take the state before it for the state after it.
#[rstest]
fn the_pass_that_begins_a_restart_says_so() {
    let mut world = running(Engine::Postgresql, json!({}));
    world.change(json!({"scheduling": {"nodeSelector": {"disk": "ssd"}}}));
    world.pass();
    assert_eq!(world.reason(READY), reason::RUNNING);
    assert_eq!(world.reason(RECONCILING), reason::UPDATING);
    world.serve();
    world.settle();
    assert_eq!(world.condition(RECONCILING), None);
}

#[rstest]
#[case(Engine::Mysql, "mysql", "app")]
#[case(Engine::Mariadb, "information-schema", "app")]
#[case(Engine::Postgresql, "template1", "app")]
#[case(Engine::Postgresql, "mysql", "mysql")]
#[case(Engine::Mysql, "my-shop", "my_shop")]
fn no_database_of_the_engines_own_is_handed_out(
    #[case] engine: Engine,
    #[case] name: &str,
    #[case] database: &str,
) {
    let mut world = World::new(engine, json!({}));
    world.cr.metadata.name = Some(name.to_owned());
    world.pass();
    let binding = world.observed.binding.as_ref();
    assert_eq!(World::secret_text(binding, "database"), database);
}
