//! What a pass may touch: the client, events, metrics, and the count of failures by object.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::runtime::events::Reporter;
use kube::{Api, Client, Resource};

use crate::error::Error;
use crate::metrics::Metrics;
use crate::stores::Stores;

/// Longest wait for an answer to one call; the client itself would wait for ever.
const CALL_SECONDS: u64 = 10;
/// Longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

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
    last_words: Mutex<HashMap<String, String>>,
    served: Mutex<Option<(DefinitionKey, Vec<String>)>>,
    failures: Mutex<HashMap<String, u32>>,
    overtaken: Mutex<HashMap<String, String>>,
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
            last_words: Mutex::default(),
            served: Mutex::default(),
            failures: Mutex::default(),
            overtaken: Mutex::default(),
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

    /// Remembers the last words of a pod that does not stay for long.
    pub fn hear(&self, job: &str, words: String) {
        self.last_words
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(job.to_owned(), words);
    }

    /// The last words of the pod of this Job, if they were heard.
    pub fn heard(&self, job: &str) -> Option<String> {
        self.last_words
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(job)
            .cloned()
    }

    /// Forgets the last words of the pod of this Job.
    pub fn forget_words(&self, job: &str) {
        self.last_words
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(job);
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

    /// Remembers a failure of this object and tells how long to pause: 0.5 s, doubled by each failure in a row.
    pub fn pause_after_failure(&self, uid: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(uid.to_owned()).or_default();
        *count += 1;
        Duration::from_millis(250)
            .saturating_mul(1 << (*count).min(10))
            .min(LONGEST_PAUSE)
    }

    /// Remembers that a status was written on top of this version of an object: whoever still sees it sees the past.
    pub fn overtake(&self, uid: &str, version: String) {
        self.overtaken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(uid.to_owned(), version);
    }

    /// Whether this is the version that a status was written on top of. Once a newer one is seen, there is nothing to remember.
    pub fn is_overtaken(&self, uid: &str, version: &str) -> bool {
        let mut overtaken = self
            .overtaken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let same = overtaken.get(uid).is_some_and(|old| old == version);
        if !same {
            overtaken.remove(uid);
        }
        same
    }

    /// Forgets the failures of this object.
    pub fn forget_failures(&self, uid: &str) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
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
