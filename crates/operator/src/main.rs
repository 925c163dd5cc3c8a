//! The operator of Mini DBaaS: `run` reconciles, `crd` and `catalog` print what `crds/` and `deploy/` hold.

mod answers;
mod apply;
mod clock;
mod context;
mod controllers;
mod error;
mod failures;
mod identity;
mod leader;
mod metrics;
mod orphans;
mod pass;
mod pruned;
mod recent;
mod reference;
mod report;
mod series;
mod server;
mod stores;
#[cfg(test)]
mod tests;
mod turns;
mod words;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand, ValueEnum};
use futures::FutureExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::client::ClientBuilder;
use kube::{Client, Config, CustomResourceExt};
use tracing_subscriber::EnvFilter;

use crate::answers::Portions;
use crate::clock::ServerClock;
use crate::context::{Context, Scope};
use crate::metrics::Metrics;
use crate::stores::Stores;

/// What is logged unless RUST_LOG says otherwise. Of an answer that it does not understand the client would log the
/// whole text, a Secret's, too.
const LOGGED: &str = "info,kube_lease_manager=warn,kube_client::client=error";

/// PostgreSQL, MySQL and MariaDB as a service inside a Kubernetes cluster.
#[derive(Parser)]
#[command(name = "minidbaas", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator.
    Run(Run),
    /// Print a CustomResourceDefinition as YAML.
    Crd {
        /// Its plural name, such as databaseinstances.
        plural: String,
    },
    /// Print the ConfigMap with the compiled-in engine catalog as YAML.
    Catalog,
    /// Print the page that explains every field, as Markdown.
    Reference,
}

#[derive(clap::Args)]
struct Run {
    /// Watch this namespace only; without it, all namespaces.
    #[arg(long, env = "MINIDBAAS_NAMESPACE")]
    namespace: Option<String>,
    /// The operator's own namespace: its Lease and the engine catalog are there.
    #[arg(long, env = "POD_NAMESPACE", default_value = "minidbaas-system")]
    operator_namespace: String,
    /// Name of this replica in the Lease; by default the pod's name.
    #[arg(long, env = "POD_NAME", default_value = "minidbaas")]
    identity: String,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, env = "MINIDBAAS_LISTEN", default_value = "0.0.0.0:8080")]
    listen: String,
    /// How many instances are looked at concurrently.
    #[arg(long, env = "MINIDBAAS_CONCURRENCY", default_value_t = 16)]
    concurrency: u16,
    /// Form of the log on standard error; RUST_LOG sets what is logged.
    #[arg(long, env = "MINIDBAAS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Run(arguments) => tokio::runtime::Builder::new_multi_thread()
            // Also where the container has a share of one processor only: a pass that computes must not hold up all
            // others.
            .worker_threads(
                std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2)),
            )
            .enable_all()
            .build()?
            .block_on(run(arguments)),
        Command::Crd { plural } => print(&crd(&plural)?),
        Command::Catalog => print(&catalog()?),
        Command::Reference => print(&reference()?),
    }
}

fn print(text: &str) -> Result<()> {
    use std::io::Write;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// All our kinds.
fn crds() -> [CustomResourceDefinition; 4] {
    [
        api::DatabaseInstance::crd(),
        api::DatabaseBackup::crd(),
        api::DatabaseRestore::crd(),
        api::HACluster::crd(),
    ]
}

/// A file of `crds/`. A comment's line breaks are not meant for the reader of `kubectl explain`.
fn crd(plural: &str) -> Result<String> {
    fn join_lines(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                for (key, field) in fields {
                    match field {
                        serde_json::Value::String(text) if key == "description" => {
                            let paragraphs: Vec<String> = text
                                .split("\n\n")
                                .map(|text| text.replace('\n', " "))
                                .collect();
                            *text = paragraphs.join("\n\n");
                        }
                        _ => join_lines(field),
                    }
                }
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(join_lines),
            _ => {}
        }
    }
    let known = crds();
    let found = known.iter().find(|crd| crd.spec.names.plural == plural);
    let found = found.with_context(|| format!("there is no resource {plural}"))?;
    let mut crd = serde_json::to_value(found)?;
    join_lines(&mut crd);
    api::limits::limit(&mut crd);
    Ok(quote_switches(&serde_yaml::to_string(&crd)?))
}

/// On and Off are words here, and truth values to whoever reads YAML 1.1, such as `kubectl apply -f`.
fn quote_switches(yaml: &str) -> String {
    let quoted = yaml.lines().map(|line| {
        let (start, word) = line.rsplit_once(' ').unwrap_or_default();
        match word {
            "On" | "Off" if start.ends_with([':', '-']) => format!("{start} '{word}'\n"),
            _ => format!("{line}\n"),
        }
    });
    quoted.collect()
}

/// The ConfigMap of `deploy/base/catalog.yaml`.
fn catalog() -> Result<String> {
    let map = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": api::names::CATALOG, "namespace": "minidbaas-system"},
        "data": plan::catalog::Catalog::built_in().data(),
    });
    Ok(serde_yaml::to_string(&map)?)
}

/// `docs/reference.md`.
fn reference() -> Result<String> {
    let all = crds()
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<Vec<_>, _>>()?;
    reference::page(&all)
}

async fn run(arguments: Run) -> Result<()> {
    // One TLS provider, before anything opens a connection.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    start_log(arguments.log_format);
    let mut config = Config::infer()
        .await
        .context("no Kubernetes configuration was found")?;
    // The default retries any request for minutes inside one call; a pass rather fails and is done again.
    config.default_retry = false;
    let clock = ServerClock::default();
    let client: Client = ClientBuilder::try_from(config.clone())?
        .with_layer(&clock)
        .with_layer(&Portions::default())
        .build();
    let stop = stop_signal()?.shared();
    let stores = Arc::new(Stores::default());
    let metrics = Arc::new(Metrics::new(stores.clone(), clock.clone()));
    let server = server::bind(&arguments.listen).await?;
    let serving = tokio::spawn(server::serve(
        server,
        client.clone(),
        metrics.clone(),
        stop.clone(),
    ));
    let Some(lease) = leader::acquire(
        || Ok(Client::try_from(config)?),
        &arguments.operator_namespace,
        &arguments.identity,
        stop.clone(),
    )
    .await?
    else {
        serving.await??;
        return Ok(());
    };
    metrics.leader.set(1);
    let scope = Scope::new(arguments.namespace);
    let context = Arc::new(Context::new(
        client,
        scope,
        arguments.operator_namespace,
        &arguments.identity,
        metrics,
        stores,
        clock,
    ));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = context.scope.name(),
        "the operator is running"
    );
    let concurrency = arguments.concurrency;
    let controllers = async {
        tokio::join!(
            controllers::instance::run(context.clone(), concurrency, stop.clone()),
            controllers::backup::run(context.clone(), concurrency, stop.clone()),
            controllers::restore::run(context.clone(), concurrency, stop.clone()),
            controllers::ha_cluster::run(context.clone(), concurrency, stop.clone()),
        );
    };
    tokio::select! {
        () = controllers => {}
        () = orphans::run(&context) => {}
        // Without the lease another replica may be at work already: end at once, and let Kubernetes start a standby.
        () = lease.lost() => anyhow::bail!("the Lease was lost"),
    }
    lease.release().await;
    serving.await??;
    tracing::info!("the operator has stopped");
    Ok(())
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Resolves at SIGTERM or SIGINT; one for the whole process.
fn stop_signal() -> Result<impl Future<Output = ()> + Send + Sync + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        drop(sender);
    });
    Ok(receiver.map(|_| ()))
}
