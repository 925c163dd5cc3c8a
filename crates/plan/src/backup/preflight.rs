//! What a backup needs before anything is made: an instance with data, storage that can snapshot, and a class.

use std::borrow::Cow;

use api::DatabaseBackup;
use api::backup::{BackupSource, Method};
use api::condition::reason;
use api::external::snapshot::VolumeSnapshotClass;
use api::names::{ANNOTATION_DATABASE, ANNOTATION_USERNAME, ANNOTATION_VERSION, default_database};

use super::{Observed, SnapshotClasses};
use crate::Invalid;
use crate::facts::{annotation, is_bound};
use crate::names::{self, Named};
use crate::quote::{SAID, cut, quoted};

/// All is there.
pub struct Ready {
    /// What is backed up.
    pub source: BackupSource,
    /// The VolumeSnapshotClass.
    pub class: String,
}

const DEFAULT_CLASS: &str = "snapshot.storage.kubernetes.io/is-default-class";
/// What the volume controller notes on a claim; the second is its former name.
const PROVISIONER: [&str; 2] = [
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
];

/// Checks everything, the cheapest to cure first.
pub fn check(cr: &DatabaseBackup, observed: &Observed) -> Result<Ready, Invalid> {
    if observed.classes == SnapshotClasses::NoApi {
        return Err(Invalid::surroundings(
            reason::SNAPSHOT_API_MISSING,
            "The cluster has no VolumeSnapshots (snapshot.storage.k8s.io/v1). Install the snapshot CRDs and the \
                snapshot-controller of kubernetes-csi/external-snapshotter, and a CSI driver that makes snapshots.",
        ));
    }
    let source = source(cr, observed)?;
    let class = class(cr, observed)?;
    Ok(Ready { source, class })
}

/// What is backed up, as far as the instance has data.
pub fn source(cr: &DatabaseBackup, observed: &Observed) -> Result<BackupSource, Invalid> {
    let name = &cr.spec.instance;
    names::check("spec.instance", Some(name), Named::Instance)?;
    let Some(instance) = &observed.instance else {
        return Err(Invalid::surroundings(
            reason::INSTANCE_NOT_FOUND,
            format!(
                "spec.instance: there is no DatabaseInstance {name} in the namespace. Create it, or create the backup \
                    with another one; `kubectl get dbinstances` lists them."
            ),
        ));
    };
    let not_ready = |what: &str| {
        Invalid::surroundings(
            reason::INSTANCE_NOT_READY,
            format!(
                "spec.instance: {name} {what}. `kubectl get dbinstance {name}` shows how it stands; the backup begins \
                    when it is there."
            ),
        )
    };
    let claim = observed
        .claim
        .as_ref()
        .filter(|claim| is_bound(claim))
        .ok_or_else(|| not_ready("has no volume yet"))?;
    let status = instance.status.clone().unwrap_or_default();
    // Only a database that has served has a capacity: before, its data may be half-made.
    if status
        .storage
        .as_ref()
        .is_none_or(|storage| storage.capacity.is_none())
    {
        return Err(not_ready("has not accepted connections yet"));
    }
    let said = |name: &str| annotation(&claim.metadata, name).map(str::to_owned);
    Ok(BackupSource {
        instance: name.clone(),
        uid: instance.metadata.uid.clone().unwrap_or_default(),
        pvc: claim.metadata.name.clone().unwrap_or_default(),
        engine: instance.spec.engine,
        version: said(ANNOTATION_VERSION)
            .or(status.version)
            .unwrap_or_default(),
        database: said(ANNOTATION_DATABASE)
            .or_else(|| instance.spec.database.clone())
            .unwrap_or_else(|| default_database(name, instance.spec.engine)),
        username: said(ANNOTATION_USERNAME).unwrap_or_else(|| instance.spec.username.clone()),
        storage_class: claim
            .spec
            .as_ref()
            .and_then(|spec| spec.storage_class_name.clone()),
        resources: instance.spec.resources.clone(),
        parameters: instance.spec.parameters.clone(),
    })
}

