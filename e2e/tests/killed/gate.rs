//! A gate between the operator and the API server. It lets everything pass, and can have the operator killed before a
//! write reaches the API server, while its answer is on the way, or right after the answer. It can also hold a write
//! up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kube::Client;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

/// When the operator dies, seen from one of its writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The API server has not seen it.
    Before,
    /// It is done, and the operator was not told.
    In,
    /// The operator has just been told.
    After,
    /// Nobody dies: the write is on its way until the story lets it go on.
    Late,
}

/// Decides about a write, such as `POST databasebackups/status one`, by how often it was tried.
pub type Rule = fn(&str, usize) -> Option<Moment>;

/// Each write is tried in vain first, then the operator dies in it or after it, by turns; one that comes again and
/// again is let pass in the end.
pub fn every_write(_: &str, tries: usize) -> Option<Moment> {
    match tries {
        1 | 3 | 5 | 7 => Some(Moment::Before),
        2 | 6 => Some(Moment::In),
        4 | 8 => Some(Moment::After),
        _ => None,
    }
}

/// The operator must be killed now.
pub struct Stop {
    /// Seen from which write.
    pub moment: Moment,
    /// The write.
    pub write: String,
    killed: oneshot::Sender<()>,
    answered: oneshot::Receiver<StatusCode>,
}

impl Stop {
    /// It is dead.
    pub fn killed(self) {
        self.killed.send(()).ok();
    }

    /// Lets a late write go on; returns how the API server answers it.
    pub async fn arrives(self) -> Result<StatusCode> {
        self.killed.send(()).ok();
        self.answered.await.context("the write was not sent")
    }
}

/// The running gate.
pub struct Gate {
    /// Where it listens.
    pub address: String,
    shared: Arc<Shared>,
    stops: mpsc::UnboundedReceiver<Stop>,
}

struct Shared {
    client: Client,
    namespace: String,
    state: Mutex<Inside>,
    stops: mpsc::UnboundedSender<Stop>,
}

struct Inside {
    rule: Option<Rule>,
    /// Nothing that the dying operator sends is let pass.
    shut: bool,
    tries: BTreeMap<String, usize>,
}

impl Gate {
    /// Opens it; the rule is about the writes to this namespace but for Events.
    pub async fn open(client: Client, namespace: &str, rule: Rule) -> Result<Self> {
        let (sender, stops) = mpsc::unbounded_channel();
        let state = Mutex::new(Inside {
            rule: Some(rule),
            shut: false,
            tries: BTreeMap::new(),
        });
        let shared = Arc::new(Shared {
            client,
            namespace: namespace.to_owned(),
            state,
            stops: sender,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(pass).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Gate {
            address,
            shared,
            stops,
        })
    }

    /// The next time that the operator must be killed.
    pub async fn next(&mut self) -> Result<Stop> {
        self.stops.recv().await.context("the gate is closed")
    }

    /// A new operator may pass.
    pub fn reopen(&self) {
        self.shared.inside().shut = false;
    }

    /// From now on the operator lives.
    pub fn spare(&self) {
        let mut inside = self.shared.inside();
        (inside.rule, inside.shut) = (None, false);
    }

    /// The rule is in force again, as if nothing had been tried.
    pub fn rule(&self, rule: Rule) {
        let mut inside = self.shared.inside();
        inside.rule = Some(rule);
        inside.tries.clear();
    }
}

impl Shared {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is written, if the rule is about it.
    fn write(&self, method: &Method, path: &str, body: &[u8]) -> Option<String> {
        let (_, rest) = path.split_once(&format!("/namespaces/{}/", self.namespace))?;
        if *method == Method::GET || rest.starts_with("events") {
            return None;
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        let name = if *method == Method::POST { name } else { "" };
        Some(format!("{method} {rest} {name}").trim_end().to_owned())
    }

    /// Tells the story of this moment and returns when the operator is dead, or the write may go on; its answer's code
    /// goes to whom this returns.
    async fn strike(&self, moment: Moment, write: String) -> oneshot::Sender<StatusCode> {
        let (killed, dead) = oneshot::channel();
        let (answers, answered) = oneshot::channel();
        self.stops
            .send(Stop {
                moment,
                write,
                killed,
                answered,
            })
            .ok();
        dead.await.ok();
        answers
    }

    async fn forward(
        &self,
        method: Method,
        uri: &str,
        headers: &HeaderMap,
        body: Vec<u8>,
    ) -> Response {
        let mut request = axum::http::Request::builder().method(method).uri(uri);
        for name in [header::CONTENT_TYPE, header::ACCEPT, header::USER_AGENT] {
            if let Some(value) = headers.get(&name) {
                request = request.header(name, value);
            }
        }
        let answer = match request.body(kube::client::Body::from(body)) {
            Ok(request) => self
                .client
                .send(request)
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match answer {
            Ok(answer) => {
                let (mut parts, body) = answer.into_parts();
                parts.headers.remove(header::TRANSFER_ENCODING);
                parts.headers.remove(header::CONNECTION);
                Response::from_parts(parts, Body::new(body))
            }
            Err(error) => (StatusCode::BAD_GATEWAY, error).into_response(),
        }
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let uri = parts
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let write = shared.write(&parts.method, parts.uri.path(), &body);
    // What is on its way when the operator dies is carried out nonetheless.
    let task = tokio::spawn(async move {
        let mut struck = None;
        if let Some(write) = write {
            let mut inside = shared.inside();
            if inside.shut {
                return None;
            }
            if let Some(rule) = inside.rule {
                let tries = inside.tries.entry(write.clone()).or_default();
                *tries += 1;
                struck = rule(&write, *tries).map(|moment| (moment, write));
                let dies = struck
                    .as_ref()
                    .is_some_and(|(moment, _)| *moment != Moment::Late);
                inside.shut = dies;
            }
        }
        match struck {
            None => Some(
                shared
                    .forward(parts.method, &uri, &parts.headers, body.into())
                    .await,
            ),
            Some((Moment::Late, write)) => {
                let answers = shared.strike(Moment::Late, write).await;
                let answer = shared
                    .forward(parts.method, &uri, &parts.headers, body.into())
                    .await;
                answers.send(answer.status()).ok();
                Some(answer)
            }
            Some((Moment::Before, write)) => {
                shared.strike(Moment::Before, write).await;
                None
            }
            Some((Moment::In, write)) => {
                shared
                    .forward(parts.method, &uri, &parts.headers, body.into())
                    .await;
                shared.strike(Moment::In, write).await;
                None
            }
            Some((Moment::After, write)) => {
                let answer = shared
                    .forward(parts.method, &uri, &parts.headers, body.into())
                    .await;
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    shared.strike(Moment::After, write).await;
                });
                Some(answer)
            }
        }
    });
    match task.await {
        Ok(Some(answer)) => answer,
        // The dead get no answer.
        _ => std::future::pending().await,
    }
}
