//! How long a backup and a restore take, what of that is the operator's own share, and how many writes they cost. Only
//! counts are asserted: times are printed, because they are the machine's.
//!
//! All times are of the audit log, that is of the API server's clock: a request's receipt and its answer. The span from
//! the request that made the resource to the answer to the status that says Ready is divided without a rest: each write
//! of anybody to a kind of object in the namespace that the operator watches ends an interval that began with the
//! answer to the write before, and the interval belongs to the one who wrote. So the operator's share is the sum of the
//! times from the last thing that it can have waited for to the answer to its own next write, requests included; all
//! other intervals are those of the storage, the scheduler, the kubelet (with the engine's start, whose end the kubelet
//! reports), and the controllers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::Engine;
use api::backup::Method;
use e2e::audit::{Mark, OPERATOR, Request};
use e2e::length::{engines, many};
use e2e::space::story;
use e2e::{Database, Space, Writer};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

/// What the operator watches in a namespace, without Events and the Secrets.
const WATCHED: [&str; 10] = [
    "databaseinstances",
    "databasebackups",
    "databaserestores",
    "volumesnapshots",
    "persistentvolumeclaims",
    "statefulsets",
    "pods",
    "jobs",
    "services",
    "configmaps",
];
/// The operator's writes for a backup: one snapshot, and what it says when it begins, when the cut is made and at the
/// end; a driver that says these two in several steps brings one more. For a Quiesced one also a Job, made and deleted,
/// and what is said of it.
const BACKUP_WRITES: usize = 6;
const QUIESCED_WRITES: usize = 12;
/// For a restore: the instance, its seven children, what it and the restore say, and the data marked as re-keyed.
const RESTORE_WRITES: usize = 20;

#[tokio::test]
async fn figures_of_backups_and_restores() -> Result<()> {
    for engine in engines(&[Engine::Postgresql]) {
        figures(&format!("story-figures-{}", engine.name()), engine).await?;
    }
    Ok(())
}

async fn source(space: &Space, engine: Engine) -> Result<()> {
    let spec = json!({"engine": engine.name(), "storage": {"size": "1Gi"}});
    space.apply_instance("source", spec).await?;
    space.until_settled("source").await.map(|_| ())
}

async fn figures(name: &str, engine: Engine) -> Result<()> {
    story(name, |space| async move {
        source(&space, engine).await?;
        let database = Database::bound(&space, engine, "source").await?;
        database.reached().await?;
        database.sql("CREATE TABLE t (n int)").await?;
        let writer = Writer::start(&database, "t").await?;
        space
            .until("the writer is at work", || async {
                Ok(writer.acknowledged().len() > 10)
            })
            .await?;
        let mut table = Table::new(engine);
        for method in [Method::Online, Method::Quiesced] {
            for number in 0..many(1, 5) {
                back_up(&space, &mut table, method, number).await?;
            }
        }
        drop(writer);
        for number in 0..many(1, 5) {
            restore(&space, &mut table, engine, number).await?;
        }
        table.print();
        Ok(())
    })
    .await
}

