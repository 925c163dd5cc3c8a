//! Our own resources as they are kept in memory: without what no rule reads. Labels, annotations, owners and finalizers
//! are whatever their owner writes, up to the size of a request, and no schema limits them; kept as they are, a hundred
//! objects would be enough to use up the operator's memory.

use futures::Stream;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::reflector::{Store, store};
use kube::runtime::{WatchStreamExt, watcher};

use crate::pass::Reconciled;

/// Whose labels and annotations rules read.
const PREFIXES: [&str; 2] = ["minidbaas.dev/", "app.kubernetes.io/"];
/// So many of each are kept.
const MOST: usize = 32;
/// A longer value is none of ours.
const LONGEST: usize = 253;
/// A list of finalizers is written back as a whole, so that it is kept as a whole, or the object is not looked at.
const FINALIZERS: usize = 64;

/// A list is read so many objects at a time: they may be as large as the API server takes them, until they are pruned.
pub const PAGE: u32 = 3;
/// The same where they are ours, and looked for by a field again and again: the schema and an admission policy limit
/// them.
pub const PAGE_OF_OURS: u32 = 10;

/// What every watch begins with: small pages.
pub fn pages() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// All objects of a kind as they change, and the store that keeps them.
pub fn watch<R: Reconciled>(
    objects: Api<DeserializeGuard<R>>,
) -> (
    impl Stream<Item = Result<DeserializeGuard<R>, watcher::Error>> + Send + 'static,
    Store<DeserializeGuard<R>>,
) {
    let (reader, writer) = store();
    let changes = watcher(objects, pages())
        .modify(prune)
        .reflect(writer)
        .applied_objects();
    (changes, reader)
}

/// Takes away what no rule reads. What is too large even so cannot be read.
pub fn prune<R: Reconciled>(guard: &mut DeserializeGuard<R>) {
    let metadata = match &mut guard.0 {
        Ok(resource) => resource.meta_mut(),
        Err(invalid) => {
            invalid.error = invalid.error.chars().take(LONGEST).collect();
            &mut invalid.metadata
        }
    };
    prune_metadata(metadata);
    let finalizers = metadata.finalizers.iter().flatten();
    if finalizers.clone().count() > FINALIZERS
        || finalizers.clone().any(|name| name.len() > LONGEST)
    {
        metadata.finalizers = None;
        let error = format!(
            "metadata.finalizers has more than {FINALIZERS} entries, or one that is too long"
        );
        let metadata = metadata.clone();
        guard.0 = Err(InvalidObject { error, metadata });
    }
}

fn prune_metadata(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.generate_name = None;
    metadata.self_link = None;
    for values in [&mut metadata.labels, &mut metadata.annotations] {
        let kept = values.take().into_iter().flatten();
        let kept = kept.filter(|(name, value)| {
            PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && value.len() <= LONGEST
        });
        // Our own come first: what others put there must not push them out.
        let (ours, others): (Vec<_>, Vec<_>) =
            kept.partition(|(name, _)| name.starts_with(PREFIXES[0]));
        let kept = ours.into_iter().chain(others);
        *values = Some(kept.take(MOST).collect())
            .filter(|kept: &std::collections::BTreeMap<_, _>| !kept.is_empty());
    }
    if let Some(owners) = &mut metadata.owner_references {
        owners.retain(|owner| {
            [&owner.api_version, &owner.kind, &owner.name, &owner.uid]
                .iter()
                .all(|text| text.len() <= LONGEST)
        });
        owners.truncate(MOST);
        owners.shrink_to_fit();
    }
}
