//! One file per kind of resource: its watches, what a pass reads, and one line into crate `plan`.

pub mod backup;
mod fresh;
pub mod ha_cluster;
pub mod instance;
mod origin;
pub mod reader;
pub mod restore;
pub mod zalando;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Config, Error as ControllerError};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::pass::{self, Reconciled};
use crate::pruned;

/// So long a pass waits for more news of its resource: what one pass writes comes back as many.
const TOGETHER: Duration = Duration::from_millis(100);

/// A controller whose store is lean. `patient`: news are taken together. (While writes are held, nobody waits.)
fn controller<R: Reconciled>(
    context: &Context,
    concurrency: u16,
    patient: bool,
) -> Controller<DeserializeGuard<R>> {
    let (changes, store) = pruned::watch(context.watched());
    let wait = if patient { TOGETHER } else { Duration::ZERO };
    let config = Config::default().concurrency(concurrency).debounce(wait);
    Controller::for_stream(changes, store).with_config(config)
}

/// Runs a controller until its stop signal.
async fn drive<R: Reconciled>(controller: Controller<DeserializeGuard<R>>, context: Arc<Context>) {
    controller
        .run(pass::run::<R>, pass::after_error::<R>, context)
        .for_each(|result| async {
            match result {
                Ok(_)
                | Err(ControllerError::ObjectNotFound(_) | ControllerError::ReconcilerFailed(..)) =>
                    {}
                Err(error) => tracing::warn!(%error, "a watch failed and is set up again"),
            }
        })
        .await;
}

/// Those of a controller's resources that a change of something else is about.
fn those<R: Reconciled>(
    store: &Store<DeserializeGuard<R>>,
    is_concerned: impl Fn(&R) -> bool,
) -> Vec<ObjectRef<DeserializeGuard<R>>> {
    let resources = store.state();
    let read = resources.iter().filter_map(|guard| guard.0.as_ref().ok());
    read.filter(|resource| is_concerned(resource))
        .map(|resource| {
            ObjectRef::new(&resource.name_any()).within(&resource.namespace().unwrap_or_default())
        })
        .collect()
}

/// The resources that changes of foreign objects concern. The kind may be missing from the cluster and come later: this
/// watch then tries again by itself, with pauses of its own, and holds up no other.
fn concerned<K, R, I>(
    objects: Api<K>,
    config: watcher::Config,
    concerns: impl Fn(&K) -> I + Send + 'static,
) -> impl Stream<Item = ObjectRef<R>> + Send + 'static
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    R: kube::Resource<DynamicType = ()>,
    I: IntoIterator<Item = ObjectRef<R>>,
    I::IntoIter: Send + 'static,
{
    watcher(objects, config)
        .default_backoff()
        .touched_objects()
        .filter_map(|change| async { change.ok() })
        .flat_map(move |object| futures::stream::iter(concerns(&object)))
}

/// The same, but only when what `signs` tells of an object is another than before, or the object is gone.
fn concerned_when<K, R, I, S>(
    objects: Api<K>,
    config: watcher::Config,
    signs: impl Fn(&K) -> S + Send + 'static,
    concerns: impl Fn(&K) -> I + Send + 'static,
) -> impl Stream<Item = ObjectRef<R>> + Send + 'static
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    R: kube::Resource<DynamicType = ()> + Send + 'static,
    I: IntoIterator<Item = ObjectRef<R>>,
    I::IntoIter: Send + 'static,
    S: PartialEq + Send + 'static,
{
    let mut known = HashMap::new();
    watcher(objects, config)
        .default_backoff()
        .flat_map(move |event| {
            let news = match event {
                Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                    let now = signs(&object);
                    let uid = object.meta().uid.clone();
                    let is_news = known.get(&uid) != Some(&now);
                    known.insert(uid, now);
                    is_news.then_some(object)
                }
                Ok(watcher::Event::Delete(object)) => {
                    known.remove(&object.meta().uid);
                    Some(object)
                }
                // What was deleted unseen is not known any more.
                Ok(watcher::Event::Init) => {
                    known.clear();
                    None
                }
                Ok(watcher::Event::InitDone) | Err(_) => None,
            };
            let concerned = news.into_iter().flat_map(|object| concerns(&object));
            futures::stream::iter(concerned.collect::<Vec<_>>())
        })
}