async fn back_up(space: &Space, table: &mut Table, method: Method, number: usize) -> Result<()> {
    let word = method.name().to_lowercase();
    let name = format!("{word}-{number}");
    let mark = space.cluster.mark()?;
    let spec = json!({"instance": "source", "method": method.name()});
    let backup = space.back_up(&name, spec).await?;
    let log = Log::read(space, &mark).await?;
    let asked = log.find("databasebackups", "", &name, |r| r.created())?;
    let snapshots: Vec<&Request> = log.creations("volumesnapshots").collect();
    ensure!(snapshots.len() == 1, "{name}: {snapshots:#?}");
    let ready = log.last("databasebackups", &name, OPERATOR)?;
    let last_news = log.requests.iter().rfind(|r| {
        r.object_ref.resource == "volumesnapshots"
            && r.user.username != OPERATOR
            && r.answered().ok() < ready.received().ok()
    });
    let last_news = last_news.context("the storage said nothing")?;
    let share = log.share(asked.received()?, ready.answered()?)?;
    table.time(
        format!("{word}: CREATE to Ready"),
        asked.received()?,
        ready.answered()?,
    );
    table.time(
        format!("{word}: CREATE to VolumeSnapshot asked for"),
        asked.received()?,
        snapshots[0].received()?,
    );
    table.time(
        format!("{word}: VolumeSnapshot asked for to readyToUse"),
        snapshots[0].received()?,
        last_news.answered()?,
    );
    table.time(
        format!("{word}: readyToUse to Ready"),
        last_news.answered()?,
        ready.answered()?,
    );
    table.duration(format!("{word}: the operator's share"), share.operator);
    if let Some(held) = backup.status.and_then(|status| status.held_milliseconds) {
        table.duration(
            format!("{word}: writes held"),
            Duration::from_millis(u64::try_from(held)?),
        );
    }
    table.number(format!("{word}: writes"), share.writes);
    let limit = if method == Method::Quiesced {
        QUIESCED_WRITES
    } else {
        BACKUP_WRITES
    };
    ensure!(
        log.writes_for(&["databasebackups", "volumesnapshots", "jobs"]) <= limit,
        "{name} took too many writes: {:#?}",
        log.told()
    );
    Ok(())
}

async fn restore(space: &Space, table: &mut Table, engine: Engine, number: usize) -> Result<()> {
    let name = format!("copy-{number}");
    let mark = space.cluster.mark()?;
    let spec = json!({"backup": {"name": "online-0"}, "instance": name});
    space.apply_restore(&name, spec).await?;
    let binding = format!("secret/{name}");
    space
        .until("there is a binding", || async {
            Ok(!space.field(&binding, ".metadata.uid").await?.is_empty())
        })
        .await?;
    let database = Database::bound(space, engine, &name).await?;
    database.first_answer("SELECT count(*) FROM t").await?;
    let answered = Timestamp::now();
    space.until_restored(&name).await?;
    let log = Log::read(space, &mark).await?;
    let asked = log.find("databaserestores", "", &name, |r| r.created())?;
    let made = log.find("databaseinstances", "", &name, |r| r.created())?;
    let ready = log.last("databaserestores", &name, OPERATOR)?;
    let share = log.share(asked.received()?, ready.answered()?)?;
    table.time(
        "restore: CREATE to the first query's answer".into(),
        asked.received()?,
        answered,
    );
    table.time(
        "restore: CREATE to Ready".into(),
        asked.received()?,
        ready.answered()?,
    );
    table.time(
        "restore: CREATE to the instance's creation".into(),
        asked.received()?,
        made.received()?,
    );
    table.time(
        "restore: instance's creation to Ready".into(),
        made.received()?,
        ready.answered()?,
    );
    table.duration("restore: the operator's share".into(), share.operator);
    table.duration("restore: all others' share".into(), share.others);
    table.number("restore: writes".into(), share.writes);
    ensure!(
        share.writes <= RESTORE_WRITES,
        "{name} took too many writes: {:#?}",
        log.told()
    );
    // The next one finds an idle machine.
    space
        .patch(&name, json!({"deletionPolicy": "Delete"}))
        .await?;
    space.until_settled(&name).await?;
    space.kubectl(&["delete", "dbinstance", &name], "").await?;
    let pod = format!("pod/{name}-0");
    space
        .until("the copy is gone", || async {
            Ok(space.field(&pod, ".metadata.uid").await?.is_empty())
        })
        .await
}

/// The good writes to what the operator watches in the namespace, in the order of their answers.
struct Log {
    requests: Vec<Request>,
}

struct Share {
    operator: Duration,
    others: Duration,
    writes: usize,
}

