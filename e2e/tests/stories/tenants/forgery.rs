//! A backup that is forged to lead to another namespace's snapshot, and what is restored from it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::Space;
use serde_json::{Value, json};

use super::copies::{VICTIMS_BACKUP, VICTIMS_ROW};
use super::data::{ENGINE, rows};
use super::people::{admin, ours};
use crate::backup_refusals::small;

/// The backup and the snapshot that are forged.
const FORGED: &str = "forged";
/// On the old operator the rows were there after six seconds.
const TIME_TO_READ: Duration = Duration::from_secs(12);

/// A backup that says of itself what the victim's says, and what it leads to.
pub struct Forgery<'a> {
    home: &'a Space,
    two: &'a Space,
    backup: Value,
    snapshot: Value,
    handle: String,
}

/// An object as the API server has it.
async fn object(space: &Space, name: &str) -> Result<Value> {
    let text = space.kubectl(&["get", name, "-o=json"], "").await?;
    Ok(serde_json::from_str(&text)?)
}

/// The VolumeSnapshotContents, each with the namespace and the name of its snapshot, and both handles.
async fn contents(space: &Space) -> Result<Vec<[String; 4]>> {
    let words = ["get", "volumesnapshotcontents", "-o=json"];
    let list: Value = serde_json::from_str(&space.cluster.kubectl(&words, "").await?)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let told = items.iter().map(|item| {
        let reference = &item["spec"]["volumeSnapshotRef"];
        [
            text(&reference["namespace"]),
            text(&reference["name"]),
            text(&item["spec"]["source"]["snapshotHandle"]),
            text(&item["status"]["snapshotHandle"]),
        ]
    });
    Ok(told.collect())
}

/// What an interrupted run has left of copies: the snapshot-controller lets go of no content whose snapshot told lies
/// to its end.
pub async fn loosen(home: &Space, two: &Space) -> Result<()> {
    let words = [
        "get",
        "volumesnapshotcontents",
        "-o=jsonpath={range .items[*]}{.spec.volumeSnapshotRef.namespace} {.metadata.name}{\"\\n\"}{end}",
    ];
    let listed = home.cluster.kubectl(&words, "").await?;
    let ours = |namespace: &str| namespace == home.name || namespace == two.name;
    let left = listed.lines().filter_map(|line| line.split_once(' '));
    for (_, name) in left.filter(|(namespace, _)| ours(namespace)) {
        let content = format!("volumesnapshotcontent/{name}");
        let goes = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted=yes";
        home.cluster
            .kubectl(&["annotate", &content, goes, "--overwrite"], "")
            .await?;
        home.cluster
            .kubectl(&["delete", &content, "--wait=false"], "")
            .await?;
    }
    let instances = two.kubectl(&["get", "dbinstances", "-o=name"], "").await?;
    for instance in instances.lines() {
        let free = "--patch={\"metadata\":{\"finalizers\":null}}";
        two.kubectl(&["patch", instance, "--type=merge", free], "")
            .await?;
    }
    Ok(())
}

/// What a living snapshot said before it was made to lie; without that, its content would outlive it.
pub struct Truth<'a> {
    home: &'a Space,
    snapshot: String,
    said: Value,
}

impl<'a> Truth<'a> {
    /// Looks before the attack.
    pub async fn of(home: &'a Space, backup: &str) -> Result<Self> {
        let snapshot = format!("volumesnapshot/{backup}");
        let path = ".status.boundVolumeSnapshotContentName";
        let said = json!({"boundVolumeSnapshotContentName": home.field(&snapshot, path).await?});
        Ok(Truth {
            home,
            snapshot,
            said,
        })
    }

    /// Says it again.
    pub async fn tell(&self) -> Result<()> {
        admin(self.home).forge(&self.snapshot, &self.said).await
    }
}

impl<'a> Forgery<'a> {
    /// What the attacker has to know: the name of the victim's content.
    pub async fn learn(home: &'a Space, two: &'a Space, victim: &Space) -> Result<Self> {
        let mut backup = object(victim, &format!("dbbackup/{VICTIMS_BACKUP}")).await?;
        let snapshot = object(victim, &format!("volumesnapshot/{VICTIMS_BACKUP}")).await?;
        let of_victim = contents(victim).await?.into_iter();
        let of_victim = of_victim
            .filter(|[namespace, name, ..]| *namespace == victim.name && name == VICTIMS_BACKUP);
        let handle = of_victim.map(|[.., handle]| handle).next();
        backup["status"]["snapshot"]["name"] = json!(FORGED);
        Ok(Forgery {
            home,
            two,
            backup: backup["status"].take(),
            snapshot: snapshot["status"].clone(),
            handle: handle.context("the victim's backup has no content")?,
        })
    }

