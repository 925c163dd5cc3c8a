//! What admission cannot see: the catalog, the retained volume, objects of the same name, resources.

use api::DatabaseInstance;
use api::condition::reason;
use api::names::{
    ANNOTATION_DATABASE, ANNOTATION_ENGINE, ANNOTATION_USERNAME, LABEL_INSTANCE, LABEL_MANAGED_BY,
    MANAGED_BY, admin_secret, default_database,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::source::{self, Origin};
use super::{Class, Decision, Observed};
use crate::build::Subject;
use crate::engine::{self, Engine};
use crate::facts;
use crate::quantity::bytes;
use crate::{Invalid, parameters, resources, version};

/// The instance with its defaults filled in, if its spec makes sense by itself and with the data it is going to work on.
pub fn subject<'a>(
    cr: &'a DatabaseInstance,
    observed: &Observed,
    origin: Option<&Origin>,
) -> Decision<Subject<'a>> {
    let spec = &cr.spec;
    let engine = engine::of(spec.engine);
    let name = cr.metadata.name.as_deref().unwrap_or_default();
    // First: of another engine's data the version means nothing.
    same_as_retained(
        observed,
        name,
        ANNOTATION_ENGINE,
        "spec.engine",
        spec.engine.name(),
    )?;
    let (version, image) = version_and_image(cr, engine, observed, origin)?;
    parameters::check(engine, &spec.parameters)?;
    let claim = observed.claim.as_ref();
    let restored_from = claim.map_or_else(
        || origin.map(|origin| origin.facts.restored_from.clone()),
        source::of_claim,
    );
    // Restored data keeps its names.
    let database_of_data = claim
        .filter(|_| restored_from.is_some())
        .and_then(|claim| facts::annotation(&claim.metadata, ANNOTATION_DATABASE))
        .or(origin.map(|origin| origin.facts.source.database.as_str()));
    let database = spec
        .database
        .clone()
        .or(database_of_data.map(str::to_owned))
        .unwrap_or_else(|| default_database(name, spec.engine));
    if let Some(why) = engine.unusable_database(&database) {
        return Err(Invalid::spec(
            reason::INVALID_NAME,
            format!(
                "spec.database: {database} {why} in {}. Create the instance anew with another one.",
                engine.title()
            ),
        ));
    }
    Ok(Subject {
        cr,
        name,
        namespace: cr.metadata.namespace.as_deref().unwrap_or_default(),
        uid: cr.metadata.uid.as_deref().unwrap_or_default(),
        engine,
        version,
        image,
        database,
        resources: resources::complete(spec.resources.as_ref(), engine, engine.default_memory())?,
        restored_from,
        data_source: origin.map(|origin| origin.data_source(cr)),
    })
}

/// The version of the data: what the claim says, else what the status says.
pub fn version_of_data<'a>(cr: &'a DatabaseInstance, observed: &'a Observed) -> Option<&'a str> {
    let claim = observed
        .claim
        .as_ref()
        .and_then(|claim| facts::annotation(&claim.metadata, api::names::ANNOTATION_VERSION));
    claim.or_else(|| cr.status.as_ref()?.version.as_deref())
}

fn version_and_image(
    cr: &DatabaseInstance,
    engine: &dyn Engine,
    observed: &Observed,
    origin: Option<&Origin>,
) -> Decision<(String, String)> {
    let catalog = &observed.catalog;
    let current = version_of_data(cr, observed);
    let wanted = cr
        .spec
        .version
        .as_deref()
        .or(current)
        .or(origin.map(|origin| origin.facts.version.as_str()))
        .or_else(|| catalog.default_version(cr.spec.engine));
    let title = engine.title();
    let known = || {
        format!(
            "The engine catalog has {}",
            catalog.versions(cr.spec.engine)
        )
    };
    let Some(wanted) = wanted else {
        return Err(Invalid::surroundings(
            reason::UNKNOWN_VERSION,
            format!(
                "spec.version is missing and the engine catalog has no default for {title}. {}.",
                known()
            ),
        ));
    };
    if let Some(current) = current {
        if !version::same_series(current, wanted, engine.numbers_of_series()) {
            return Err(Invalid::spec(
                reason::MAJOR_VERSION_CHANGE,
                format!(
                    "spec.version: the data is {title} {current}, and a move to {wanted} is a major one, which cannot be made in place. Set it back to {current}; to move, create another instance and copy the data."
                ),
            ));
        }
        if version::compare(wanted, current).is_lt() {
            return Err(Invalid::spec(
                reason::VERSION_DOWNGRADE,
                format!(
                    "spec.version: the data is {title} {current}, and {wanted} is older; an older server may not read it. Set it to {current} or newer."
                ),
            ));
        }
    }
    match catalog.image(cr.spec.engine, wanted) {
        Some(image) => Ok((wanted.to_owned(), image.to_owned())),
        None => Err(Invalid::surroundings(
            reason::UNKNOWN_VERSION,
            format!(
                "spec.version: {title} {wanted} is not served. {}; choose one of these, or add it to the catalog.",
                known()
            ),
        )),
    }
}

