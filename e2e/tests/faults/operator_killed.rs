//! The operator is killed ten times while it creates databases; what it leaves is what an undisturbed one leaves.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use api::Engine;
use e2e::Space;
use e2e::audit::{Mark, Request};
use e2e::space::story;
use serde_json::json;

use crate::end_state;
use crate::operator::Operator;

const KILLS: usize = 10;

#[tokio::test]
async fn an_operator_killed_ten_times_leaves_what_an_undisturbed_one_leaves() -> Result<()> {
    let seed = seed()?;
    eprintln!("killed: E2E_SEED={seed} repeats this run");
    story("story-undisturbed", |undisturbed| async move {
        for engine in Engine::ALL {
            create(&undisturbed, engine).await?;
        }
        settle(&undisturbed).await?;
        let expected = end_state::of(&undisturbed).await?;
        story("story-disturbed", |space| async move {
            let mark = space.cluster.mark()?;
            let cluster = &space.cluster;
            Operator::instead_of_the_deployment(cluster, async |operator| {
                kill_again_and_again(&space, operator, &mut Dice(seed)).await?;
                operator.start().await?;
                settle(&space).await
            })
            .await?;
            created_once(&space, &mark)?;
            compare(&expected, &end_state::of(&space).await?)
        })
        .await
    })
    .await
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

/// Each life ends after a few writes, or after a moment if there is nothing to write. Not all are created at once, so that there
/// is something to write in most lives.
async fn kill_again_and_again(
    space: &Space,
    operator: &mut Operator,
    dice: &mut Dice,
) -> Result<()> {
    let mut productive = 0;
    let mut engines = Engine::ALL.into_iter();
    for life in 1..=KILLS {
        if life % 2 == 1
            && let Some(engine) = engines.next()
        {
            create(space, engine).await?;
        }
        let mark = space.cluster.mark()?;
        let began = Instant::now();
        operator.start().await?;
        // The Lease is still held in its own name by the one that was killed: this one must not wait for its end.
        space
            .until("the operator looks at the instances", || async {
                let requests = space.cluster.requests_since(&mark)?;
                Ok(requests.iter().any(is_list_of_instances))
            })
            .await?;
        let leading = began.elapsed();
        let enough = dice.up_to(3) as usize;
        let moment = Duration::from_millis(dice.up_to(2000));
        let working = Instant::now();
        while working.elapsed() < moment && written(space, &mark)? < enough {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        operator.kill().await?;
        let writes = written(space, &mark)?;
        productive += usize::from(writes > 0);
        eprintln!("killed: life {life}: at work after {leading:.1?}, {writes} writes");
    }
    ensure!(
        productive > KILLS / 4,
        "only {productive} of {KILLS} lives wrote anything: these were no interruptions"
    );
    Ok(())
}

fn is_list_of_instances(request: &Request) -> bool {
    request.user.username == e2e::audit::OPERATOR
        && request.verb == "list"
        && request.object_ref.resource == "databaseinstances"
}

fn written(space: &Space, mark: &Mark) -> Result<usize> {
    let writes = space.cluster.operator_writes_since(mark)?;
    Ok(writes
        .iter()
        .filter(|request| request.is_in(&space.name))
        .count())
}

/// Each child has been created by one request, and none was deleted. A request whose sender is killed can be carried out and
/// logged as one that timed out (504).
fn created_once(space: &Space, mark: &Mark) -> Result<()> {
    let mut created: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for request in space.cluster.operator_writes_since(mark)? {
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
    let children = Engine::ALL.len() * 7;
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

fn compare(expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Result<()> {
    let names = |state: &BTreeMap<String, String>| state.keys().cloned().collect::<Vec<_>>();
    ensure!(
        names(expected) == names(found),
        "other objects: {:?} and {:?}",
        names(expected),
        names(found)
    );
    for (name, text) in expected {
        let other = &found[name];
        let differences: Vec<(&str, &str)> = text
            .lines()
            .zip(other.lines())
            .filter(|(one, other)| one != other)
            .collect();
        ensure!(text == other, "{name} differs: {differences:#?}");
    }
    eprintln!("killed: {} objects are the same", expected.len());
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
