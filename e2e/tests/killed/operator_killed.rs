//! The operator is killed ten times while it creates databases; what it leaves is what an undisturbed one leaves.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use api::Engine;
use e2e::Space;
use e2e::audit::{Mark, Request};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use serde_json::json;

use crate::end_state::{self, left};
use crate::operator::Operator;

const KILLS: usize = 10;

#[tokio::test]
async fn an_operator_killed_ten_times_leaves_what_an_undisturbed_one_leaves() -> Result<()> {
    let seed = seed()?;
    eprintln!("killed: E2E_SEED={seed} repeats this run");
    let expected = left("story-undisturbed", async |space, operator| {
        operator.start().await?;
        for engine in Engine::ALL {
            create(space, engine).await?;
        }
        settle(space).await
    });
    let found = left("story-disturbed", async |space, operator| {
        let mark = space.cluster.mark()?;
        kill_again_and_again(space, operator, &mut Dice(seed)).await?;
        operator.start().await?;
        settle(space).await?;
        created_once(space, &operator.user, &mark)
    });
    let (expected, found) = futures::try_join!(expected, found)?;
    end_state::compare(&expected, &found)
}

async fn create(space: &Space, engine: Engine) -> Result<()> {
    let spec = json!({"engine": engine.name(), "storage": {"size": "1Gi"}});
    space.apply_instance(engine.name(), spec).await
}

async fn settle(space: &Space) -> Result<()> {
    for engine in Engine::ALL {
        space.until_settled(engine.name()).await?;
    }
    Ok(())
}

/// Each life ends after a few writes, or after a moment if there is nothing to write. Not all are created at once, so
/// that there is something to write in most lives.
async fn kill_again_and_again(
    space: &Space,
    operator: &mut Operator,
    dice: &mut Dice,
) -> Result<()> {
    let (mut productive, mut at_once) = (0, 0);
    let mut engines = Engine::ALL.into_iter();
    for life in 1..=KILLS {
        if life % 2 == 1
            && let Some(engine) = engines.next()
        {
            create(space, engine).await?;
        }
        let mark = space.cluster.mark()?;
        let (held, began) = (held_until(&operator.home).await?, Instant::now());
        operator.start().await?;
        space
            .until("the operator looks at the instances", || async {
                Ok(at_work(space, &operator.user, &mark)?.is_some())
            })
            .await?;
        let leading = began.elapsed();
        let looked = at_work(space, &operator.user, &mark)?;
        at_once += usize::from(held.is_some() && looked < held);
        let enough = dice.up_to(3) as usize;
        let moment = Duration::from_millis(dice.up_to(2000));
        let working = Instant::now();
        while working.elapsed() < moment && written(space, &operator.user, &mark)? < enough {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        operator.kill().await?;
        let writes = written(space, &operator.user, &mark)?;
        productive += usize::from(writes > 0);
        eprintln!("killed: life {life}: at work after {leading:.1?}, {writes} writes");
    }
    ensure!(
        at_once > 0,
        "each life waited until the Lease of the one before, in the same name, had run out"
    );
    ensure!(
        productive > KILLS / 4,
        "only {productive} of {KILLS} lives wrote anything: these were no interruptions"
    );
    Ok(())
}

/// When the operator first looked at the instances, if it did: it does so only with the Lease.
fn at_work(space: &Space, operator: &str, mark: &Mark) -> Result<Option<Timestamp>> {
    let requests = space.cluster.requests_since(mark)?;
    let list = requests.iter().find(|request| {
        request.user.username == operator
            && request.verb == "list"
            && request.object_ref.resource == "databaseinstances"
    });
    list.map(Request::received).transpose()
}

/// Until when the Lease is its last holder's, if that one has not given it back.
async fn held_until(home: &Space) -> Result<Option<Timestamp>> {
    let leases: Api<Lease> = Api::namespaced(home.cluster.client.clone(), &home.name);
    let Some(lease) = leases.get_opt(api::names::LEASE).await? else {
        return Ok(None);
    };
    let spec = lease.spec.context("the Lease is empty")?;
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    Ok(spec
        .renew_time
        .map(|renewed| renewed.0 + SignedDuration::from_secs(seconds.into())))
}

fn written(space: &Space, operator: &str, mark: &Mark) -> Result<usize> {
    let writes = space.cluster.writes_since(mark, operator)?;
    Ok(writes
        .iter()
        .filter(|request| request.is_in(&space.name))
        .count())
}

/// Each child has been created by one request, and none was deleted. A request whose sender is killed can be carried
/// out and logged as one that timed out (504).
fn created_once(space: &Space, operator: &str, mark: &Mark) -> Result<()> {
    let mut created: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for request in space.cluster.writes_since(mark, operator)? {
        let object = &request.object_ref;
        if !request.is_in(&space.name)
            || ["events", "databaseinstances"].contains(&object.resource.as_str())
        {
            continue;
        }
        ensure!(request.verb != "delete", "it deleted: {request:?}");
        let name = format!("{} {}", object.resource, object.name);
        let code = request.response_status.code;
        created.entry(name).or_default().push(code);
    }
    // Two Secrets, the claim, two ConfigMaps, Service, NetworkPolicy, StatefulSet.
    let children = Engine::ALL.len() * 8;
    ensure!(
        created.len() == children,
        "not {children} objects: {created:#?}"
    );
    for (name, codes) in &created {
        let count = |code: u16| codes.iter().filter(|other| **other == code).count();
        ensure!(
            count(201) == 1 || count(201) == 0 && count(504) > 0,
            "{name} was created otherwise than once: {codes:?}"
        );
    }
    let cut_off = created.values().flatten().filter(|code| **code == 504);
    eprintln!("killed: {} writes were cut off", cut_off.count());
    Ok(())
}

/// The seed of E2E_SEED, else one of the clock.
fn seed() -> Result<u64> {
    match std::env::var("E2E_SEED") {
        Ok(seed) => seed.parse().context("E2E_SEED"),
        Err(_) => Ok(SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_secs()),
    }
}

/// Splitmix64: numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    /// From 1 to the limit.
    fn up_to(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        1 + (mixed ^ (mixed >> 31)) % limit
    }
}
