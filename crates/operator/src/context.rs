//! What a pass may touch: the client, events, metrics, and the count of failures by object.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::ApiResource;
use kube::runtime::events::Reporter;
use kube::{Api, Client, Resource};

use crate::clock::ServerClock;
use crate::controllers::reader::{Listed, State};
use crate::error::Error;
use crate::failures::Failures;
use crate::metrics::Metrics;
use crate::recent::Recent;
use crate::stores::Stores;
use crate::turns::Turns;
use crate::words::LastWords;

/// Longest wait for an answer to one call; the client itself would wait for ever.
const CALL_SECONDS: u64 = 10;
/// Own writes of statuses that are on their way back.
const MOST_OVERTAKEN: usize = 5000;

/// The namespaces that are watched.
#[derive(Clone)]
pub enum Scope {
    /// All of them.
    Cluster,
    /// This one.
    Namespace(String),
}

impl Scope {
    /// From the flag.
    pub fn new(namespace: Option<String>) -> Self {
        namespace
            .filter(|name| !name.is_empty())
            .map_or(Scope::Cluster, Scope::Namespace)
    }

    /// For the log.
    pub fn name(&self) -> &str {
        match self {
            Scope::Cluster => "(all)",
            Scope::Namespace(name) => name,
        }
    }
}

/// UID and generation of a CustomResourceDefinition: another schema has another one.
pub type DefinitionKey = (String, i64);

/// Shared by all passes.
pub struct Context {
    /// Client of the API server.
    pub client: Client,
    /// The namespaces that are watched.
    pub scope: Scope,
    /// Where the engine catalog is.
    pub operator_namespace: String,
    /// Who publishes Events.
    pub reporter: Reporter,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What the watches know, for rules between resources.
    pub stores: Arc<Stores>,
    /// How far our clock is from the API server's.
    pub clock: ServerClock,
    /// Whose verifications had their turn.
    pub turns: Turns,
    /// What pods said before they went.
    pub last_words: LastWords,
    served: Mutex<Option<(DefinitionKey, Vec<String>)>>,
    /// Failed passes.
    pub failures: Failures,
    overtaken: Mutex<Recent<String>>,
}

impl Context {
    /// A context for one process.
    pub fn new(
        client: Client,
        scope: Scope,
        operator_namespace: String,
        identity: &str,
        metrics: Arc<Metrics>,
        stores: Arc<Stores>,
        clock: ServerClock,
    ) -> Self {
        let reporter = Reporter {
            controller: api::names::FIELD_MANAGER.to_owned(),
            instance: Some(identity.to_owned()),
        };
        Context {
            client,
            scope,
            operator_namespace,
            reporter,
            metrics,
            stores,
            clock,
            turns: Turns::default(),
            last_words: LastWords::default(),
            served: Mutex::default(),
            failures: Failures::default(),
            overtaken: Mutex::new(Recent::new(MOST_OVERTAKEN)),
        }
    }

    /// Objects of the watched namespaces.
    pub fn watched<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match &self.scope {
            Scope::Cluster => Api::all(self.client.clone()),
            Scope::Namespace(namespace) => Api::namespaced(self.client.clone(), namespace),
        }
    }

    /// The same, of a kind of which not all is read.
    pub fn watched_states<K: Listed>(&self) -> Api<State<K>> {
        let kind = ApiResource::erase::<K>(&());
        match &self.scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &kind),
            Scope::Namespace(namespace) => {
                Api::namespaced_with(self.client.clone(), namespace, &kind)
            }
        }
    }

    /// Objects of this namespace; of `None`, those of the watched namespaces.
    pub fn of<K>(&self, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => self.watched(),
        }
    }

    /// How many seconds our clock is ahead of the API server's; `None` before the first answer.
    pub fn clock_skew(&self) -> Option<i64> {
        self.clock.skew_seconds()
    }

    /// The versions that this definition of the Zalando operator's resource serves, if they were read.
    pub fn served(&self, key: &DefinitionKey) -> Option<Vec<String>> {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let known = served.as_ref().filter(|(known, _)| known == key);
        known.map(|(_, versions)| versions.clone())
    }

    /// Remembers them.
    pub fn remember_served(&self, key: DefinitionKey, versions: Vec<String>) {
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = Some((key, versions));
    }

    /// Remembers that a status was written on top of this version of an object: whoever still sees it sees the past.
    pub fn overtake(&self, key: &str, version: String) {
        self.overtaken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .touch(key)
            .clone_from(&version);
    }

    /// Whether this is the version that a status was written on top of. Once a newer one is seen, there is nothing to
    /// remember.
    pub fn is_overtaken(&self, key: &str, version: &str) -> bool {
        let mut overtaken = self
            .overtaken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let same = overtaken.get(key).is_some_and(|old| old == version);
        if !same {
            overtaken.forget(key);
        }
        same
    }
}

/// Awaits one call, for a bounded time, and says what it was if it fails.
pub async fn call<T>(
    verb: &'static str,
    kind: impl Into<Cow<'static, str>>,
    name: &str,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    let kind = kind.into();
    match tokio::time::timeout(Duration::from_secs(CALL_SECONDS), call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Error::Api {
            verb,
            kind,
            name: name.to_owned(),
            source: Box::new(source),
        }),
        Err(_) => Err(Error::Timeout {
            verb,
            kind,
            name: name.to_owned(),
            seconds: CALL_SECONDS,
        }),
    }
}
