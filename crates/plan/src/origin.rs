//! Whether a backup can be restored as it is asked for; the same checks for a `DatabaseRestore` and for an instance
//! with spec.restoreFrom. Nothing of them writes.

use api::backup::{BackupPhase, BackupSource};
use api::condition::{READY, Truth, find, reason};
use api::external::snapshot::VolumeSnapshot;
use api::names::ANNOTATION_BACKUP;
use api::restore::{BackupReference, RestoredFrom};
use api::{DatabaseBackup, Engine};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::catalog::Catalog;
use crate::facts::{annotation, sentence};
use crate::quantity::thousandths;
use crate::quote::{SAID, cut, quoted};
use crate::reading::backup::allows;
use crate::{Invalid, engine, version};

/// A backup that is not ready yet is looked at again so much later.
const BACKUP_SECONDS: u64 = 15;

/// The backup that a restore names, as far as it could be read.
#[derive(Clone, Debug)]
pub enum Source {
    /// There is none, or it may not be read.
    Unavailable,
    /// It is there.
    Found {
        /// The backup.
        backup: Box<DatabaseBackup>,
        /// Its VolumeSnapshot.
        snapshot: Snapshot,
    },
}

/// The VolumeSnapshot of a backup.
#[derive(Clone, Debug)]
pub enum Snapshot {
    /// The cluster has no such API.
    NoApi,
    /// There is none.
    Missing,
    /// It is there.
    Found(Box<VolumeSnapshot>),
}

/// What is asked for; what is `None` follows from the backup.
pub struct Wanted<'a> {
    /// Namespace of the new instance.
    pub namespace: &'a str,
    /// The backup.
    pub backup: &'a BackupReference,
    /// The field that names it.
    pub field: &'static str,
    /// The field below which the others are.
    pub fields: &'static str,
    /// The engine.
    pub engine: Option<Engine>,
    /// The version.
    pub version: Option<&'a str>,
    /// The first database.
    pub database: Option<&'a str>,
    /// Its owner.
    pub username: Option<&'a str>,
    /// Size of the volume.
    pub size: Option<&'a str>,
    /// Provisioner of the volume's class.
    pub provisioner: Option<&'a str>,
}

/// What a restore works with.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// What was backed up.
    pub source: BackupSource,
    /// What goes down in the new instance's records.
    pub restored_from: RestoredFrom,
    /// The version that the new instance is to have.
    pub version: String,
    /// Name of the VolumeSnapshot in the backup's namespace.
    pub snapshot: String,
    /// Its UID.
    pub snapshot_uid: String,
    /// The CSI driver.
    pub driver: String,
    /// The least size of the volume.
    pub size: Option<Quantity>,
}

impl Wanted<'_> {
    /// The backup's namespace.
    pub fn source_namespace(&self) -> &str {
        self.backup.namespace.as_deref().unwrap_or(self.namespace)
    }

    /// Whether the backup is in another namespace.
    pub fn crosses(&self) -> bool {
        self.source_namespace() != self.namespace
    }

    /// The same words whether there is no such backup, it does not allow the restore, or it may not be read.
    fn not_available(&self) -> Invalid {
        let (name, namespace) = (quoted(&self.backup.name), quoted(self.source_namespace()));
        let message = if self.crosses() {
            format!(
                "{}: there is no DatabaseBackup {name} in the namespace {namespace} that may be restored into {}. If \
                    it exists, its spec.allowedNamespaces must list {}, and the operator must be installed for the \
                    whole cluster.",
                self.field, self.namespace, self.namespace
            )
        } else {
            format!(
                "{}: there is no DatabaseBackup {name} in the namespace. `kubectl get dbbackups` lists them; it goes \
                    on by itself when the backup is there.",
                self.field
            )
        };
        Invalid::surroundings(reason::BACKUP_NOT_AVAILABLE, message)
    }

    fn unusable(&self, why: &str) -> Invalid {
        Invalid::surroundings(
            reason::BACKUP_UNUSABLE,
            format!(
                "{}: the DatabaseBackup {} cannot be restored: {why}. Restore another one; `kubectl get dbbackups` \
                    lists them.",
                self.field,
                quoted(&self.backup.name)
            ),
        )
    }
}

/// Checks everything: first whether the backup may be seen at all, then what it is, then whether it fits.
pub fn check(wanted: &Wanted<'_>, source: &Source, catalog: &Catalog) -> Result<Facts, Invalid> {
    let Source::Found { backup, snapshot } = source else {
        return Err(wanted.not_available());
    };
    if wanted.crosses() && !allows(backup, Some(wanted.namespace)) {
        return Err(wanted.not_available());
    }
    let facts = facts(wanted, backup, snapshot)?;
    fits(wanted, &facts, catalog)?;
    Ok(facts)
}

