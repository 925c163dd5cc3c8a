//! What admission cannot see: the installed operator, objects of the same name, retained data, storage classes.

use api::condition::{DELEGATED, reason};
use api::external::zalando::Postgresql;
use api::names::default_database;
use api::{Engine, HACluster};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;

use super::{Decision, Observed, Served, settings, status};
use crate::child::{Owner, is_going};
use crate::facts::grows;
use crate::names::{self, Named};
use crate::quantity::{bytes, thousandths};
use crate::quote::{SAID, cut, quoted};
use crate::storage_class::StorageClass;
use crate::valid::Cluster;
use crate::{Invalid, Kind, engine, resources};

/// Memory limit of each server when the spec has none; Patroni takes a part of it.
const MEMORY: &str = "512Mi";
/// CPU limit when the spec has none and asks for no more. The Zalando operator would make the request the limit.
const CPU: &str = "2";

/// The cluster with its defaults filled in, if it can be delegated as it stands.
pub fn cluster<'a>(cr: &'a HACluster, observed: &Observed) -> Decision<Cluster<'a>> {
    let spec = &cr.spec;
    let name = cr.metadata.name.as_deref().unwrap_or_default();
    let secret = spec.credentials_secret.as_ref();
    let named = secret.map(|secret| secret.name.as_str());
    names::check("spec.credentialsSecret.name", named, Named::Object)?;
    let named = spec.storage.class_name.as_deref();
    names::check("spec.storage.className", named, Named::Object)?;
    let Served::Versions(served) = &observed.served else {
        return Err(Invalid::surroundings(
            reason::POSTGRES_OPERATOR_MISSING,
            "The Zalando Postgres operator is not installed: there is no CustomResourceDefinition \
                postgresqls.acid.zalan.do. Install it, as docs/high-availability.md says; this goes on by itself then.",
        )
        .on(DELEGATED));
    };
    match &observed.postgresql {
        Some(postgresql) => delegated(cr, name, observed, postgresql)?,
        None => nothing_in_the_way(cr, name, observed)?,
    }
    secrets(cr, observed)?;
    let postgresql = engine::of(Engine::Postgresql);
    let mut resources = resources::complete(spec.resources.as_ref(), postgresql, MEMORY)?;
    if resources["limits"]["cpu"].is_null() {
        let request = resources["requests"]["cpu"].as_str().unwrap_or_default();
        let more = thousandths(request) > thousandths(CPU);
        resources["limits"]["cpu"] = if more { request } else { CPU }.into();
    }
    let memory = resources["limits"]["memory"].as_str().and_then(bytes);
    let cluster = Cluster {
        cr,
        name,
        namespace: cr.metadata.namespace.as_deref().unwrap_or_default(),
        version: version(cr, observed, served)?,
        size: whole_gibibytes(&spec.storage.size.0),
        database: spec
            .database
            .clone()
            .unwrap_or_else(|| default_database(name, Engine::Postgresql)),
        parameters: settings::parameters(spec, memory.unwrap_or_default())?,
        resources,
    };
    if let Some(postgresql) = &observed.postgresql {
        same_as_retained(&cluster, &postgresql.spec)?;
    }
    class(&cluster, observed)?;
    Ok(cluster)
}

/// The size in whole GiB, rounded up.
fn whole_gibibytes(size: &str) -> String {
    let gibibyte = 1 << 30;
    bytes(size).map_or_else(
        || size.to_owned(),
        |bytes| format!("{}Gi", (bytes + gibibyte - 1) / gibibyte),
    )
}