/// The class that the spec names, else the default one of the volume's driver, else its only one.
fn class(cr: &DatabaseBackup, observed: &Observed) -> Result<String, Invalid> {
    let SnapshotClasses::Found(classes) = &observed.classes else {
        return Err(Invalid::surroundings(
            reason::SNAPSHOT_CLASS_NOT_FOUND,
            "The VolumeSnapshotClasses are not known yet.",
        ));
    };
    let noted = observed.claim.as_ref().and_then(|claim| {
        PROVISIONER
            .iter()
            .find_map(|name| annotation(&claim.metadata, name))
    });
    let driver = noted.or(observed.provisioner.as_deref());
    names::check(
        "spec.snapshotClassName",
        cr.spec.snapshot_class_name.as_deref(),
        Named::Object,
    )?;
    let name_of = |class: &VolumeSnapshotClass| class.metadata.name.clone().unwrap_or_default();
    let claim = observed
        .claim
        .as_ref()
        .and_then(|claim| claim.spec.as_ref()?.storage_class_name.as_deref())
        .map_or(Cow::Borrowed("(none)"), quoted);
    let Some(driver) = driver.filter(|driver| *driver != "kubernetes.io/no-provisioner") else {
        return Err(Invalid::surroundings(
            reason::SNAPSHOT_UNSUPPORTED,
            format!(
                "The volume, of the storage class {claim}, belongs to no CSI driver, so it has no snapshots. Move the \
                    database to a class whose driver makes them."
            ),
        ));
    };
    if let Some(wanted) = &cr.spec.snapshot_class_name {
        let found = classes
            .iter()
            .find(|class| class.metadata.name.as_ref() == Some(wanted));
        return match found {
            Some(class) if class.driver == driver => Ok(wanted.clone()),
            Some(class) => Err(Invalid::spec(
                reason::SNAPSHOT_UNSUPPORTED,
                format!(
                    "spec.snapshotClassName: {} is of the driver {}, and the volume is of {}. Create the backup with a \
                        class of that driver.",
                    quoted(wanted),
                    quoted(&class.driver),
                    quoted(driver)
                ),
            )),
            None => Err(Invalid::surroundings(
                reason::SNAPSHOT_CLASS_NOT_FOUND,
                format!(
                    "spec.snapshotClassName: there is no VolumeSnapshotClass {}. Create it, or create the backup with \
                        another one; `kubectl get volumesnapshotclass` lists them.",
                    quoted(wanted)
                ),
            )),
        };
    }
    let of_driver: Vec<&VolumeSnapshotClass> = classes
        .iter()
        .filter(|class| class.driver == driver)
        .collect();
    let is_default =
        |class: &&&VolumeSnapshotClass| annotation(&class.metadata, DEFAULT_CLASS) == Some("true");
    match (of_driver.iter().find(is_default), of_driver.as_slice()) {
        (Some(class), _) => Ok(name_of(class)),
        (None, [only]) => Ok(name_of(only)),
        (None, []) => Err(Invalid::surroundings(
            reason::SNAPSHOT_CLASS_NOT_FOUND,
            format!(
                "There is no VolumeSnapshotClass for {}, the driver of the volume's class {claim}. Create one, if the \
                    driver makes snapshots.",
                quoted(driver)
            ),
        )),
        (None, several) => Err(Invalid::surroundings(
            reason::SNAPSHOT_CLASS_NOT_FOUND,
            format!(
                "None of the VolumeSnapshotClasses of {} is the default one: {}. Mark one with the annotation \
                    {DEFAULT_CLASS}: \"true\", or create the backup with spec.snapshotClassName.",
                quoted(driver),
                cut(
                    &several
                        .iter()
                        .map(|class| name_of(class))
                        .collect::<Vec<_>>()
                        .join(", "),
                    SAID
                )
            ),
        )),
    }
}

/// Whether a method needs the server's help at the cut.
pub fn needs_hold(method: Method) -> bool {
    method != Method::Online
}
