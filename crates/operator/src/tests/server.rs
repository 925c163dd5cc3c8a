//! The API server, played by a closure; every request is kept for the test to look at.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::clock::ServerClock;
use crate::context::{Context, Scope};
use crate::metrics::Metrics;

/// A request, as far as tests look at it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Such as "PATCH /api/v1/namespaces/demo/configmaps/shop".
    pub what: String,
    /// The query.
    pub query: String,
    /// The body; null if there is none.
    pub body: Value,
}

impl Asked {
    /// The status that a JSON patch sets.
    pub fn status(&self) -> Value {
        self.body[1]["value"].clone()
    }

    /// The answer to it: the resource with this spec.
    pub fn taken(&self, kind: &str, spec: Value) -> (u16, Value) {
        let resource = json!({
            "apiVersion": "minidbaas.dev/v1alpha1", "kind": kind,
            "metadata": {"name": "x", "namespace": "demo", "uid": self.body[0]["value"], "resourceVersion": "2"},
            "spec": spec, "status": self.status(),
        });
        (200, resource)
    }
}

/// Instead of an answer: the API server never gives one.
pub const SILENCE: (u16, Value) = (0, Value::Null);

/// A client of an API server that answers with this closure: a status code and a body.
pub fn client(
    answer: impl Fn(&Asked) -> (u16, Value) + Send + 'static,
) -> (Client, Arc<Mutex<Vec<Asked>>>) {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let log = asked.clone();
    tokio::spawn(async move {
        let mut unanswered = Vec::new();
        while let Some((request, send)) = handle.next_request().await {
            let (head, body) = request.into_parts();
            let bytes = body.collect_bytes().await.unwrap();
            let request = Asked {
                what: format!("{} {}", head.method, head.uri.path()),
                query: head.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&bytes).unwrap_or_default(),
            };
            let (code, body) = answer(&request);
            log.lock().unwrap().push(request);
            if code == SILENCE.0 {
                unanswered.push(send);
                continue;
            }
            let body = Body::from(serde_json::to_vec(&body).unwrap());
            send.send_response(Response::builder().status(code).body(body).unwrap());
        }
    });
    (Client::new(service, "default"), asked)
}

/// A context with such a client.
pub fn context(
    answer: impl Fn(&Asked) -> (u16, Value) + Send + 'static,
) -> (Arc<Context>, Arc<Mutex<Vec<Asked>>>) {
    let (client, asked) = client(answer);
    let context = Context::new(
        client,
        Scope::Cluster,
        "minidbaas-system".to_owned(),
        "test",
        Arc::new(Metrics::new(Arc::default(), ServerClock::default())),
        Arc::default(),
        ServerClock::default(),
    );
    (Arc::new(context), asked)
}

/// An error as the API server writes it.
pub fn refusal(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": message, "code": code});
    (code, status)
}

/// The requests so far, as their first lines.
pub fn lines(asked: &Mutex<Vec<Asked>>) -> Vec<String> {
    asked
        .lock()
        .unwrap()
        .iter()
        .map(|asked| asked.what.clone())
        .collect()
}

/// An instance as the API server hands it out.
pub fn instance() -> api::DatabaseInstance {
    serde_json::from_value(json!({
        "apiVersion": "minidbaas.dev/v1alpha1", "kind": "DatabaseInstance",
        "metadata": {"name": "shop", "namespace": "demo", "uid": "cr-uid", "generation": 1, "resourceVersion": "1"},
        "spec": {"engine": "postgresql", "storage": {"size": "1Gi"}},
    }))
    .unwrap()
}
