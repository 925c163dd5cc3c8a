//! Large objects cost the operator no memory, or no more than they hold. Nothing else is at work meanwhile.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::names::{COMPONENT_APPLY, LABEL_COMPONENT, LABEL_INSTANCE};
use api::reported::Reported;
use api::{DatabaseInstance, DatabaseRestore};
use e2e::Space;
use e2e::space::story;
use k8s_openapi::api::batch::v1::Job;
use kube::Resource;
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use serde_json::{Value, json};

/// So many large objects are sent; kept, each cost the operator more than 200 KiB.
const LARGE_OBJECTS: u64 = 100;
/// What the process may take meanwhile for reasons of its own: one that has only just begun takes half of it.
const ROOM_KIB: u64 = 16 * 1024;

#[tokio::test]
async fn large_objects_cost_the_operator_no_memory() -> Result<()> {
    story("story-memory", |space| async move {
        large_objects_cost_nothing(&space).await
    })
    .await
}

/// A hundred objects of 1 MB, which users without any other right may send, leave the operator as it was.
async fn large_objects_cost_nothing(space: &Space) -> Result<()> {
    let before = memory(space).await?;
    let restores = dynamic::<DatabaseRestore>(space);
    for number in 0..LARGE_OBJECTS {
        let key = format!("{number}{}", "k".repeat(1_000_000));
        let object = typed(json!({
            "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseRestore",
                "metadata": {"name": format!("large-{number}")},
            "spec": {"backup": {"name": "none"}, "instance": "none",
                "overrides": {"resources": {"limits": {key: "1"}}}},
        }))?;
        let answer = restores.create(&PostParams::default(), &object).await;
        let refused = matches!(&answer, Err(kube::Error::Api(said)) if said.code == 422);
        ensure!(refused, "a large object is not refused: {:?}", answer.err());
    }
    let after = memory(space).await?;
    eprintln!(
        "memory: the operator's memory: {before} KiB, after {LARGE_OBJECTS} objects of 1 MB: {after} KiB"
    );
    ensure!(
        after < before + ROOM_KIB,
        "the operator's memory was {before} KiB and is {after} KiB"
    );
    largest_objects_cost_little(space).await
}

/// The largest that are admitted cost no more than what they hold; a thousand of them leave the operator its limit.
async fn largest_objects_cost_little(space: &Space) -> Result<()> {
    let before = memory(space).await?;
    let instances = dynamic::<DatabaseInstance>(space);
    let name = |number: u64| format!("large-{number}");
    for number in 0..LARGE_OBJECTS {
        let object = typed(json!({
            "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance",
            "metadata": {"name": name(number)}, "spec": largest(),
        }))?;
        instances.create(&PostParams::default(), &object).await?;
    }
    for number in 0..LARGE_OBJECTS {
        let why = "InvalidParameter";
        space
            .until_condition(&name(number), "Stalled", "True", why)
            .await?;
    }
    let after = memory(space).await?;
    eprintln!(
        "memory: the operator's memory: {before} KiB, with {LARGE_OBJECTS} of the largest instances: {after} KiB"
    );
    ensure!(
        after < before + ROOM_KIB,
        "the operator's memory was {before} KiB and is {after} KiB"
    );
    heavy_objects_cost_nothing(space).await
}

/// Half of the operator's limit.
const PEAK_KIB: u64 = 128 * 1024;

/// So many objects are heavy by what the API server keeps of their writers.
const HEAVY_OBJECTS: u64 = 40;

/// Objects that are large only for what the API server keeps of who wrote them cost nothing either: neither as they
/// come, nor when an operator that has just begun lists all of them.
async fn heavy_objects_cost_nothing(space: &Space) -> Result<()> {
    let before = memory(space).await?;
    let instances = dynamic::<DatabaseInstance>(space);
    let name = |number: u64| format!("heavy-{number}");
    for number in 0..HEAVY_OBJECTS {
        let object = typed(json!({
            "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance",
            "metadata": {"name": name(number), "managedFields": writers()},
            "spec": {"engine": "postgresql", "storage": {"size": "1Gi"}, "parameters": {"unknown": "1"}},
        }))?;
        let made = instances.create(&PostParams::default(), &object).await?;
        let kept = made.metadata.managed_fields.unwrap_or_default().len();
        ensure!(kept > WRITERS, "of {WRITERS} writers {kept} are kept");
    }
    for number in 0..HEAVY_OBJECTS {
        let why = "InvalidParameter";
        space
            .until_condition(&name(number), "Stalled", "True", why)
            .await?;
    }
    let after = memory(space).await?;
    let former = operator_pod(space).await?;
    let ours = "-l=app.kubernetes.io/name=minidbaas";
    let delete = [
        "-n",
        "minidbaas-system",
        "delete",
        "pods",
        ours,
        "--wait=false",
    ];
    space.cluster.kubectl(&delete, "").await?;
    space
        .until("another operator has begun", || async {
            Ok(operator_pod(space).await? != former)
        })
        .await?;
    space.cluster.operator_at_work().await?;
    looked_at_again(space, &name(HEAVY_OBJECTS - 1)).await?;
    large_jobs_cost_nothing(space).await?;
    let again = memory(space).await?;
    eprintln!(
        "memory: the operator's memory: {before} KiB, with {HEAVY_OBJECTS} heavy instances: {after} KiB, begun with \
        them: {again} KiB"
    );
    ensure!(
        after < before + ROOM_KIB && again < before + ROOM_KIB,
        "the operator's memory was {before} KiB and is {after} KiB, and {again} KiB in one that has begun with them"
    );
    let path = "-o=jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let restarts = ["-n", "minidbaas-system", "get", "pods", ours, path];
    let restarts = space.cluster.kubectl(&restarts, "").await?;
    ensure!(
        restarts.trim() == "0",
        "it was started again {restarts} times"
    );
    let peak = process(space, "VmHWM").await?;
    eprintln!("memory: the most that it took at any time: {peak} KiB");
    ensure!(peak < PEAK_KIB, "the operator took {peak} KiB at a time");
    Ok(())
}

