//! The cluster that `make cluster` left running, and its kubectl.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The running cluster.
#[derive(Clone)]
pub struct Cluster {
    /// An administrator's client.
    pub client: Client,
    /// Path of the administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Path of the kubectl of the cluster's version.
    pub kubectl: String,
}

/// Root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Runs a program to its end with this standard input; an exit code that is not 0 is an error with its output.
pub async fn run(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let output = output(program, arguments, input).await?;
    if !output.status.success() {
        bail!(
            "{program} {}: {}\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end with this standard input.
pub async fn output(program: &str, arguments: &[&str], input: &str) -> Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| program.to_owned())?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let input = input.to_owned();
    // A program may end without reading all of it.
    let writing = tokio::spawn(async move {
        let _ = stdin.write_all(input.as_bytes()).await;
    });
    let output = child.wait_with_output().await?;
    writing.await?;
    Ok(output)
}

impl Cluster {
    /// Connects to the project's own cluster as its administrator.
    pub async fn connect() -> Result<Self> {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let kubeconfig = PathBuf::from(script(&["kubeconfig"]).await?.trim());
        let read = Kubeconfig::read_from(&kubeconfig)
            .context("is the cluster up? `make cluster` brings it up")?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        Ok(Cluster {
            client: Client::try_from(config)?,
            kubeconfig,
            kubectl: format!("{}/kubectl", script(&["programs"]).await?.trim()),
        })
    }

    /// Where the cluster keeps its state and logs.
    pub fn state(&self) -> PathBuf {
        self.kubeconfig
            .parent()
            .map(PathBuf::from)
            .unwrap_or_default()
    }

    /// Makes sure that one pod of the deployed operator is there: a story that was ended in the middle may have left
    /// none, or two.
    pub async fn operator_at_work(&self) -> Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), "minidbaas-system");
        let deployment = deployments.get("minidbaas").await?;
        let status = deployment.status.unwrap_or_default();
        if status.replicas == Some(1) && status.ready_replicas == Some(1) {
            return Ok(());
        }
        let words = ["-n", "minidbaas-system"];
        let scale = ["scale", "deployment/minidbaas", "--replicas=1"];
        self.kubectl(&[&words[..], &scale].concat(), "").await?;
        let ready = ["rollout", "status", "deployment/minidbaas", "--timeout=60s"];
        self.kubectl(&[&words[..], &ready].concat(), "").await?;
        Ok(())
    }

    /// kubectl with these arguments.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig.display());
        let all: Vec<&str> = std::iter::once(kubeconfig.as_str())
            .chain(arguments.iter().copied())
            .collect();
        run(&self.kubectl, &all, input).await
    }
}

/// The script of the project's own cluster: `up`, `crash`, ...
pub async fn script(arguments: &[&str]) -> Result<String> {
    let path = root().join("e2e/cluster/cluster");
    run(&path.display().to_string(), arguments, "").await
}
