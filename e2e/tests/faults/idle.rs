//! Many databases: what their creation costs the API server, that nothing is written once they, their backups and a
//! restored one are at rest, and that large objects cost the operator nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::Engine;
use e2e::Space;
use e2e::audit::{OPERATOR, Request};
use e2e::length::many;
use e2e::space::story;
use serde_json::{Value, json};

/// Children of an instance: two Secrets, the claim, two ConfigMaps, Service, NetworkPolicy, StatefulSet.
const CHILD_WRITES: usize = 8;
/// "Provisioning" and "Running".
const STATUS_WRITES: usize = 2;

#[tokio::test]
async fn many_databases_take_few_writes_to_create_and_none_at_rest() -> Result<()> {
    story("story-idle", |space| async move {
        let mark = space.cluster.mark()?;
        let instances: Vec<(String, Value)> = (0..many(6, 20)).map(instance).collect();
        let list: Vec<&Value> = instances.iter().map(|(_, object)| object).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": list});
        space.apply(&list.to_string()).await?;
        let settling = async {
            for (name, _) in &instances {
                space.until_settled(name).await?;
            }
            Ok(())
        };
        space.step("all are Ready", settling).await?;
        let requests = space.cluster.requests_since(&mark)?;
        let names: Vec<&str> = instances.iter().map(|(name, _)| name.as_str()).collect();
        check_costs(&space, &requests, &names)?;
        for name in ["one", "two", "three"] {
            space.back_up(name, json!({"instance": "db-5"})).await?;
        }
        space.restore("copy", "one", "copy").await?;
        space.until_settled("copy").await?;
        space.until_settled("db-5").await?;
        nothing_is_written(&space).await
    })
    .await
}

/// Each with the least memory that its engine takes; most are of the lightest engine.
fn instance(number: usize) -> (String, Value) {
    let (engine, memory) = match number % 10 {
        0 => (Engine::Mysql, "512Mi"),
        1 | 2 => (Engine::Mariadb, "192Mi"),
        _ => (Engine::Postgresql, "128Mi"),
    };
    let name = format!("db-{number}");
    let resources =
        json!({"requests": {"cpu": "5m", "memory": memory}, "limits": {"memory": memory}});
    let object = json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance", "metadata": {"name": name},
        "spec": {"engine": engine.name(), "storage": {"size": "1Gi"}, "resources": resources},
    });
    (name, object)
}

/// What the creation of one instance cost.
struct Cost {
    children: usize,
    statuses: usize,
    /// From the request that made the resource to the first and to the last child's answer.
    first: Duration,
    last: Duration,
}

fn check_costs(space: &Space, requests: &[Request], names: &[&str]) -> Result<()> {
    let costs: Vec<Cost> = names
        .iter()
        .map(|name| cost(space, requests, name).with_context(|| (*name).to_owned()))
        .collect::<Result<_>>()?;
    report("child writes", costs.iter().map(|cost| cost.children));
    report("status writes", costs.iter().map(|cost| cost.statuses));
    report("until the first child", costs.iter().map(|cost| cost.first));
    report("until the last child", costs.iter().map(|cost| cost.last));
    for (name, cost) in names.iter().zip(&costs) {
        ensure!(
            cost.children <= CHILD_WRITES && cost.statuses <= STATUS_WRITES,
            "{name} took {} writes of children and {} of its status: {:#?}",
            cost.children,
            cost.statuses,
            writes(space, requests, name).collect::<Vec<_>>()
        );
    }
    Ok(())
}

fn report<T: Ord + Copy + std::fmt::Debug>(what: &str, values: impl Iterator<Item = T>) {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    let median = values.get(values.len() / 2);
    eprintln!(
        "idle: {what}: min {:?}, median {median:?}, max {:?}",
        values.first(),
        values.last()
    );
}

/// The operator's writes for an instance, but for Events.
fn writes<'a>(
    space: &'a Space,
    requests: &'a [Request],
    name: &'a str,
) -> impl Iterator<Item = &'a Request> {
    let admin = api::names::admin_secret(name);
    let scripts = format!("{name}-scripts-");
    requests.iter().filter(move |request| {
        let object = &request.object_ref;
        request.is_write_of(OPERATOR)
            && request.is_in(&space.name)
            && object.resource != "events"
            && (object.name == name || object.name == admin || object.name.starts_with(&scripts))
    })
}

fn cost(space: &Space, requests: &[Request], name: &str) -> Result<Cost> {
    let asked = requests
        .iter()
        .find(|request| {
            let object = &request.object_ref;
            request.is_in(&space.name)
                && request.created()
                && object.resource == "databaseinstances"
                && object.name == name
        })
        .context("the audit log does not show its creation")?
        .received()?;
    let (statuses, children): (Vec<&Request>, Vec<&Request>) = writes(space, requests, name)
        .partition(|request| request.object_ref.resource == "databaseinstances");
    let since = |request: Option<&&Request>| -> Result<Duration> {
        let answered = request.context("no child was written")?.answered()?;
        Ok(answered.duration_since(asked).try_into()?)
    };
    Ok(Cost {
        children: children.len(),
        statuses: statuses.len(),
        first: since(children.first())?,
        last: since(children.last())?,
    })
}

/// For a minute, or five in the long form.
async fn nothing_is_written(space: &Space) -> Result<()> {
    let minutes = many(1, 5) as u64;
    let mark = space.cluster.mark()?;
    // Not a wait for something: the time in which nothing may happen.
    tokio::time::sleep(Duration::from_secs(60 * minutes)).await;
    let writes = space.cluster.operator_writes_since(&mark)?;
    let ours = writes.iter().filter(|request| request.is_in(&space.name));
    let ours: Vec<&Request> = ours.collect();
    ensure!(ours.is_empty(), "the operator wrote at rest: {ours:#?}");
    let requests = space.cluster.requests_since(&mark)?;
    ensure!(
        requests
            .iter()
            .any(|request| request.object_ref.resource == "leases"),
        "the audit log shows nothing at all"
    );
    eprintln!("idle: no write in {minutes} minutes");
    Ok(())
}
