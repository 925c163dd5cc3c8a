//! HACluster resources of a story's namespace, their pods, and the processes in those.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use api::external::zalando::{LABEL_CLUSTER, Postgresql};
use api::{Engine, HACluster};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use crate::client::secret;
use crate::cluster::run;
use crate::space::be_patient;
use crate::waits::{until_at_rest, until_says};
use crate::{Database, Space};

impl Space {
    /// The clusters of the namespace.
    pub fn ha_clusters(&self) -> Api<HACluster> {
        Api::namespaced(self.cluster.client.clone(), &self.name)
    }

    /// The `postgresql` of the namespace.
    pub fn postgresqls(&self) -> Api<Postgresql> {
        Api::namespaced(self.cluster.client.clone(), &self.name)
    }

    /// Lets the Zalando operator's pods in: they do not satisfy the level that stories enforce. What the story waits
    /// for may take that operator's time from now on. A story that was ended in the middle may have left it stopped.
    pub async fn admit_zalando(&self) -> Result<()> {
        be_patient();
        let operator = ["-n", "kube-system", "scale", "deployment/postgres-operator"];
        let words = [operator.as_slice(), &["--replicas=1"]].concat();
        self.cluster.kubectl(&words, "").await?;
        let label = "pod-security.kubernetes.io/enforce=baseline";
        let words = ["label", "namespace", &self.name, label, "--overwrite"];
        self.cluster.kubectl(&words, "").await.map(|_| ())
    }

    /// Applies a cluster with this spec.
    pub async fn apply_ha(&self, name: &str, spec: Value) -> Result<()> {
        self.apply_resource("HACluster", name, spec).await
    }

    /// Merges a change into a cluster's spec.
    pub async fn patch_ha(&self, name: &str, spec: Value) -> Result<()> {
        self.patch_resource("HACluster", name, spec).await
    }

    /// Waits until the status speaks of the present spec, all servers serve and nothing is under way or stalled.
    pub async fn until_ha(&self, name: &str) -> Result<HACluster> {
        until_at_rest(self, &self.ha_clusters(), name).await
    }

    /// Waits until a condition has this status and reason, for the present spec; returns its message.
    pub async fn until_ha_says(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> Result<String> {
        until_says(self, &self.ha_clusters(), name, type_, status, reason).await
    }

    /// Pods of a cluster by name, each with its role; "" before it has one.
    pub async fn roles(&self, cluster: &str) -> Result<BTreeMap<String, String>> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &self.name);
        let listed = pods.list(&of(cluster)).await?;
        let role = |pod: Pod| {
            let labels = pod.metadata.labels.unwrap_or_default();
            let role = labels.get("spilo-role").cloned().unwrap_or_default();
            (pod.metadata.name.unwrap_or_default(), role)
        };
        Ok(listed.items.into_iter().map(role).collect())
    }

    /// Volume claims of a cluster by name, each with its capacity.
    pub async fn claims(&self, cluster: &str) -> Result<BTreeMap<String, String>> {
        let claims: Api<PersistentVolumeClaim> =
            Api::namespaced(self.cluster.client.clone(), &self.name);
        let listed = claims.list(&of(cluster)).await?;
        let capacity = |claim: PersistentVolumeClaim| {
            let capacity = claim.status.and_then(|status| status.capacity);
            let capacity = capacity.and_then(|capacity| capacity.get("storage").cloned());
            (
                claim.metadata.name.unwrap_or_default(),
                capacity.map(|size| size.0).unwrap_or_default(),
            )
        };
        Ok(listed.items.into_iter().map(capacity).collect())
    }

    /// The pod of the primary, as the status has it.
    pub async fn primary(&self, cluster: &str) -> Result<Option<String>> {
        let cluster = self.ha_clusters().get(cluster).await?;
        Ok(cluster.status.and_then(|status| status.primary))
    }

    /// The processes of a pod's server container, with their command lines, as the machine numbers them.
    pub async fn processes(&self, pod: &str) -> Result<Vec<(u32, String)>> {
        let path = ".status.containerStatuses[?(@.name==\"postgres\")].containerID";
        let container = self.field(&format!("pod/{pod}"), path).await?;
        let container = container.rsplit('/').next().unwrap_or_default();
        ensure!(container.len() > 12, "{pod} has no server container");
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
                continue;
            };
            // It may have ended meanwhile.
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            if read("cgroup").contains(container) {
                found.push((pid, read("cmdline").replace('\0', " ")));
            }
        }
        ensure!(!found.is_empty(), "{pod} has no processes");
        Ok(found)
    }
}

fn of(cluster: &str) -> ListParams {
    ListParams::default().labels(&format!("{LABEL_CLUSTER}={cluster}"))
}

/// Sends a signal, such as KILL, to processes of the cluster's node.
pub async fn signal(name: &str, pids: &[u32]) -> Result<()> {
    let signal = format!("-{name}");
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let words: Vec<&str> = [signal.as_str(), "--"]
        .into_iter()
        .chain(pids.iter().map(String::as_str))
        .collect();
    // One that has ended meanwhile is an error of `kill`, and none here.
    run("kill", &words, "").await.ok();
    Ok(())
}

impl<'a> Database<'a> {
    /// The primary of a cluster, by its binding.
    pub async fn primary(space: &'a Space, cluster: &str) -> Result<Self> {
        Self::bound(space, Engine::Postgresql, cluster).await
    }

    /// The replicas of a cluster, by its binding.
    pub async fn replicas(space: &'a Space, cluster: &str) -> Result<Self> {
        let uri = secret(space, cluster, "replica-uri").await;
        let uri = uri.context("the binding does not name the replicas")?;
        Self::with_uri(space, Engine::Postgresql, uri).await
    }
}
