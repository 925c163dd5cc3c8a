//! A namespace for one story; it enforces restricted pods, and explains itself when the story fails.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use api::DatabaseInstance;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, ValidationDirective};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::length::many;
use crate::waits::{until_at_rest, until_says};
use crate::{Cluster, kstatus};

/// How long anything may take before a story gives up: what takes seconds, on a machine that is busy with others. A
/// bound for a wait, not a claim about speed.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The same where the Zalando operator is waited for: on a busy machine it misses that a pod is gone, waits two minutes
/// for it, fails, and is asked to do it again.
const ZALANDO: Duration = Duration::from_secs(300);

/// How many seconds a story may take, and its long form. It ends itself then, so that it says what it waited for and
/// puts back what it changed.
const LIMIT: (usize, usize) = (600, 86_400);

tokio::task_local! {
    /// Of the story that runs.
    static BOUNDS: Bounds;
}

/// Whether the deployed operator was seen to be there.
static AT_WORK: OnceCell<()> = OnceCell::const_new();

struct Bounds {
    /// When the story is over its limit.
    ends: Instant,
    has_clusters: AtomicBool,
}

/// The label of a story's namespace; `e2e/stories` deletes by it what former runs have left.
const STORY: &str = "minidbaas.dev/story";

/// Between two looks at what a story waits for.
const SOONEST: Duration = Duration::from_millis(200);
/// The same, after some time.
const LATEST: Duration = Duration::from_secs(1);

/// A namespace of its own.
pub struct Space {
    /// The cluster it is in.
    pub cluster: Cluster,
    /// Its name.
    pub name: String,
}

/// Runs a story in a namespace of its own: prints what a person needs if it fails, deletes the namespace if it does
/// not.
pub async fn story<F: Future<Output = Result<()>>>(
    name: &str,
    tell: impl FnOnce(std::sync::Arc<Space>) -> F,
) -> Result<()> {
    let cluster = Cluster::connect().await?;
    // Once: a test of several stories may have stopped it since.
    let at_work = || cluster.operator_at_work();
    AT_WORK.get_or_try_init(at_work).await?;
    let space = std::sync::Arc::new(Space::make(cluster, name).await?);
    let told = async {
        tell(space.clone()).await?;
        space.check_statuses().await
    };
    let limit = many(LIMIT.0, LIMIT.1) as u64;
    let bounds = Bounds {
        ends: Instant::now() + Duration::from_secs(limit),
        has_clusters: AtomicBool::new(false),
    };
    let result = BOUNDS.scope(bounds, told).await;
    match &result {
        // Nobody waits for it but a repetition of this story.
        Ok(()) => space.begin_deletion().await?,
        Err(error) => {
            eprintln!("story {name} failed: {error:#}");
            eprintln!("{}", space.explain().await);
        }
    }
    result
}

/// An error if a wait that began at this moment has taken too long, or its story has.
pub(crate) fn check_bounds(began: Instant) -> Result<()> {
    let bounds = BOUNDS.try_with(|bounds| (bounds.has_clusters.load(Relaxed), bounds.ends));
    let (patience, ends) = match bounds {
        Ok((true, ends)) => (ZALANDO, Some(ends)),
        Ok((false, ends)) => (PATIENCE, Some(ends)),
        Err(_) => (PATIENCE, None),
    };
    ensure!(began.elapsed() <= patience, "not within {patience:?}");
    ensure!(
        ends.is_none_or(|ends| Instant::now() <= ends),
        "the story is over its limit"
    );
    Ok(())
}

/// The story waits for the Zalando operator from now on.
pub(crate) fn be_patient() {
    BOUNDS
        .try_with(|bounds| bounds.has_clusters.store(true, Relaxed))
        .ok();
}

