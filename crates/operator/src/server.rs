//! /healthz, /readyz and /metrics.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::metrics::Metrics;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const ASKED_EVERY: Duration = Duration::from_secs(1);

/// Takes the port, so that a wrong or busy one ends the process at once.
pub async fn bind(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

/// Serves until the process stops. A standby is healthy and ready too: it could take over.
pub async fn serve(
    listener: TcpListener,
    client: Client,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(ready).with_state(Arc::new(Readiness::new(client))),
        )
        .route(
            "/metrics",
            get(|State(page): State<Arc<Page>>| async move {
                ([(CONTENT_TYPE, OPENMETRICS)], page.text())
            })
            .with_state(Arc::new(Page::new(metrics))),
        );
    Ok(axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await?)
}

/// The metrics as text; written once a second at most, and once for all who read it: any pod may ask, as often as it
/// likes, and need not read the answer.
struct Page {
    metrics: Arc<Metrics>,
    last: std::sync::Mutex<Option<(Instant, Bytes)>>,
}

impl Page {
    fn new(metrics: Arc<Metrics>) -> Self {
        Page {
            metrics,
            last: std::sync::Mutex::default(),
        }
    }

    fn text(&self) -> Bytes {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, text)) if at.elapsed() < ASKED_EVERY => text.clone(),
            _ => {
                let text = Bytes::from(self.metrics.text());
                *last = Some((Instant::now(), text.clone()));
                text
            }
        }
    }
}

/// Whether the API server answers; asked once a second at most, however many want to know.
struct Readiness {
    client: Client,
    last: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Readiness {
    fn new(client: Client) -> Self {
        Readiness {
            client,
            last: Mutex::default(),
        }
    }

    async fn known(&self) -> Result<(), String> {
        let mut last = self.last.lock().await;
        if let Some((at, known)) = &*last
            && at.elapsed() < ASKED_EVERY
        {
            return known.clone();
        }
        let asked = tokio::time::timeout(Duration::from_secs(3), self.client.apiserver_version());
        let known = match asked.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("the API server does not answer: {error}\n")),
            Err(_) => Err("the API server does not answer in time\n".to_owned()),
        };
        *last = Some((Instant::now(), known.clone()));
        known
    }
}

/// Ready means that the API server answers.
async fn ready(State(readiness): State<Arc<Readiness>>) -> impl IntoResponse {
    match readiness.known().await {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use std::sync::Arc;

    use super::{Page, Readiness};
    use crate::clock::ServerClock;
    use crate::metrics::Metrics;
    use crate::tests::server::{client, lines, refusal};

    #[tokio::test]
    async fn many_who_ask_at_once_are_one_question() {
        let (client, asked) = client(|_| {
            let version = json!({"major": "1", "minor": "34", "gitVersion": "", "gitCommit": "", "gitTreeState": "",
                "buildDate": "", "goVersion": "", "compiler": "", "platform": ""});
            (200, version)
        });
        let readiness = Readiness::new(client);
        let answers = futures::future::join_all((0..1000).map(|_| readiness.known())).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(lines(&asked), ["GET /version"]);
    }

    #[test]
    fn many_who_read_the_metrics_share_one_text() {
        let metrics = Metrics::new(Arc::default(), ServerClock::default());
        let page = Page::new(Arc::new(metrics));
        let (one, other) = (page.text(), page.text());
        assert!(!one.is_empty());
        assert_eq!(one.as_ptr(), other.as_ptr());
    }

    #[tokio::test]
    async fn an_api_server_that_does_not_answer_is_said_to_all() {
        let (client, asked) = client(|_| refusal(500, "InternalError", "away"));
        let readiness = Readiness::new(client);
        let answers = futures::future::join_all((0..10).map(|_| readiness.known())).await;
        assert!(
            answers
                .iter()
                .all(|answer| answer.as_ref().unwrap_err().contains("away"))
        );
        assert_eq!(lines(&asked).len(), 1);
    }
}
