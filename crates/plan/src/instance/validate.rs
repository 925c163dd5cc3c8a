//! What admission cannot see: the catalog, the retained volume, objects of the same name, resources.

use api::DatabaseInstance;
use api::condition::{PARAMETERS_APPLIED, reason};
use api::names::{
    ANNOTATION_DATABASE, ANNOTATION_ENGINE, ANNOTATION_USERNAME, check_job, default_database,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::source::{self, Origin};
use super::{Decision, Observed};
use super::{scripts, settings};
use crate::child::{Owner, is_going};
use crate::engine::{self, Engine};
use crate::facts;
use crate::names::{self, Named};
use crate::quantity::bytes;
use crate::quote::{SAID, cut, quoted};
use crate::storage_class::StorageClass;
use crate::valid::Subject;
use crate::{Invalid, Kind, parameters, resources, version};

/// The instance with its defaults filled in, if its spec makes sense by itself and with the data it is going to work
/// on.
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
    object_names(cr)?;
    parameters::check(engine, &spec.parameters)
        .map_err(|invalid| invalid.on(PARAMETERS_APPLIED))?;
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
                "spec.database: {} {why} in {}. Create the instance anew with another one.",
                quoted(&database),
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

/// Every object that the spec names can have that name.
fn object_names(cr: &DatabaseInstance) -> Decision<()> {
    let spec = &cr.spec;
    let secret = spec.credentials_secret.as_ref();
    let backup = spec.backup.as_ref();
    let scheduling = spec.scheduling.as_ref();
    let fields = [
        (
            "spec.credentialsSecret.name",
            secret.map(|s| s.name.as_str()),
        ),
        ("spec.storage.className", spec.storage.class_name.as_deref()),
        (
            "spec.backup.snapshotClassName",
            backup.and_then(|backup| backup.snapshot_class_name.as_deref()),
        ),
        (
            "spec.scheduling.priorityClassName",
            scheduling.and_then(|scheduling| scheduling.priority_class_name.as_deref()),
        ),
    ];
    fields
        .into_iter()
        .try_for_each(|(field, name)| names::check(field, name, Named::Object))
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
        let versions = catalog.versions(cr.spec.engine);
        format!("The engine catalog has {}", cut(&versions, SAID))
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
    let shown = quoted(wanted);
    if let Some(current) = current {
        let seen = quoted(current);
        if !version::same_series(current, wanted, engine.numbers_of_series()) {
            return Err(Invalid::spec(
                reason::MAJOR_VERSION_CHANGE,
                format!(
                    "spec.version: the data is {title} {seen}, and a move to {shown} is a major one, which cannot be \
                        made in place. Set it back to {seen}; to move, create another instance and copy the data."
                ),
            ));
        }
        if version::compare(wanted, current).is_lt() {
            return Err(Invalid::spec(
                reason::VERSION_DOWNGRADE,
                format!(
                    "spec.version: the data is {title} {seen}, and {shown} is older; an older server may not read it. \
                        Set it to {seen} or newer."
                ),
            ));
        }
    }
    match catalog.image(cr.spec.engine, wanted) {
        Some(image) => Ok((wanted.to_owned(), image.to_owned())),
        None => Err(Invalid::surroundings(
            reason::UNKNOWN_VERSION,
            format!(
                "spec.version: {title} {shown} is not served. {}; choose one of these, or add it to the catalog.",
                known()
            ),
        )),
    }
}

/// Whether what is already there can be used: nothing is taken over, no data is started by the wrong engine.
pub fn surroundings(subject: &Subject<'_>, observed: &Observed) -> Decision<()> {
    conflicts(subject, observed)?;
    scripts::check(subject, observed)?;
    if subject.verifies() {
        settings::is_free(subject, observed, &check_job(subject.name))?;
    }
    retained_data(subject, observed)?;
    match (&observed.claim, &observed.storage_class) {
        (None, StorageClass::Missing) => Err(missing_class(subject)),
        (
            Some(_),
            StorageClass::Found {
                name,
                can_grow: false,
                ..
            },
        ) => Err(Invalid::surroundings(
            reason::STORAGE_CLASS_CANNOT_GROW,
            format!(
                "spec.storage.size: the class {} does not allow volumes to grow. Let it (allowVolumeExpansion: true); \
                    the spec's size cannot be taken back.",
                quoted(name)
            ),
        )),
        _ => Ok(()),
    }
}

fn missing_class(subject: &Subject<'_>) -> Invalid {
    let message = match &subject.cr.spec.storage.class_name {
        Some(name) => format!("spec.storage.className: there is no StorageClass {}. Create it, or create the instance \
            with another one; `kubectl get storageclass` lists them.", quoted(name)),
        None => "The cluster has no default StorageClass. Mark one as default, or create the instance with \
            spec.storage.className.".to_owned(),
    };
    Invalid::surroundings(reason::STORAGE_CLASS_NOT_FOUND, message)
}

/// What is being deleted is looked at again so much later: the end of what Kubernetes collects may come without an
/// event.
pub const GOING_SECONDS: u64 = 1;

/// An object of a child's name is ours, or a former instance's on its way out, or a conflict's.
fn conflicts(subject: &Subject<'_>, observed: &Observed) -> Decision<()> {
    let owner = Owner::instance(subject.cr);
    let going = |kind: Kind, found: &ObjectMeta| {
        is_going(found, Kind::DatabaseInstance, &subject.cr.metadata).then(|| {
            let name = found.name.as_deref().unwrap_or_default();
            Invalid::going(kind.api().1, name, GOING_SECONDS)
        })
    };
    // Patroni keeps its records in Endpoints without a Service, and a Service of that name would take them over. Those
    // that Kubernetes makes for our Service have its labels.
    let records = observed.endpoints.as_ref();
    if let Some(found) = records.filter(|found| !owner.is_namesakes(found)) {
        return Err(going(Kind::Endpoints, found)
            .unwrap_or_else(|| taken(Kind::Endpoints, found, "Rename or delete it")));
    }
    let kept = kept_children(observed);
    let owned = owned_children(observed);
    for (kind, metadata) in kept.iter().chain(&owned) {
        let owners = metadata.owner_references.as_deref().unwrap_or_default();
        if let Some(going) = going(*kind, metadata) {
            return Err(going);
        }
        if !owner.is_namesakes(metadata) {
            return Err(taken(*kind, metadata, "Rename or delete it"));
        }
        let is_free = owners.is_empty() && kept.iter().any(|(of_kept, _)| of_kept == kind);
        if !is_free && !owner.controls(metadata) {
            // One that a former instance of this name was made to leave behind; labels alone could be anybody's.
            return Err(taken(*kind, metadata, "Delete it, which touches no data"));
        }
    }
    Ok(())
}

/// Something has a name that a child would have.
pub fn taken(kind: Kind, metadata: &ObjectMeta, remedy: &str) -> Invalid {
    Invalid::surroundings(
        reason::NAME_TAKEN,
        format!(
            "There is a {} {} that does not belong to this instance. {remedy}, or create the instance under another \
                name.",
            kind.api().1,
            metadata.name.as_deref().unwrap_or_default()
        ),
    )
}

/// What is there of what is kept when the instance goes.
pub fn kept_children(observed: &Observed) -> Vec<(Kind, &ObjectMeta)> {
    let children = [
        (
            Kind::PersistentVolumeClaim,
            observed.claim.as_ref().map(|o| &o.metadata),
        ),
        (Kind::Secret, observed.binding.as_ref().map(|o| &o.metadata)),
        (Kind::Secret, observed.admin.as_ref().map(|o| &o.metadata)),
    ];
    there(&children)
}

/// What is there of what goes with the instance.
fn owned_children(observed: &Observed) -> Vec<(Kind, &ObjectMeta)> {
    let children = [
        (
            Kind::ConfigMap,
            observed.config_map.as_ref().map(|o| &o.metadata),
        ),
        (
            Kind::ConfigMap,
            observed.scripts.as_ref().map(|o| &o.metadata),
        ),
        (
            Kind::Service,
            observed.service.as_ref().map(|o| &o.metadata),
        ),
        (
            Kind::NetworkPolicy,
            observed.network_policy.as_ref().map(|o| &o.metadata),
        ),
        (
            Kind::StatefulSet,
            observed.stateful_set.as_ref().map(|o| &o.metadata),
        ),
    ];
    there(&children)
}

fn there<'a>(children: &[(Kind, Option<&'a ObjectMeta>)]) -> Vec<(Kind, &'a ObjectMeta)> {
    let found = children.iter();
    found
        .filter_map(|(kind, metadata)| Some((*kind, (*metadata)?)))
        .collect()
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
                    "The PersistentVolumeClaim {} that held the data is gone. To start with an empty database, delete \
                        this resource and apply it again.",
                    subject.name
                ),
            ))
        } else {
            Ok(())
        };
    };
    // Every claim that was made for an instance says whose data it holds; labels alone could be anybody's.
    let owner = Owner::instance(subject.cr);
    if facts::annotation(&claim.metadata, ANNOTATION_ENGINE).is_none()
        && !owner.bears_mark(&claim.metadata)
    {
        return Err(Invalid::surroundings(
            reason::NAME_TAKEN,
            format!(
                "There is a PersistentVolumeClaim {} that does not say what data it holds, so it was not made for an \
                    instance. Rename or delete it, or create the instance under another name.",
                subject.name
            ),
        ));
    }
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
                "spec.storage.size is {}, but the volume {} has {}, and a volume does not shrink. Set it to {} or \
                    more.",
                quoted(&spec.storage.size.0),
                subject.name,
                quoted(facts::requested(claim).unwrap_or_default()),
                quoted(facts::requested(claim).unwrap_or_default())
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
                "{field} is {}, but the retained volume {name} was made with {}. Create the instance with {field}: {}, \
                    or under another name, or delete the PersistentVolumeClaim if its data is not needed.",
                quoted(wanted),
                quoted(found),
                quoted(found)
            ),
        )),
    }
}