impl Log {
    async fn read(space: &Space, mark: &Mark) -> Result<Self> {
        // What came in before now must be in the log.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut requests = space.cluster.requests_since(mark)?;
        requests.retain(|r| {
            r.is_in(&space.name)
                && !matches!(r.verb.as_str(), "get" | "list" | "watch")
                && WATCHED.contains(&r.object_ref.resource.as_str())
                && r.object_ref.subresource != "exec"
                && r.response_status.code < 300
        });
        requests.sort_by_key(|r| r.stage_timestamp.clone());
        let log = Log { requests };
        if std::env::var_os("E2E_TIMELINE").is_some() {
            log.told().iter().for_each(|line| eprintln!("{line}"));
        }
        Ok(log)
    }

    fn find(
        &self,
        resource: &str,
        subresource: &str,
        name: &str,
        is: impl Fn(&Request) -> bool,
    ) -> Result<&Request> {
        let found = self.requests.iter().find(|r| {
            let object = &r.object_ref;
            object.resource == resource
                && object.subresource == subresource
                && object.name == name
                && is(r)
        });
        found.with_context(|| format!("no such request for {resource} {name}: {:#?}", self.told()))
    }

    fn last(&self, resource: &str, name: &str, user: &str) -> Result<&Request> {
        let found = self.requests.iter().rfind(|r| {
            r.object_ref.resource == resource
                && r.object_ref.name == name
                && r.user.username == user
        });
        found.with_context(|| format!("{user} wrote no {resource} {name}: {:#?}", self.told()))
    }

    fn creations(&self, resource: &str) -> impl Iterator<Item = &Request> {
        let of = resource.to_owned();
        self.requests
            .iter()
            .filter(move |r| r.object_ref.resource == of && r.created())
    }

    fn writes_for(&self, resources: &[&str]) -> usize {
        let ours = self.requests.iter().filter(|r| r.user.username == OPERATOR);
        ours.filter(|r| resources.contains(&r.object_ref.resource.as_str()))
            .count()
    }

    fn share(&self, from: Timestamp, to: Timestamp) -> Result<Share> {
        let mut share = Share {
            operator: Duration::ZERO,
            others: Duration::ZERO,
            writes: 0,
        };
        let mut before = from;
        for request in &self.requests {
            let answered = request.answered()?;
            if answered <= from || answered > to {
                continue;
            }
            let interval = Duration::try_from(answered.duration_since(before))?;
            if request.user.username == OPERATOR {
                share.operator += interval;
                share.writes += 1;
            } else {
                share.others += interval;
            }
            before = answered;
        }
        Ok(share)
    }

    fn told(&self) -> Vec<String> {
        let line = |r: &Request| {
            let (o, user) = (
                &r.object_ref,
                r.user.username.rsplit(':').next().unwrap_or_default(),
            );
            format!(
                "{} {user} {} {}/{} {}",
                r.stage_timestamp, r.verb, o.resource, o.subresource, o.name
            )
        };
        self.requests.iter().map(line).collect()
    }
}

/// What was measured, by its name, in the order in which it was first measured.
struct Table {
    engine: Engine,
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    fn new(engine: Engine) -> Self {
        Table {
            engine,
            rows: Vec::new(),
        }
    }

    fn number(&mut self, what: String, number: usize) {
        self.add(what, number as f64);
    }

    fn duration(&mut self, what: String, duration: Duration) {
        self.add(what + " (s)", duration.as_secs_f64());
    }

    fn time(&mut self, what: String, from: Timestamp, to: Timestamp) {
        self.add(what + " (s)", to.duration_since(from).as_secs_f64());
    }

    fn add(&mut self, what: String, value: f64) {
        match self.rows.iter_mut().find(|(known, _)| *known == what) {
            Some((_, values)) => values.push(value),
            None => self.rows.push((what, vec![value])),
        }
    }

    fn print(&mut self) {
        for (what, values) in &mut self.rows {
            values.sort_by(f64::total_cmp);
            let (first, last) = (values[0], values[values.len() - 1]);
            let median = values[values.len() / 2];
            eprintln!(
                "figures: | {} | {what} | {first:.2} | {median:.2} | {last:.2} |",
                self.engine.name()
            );
        }
    }
}