impl Space {
    /// Makes the namespace, after deleting what an interrupted run has left of it.
    pub async fn make(cluster: Cluster, name: &str) -> Result<Self> {
        let space = Space {
            cluster,
            name: name.to_owned(),
        };
        space.delete().await?;
        let namespaces: Api<Namespace> = Api::all(space.cluster.client.clone());
        let namespace = serde_json::from_value(
            json!({"metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted",
                STORY: ""}}}),
        )?;
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
        Ok(space)
    }

    /// Deletes the namespace with all that is in it and waits until it is gone.
    pub async fn delete(&self) -> Result<()> {
        self.begin_deletion().await?;
        let namespaces: Api<Namespace> = Api::all(self.cluster.client.clone());
        self.until("the namespace is gone", || async {
            Ok(namespaces.get_opt(&self.name).await?.is_none())
        })
        .await
    }

    /// Deletes the namespace; it is gone some time later.
    pub async fn begin_deletion(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.cluster.client.clone());
        if namespaces.get_opt(&self.name).await?.is_none() {
            return Ok(());
        }
        // Protection would hold the namespace; a story that failed may have left it on.
        for instance in self.instances().list(&Default::default()).await? {
            if instance.spec.deletion_protection {
                let name = instance.metadata.name.unwrap_or_default();
                self.patch(&name, json!({"deletionProtection": false}))
                    .await?;
            }
        }
        namespaces
            .delete(&self.name, &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// The instances of the namespace.
    pub fn instances(&self) -> Api<DatabaseInstance> {
        Api::namespaced(self.cluster.client.clone(), &self.name)
    }

    /// Applies an instance with this spec.
    pub async fn apply_instance(&self, name: &str, spec: Value) -> Result<()> {
        self.apply_resource("DatabaseInstance", name, spec).await
    }

    /// Applies a resource of ours with this spec, as `kubectl apply --server-side` does.
    pub async fn apply_resource(&self, kind: &str, name: &str, spec: Value) -> Result<()> {
        let object = json!({"apiVersion": "minidbaas.dev/v1alpha1", "kind": kind, "metadata": {"name": name},
            "spec": spec});
        let mut how = PatchParams::apply("story").force();
        how.field_validation = Some(ValidationDirective::Strict);
        let resources = self.kind(kind).await?;
        let applied = resources.patch(name, &how, &Patch::Apply(object)).await;
        applied
            .map(|_| ())
            .with_context(|| format!("apply {kind}/{name}"))
    }

    /// `kubectl apply` of YAML or JSON.
    pub async fn apply(&self, text: &str) -> Result<String> {
        self.kubectl(&["apply", "-f", "-"], text).await
    }

    /// Merges a change into an instance's spec, as `kubectl patch` does.
    pub async fn patch(&self, name: &str, spec: Value) -> Result<()> {
        self.patch_resource("DatabaseInstance", name, spec).await
    }

    /// Merges a change into the spec of a resource of ours.
    pub async fn patch_resource(&self, kind: &str, name: &str, spec: Value) -> Result<()> {
        let change = Patch::Merge(json!({"spec": spec}));
        let how = PatchParams {
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::default()
        };
        let patched = self.kind(kind).await?.patch(name, &how, &change).await;
        patched
            .map(|_| ())
            .with_context(|| format!("patch {kind}/{name}"))
    }

    /// kubectl in this namespace.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        let all: Vec<&str> = ["-n", self.name.as_str()]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        self.cluster.kubectl(&all, input).await
    }

    /// kubectl that must be refused; returns its words.
    pub async fn refused(&self, arguments: &[&str], input: &str) -> Result<String> {
        match self.kubectl(arguments, input).await {
            Ok(said) => bail!("`kubectl {}` was not refused: {said}", arguments.join(" ")),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// Does a step of a story, says how long it took, and names it if it fails.
    pub async fn step<T>(&self, what: &str, doing: impl Future<Output = Result<T>>) -> Result<T> {
        let began = Instant::now();
        let done = doing.await.with_context(|| what.to_owned())?;
        eprintln!("{} {what}: {:.1?}", self.name, began.elapsed());
        Ok(done)
    }

    /// Waits until the check says yes.
    pub async fn until<F: Future<Output = Result<bool>>>(
        &self,
        what: &str,
        check: impl Fn() -> F,
    ) -> Result<()> {
        let began = Instant::now();
        loop {
            if check().await.with_context(|| what.to_owned())? {
                return Ok(());
            }
            check_bounds(began).with_context(|| format!("it is still not so that {what}"))?;
            // What is not soon so is asked less often: every answer costs the API server and the other stories.
            let pause = began.elapsed() / 8;
            tokio::time::sleep(pause.clamp(SOONEST, LATEST)).await;
        }
    }

    /// Waits until the status speaks of the present spec, Ready is true and nothing is under way or stalled.
    pub async fn until_settled(&self, name: &str) -> Result<DatabaseInstance> {
        until_at_rest(self, &self.instances(), name).await
    }

    /// Waits until a condition has this status and reason, for the present spec; returns its message.
    pub async fn until_condition(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> Result<String> {
        until_says(self, &self.instances(), name, type_, status, reason).await
    }

    /// Every status in the namespace keeps the contract.
    pub async fn check_statuses(&self) -> Result<()> {
        for instance in self.instances().list(&Default::default()).await? {
            kstatus::check(&instance)?;
        }
        for backup in self.backups().list(&Default::default()).await? {
            kstatus::check(&backup)?;
        }
        for restore in self.restores().list(&Default::default()).await? {
            kstatus::check(&restore)?;
        }
        for cluster in self.ha_clusters().list(&Default::default()).await? {
            kstatus::check(&cluster)?;
        }
        Ok(())
    }

    /// The objects, their conditions, the last Events, and logs.
    pub async fn explain(&self) -> String {
        let mut text = String::new();
        let commands: [&[&str]; 6] = [
            &[
                "get",
                "dbaas,postgresqls,statefulsets,pods,pvc,volumesnapshots,jobs,secrets",
                "-o",
                "wide",
            ],
            &[
                "get",
                "dbaas",
                "-o",
                "jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{range .status.conditions[*]}  {.type}={.status} \
                    {.reason}: {.message}{\"\\n\"}{end}{end}",
            ],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &[
                "logs",
                "-l",
                "app.kubernetes.io/managed-by=minidbaas",
                "--all-containers",
                "--prefix",
                "--tail=20",
            ],
            &["logs", "-l", "application=spilo", "--prefix", "--tail=15"],
            &[
                "-n",
                "minidbaas-system",
                "logs",
                "deployment/minidbaas",
                "--tail=40",
            ],
        ];
        for command in commands {
            let said = self
                .kubectl(command, "")
                .await
                .unwrap_or_else(|error| format!("{error:#}"));
            let lines: Vec<&str> = said.lines().collect();
            text += &format!(
                "--- kubectl {}\n{}\n",
                command.join(" "),
                lines[lines.len().saturating_sub(60)..].join("\n")
            );
        }
        text
    }
}
