//! The operator as a process of the machine, for one namespace and with rights in that one only, as `deploy/namespaced`
//! gives them.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{self, root};
use e2e::{Cluster, Space};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// What of the manifests says who may do what.
const RIGHTS: [&str; 4] = [
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRoleBinding",
];

/// Starts and kills the operator of one namespace.
pub struct Operator {
    /// Its user, as the API server knows it.
    pub user: String,
    /// Where its Lease and the engine catalog are.
    pub home: Space,
    namespace: String,
    program: PathBuf,
    kubeconfig: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Operator {
    /// Does something while a namespace has an operator of its own, of the very program that is deployed, and no other
    /// one is at work.
    pub async fn only_for<T>(
        space: &Space,
        doing: impl AsyncFnOnce(&mut Operator) -> Result<T>,
    ) -> Result<T> {
        let cluster = &space.cluster;
        stop_deployment(cluster).await?;
        let done = async {
            let mut operator = Self::new(space).await?;
            let done = doing(&mut operator).await;
            let ended = operator.end().await;
            let done = done.with_context(|| operator.last_words())?;
            operator.forget().await?;
            ended.map(|()| done)
        };
        let done = done.await;
        start_deployment(cluster).await?;
        done
    }

    async fn new(space: &Space) -> Result<Self> {
        let program = space.cluster.state().join("operator");
        ensure!(
            program.exists(),
            "there is no {program:?}; `make cluster` puts it there"
        );
        let home = format!("{}-operator", space.name);
        let folder = std::env::temp_dir();
        let operator = Operator {
            user: format!("system:serviceaccount:{home}:minidbaas"),
            home: Space::make(space.cluster.clone(), &home).await?,
            namespace: space.name.clone(),
            program,
            kubeconfig: folder.join(format!("{home}.kubeconfig")),
            log: folder.join(format!("{home}.log")),
            child: None,
        };
        File::create(&operator.log)?;
        let rights = operator.rights().await?.to_string();
        space
            .cluster
            .kubectl(&["apply", "-f", "-"], &rights)
            .await?;
        operator.write_kubeconfig().await?;
        Ok(operator)
    }

    /// Accounts and roles of `deploy/namespaced`, for these namespaces, and the cluster's engine catalog.
    async fn rights(&self) -> Result<Value> {
        let folder = root().join("deploy/namespaced").display().to_string();
        let cluster = &self.home.cluster;
        let manifests = cluster.kubectl(&["kustomize", &folder], "").await?;
        let mut items = Vec::new();
        for document in manifests.split("\n---\n") {
            let mut object: Value = serde_yaml::from_str(document)?;
            let kind = object["kind"].as_str().unwrap_or_default();
            if !RIGHTS.contains(&kind) {
                continue;
            }
            if kind == "ClusterRoleBinding" {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                object["metadata"]["name"] = json!(format!("{}-{name}", self.home.name));
            }
            let text = object.to_string();
            let text = text.replace("\"minidbaas-system\"", &format!("\"{}\"", self.home.name));
            let text = text.replace("\"databases\"", &format!("\"{}\"", self.namespace));
            items.push(serde_json::from_str(&text)?);
        }
        let get = [
            "-n",
            "minidbaas-system",
            "get",
            "configmap",
            "minidbaas-catalog",
            "-o=json",
        ];
        let mut catalog: Value = serde_json::from_str(&cluster.kubectl(&get, "").await?)?;
        catalog["metadata"] = json!({"name": "minidbaas-catalog", "namespace": self.home.name});
        items.push(catalog);
        Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}))
    }

    /// The administrator's cluster with the service account's token.
    async fn write_kubeconfig(&self) -> Result<()> {
        let create = ["create", "token", "minidbaas", "--duration=1h"];
        let token = self.home.kubectl(&create, "").await?;
        let text = std::fs::read_to_string(&self.home.cluster.kubeconfig)?;
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
        let namespaces = [
            format!("--namespace={}", self.namespace),
            format!("--operator-namespace={}", self.home.name),
        ];
        let child = Command::new(&self.program)
            .args(["run", "--identity=story", "--listen=127.0.0.1:0"])
            .args(namespaces)
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
    async fn end(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let pid = child.id().context("it ended by itself")?.to_string();
        cluster::run("kill", &["-TERM", &pid], "").await?;
        let status = child.wait().await?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail = &log[log.floor_char_boundary(log.len().saturating_sub(5000))..];
        format!("the operator's log ends with\n{tail}")
    }

    /// Leaves nothing behind.
    async fn forget(&self) -> Result<()> {
        std::fs::remove_file(&self.kubeconfig)?;
        std::fs::remove_file(&self.log)?;
        let bindings = ["minidbaas-storage-classes", "minidbaas-zalando"];
        let bindings = bindings.map(|name| format!("{}-{name}", self.home.name));
        let delete = ["delete", "clusterrolebinding", &bindings[0], &bindings[1]];
        self.home.cluster.kubectl(&delete, "").await?;
        self.home.begin_deletion().await
    }
}

/// How many of a test's namespaces have an operator of their own just now.
static OWN: Mutex<usize> = Mutex::const_new(0);

async fn stop_deployment(cluster: &Cluster) -> Result<()> {
    let mut own = OWN.lock().await;
    if *own == 0 {
        kubectl(cluster, &["scale", "deployment/minidbaas", "--replicas=0"]).await?;
        let label = "app.kubernetes.io/name=minidbaas";
        let gone = ["wait", "pod", "-l", label, "--for=delete", "--timeout=120s"];
        kubectl(cluster, &gone).await?;
    }
    *own += 1;
    Ok(())
}

async fn start_deployment(cluster: &Cluster) -> Result<()> {
    let mut own = OWN.lock().await;
    *own -= 1;
    match *own {
        0 => cluster.operator_at_work().await,
        _ => Ok(()),
    }
}

async fn kubectl(cluster: &Cluster, words: &[&str]) -> Result<()> {
    let words = [&["-n", "minidbaas-system"], words].concat();
    cluster.kubectl(&words, "").await.map(|_| ())
}
