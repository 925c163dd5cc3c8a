//! Every label, annotation, finalizer, field manager and child-object name.

use std::collections::BTreeMap;

use crate::instance::Engine;

/// Field manager of every write.
pub const FIELD_MANAGER: &str = "minidbaas";
/// Value of `app.kubernetes.io/managed-by` on every child; what the operator's watches select.
pub const MANAGED_BY: &str = "minidbaas";

/// Well-known label: who manages the object.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Well-known label: the part an object plays; only the server's pod has [`COMPONENT_DATABASE`].
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
/// Label with the name of the instance an object belongs to.
pub const LABEL_INSTANCE: &str = "minidbaas.dev/instance";

/// Component of the server's pod and of every other child but Jobs.
pub const COMPONENT_DATABASE: &str = "database";
/// Component of the ConfigMap with the scripts.
pub const COMPONENT_SCRIPTS: &str = "scripts";
/// Component of a Job that changes something inside a running database.
pub const COMPONENT_APPLY: &str = "apply";

/// Component of a Job that holds writes for the cut of a backup.
pub const COMPONENT_QUIESCE: &str = "quiesce";
/// Component of a Job that checks a restored database.
pub const COMPONENT_CHECK: &str = "check";
/// Component of a Job that logs in to an HACluster.
pub const COMPONENT_LOGIN: &str = "login";
/// Component of the VolumeSnapshot of a backup.
pub const COMPONENT_BACKUP: &str = "backup";
/// Component of the VolumeSnapshot and its content by which an instance reads another namespace's snapshot.
pub const COMPONENT_IMPORTED_SNAPSHOT: &str = "snapshot-copy";
/// Label of a backup that its instance's schedule made.
pub const LABEL_SCHEDULED: &str = "minidbaas.dev/scheduled";
/// Label of the last backup of an instance that was deleted.
pub const LABEL_FINAL: &str = "minidbaas.dev/final";
/// Component of everything that belongs to an HACluster.
pub const COMPONENT_HA_CLUSTER: &str = "ha-cluster";
/// Label with the name of the HACluster an object belongs to.
pub const LABEL_HA_CLUSTER: &str = "minidbaas.dev/ha-cluster";
/// Label of a throw-away instance, with the UID of the backup that it proves.
pub const LABEL_VERIFIES: &str = "minidbaas.dev/verifies";

