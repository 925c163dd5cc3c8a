//! A primary that is deleted, whose PostgreSQL is killed, or whose processes are frozen: another one serves, or the
//! same again; the former one rejoins; the status and the Events say it; and no row that was acknowledged is lost.
//! The long form repeats each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::HACluster;
use e2e::ha::signal;
use e2e::length::many;
use e2e::space::story;
use e2e::{Database, Space, Writer, none_lost};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use tokio::sync::watch;

const NAME: &str = "shop";

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Deleted,
    Killed,
    Frozen,
}

#[tokio::test]
async fn a_primary_that_fails_is_replaced_and_no_acknowledged_row_is_lost() -> Result<()> {
    story("story-ha-failover", |space| async move {
        space.admit_zalando().await?;
        let spec = json!({"engine": "postgresql", "storage": {"size": "1Gi"}});
        space.apply_ha(NAME, spec).await?;
        space.step("three servers", space.until_ha(NAME)).await?;
        let primary = Database::primary(&space, NAME).await?;
        primary.reached().await?;
        primary.sql("CREATE TABLE t (n int)").await?;
        let writer = Writer::reconnecting(&primary, "t").await?;
        let watched = Watched::begin(&space);
        let mut pauses: Vec<(End, Vec<f64>)> = Vec::new();
        for end in [End::Deleted, End::Killed, End::Frozen] {
            let mut times = Vec::new();
            for _ in 0..many(1, 10) {
                times.push(fail(&space, &writer, &watched, end).await?.as_secs_f64());
            }
            pauses.push((end, times));
        }
        let acknowledged = writer.acknowledged();
        drop(writer);
        let primary = Database::primary(&space, NAME).await?;
        primary.reached().await?;
        none_lost("figures", &primary, "t", &acknowledged).await?;
        for (end, mut times) in pauses {
            times.sort_by(f64::total_cmp);
            let (least, most) = (times[0], times[times.len() - 1]);
            let median = times[times.len() / 2];
            eprintln!(
                "figures: {end:?}: without a primary {least:.1} / {median:.1} / {most:.1} s ({} \
                times)",
                times.len()
            );
        }
        watched.print();
        Ok(())
    })
    .await
}

/// Lets the primary fail and waits until all is as before; returns the writer's longest pause.
async fn fail(space: &Space, writer: &Writer, watched: &Watched, end: End) -> Result<Duration> {
    // Ready also says that a replica could take over.
    space.until_ha(NAME).await?;
    let primary = space.primary(NAME).await?.context("no primary")?;
    at_work(space, writer).await?;
    let (processes, began) = (space.processes(&primary).await?, Instant::now());
    let frozen: Vec<u32> = processes.iter().map(|(pid, _)| *pid).collect();
    watched.expect();
    match end {
        End::Deleted => {
            let words = ["delete", "pod", primary.as_str(), "--wait=false"];
            space.kubectl(&words, "").await?;
        }
        End::Killed => {
            let server = processes
                .iter()
                .find(|(_, line)| line.contains("postgres -D"));
            signal("KILL", &[server.context("no postmaster")?.0]).await?;
        }
        End::Frozen => signal("STOP", &frozen).await?,
    }
    let failed = async {
        if end == End::Killed {
            // Patroni first tries to start it again, and keeps the lock meanwhile; or a replica takes over.
            let server = |(_, line): &&(u32, String)| line.contains("postgres -D");
            let before = processes.iter().find(server).map(|(pid, _)| *pid);
            space
                .until("another PostgreSQL serves", || async {
                    let Some(now) = space.primary(NAME).await? else {
                        return Ok(false);
                    };
                    // Its container may be on its way out.
                    let processes = space.processes(&now).await.unwrap_or_default();
                    let now = processes.iter().find(server).map(|(pid, _)| *pid);
                    Ok(now.is_some() && now != before)
                })
                .await?;
        } else {
            space
                .until("another pod is the primary", || async {
                    let now = space.primary(NAME).await?;
                    Ok(now.is_some_and(|now| now != primary))
                })
                .await?;
        }
        at_work(space, writer).await
    };
    let failed = space
        .step(&format!("{end:?}: a primary serves"), failed)
        .await;
    if end == End::Frozen {
        signal("CONT", &frozen).await?;
    }
    failed?;
    let status = space
        .step("all servers serve again", space.until_ha(NAME))
        .await?;
    let status = status.status.unwrap_or_default();
    let roles = space.roles(NAME).await?;
    let role = |pod: &str| roles.get(pod).map(String::as_str);
    let now = status.primary.clone().context("no primary")?;
    ensure!(
        role(&now) == Some("master"),
        "{now} is no primary: {roles:?}"
    );
    if now != primary {
        ensure!(
            role(&primary) == Some("replica"),
            "{primary} did not rejoin: {roles:?}"
        );
        let failover = status
            .last_failover
            .clone()
            .context("no failover is told of")?;
        ensure!(
            (failover.from.as_str(), failover.to.as_str()) == (primary.as_str(), now.as_str()),
            "{failover:?}"
        );
        told(
            space,
            &format!("The primary is {now} now; it was {primary}."),
        )
        .await?;
    }
    ensure!(
        end == End::Killed || now != primary,
        "{primary} is the primary again"
    );
    Ok(writer.longest_pause_since(began))
}