/// So many Jobs of this size look like an instance's own: as JSON the API server writes `<` as six characters.
const LARGE_JOBS: usize = 8;
const LARGE_JOB: usize = 1_300_000;

/// Whoever may make Jobs may give them the labels of an instance's own.
async fn large_jobs_cost_nothing(space: &Space) -> Result<()> {
    let jobs: Api<DynamicObject> = dynamic::<Job>(space);
    for number in 0..LARGE_JOBS {
        let container =
            json!({"name": "c", "image": "registry.invalid/none", "args": ["<".repeat(LARGE_JOB)]});
        let labels = json!({LABEL_INSTANCE: "heavy-0", LABEL_COMPONENT: COMPONENT_APPLY});
        let job = typed(json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": format!("large-{number}"), "labels": labels},
            "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
        }))?;
        jobs.create(&PostParams::default(), &job).await?;
    }
    looked_at_again(space, "heavy-0").await
}

/// Changes a stalled instance, and waits for the pass that sees it.
async fn looked_at_again(space: &Space, name: &str) -> Result<()> {
    let word = json!({"spec": {"parameters": {"unheard": "1"}}}).to_string();
    let patch = [
        "patch",
        "dbinstance",
        name,
        "--type=merge",
        "--patch",
        &word,
    ];
    space.kubectl(&patch, "").await?;
    space
        .until("it is looked at again", || async {
            let seen = space.instances().get(name).await?;
            let stalled = seen.condition("Stalled");
            Ok(stalled.is_some_and(|stalled| stalled.observed_generation == Some(2)))
        })
        .await
}

/// So many writers each own so many fields: together somewhat more than a megabyte.
const WRITERS: usize = 100;
const FIELDS: usize = 600;

/// Who wrote an object, as the API server keeps it, and takes it from whoever writes the object.
fn writers() -> Value {
    let fields = (0..FIELDS).map(|number| (format!("f:field-{number:03}"), json!({})));
    let fields = json!({"f:spec": {"f:parameters": Value::Object(fields.collect())}});
    let writer = |number: usize| {
        json!({"manager": format!("writer-{number}"), "operation": "Apply", "fieldsType": "FieldsV1",
            "apiVersion": "minidbaas.dev/v1alpha1", "time": "2026-07-14T09:00:00Z", "fieldsV1": fields})
    };
    (0..WRITERS).map(writer).collect()
}

/// A specification of some 50 KiB, nearly as large as the API server takes it, which begins nothing.
fn largest() -> Value {
    let texts = |prefix: &str| -> Value {
        let entries = (0..7).map(|number| (format!("{prefix}{number}"), json!("x".repeat(2048))));
        Value::Object(entries.collect())
    };
    let values = vec!["v".repeat(300); 24];
    let expressions = json!([{"key": "k", "operator": "In", "values": values}]);
    let selector = json!({"matchExpressions": expressions});
    let required = json!({"nodeSelectorTerms": [selector]});
    json!({
        "engine": "postgresql", "storage": {"size": "1Gi"},
        "parameters": texts("unknown"), "service": {"annotations": texts("large")},
        "network": {"allowFrom": [{"podSelector": selector}]},
        "scheduling": {
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}},
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector},
            ],
        },
    })
}

fn dynamic<K: Resource<DynamicType = ()>>(space: &Space) -> Api<DynamicObject> {
    let client = space.cluster.client.clone();
    Api::namespaced_with(client, &space.name, &ApiResource::erase::<K>(&()))
}

fn typed(object: Value) -> Result<DynamicObject> {
    Ok(serde_json::from_value(object)?)
}

/// The UID of the operator's only pod: of a story before, another one may be on its way out.
async fn operator_pod(space: &Space) -> Result<String> {
    let namespace = ["-n", "minidbaas-system", "get", "pods"];
    let which = ["-l", "app.kubernetes.io/name=minidbaas"];
    let output = ["-o", "jsonpath={.items[*].metadata.uid}"];
    let asked = [namespace.as_slice(), &which, &output].concat();
    for _ in 0..90 {
        let uids = space.cluster.kubectl(&asked, "").await?;
        if uids.split_whitespace().count() == 1 {
            return Ok(uids.trim().to_owned());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    anyhow::bail!("the operator does not come to have one pod")
}

/// Memory of the operator's process in KiB.
async fn memory(space: &Space) -> Result<u64> {
    process(space, "VmRSS").await
}

/// What the kernel says of the operator's process; it is found by the cgroup of its pod.
async fn process(space: &Space, what: &str) -> Result<u64> {
    let uid = operator_pod(space).await?;
    for entry in std::fs::read_dir("/proc")? {
        let folder = entry?.path();
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        if read("cgroup").contains(&uid) && read("comm").trim() == "minidbaas" {
            let status = read("status");
            let line = status.lines().find(|line| line.starts_with(what));
            let value = line.and_then(|line| line.split_whitespace().nth(1));
            return Ok(value.context("it is not told")?.parse()?);
        }
    }
    anyhow::bail!("there is no process of the pod {uid}")
}