/// The version of the data, else what is asked for, else the catalog's default, else the newest that is served.
fn version(cr: &HACluster, observed: &Observed, served: &[String]) -> Decision<String> {
    let asked = cr.spec.version.as_deref();
    let of_data = observed
        .postgresql
        .as_ref()
        .and_then(|postgresql| postgresql.spec["postgresql"]["version"].as_str())
        .or_else(|| cr.status.as_ref()?.version.as_deref());
    if let Some(found) = of_data {
        return match asked.filter(|asked| *asked != found) {
            None => Ok(found.to_owned()),
            Some(asked) => Err(Invalid::spec(
                reason::MAJOR_VERSION_CHANGE,
                format!(
                    "spec.version: the data is PostgreSQL {}, and a move to {} cannot be made in place. Set it back to \
                        {}; to move, create another cluster and copy the data.",
                    quoted(found),
                    quoted(asked),
                    quoted(found)
                ),
            )),
        };
    }
    let is_served = |version: &str| served.is_empty() || served.iter().any(|v| v == version);
    let usual = observed.catalog.default_version(Engine::Postgresql);
    let usual = usual.and_then(|version| version.split('.').next());
    let newest = served
        .iter()
        .max_by_key(|version| version.parse::<u32>().unwrap_or_default());
    let wanted = asked
        .or(usual.filter(|version| is_served(version)))
        .or(newest.map(String::as_str));
    match wanted {
        Some(version) if is_served(version) => Ok(version.to_owned()),
        Some(version) => Err(Invalid::surroundings(
            reason::UNKNOWN_VERSION,
            format!(
                "spec.version: the installed Zalando operator does not serve PostgreSQL {}. It serves {}; choose one \
                    of these, or install another version of that operator.",
                quoted(version),
                cut(&served.join(", "), SAID)
            ),
        )),
        None => Err(Invalid::spec(
            reason::UNKNOWN_VERSION,
            "spec.version is missing, and neither the engine catalog nor the Zalando operator has a default. Set it.",
        )),
    }
}

/// Something has a name that an object of the cluster would have: somebody else's, or a former cluster's on its way
/// out.
fn in_the_way(cr: &HACluster, kind: &str, found: &ObjectMeta) -> Invalid {
    let name = found.name.as_deref().unwrap_or_default();
    if is_going(found, Kind::HACluster, &cr.metadata) {
        return Invalid::going(kind, name, GOING_SECONDS);
    }
    Invalid::surroundings(
        reason::NAME_TAKEN,
        format!(
            "There is a {kind} {} that does not belong to this cluster. Rename or delete it, or create the cluster \
                under another name.",
            quoted(name)
        ),
    )
}

/// What is being deleted is looked at again so much later.
const GOING_SECONDS: u64 = 3;

fn going(name: &str) -> Invalid {
    Invalid::wait(
        reason::WAITING_FOR_DELETION,
        format!(
            "The postgresql {name} was deleted, and what belongs to it is still being deleted. This goes on by itself \
                when it is gone."
        ),
        GOING_SECONDS,
    )
}

/// The `postgresql` is this cluster's, and stays.
fn delegated(
    cr: &HACluster,
    name: &str,
    observed: &Observed,
    postgresql: &Postgresql,
) -> Decision<()> {
    if !is_free(cr, &postgresql.metadata, None) {
        return Err(in_the_way(cr, "postgresql", &postgresql.metadata));
    }
    if postgresql.metadata.deletion_timestamp.is_some() {
        return Err(going(name));
    }
    let mut others = observed.others.iter();
    others.next().map_or(Ok(()), |(kind, metadata)| {
        Err(in_the_way(cr, kind.api().1, metadata))
    })
}

/// Without a `postgresql`, whatever has a name of the cluster is a conflict's; or somebody has deleted the `postgresql`
/// of a cluster that served, and then an empty database in its place would look as if all were well.
fn nothing_in_the_way(cr: &HACluster, name: &str, observed: &Observed) -> Decision<()> {
    let set = observed.stateful_set.as_ref();
    let set = set.map(|set| ("StatefulSet", &set.metadata));
    let others = observed.others.iter();
    let others = others.map(|(kind, metadata)| (kind.api().1, metadata));
    let claims = &observed.claims;
    // That it served says its status, which more people may write than Secrets; its binding says it, too.
    let binding = observed.binding.as_ref().map(|secret| &secret.metadata);
    let known = binding.is_some_and(|metadata| Owner::cluster(cr).accepted(metadata));
    if !status::has_served(cr) || !known {
        let claims = claims
            .iter()
            .map(|claim| ("PersistentVolumeClaim", &claim.metadata));
        let mut found = set.into_iter().chain(others).chain(claims);
        return found.next().map_or(Ok(()), |(kind, metadata)| {
            Err(in_the_way(cr, kind, metadata))
        });
    }
    // The others have the names of what the former `postgresql` had; but a claim of a server is taken with its data.
    let mut unmarked = observed.others.iter();
    if let Some((_, claim)) = unmarked.find(|(kind, _)| *kind == Kind::PersistentVolumeClaim) {
        return Err(in_the_way(cr, "PersistentVolumeClaim", claim));
    }
    let is_going = |metadata: &ObjectMeta| metadata.deletion_timestamp.is_some();
    if set.is_some() || claims.iter().any(|claim| is_going(&claim.metadata)) {
        return Err(going(name));
    }
    if claims.is_empty() {
        return Err(Invalid::spec(
            reason::VOLUME_LOST,
            format!(
                "The postgresql {name} was deleted, and the data with it: no PersistentVolumeClaim is left. To start \
                    with an empty database, delete this resource and apply it again."
            ),
        ));
    }
    Ok(())
}