/// Rows are acknowledged.
async fn at_work(space: &Space, writer: &Writer) -> Result<()> {
    let before = writer.acknowledged().len();
    space
        .until("rows are acknowledged", || async {
            Ok(writer.acknowledged().len() > before + 5)
        })
        .await
}

/// There is an Event with these words.
async fn told(space: &Space, words: &str) -> Result<()> {
    let events: Api<Event> = Api::namespaced(space.cluster.client.clone(), &space.name);
    let of = ListParams::default().fields("involvedObject.kind=HACluster,reason=FailedOver");
    space
        .until("an Event tells of the failover", || async {
            let listed = events.list(&of).await?;
            Ok(listed
                .items
                .iter()
                .any(|event| event.message.as_deref() == Some(words)))
        })
        .await
}

/// When a pod gets the primary's role, and when the status says so, both seen by a watch.
struct Watched {
    expected: watch::Sender<u64>,
    late: Arc<std::sync::Mutex<Vec<f64>>>,
}

impl Watched {
    fn begin(space: &Space) -> Self {
        let (expected, asked) = watch::channel(0);
        let late = Arc::default();
        tokio::spawn(follow(
            space.cluster.client.clone(),
            space.name.clone(),
            asked,
            Arc::clone(&late),
        ));
        Watched { expected, late }
    }

    /// From now on, the next change counts.
    fn expect(&self) {
        self.expected.send_modify(|count| *count += 1);
    }

    fn print(&self) {
        let mut late = self
            .late
            .lock()
            .map(|late| late.clone())
            .unwrap_or_default();
        late.sort_by(f64::total_cmp);
        if let (Some(least), Some(most)) = (late.first(), late.last()) {
            eprintln!(
                "figures: status after the role label {least:.2} / {:.2} / {most:.2} s ({} times)",
                late[late.len() / 2],
                late.len()
            );
        }
    }
}

async fn follow(
    client: kube::Client,
    namespace: String,
    expected: watch::Receiver<u64>,
    late: Arc<std::sync::Mutex<Vec<f64>>>,
) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let clusters: Api<HACluster> = Api::namespaced(client, &namespace);
    let of_pods = watcher::Config::default().labels("spilo-role=master");
    let mut pods = watcher(pods, of_pods)
        .default_backoff()
        .applied_objects()
        .boxed();
    let mut clusters = watcher(clusters, watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .boxed();
    let (mut role, mut told) = (None::<(String, Instant)>, None::<String>);
    loop {
        tokio::select! {
            Some(pod) = pods.next() => {
                let Ok(pod) = pod else { continue };
                let name = pod.metadata.name.unwrap_or_default();
                // A frozen primary keeps its label until it is thawed.
                if *expected.borrow() > 0 && told.as_ref() != Some(&name) && role.as_ref().is_none_or(|(known,
                    _)| *known != name) {
                    role = Some((name, Instant::now()));
                }
            }
            Some(cluster) = clusters.next() => {
                let Ok(cluster) = cluster else { continue };
                let Some(primary) = cluster.status.and_then(|status| status.primary) else { continue };
                if let Some((name, at)) = role.take_if(|(name, _)| *name == primary)
                    && told.as_ref() != Some(&name)
                    && let Ok(mut late) = late.lock()
                {
                    late.push(at.elapsed().as_secs_f64());
                }
                told = Some(primary);
            }
            else => return,
        }
    }
}