    /// A backup whose passes fail if that can be had, and a snapshot that is going and never gone.
    pub async fn make(&self) -> Result<()> {
        let thief = admin(self.home);
        let backup = |instance: &str| {
            let spec = json!({"instance": instance, "allowedNamespaces": [self.two.name]});
            ours("DatabaseBackup", FORGED, spec)
        };
        if thief.apply(&backup("a b")).await.is_err() {
            thief.apply(&backup("nobody")).await?;
        }
        let uid = self
            .home
            .field(&format!("dbbackup/{FORGED}"), ".metadata.uid")
            .await?;
        let snapshot = json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
            "metadata": {"name": FORGED, "annotations": {"minidbaas.dev/backup-uid": uid},
                "finalizers": ["tenants.example.com/held"]},
            "spec": {"volumeSnapshotClassName": "btrfs", "source": {"persistentVolumeClaimName": "none"}},
        });
        thief.apply(&snapshot).await?;
        thief.delete(&format!("volumesnapshot/{FORGED}")).await?;
        self.tell().await
    }

    /// The forged words, again and again: the operator may have put them right.
    async fn tell(&self) -> Result<()> {
        let thief = admin(self.home);
        thief
            .forge(&format!("volumesnapshot/{FORGED}"), &self.snapshot)
            .await?;
        thief
            .forge(&format!("dbbackup/{FORGED}"), &self.backup)
            .await
    }

    /// What was made for the attack goes.
    pub async fn unmake(home: &Space) -> Result<()> {
        let snapshot = format!("volumesnapshot/{FORGED}");
        if !home.field(&snapshot, ".metadata.uid").await?.is_empty() {
            let free = "--patch={\"metadata\":{\"finalizers\":null}}";
            home.kubectl(&["patch", &snapshot, "--type=merge", free], "")
                .await?;
        }
        let backup = format!("dbbackup/{FORGED}");
        let words = ["delete", &backup, "--ignore-not-found", "--wait=false"];
        home.kubectl(&words, "").await.map(|_| ())
    }

    /// A restore of it.
    pub async fn restored(&self, instance: &str) -> Result<()> {
        let backup = json!({"name": FORGED, "namespace": self.home.name});
        let spec = json!({"backup": backup, "instance": instance});
        admin(self.two)
            .apply(&ours("DatabaseRestore", instance, spec))
            .await?;
        self.leads_nowhere(instance).await
    }

    /// An instance that starts from it.
    pub async fn started_from(&self, instance: &str) -> Result<()> {
        let from = json!({"backup": {"name": FORGED, "namespace": self.home.name}});
        let spec = small(
            ENGINE.name(),
            json!({"database": "shop", "restoreFrom": from}),
        );
        admin(self.two).apply_instance(instance, spec).await?;
        self.leads_nowhere(instance).await
    }

    async fn leads_nowhere(&self, instance: &str) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < TIME_TO_READ {
            self.tell().await?;
            self.not_copied(instance).await?;
        }
        let ready = self
            .two
            .field(&format!("dbinstance/{instance}"), ".status.phase")
            .await?;
        ensure!(ready != "Running", "the instance {instance} serves");
        Ok(())
    }

    /// Nothing of this instance leads to the victim's snapshot; if something does, says what is read.
    async fn not_copied(&self, instance: &str) -> Result<()> {
        let copy = format!("{instance}-copy-");
        let copied =
            contents(self.two)
                .await?
                .into_iter()
                .any(|[namespace, name, asked, found]| {
                    namespace == self.two.name
                        && name.starts_with(&copy)
                        && [asked, found].contains(&self.handle)
                });
        if !copied {
            return Ok(());
        }
        let read = async {
            self.two.until_settled(instance).await?;
            rows(self.two, instance).await
        };
        match tokio::time::timeout(Duration::from_secs(30), read).await {
            Ok(Ok(found)) if found == VICTIMS_ROW.to_string() => {
                bail!("{instance} has the victim's rows")
            }
            read => bail!("a content was made with the victim's handle ({read:?})"),
        }
    }

    /// A backup of one's own whose living snapshot is said to be the victim's.
    pub async fn swapped(&self, backup: &str, own: &str) -> Result<()> {
        let snapshot = format!("volumesnapshot/{backup}");
        let content = json!({"boundVolumeSnapshotContentName": self.snapshot["boundVolumeSnapshotContentName"]});
        let instance = "swapped";
        let from = json!({"backup": {"name": backup, "namespace": self.home.name}});
        let spec = small(
            ENGINE.name(),
            json!({"database": "shop", "restoreFrom": from}),
        );
        admin(self.home).forge(&snapshot, &content).await?;
        admin(self.two).apply_instance(instance, spec).await?;
        let began = Instant::now();
        while began.elapsed() < TIME_TO_READ {
            admin(self.home).forge(&snapshot, &content).await?;
            self.not_copied(instance).await?;
        }
        let phase = self
            .two
            .field(&format!("dbinstance/{instance}"), ".status.phase")
            .await?;
        if phase == "Running" {
            let found = rows(self.two, instance).await?;
            ensure!(found == own, "{instance} has the rows {found}");
        }
        Ok(())
    }
}
