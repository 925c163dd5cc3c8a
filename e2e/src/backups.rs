//! Backups and restores of a story's namespace, and what they must not leave behind.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use api::backup::BackupPhase;
use api::external::snapshot::{VolumeSnapshot, VolumeSnapshotContent};
use api::reported::Reported;
use api::restore::RestorePhase;
use api::{DatabaseBackup, DatabaseRestore};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;
use serde_json::{Value, json};

use crate::Space;
use crate::space::check_bounds;
use crate::waits::until_says;

impl Space {
    /// The backups of the namespace.
    pub fn backups(&self) -> Api<DatabaseBackup> {
        Api::namespaced(self.cluster.client.clone(), &self.name)
    }

    /// The restores of the namespace.
    pub fn restores(&self) -> Api<DatabaseRestore> {
        Api::namespaced(self.cluster.client.clone(), &self.name)
    }

    /// The VolumeSnapshots of the namespace.
    pub fn snapshots(&self) -> Api<VolumeSnapshot> {
        Api::namespaced(self.cluster.client.clone(), &self.name)
    }

    /// Applies a backup with this spec.
    pub async fn apply_backup(&self, name: &str, spec: Value) -> Result<()> {
        self.apply_resource("DatabaseBackup", name, spec).await
    }

    /// Applies a restore with this spec.
    pub async fn apply_restore(&self, name: &str, spec: Value) -> Result<()> {
        self.apply_resource("DatabaseRestore", name, spec).await
    }

    /// Makes a backup and waits until it can be restored.
    pub async fn back_up(&self, name: &str, spec: Value) -> Result<DatabaseBackup> {
        self.apply_backup(name, spec).await?;
        self.until_backup(name, BackupPhase::Ready).await
    }

    /// Waits until a backup is in this phase; one that fails instead is an error with its message.
    pub async fn until_backup(&self, name: &str, phase: BackupPhase) -> Result<DatabaseBackup> {
        let began = Instant::now();
        loop {
            let backup = self
                .backups()
                .get(name)
                .await
                .with_context(|| name.to_owned())?;
            let found = backup.status.as_ref().and_then(|status| status.phase);
            let said = || {
                backup
                    .condition("Ready")
                    .map(|c| format!("{}: {}", c.reason, c.message))
            };
            if found == Some(phase) && backup.is_current() {
                return Ok(backup);
            }
            if found == Some(BackupPhase::Failed) {
                bail!("the backup {name} failed: {:?}", said());
            }
            check_bounds(began).with_context(|| {
                format!(
                    "the backup {name} is {found:?} and not {phase:?}: {:?}",
                    said()
                )
            })?;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// Waits until a backup has a condition with this status and reason; returns its message.
    pub async fn until_backup_says(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> Result<String> {
        until_says(self, &self.backups(), name, type_, status, reason).await
    }

    /// Waits until a restore has a condition with this status and reason; returns its message.
    pub async fn until_restore_says(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> Result<String> {
        until_says(self, &self.restores(), name, type_, status, reason).await
    }

    /// Restores a backup into a new instance and waits until that accepts connections.
    pub async fn restore(
        &self,
        name: &str,
        backup: &str,
        instance: &str,
    ) -> Result<DatabaseRestore> {
        self.apply_restore(
            name,
            json!({"backup": {"name": backup}, "instance": instance}),
        )
        .await?;
        self.until_restored(name).await
    }

    /// Waits until a restore is at its good end.
    pub async fn until_restored(&self, name: &str) -> Result<DatabaseRestore> {
        let began = Instant::now();
        loop {
            let restore = self
                .restores()
                .get(name)
                .await
                .with_context(|| name.to_owned())?;
            let phase = restore.status.as_ref().and_then(|status| status.phase);
            let said = || {
                restore
                    .condition("Ready")
                    .map(|c| format!("{}: {}", c.reason, c.message))
            };
            match phase {
                Some(RestorePhase::Ready) => return Ok(restore),
                Some(RestorePhase::Failed) => bail!("the restore {name} failed: {:?}", said()),
                _ => check_bounds(began)
                    .with_context(|| format!("the restore {name} is {phase:?}: {:?}", said()))?,
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// Snapshots of this namespace as the cluster knows them, whatever became of the namespaced objects.
    pub async fn snapshot_contents(&self) -> Result<Vec<String>> {
        let contents: Api<VolumeSnapshotContent> = Api::all(self.cluster.client.clone());
        let here = |content: &VolumeSnapshotContent| {
            let of = &content.spec.volume_snapshot_ref.namespace;
            of.as_ref() == Some(&self.name)
        };
        let contents = contents.list(&Default::default()).await?.into_iter();
        Ok(contents
            .filter(here)
            .filter_map(|content| content.metadata.name)
            .collect())
    }

    /// Volumes claimed from this namespace.
    pub async fn volumes(&self) -> Result<Vec<String>> {
        let volumes: Api<PersistentVolume> = Api::all(self.cluster.client.clone());
        let here = |volume: &PersistentVolume| {
            let claim = volume
                .spec
                .as_ref()
                .and_then(|spec| spec.claim_ref.as_ref());
            claim.and_then(|claim| claim.namespace.as_ref()) == Some(&self.name)
        };
        let volumes = volumes.list(&Default::default()).await?.into_iter();
        Ok(volumes
            .filter(here)
            .filter_map(|volume| volume.metadata.name)
            .collect())
    }

    /// Waits until the namespace has this many snapshots in the storage, and as many VolumeSnapshots.
    pub async fn until_snapshots(&self, count: usize) -> Result<()> {
        self.until(&format!("there are {count} snapshots"), || async {
            let snapshots = self
                .snapshots()
                .list(&Default::default())
                .await?
                .items
                .len();
            Ok(snapshots == count && self.snapshot_contents().await?.len() == count)
        })
        .await
    }

    /// The backup's status is complete enough for a restore without its instance.
    pub async fn check_complete(&self, name: &str) -> Result<DatabaseBackup> {
        let backup = self.backups().get(name).await?;
        let status = backup.status.clone().context("no status")?;
        let source = status.source.clone().context("no source")?;
        ensure!(
            status.restore_size.is_some() && status.consistency.is_some(),
            "{status:?}"
        );
        ensure!(
            status.started_at <= status.taken_at && status.taken_at <= status.ready_at,
            "{status:?}"
        );
        ensure!(
            !source.database.is_empty()
                && !source.username.is_empty()
                && !source.version.is_empty(),
            "{source:?}"
        );
        let snapshot = status.snapshot.context("no snapshot")?;
        ensure!(
            snapshot.name == name && snapshot.content_name.is_some() && snapshot.driver.is_some(),
            "{snapshot:?}"
        );
        Ok(backup)
    }
}