/// On an instance: "true" means that it is observed and reported, never written to.
pub const ANNOTATION_PAUSED: &str = "minidbaas.dev/paused";
/// Hash of the object as the operator last asked for it; shows fields that are no longer asked for.
pub const ANNOTATION_HASH: &str = "minidbaas.dev/hash";
/// On what is kept when a resource goes (the claim and the Secrets of an instance; the `postgresql` and the Secrets of
/// an HACluster): the UID of the resource that it was made for, or whose spec was found to fit it. No other one hands
/// it over to be deleted.
pub const ANNOTATION_ACCEPTED_BY: &str = "minidbaas.dev/accepted-by";
/// On the volume claim: the engine whose data it holds.
pub const ANNOTATION_ENGINE: &str = "minidbaas.dev/engine";
/// On the volume claim: the newest version that ran on the data.
pub const ANNOTATION_VERSION: &str = "minidbaas.dev/version";
/// On the volume claim: the first database.
pub const ANNOTATION_DATABASE: &str = "minidbaas.dev/database";
/// On the volume claim: the owner of the first database.
pub const ANNOTATION_USERNAME: &str = "minidbaas.dev/username";
/// On the volume claim: the backup that the data was restored from, as JSON of `RestoredFrom`.
pub const ANNOTATION_RESTORED_FROM: &str = "minidbaas.dev/restored-from";
/// On a StorageClass: the access mode of new claims of this class; ReadWriteOncePod unless it says ReadWriteOnce.
pub const ANNOTATION_ACCESS_MODE: &str = "minidbaas.dev/access-mode";
/// On the VolumeSnapshot: the UID of the backup it was made for.
pub const ANNOTATION_BACKUP: &str = "minidbaas.dev/backup-uid";
/// On the Job that holds writes and on its pod: the name of the backup.
pub const ANNOTATION_BACKUP_NAME: &str = "minidbaas.dev/backup";
/// On the VolumeSnapshot and its content by which an instance reads another namespace's snapshot: the instance's UID.
pub const ANNOTATION_INSTANCE: &str = "minidbaas.dev/instance-uid";
/// Of what belongs to no namespace: the namespace of its instance.
pub const ANNOTATION_INSTANCE_NAMESPACE: &str = "minidbaas.dev/instance-namespace";
/// On an instance: the UID of the DatabaseRestore that made it.
pub const ANNOTATION_RESTORE: &str = "minidbaas.dev/restore-uid";
/// On the pod template and its pod: the UID of the Offline backup for which the server is held back.
pub const ANNOTATION_HOLD: &str = "minidbaas.dev/held-for-backup";
/// On the pod template: the set of credentials that the data must be keyed to before the server starts.
pub const ANNOTATION_CREDENTIALS: &str = "minidbaas.dev/credentials";
/// On the pod template: hash of the settings that need a restart.
pub const ANNOTATION_RESTART: &str = "minidbaas.dev/restart-settings";
/// On the pod template: hash of the settings that replaced others with which the server could not start.
pub const ANNOTATION_RETRY: &str = "minidbaas.dev/retried-settings";
/// On a `postgresql`: when the Zalando operator was asked to look again, in seconds since 1970.
pub const ANNOTATION_ASKED: &str = "minidbaas.dev/asked-again";
/// On the binding Secret: the revision of the password in the database, as in the administrator's Secret. With an
/// HACluster also on the Secret that the Zalando operator reads, and on the `postgresql`: the revision that the
/// operator was told of.
pub const ANNOTATION_REVISION: &str = "minidbaas.dev/revision";
/// On a Job's pod: the settings file to be checked.
pub const ANNOTATION_CANDIDATE: &str = "minidbaas.dev/candidate-settings";
/// On a Job's pod: the settings to be changed in the running server.
pub const ANNOTATION_CHANGES: &str = "minidbaas.dev/changed-settings";

/// Holds a protected instance back from deletion; set only while spec.deletionProtection is true.
pub const FINALIZER_PROTECTION: &str = "minidbaas.dev/deletion-protection";

/// Holds an instance with deletionPolicy Snapshot until its last backup is ready.
pub const FINALIZER_FINAL_BACKUP: &str = "minidbaas.dev/final-backup";
/// Holds an instance until the objects by which it reads another namespace's snapshot are deleted.
pub const FINALIZER_IMPORTED_SNAPSHOT: &str = "minidbaas.dev/snapshot-copy";
/// Holds an HACluster until what was delegated is at an end: its servers stopped, or everything deleted.
pub const FINALIZER_HA_CLUSTER: &str = "minidbaas.dev/ha-cluster";

/// ConfigMap with the engine catalog, in the operator's namespace.
pub const CATALOG: &str = "minidbaas-catalog";
/// Lease of the active operator, in the operator's namespace.
pub const LEASE: &str = "minidbaas";

/// The Secret with the administrator's password and what the first start needs; applications get no right to it.
pub fn admin_secret(instance: &str) -> String {
    format!("{instance}-admin")
}

/// The pod of the instance's StatefulSet.
pub fn pod(instance: &str) -> String {
    format!("{instance}-0")
}

/// The ConfigMap with the scripts of this hash.
pub fn scripts(instance: &str, hash: &str) -> String {
    format!("{instance}-scripts-{hash}")
}

/// The Job that checks settings with this hash and applies them to the running database.
pub fn settings_job(instance: &str, hash: &str) -> String {
    format!("{instance}-settings-{hash}")
}

/// The Job that changes the user's password inside the running database to this revision.
pub fn password_job(instance: &str, revision: &str) -> String {
    format!("{instance}-password-{revision}")
}