/// What a usable backup says.
fn facts(
    wanted: &Wanted<'_>,
    backup: &DatabaseBackup,
    snapshot: &Snapshot,
) -> Result<Facts, Invalid> {
    let name = &wanted.backup.name;
    let status = backup.status.clone().unwrap_or_default();
    let ready = find(&status.conditions, READY);
    if backup.metadata.deletion_timestamp.is_some() {
        return Err(wanted.unusable("it is being deleted"));
    }
    let usable = ready.is_some_and(|ready| Truth::True.is(ready))
        || status.phase == Some(BackupPhase::Expired);
    let said = ready.map_or("", |ready| ready.message.trim_end_matches('.'));
    match status.phase {
        _ if usable => {}
        None | Some(BackupPhase::Pending | BackupPhase::Running) => {
            return Err(Invalid::wait(
                reason::BACKUP_NOT_READY,
                format!(
                    "{}: the DatabaseBackup {} is not ready yet; it goes on by itself when it is.",
                    wanted.field,
                    quoted(name)
                ),
                BACKUP_SECONDS,
            ));
        }
        Some(_) => return Err(wanted.unusable(said)),
    }
    let snapshot = match snapshot {
        Snapshot::NoApi => {
            return Err(Invalid::surroundings(
                reason::SNAPSHOT_API_MISSING,
                "The cluster has no VolumeSnapshots (snapshot.storage.k8s.io/v1), from which backups are restored. \
                    Install the snapshot CRDs and the snapshot-controller of kubernetes-csi/external-snapshotter.",
            ));
        }
        Snapshot::Missing => return Err(wanted.unusable("its VolumeSnapshot is gone")),
        Snapshot::Found(snapshot) => snapshot,
    };
    // One that was made again under the name holds other data.
    if annotation(&snapshot.metadata, ANNOTATION_BACKUP) != backup.metadata.uid.as_deref() {
        return Err(wanted.unusable("the VolumeSnapshot of its name is not its own"));
    }
    // Of one that goes, nobody keeps the status: it may say what somebody has written there.
    if snapshot.metadata.deletion_timestamp.is_some() {
        return Err(wanted.unusable("its VolumeSnapshot is being deleted"));
    }
    let state = snapshot.status.clone().unwrap_or_default();
    if state.ready_to_use != Some(true) {
        let error = state.error.and_then(|error| error.message);
        return Err(wanted.unusable(&match error {
            Some(error) => format!("its VolumeSnapshot has an error: {}", sentence(&error)),
            None => "its VolumeSnapshot is not ready to use".to_owned(),
        }));
    }
    let incomplete = || wanted.unusable("its status is not complete");
    let source = status.source.ok_or_else(incomplete)?;
    let recorded = status.snapshot.ok_or_else(incomplete)?;
    Ok(Facts {
        restored_from: RestoredFrom {
            instance: source.instance.clone(),
            backup: name.clone(),
            namespace: wanted
                .crosses()
                .then(|| wanted.source_namespace().to_owned()),
            uid: backup.metadata.uid.clone().unwrap_or_default(),
            taken_at: status.taken_at.ok_or_else(incomplete)?,
        },
        version: wanted
            .version
            .map_or_else(|| source.version.clone(), str::to_owned),
        snapshot: snapshot.metadata.name.clone().unwrap_or_default(),
        snapshot_uid: snapshot.metadata.uid.clone().unwrap_or_default(),
        driver: recorded.driver.ok_or_else(incomplete)?,
        size: status.restore_size.or(state.restore_size),
        source,
    })
}

/// Whether what is asked for and what the backup has go together.
fn fits(wanted: &Wanted<'_>, facts: &Facts, catalog: &Catalog) -> Result<(), Invalid> {
    let Facts { source, .. } = facts;
    let (name, fields) = (quoted(&wanted.backup.name), wanted.fields);
    let mismatch = |what: String| Err(Invalid::spec(reason::RESTORE_MISMATCH, what));
    let differs = |field: &str, wanted: Option<&str>, has: &str| {
        wanted.filter(|wanted| *wanted != has).map_or(Ok(()), |wanted| {
            mismatch(format!(
                "{fields}.{field} is {}, but the backup {name} has {}. Create the instance anew with {fields}.{field}: \
                    {}.",
                quoted(wanted),
                quoted(has),
                quoted(has)
            ))
        })
    };
    differs(
        "engine",
        wanted.engine.map(Engine::name),
        source.engine.name(),
    )?;
    let engine = engine::of(source.engine);
    let (title, version) = (engine.title(), &facts.version);
    let same = version::same_series(version, &source.version, engine.numbers_of_series());
    if !same || version::compare(version, &source.version).is_lt() {
        let what = if same {
            "an older server may not read its data"
        } else {
            "a restore does not move data to another major version"
        };
        return mismatch(format!(
            "{fields}.version is {}, but the backup {name} is of {title} {}, and {what}. Leave the field out, or set \
                it to a newer minor version.",
            quoted(version),
            quoted(&source.version)
        ));
    }
    if catalog.image(source.engine, version).is_none() {
        return Err(Invalid::surroundings(
            reason::UNKNOWN_VERSION,
            format!(
                "{fields}.version: the backup {name} is of {title} {}, and {} is not served. The engine catalog has \
                    {}; set {fields}.version to one of the same major version, or add {} to the catalog.",
                quoted(&source.version),
                quoted(version),
                cut(&catalog.versions(source.engine), SAID),
                quoted(version)
            ),
        ));
    }
    differs("database", wanted.database, &source.database)?;
    differs("username", wanted.username, &source.username)?;
    if let (Some(size), Some(least)) = (wanted.size, &facts.size)
        && thousandths(size) < thousandths(&least.0)
    {
        return Err(Invalid::spec(
            reason::VOLUME_TOO_SMALL,
            format!(
                "{fields}.storage.size is {}, but the backup {name} needs a volume of at least {}. Make it that large.",
                quoted(size),
                quoted(&least.0)
            ),
        ));
    }
    match wanted.provisioner {
        Some(provisioner) if provisioner != facts.driver => Err(Invalid::spec(
            reason::SNAPSHOT_UNSUPPORTED,
            format!(
                "{fields}.storage.className: the class's volumes are made by {}, which cannot read the backup {name}: \
                    its snapshot is of {}. Choose a class of that driver; `kubectl get storageclass` lists them.",
                quoted(provisioner),
                quoted(&facts.driver)
            ),
        )),
        _ => Ok(()),
    }
}