/// Whether an object was made for this cluster or for a former one of its name, and belongs to nobody else. With its
/// setting enable_owner_references, the Zalando operator makes our `postgresql` the owner of what belongs to it.
fn is_free(cr: &HACluster, metadata: &ObjectMeta, postgresql: Option<&Postgresql>) -> bool {
    let owner = Owner::cluster(cr);
    let uid = postgresql.and_then(|postgresql| postgresql.metadata.uid.as_deref());
    let mut owners = metadata.owner_references.iter().flatten();
    let ours = |found: &OwnerReference| found.uid == owner.uid() || Some(found.uid.as_str()) == uid;
    owner.is_namesakes(metadata) && owners.all(ours)
}

/// The Secrets that are to be made are not somebody else's.
fn secrets(cr: &HACluster, observed: &Observed) -> Decision<()> {
    let mut found = observed.binding.iter().chain(&observed.user);
    let conflict =
        found.find(|secret| !is_free(cr, &secret.metadata, observed.postgresql.as_ref()));
    conflict.map_or(Ok(()), |secret| {
        Err(in_the_way(cr, "Secret", &secret.metadata))
    })
}

/// The `postgresql` says whose data there is.
fn same_as_retained(cluster: &Cluster<'_>, found: &Value) -> Decision<()> {
    let spec = &cluster.cr.spec;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // A person may have added others.
    let mut databases = found["databases"].as_object().into_iter().flatten();
    let first = databases.clone().next();
    let same = databases.find(|(database, _)| **database == cluster.database);
    let (database, owner) = same
        .or(first)
        .map_or_else(Default::default, |(database, owner)| {
            (database.clone(), text(owner))
        });
    let class = spec.storage.class_name.clone().unwrap_or_default();
    let fields = [
        ("spec.database", database, cluster.database.clone()),
        ("spec.username", owner, spec.username.clone()),
        ("spec.teamId", text(&found["teamId"]), spec.team_id.clone()),
        (
            "spec.storage.className",
            text(&found["volume"]["storageClass"]),
            class,
        ),
    ];
    let named = |value: &str| {
        if value.is_empty() {
            "(none)".to_owned()
        } else {
            quoted(value).into_owned()
        }
    };
    if let Some((field, found, asked)) = fields.into_iter().find(|(_, found, asked)| found != asked)
    {
        let (found, asked) = (named(&found), named(&asked));
        return Err(Invalid::surroundings(
            reason::RETAINED_DATA_MISMATCH,
            format!(
                "{field} is {asked}, but the data of the postgresql {} was made with {found}. Create the cluster with \
                    {field}: {found}, or under another name.",
                cluster.name
            ),
        ));
    }
    let size = text(&found["volume"]["size"]);
    if bytes(&size) > bytes(&spec.storage.size.0) {
        return Err(Invalid::spec(
            reason::STORAGE_SHRINKS,
            format!(
                "spec.storage.size is {}, but the volumes have {}, and a volume does not shrink. Set it to {} or more.",
                quoted(&spec.storage.size.0),
                quoted(&size),
                quoted(&size)
            ),
        ));
    }
    Ok(())
}

/// A class that is needed is there, and grows if it has to.
fn class(cluster: &Cluster<'_>, observed: &Observed) -> Decision<()> {
    let storage = &cluster.cr.spec.storage;
    let (why, message) = match &observed.storage_class {
        StorageClass::Missing => (
            reason::STORAGE_CLASS_NOT_FOUND,
            match &storage.class_name {
                Some(name) => format!("spec.storage.className: there is no StorageClass {}. Create it, or create the \
                    cluster with another one; `kubectl get storageclass` lists them.", quoted(name)),
                None => "The cluster has no default StorageClass. Mark one as default, or create the cluster with \
                    spec.storage.className.".to_owned(),
            },
        ),
        StorageClass::Found {
            name,
            can_grow: false,
            ..
        } if observed.claims.iter().any(|claim| grows(&storage.size, claim)) => (
            reason::STORAGE_CLASS_CANNOT_GROW,
            format!(
                "spec.storage.size: the class {} does not allow volumes to grow. Let it (allowVolumeExpansion: true); \
                    the spec's size cannot be taken back.",
                quoted(name)
            ),
        ),
        _ => return Ok(()),
    };
    Err(Invalid::surroundings(why, message))
}
