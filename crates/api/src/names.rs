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
/// Component of a Job that changes something inside a running database.
pub const COMPONENT_APPLY: &str = "apply";

/// On an instance: "true" means that it is observed and reported, never written to.
pub const ANNOTATION_PAUSED: &str = "minidbaas.dev/paused";
/// Hash of the object as the operator last asked for it; shows fields that are no longer asked for.
pub const ANNOTATION_HASH: &str = "minidbaas.dev/hash";
/// On the volume claim: the engine whose data it holds.
pub const ANNOTATION_ENGINE: &str = "minidbaas.dev/engine";
/// On the volume claim: the newest version that ran on the data.
pub const ANNOTATION_VERSION: &str = "minidbaas.dev/version";
/// On the volume claim: the first database.
pub const ANNOTATION_DATABASE: &str = "minidbaas.dev/database";
/// On the volume claim: the owner of the first database.
pub const ANNOTATION_USERNAME: &str = "minidbaas.dev/username";
/// On the pod template: the set of credentials that the data must be keyed to before the server starts.
pub const ANNOTATION_CREDENTIALS: &str = "minidbaas.dev/credentials";
/// On the pod template: hash of the settings that need a restart.
pub const ANNOTATION_RESTART: &str = "minidbaas.dev/restart-settings";
/// On the pod template: hash of the settings that replaced others with which the server could not start.
pub const ANNOTATION_RETRY: &str = "minidbaas.dev/retried-settings";
/// On the binding Secret: the revision of the password in the database, as in the administrator's Secret.
pub const ANNOTATION_REVISION: &str = "minidbaas.dev/revision";
/// On a Job's pod: the settings file to be checked.
pub const ANNOTATION_CANDIDATE: &str = "minidbaas.dev/candidate-settings";
/// On a Job's pod: the settings to be changed in the running server.
pub const ANNOTATION_CHANGES: &str = "minidbaas.dev/changed-settings";

/// Holds a protected instance back from deletion; set only while spec.deletionProtection is true.
pub const FINALIZER_PROTECTION: &str = "minidbaas.dev/deletion-protection";

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

/// The Job that checks settings with this hash and applies them to the running database.
pub fn settings_job(instance: &str, hash: &str) -> String {
    format!("{instance}-settings-{hash}")
}

/// The Job that changes the user's password inside the running database to this revision.
pub fn password_job(instance: &str, revision: &str) -> String {
    format!("{instance}-password-{revision}")
}

/// DNS name of the instance's Service.
pub fn host(instance: &str, namespace: &str) -> String {
    format!("{instance}.{namespace}.svc")
}

/// The default for spec.database.
pub fn default_database(instance: &str) -> String {
    instance.replace('-', "_")
}

/// Labels of a child.
pub fn labels(
    instance: &str,
    engine: Engine,
    version: &str,
    component: &str,
) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", engine.name()),
        ("app.kubernetes.io/instance", instance),
        ("app.kubernetes.io/version", version),
        ("app.kubernetes.io/part-of", "minidbaas"),
        (LABEL_COMPONENT, component),
        (LABEL_MANAGED_BY, MANAGED_BY),
        (LABEL_INSTANCE, instance),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The labels by which the Service, the StatefulSet and the NetworkPolicy find the server's pod.
pub fn selector(instance: &str) -> BTreeMap<String, String> {
    [
        (LABEL_COMPONENT, COMPONENT_DATABASE),
        (LABEL_MANAGED_BY, MANAGED_BY),
        (LABEL_INSTANCE, instance),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}
