//! The operator as a process of the machine, with the rights of its service account, while its Deployment has no pod.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, cluster};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// Starts and kills the operator.
pub struct Operator {
    program: PathBuf,
    kubeconfig: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Operator {
    /// Does something while the operator runs here instead of in its pod. The Deployment is back afterwards in any case.
    pub async fn instead_of_the_deployment(
        cluster: &Cluster,
        doing: impl AsyncFnOnce(&mut Operator) -> Result<()>,
    ) -> Result<()> {
        let mut operator = Self::new(cluster).await?;
        let done = async {
            scale(cluster, 0).await?;
            let done = doing(&mut operator).await;
            let stopped = operator.stop().await;
            let log = std::fs::read_to_string(&operator.log).unwrap_or_default();
            let tail = &log[log.floor_char_boundary(log.len().saturating_sub(5000))..];
            done.with_context(|| format!("the operator's log ends with\n{tail}"))?;
            stopped
        };
        let done = done.await;
        scale(cluster, 1).await?;
        std::fs::remove_file(&operator.kubeconfig)?;
        std::fs::remove_file(&operator.log)?;
        done
    }

    async fn new(cluster: &Cluster) -> Result<Self> {
        let target = std::env::var("CARGO_TARGET_DIR")
            .map_or_else(|_| cluster::root().join("target"), PathBuf::from);
        let program = target.join("release/minidbaas");
        ensure!(
            program.exists(),
            "there is no {}; `make cluster` builds it",
            program.display()
        );
        let folder = std::env::temp_dir();
        let name = format!("minidbaas-e2e-{}", std::process::id());
        let operator = Operator {
            program,
            kubeconfig: folder.join(format!("{name}.kubeconfig")),
            log: folder.join(format!("{name}.log")),
            child: None,
        };
        File::create(&operator.log)?;
        operator.write_kubeconfig(cluster).await?;
        Ok(operator)
    }

    /// The administrator's cluster with the service account's token.
    async fn write_kubeconfig(&self, cluster: &Cluster) -> Result<()> {
        let words = [
            "-n",
            "minidbaas-system",
            "create",
            "token",
            "minidbaas",
            "--duration=1h",
        ];
        let token = cluster.kubectl(&words, "").await?;
        let text = std::fs::read_to_string(&cluster.kubeconfig)?;
        let mut config: Value = serde_yaml::from_str(&text)?;
        let user = config["users"][0]["name"].take();
        config["users"] = json!([{"name": user, "user": {"token": token.trim()}}]);
        std::fs::write(&self.kubeconfig, "")?;
        std::fs::set_permissions(&self.kubeconfig, Permissions::from_mode(0o600))?;
        Ok(std::fs::write(&self.kubeconfig, config.to_string())?)
    }

    /// A client with its rights.
    pub async fn client(&self) -> Result<Client> {
        let config = Kubeconfig::read_from(&self.kubeconfig)?;
        let mut config =
            Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        Ok(Client::try_from(config)?)
    }

    /// From its next start on it talks to the API server through this address, which brings the rights itself.
    pub fn talk_through(&self, address: &str) -> Result<()> {
        let mut config: Value = serde_json::from_slice(&std::fs::read(&self.kubeconfig)?)?;
        config["clusters"][0]["cluster"] = json!({"server": address});
        config["users"][0]["user"] = json!({});
        Ok(std::fs::write(&self.kubeconfig, config.to_string())?)
    }

    /// Starts it; it has always the same name in the Lease.
    pub async fn start(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "it runs already");
        let log = OpenOptions::new().append(true).open(&self.log)?;
        let child = Command::new(&self.program)
            .args([
                "run",
                "--operator-namespace=minidbaas-system",
                "--identity=story",
                "--listen=127.0.0.1:0",
            ])
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// SIGKILL: it can do nothing about it.
    pub async fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("it does not run")?;
        let ended = child.try_wait()?;
        ensure!(ended.is_none(), "it ended by itself: {ended:?}");
        Ok(child.kill().await?)
    }

    /// SIGTERM, so that it gives back the Lease.
    async fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let pid = child.id().context("it ended by itself")?.to_string();
        cluster::run("kill", &["-TERM", &pid], "").await?;
        let status = child.wait().await?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

/// Waits until the Deployment has so many pods.
async fn scale(cluster: &Cluster, replicas: u8) -> Result<()> {
    let system = ["-n", "minidbaas-system"];
    let replicas = format!("--replicas={replicas}");
    let scale = ["scale", "deployment/minidbaas", &replicas];
    let rollout = [
        "rollout",
        "status",
        "deployment/minidbaas",
        "--timeout=120s",
    ];
    let wait = [
        "wait",
        "pod",
        "-l",
        "app.kubernetes.io/name=minidbaas",
        "--for=delete",
        "--timeout=120s",
    ];
    cluster.kubectl(&[&system[..], &scale].concat(), "").await?;
    if replicas.ends_with('0') {
        cluster.kubectl(&[&system[..], &wait].concat(), "").await?;
    } else {
        cluster
            .kubectl(&[&system[..], &rollout].concat(), "")
            .await?;
    }
    Ok(())
}