/// The first eight hex digits of a UID, for names that must differ between namesakes.
pub fn short(uid: &str) -> &str {
    uid.get(..8).unwrap_or(uid)
}

/// The Job that holds writes for a backup.
pub fn quiesce_job(backup_uid: &str) -> String {
    format!("quiesce-{backup_uid}")
}

/// The Job that logs in to an HACluster with this revision of the user's password.
pub fn login_job(cluster_uid: &str, revision: &str) -> String {
    format!("login-{}-{revision}", short(cluster_uid))
}

/// The Job that checks a throw-away instance.
pub fn check_job(instance: &str) -> String {
    format!("{instance}-check")
}

/// The throw-away instance that proves a backup.
pub fn verification_instance(backup_uid: &str) -> String {
    format!("verify-{backup_uid}")
}

/// The scheduled backup of this minute; names of one instance sort by time.
pub fn scheduled_backup(instance: &str, minute: &str) -> String {
    format!("{instance}-{minute}")
}

/// The last backup of an instance before its data goes.
pub fn final_backup(instance: &str, instance_uid: &str) -> String {
    format!("{instance}-final-{}", short(instance_uid))
}

/// The VolumeSnapshot by which an instance reads another namespace's snapshot.
pub fn imported_snapshot(instance: &str, instance_uid: &str) -> String {
    format!("{instance}-copy-{}", short(instance_uid))
}

/// The VolumeSnapshotContent of that VolumeSnapshot.
pub fn imported_content_name(instance_uid: &str) -> String {
    format!("minidbaas-copy-{instance_uid}")
}

/// DNS name of the instance's Service.
pub fn host(instance: &str, namespace: &str) -> String {
    format!("{instance}.{namespace}.svc")
}

/// The default for spec.database: the instance's name, unless the engine has a database of that name for itself. A user
/// who owned that would own the server.
pub fn default_database(instance: &str, engine: Engine) -> String {
    let reserved: &[&str] = match engine {
        Engine::Postgresql => &["postgres", "template0", "template1"],
        Engine::Mysql | Engine::Mariadb => {
            &["mysql", "information_schema", "performance_schema", "sys"]
        }
    };
    let name = instance.replace('-', "_");
    if reserved.contains(&name.as_str()) {
        "app".to_owned()
    } else {
        name
    }
}

/// Labels of an instance's child.
pub fn labels(
    instance: &str,
    engine: Engine,
    version: &str,
    component: &str,
) -> BTreeMap<String, String> {
    well_known(LABEL_INSTANCE, instance, engine, version, component)
}

/// Labels of what an HACluster makes.
pub fn ha_labels(
    cluster: &str,
    engine: Engine,
    version: &str,
    component: &str,
) -> BTreeMap<String, String> {
    well_known(LABEL_HA_CLUSTER, cluster, engine, version, component)
}

fn well_known(
    owner_label: &str,
    owner: &str,
    engine: Engine,
    version: &str,
    component: &str,
) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", engine.name()),
        ("app.kubernetes.io/instance", owner),
        ("app.kubernetes.io/version", version),
        ("app.kubernetes.io/part-of", "minidbaas"),
        (LABEL_COMPONENT, component),
        (LABEL_MANAGED_BY, MANAGED_BY),
        (owner_label, owner),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The labels by which the Service finds the server's pod and no other that the StatefulSet has: a StatefulSet labels
/// each of its pods with the pod's name.
pub fn server_selector(instance: &str) -> BTreeMap<String, String> {
    let mut labels = selector(instance);
    labels.insert(
        "statefulset.kubernetes.io/pod-name".to_owned(),
        pod(instance),
    );
    labels
}

/// The labels by which the StatefulSet and the NetworkPolicy find the server's pod.
pub fn selector(instance: &str) -> BTreeMap<String, String> {
    [
        (LABEL_COMPONENT, COMPONENT_DATABASE),
        (LABEL_MANAGED_BY, MANAGED_BY),
        (LABEL_INSTANCE, instance),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}