/// Whether what is already there can be used: nothing is taken over, no data is started by the wrong engine.
pub fn surroundings(subject: &Subject<'_>, observed: &Observed) -> Decision<()> {
    strangers(subject, observed)?;
    retained_data(subject, observed)?;
    match (&observed.claim, &observed.storage_class) {
        (None, Class::Missing) => Err(missing_class(subject)),
        (
            Some(_),
            Class::Found {
                name,
                can_grow: false,
                ..
            },
        ) => Err(Invalid::surroundings(
            reason::STORAGE_CLASS_CANNOT_GROW,
            format!(
                "spec.storage.size: the class {name} does not allow volumes to grow. Let it (allowVolumeExpansion: true); the spec's size cannot be taken back."
            ),
        )),
        _ => Ok(()),
    }
}

fn missing_class(subject: &Subject<'_>) -> Invalid {
    let message = match &subject.cr.spec.storage.class_name {
        Some(name) => format!("spec.storage.className: there is no StorageClass {name}. Create it, or create the instance with another one; `kubectl get storageclass` lists them."),
        None => "The cluster has no default StorageClass. Mark one as default, or create the instance with spec.storage.className.".to_owned(),
    };
    Invalid::surroundings(reason::STORAGE_CLASS_NOT_FOUND, message)
}

/// An object of a child's name is ours, or a former instance's on its way out, or a stranger's.
fn strangers(subject: &Subject<'_>, observed: &Observed) -> Decision<()> {
    let admin = admin_secret(subject.name);
    let children: [(&str, &str, Option<&ObjectMeta>); 7] = [
        (
            "Secret",
            subject.name,
            observed.binding.as_ref().map(|o| &o.metadata),
        ),
        (
            "Secret",
            &admin,
            observed.admin.as_ref().map(|o| &o.metadata),
        ),
        (
            "PersistentVolumeClaim",
            subject.name,
            observed.claim.as_ref().map(|o| &o.metadata),
        ),
        (
            "ConfigMap",
            subject.name,
            observed.config_map.as_ref().map(|o| &o.metadata),
        ),
        (
            "Service",
            subject.name,
            observed.service.as_ref().map(|o| &o.metadata),
        ),
        (
            "NetworkPolicy",
            subject.name,
            observed.network_policy.as_ref().map(|o| &o.metadata),
        ),
        (
            "StatefulSet",
            subject.name,
            observed.stateful_set.as_ref().map(|o| &o.metadata),
        ),
    ];
    for (kind, name, metadata) in children
        .into_iter()
        .filter_map(|(kind, name, metadata)| Some((kind, name, metadata?)))
    {
        if !is_ours(metadata, subject.name) {
            return Err(Invalid::surroundings(
                reason::NAME_TAKEN,
                format!(
                    "There is a {kind} {name} that does not belong to this instance. Rename or delete it, or create the instance under another name."
                ),
            ));
        }
        let former = metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.kind == "DatabaseInstance" && owner.uid != subject.uid);
        if former || metadata.deletion_timestamp.is_some() {
            return Err(Invalid {
                recheck: true,
                reason: reason::WAITING_FOR_DELETION,
                message: format!(
                    "The {kind} {name} of a former instance of this name is still being deleted. This goes on by itself when it is gone."
                ),
            });
        }
    }
    Ok(())
}

fn is_ours(metadata: &ObjectMeta, instance: &str) -> bool {
    let label = |name: &str| facts::label(metadata, name);
    label(LABEL_MANAGED_BY) == Some(MANAGED_BY) && label(LABEL_INSTANCE) == Some(instance)
}

/// The claim says whose data it holds.
fn retained_data(subject: &Subject<'_>, observed: &Observed) -> Decision<()> {
    let spec = &subject.cr.spec;
    let Some(claim) = &observed.claim else {
        // A status with a capacity has seen a volume. An empty database in its place would look as if all were well.
        let lost = subject
            .cr
            .status
            .as_ref()
            .and_then(|status| status.storage.as_ref())
            .is_some_and(|storage| storage.capacity.is_some());
        return if lost {
            Err(Invalid::spec(
                reason::VOLUME_LOST,
                format!(
                    "The PersistentVolumeClaim {} that held the data is gone. To start with an empty database, delete this resource and apply it again.",
                    subject.name
                ),
            ))
        } else {
            Ok(())
        };
    };
    same_as_retained(
        observed,
        subject.name,
        ANNOTATION_DATABASE,
        "spec.database",
        &subject.database,
    )?;
    same_as_retained(
        observed,
        subject.name,
        ANNOTATION_USERNAME,
        "spec.username",
        &spec.username,
    )?;
    if facts::requested(claim).and_then(bytes) > bytes(&spec.storage.size.0) {
        return Err(Invalid::spec(
            reason::STORAGE_SHRINKS,
            format!(
                "spec.storage.size is {}, but the volume {} has {}, and a volume does not shrink. Set it to {} or more.",
                spec.storage.size.0,
                subject.name,
                facts::requested(claim).unwrap_or_default(),
                facts::requested(claim).unwrap_or_default()
            ),
        ));
    }
    Ok(())
}

/// What a retained volume says of its data must be what the spec asks for.
fn same_as_retained(
    observed: &Observed,
    name: &str,
    annotation: &str,
    field: &str,
    wanted: &str,
) -> Decision<()> {
    let claim = observed.claim.as_ref();
    match claim
        .and_then(|claim| facts::annotation(&claim.metadata, annotation))
        .filter(|found| *found != wanted)
    {
        None => Ok(()),
        Some(found) => Err(Invalid::surroundings(
            reason::RETAINED_DATA_MISMATCH,
            format!(
                "{field} is {wanted}, but the retained volume {name} was made with {found}. Create the instance with {field}: {found}, or under another name, or delete the PersistentVolumeClaim if its data is not needed."
            ),
        )),
    }
}
