//! How far the operator's clock is from the API server's, by the `Date` of each answer. What is deleted by age is
//! deleted by the operator's clock, while every time stamp that it compares with is of the API server's.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use http::Response;
use http::header::DATE;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822::DateTimeParser;
use plan::clock::is_trusted;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tower::{Layer, Service};

/// What the answers of the API server say of the time.
#[derive(Clone, Debug, Default)]
pub struct ServerClock {
    skew: Arc<Mutex<Option<i64>>>,
}

impl ServerClock {
    /// How many seconds the operator's clock is ahead of the API server's, at least; negative if it is behind. `None`
    /// before the first answer.
    pub fn skew_seconds(&self) -> Option<i64> {
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the `Date` of an answer that has just come, so long after it was asked for. What is no date says nothing.
    pub fn note(&self, date: &str, took: Duration) {
        self.note_at(date, took, Timestamp::now());
    }

    fn note_at(&self, date: &str, took: Duration, now: Timestamp) {
        let Ok(date) = DateTimeParser::new().parse_timestamp(date) else {
            return;
        };
        // The answer was made at some time between question and now, and its date is cut to whole seconds: as far as
        // that explains a difference, there is none.
        let most = now.as_second() - date.as_second();
        let took = i64::try_from(took.as_secs()).unwrap_or(i64::MAX);
        let least = most.saturating_sub(took).saturating_sub(2);
        let skew = least.max(0) + most.min(0);
        let before = self
            .skew
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(skew);
        let is_notable = |skew: i64| !is_trusted(Some(skew));
        match (before.is_some_and(is_notable), is_notable(skew)) {
            (false, true) => tracing::warn!(
                seconds = skew,
                "the clock of this node and the API server's differ; set them right"
            ),
            (true, false) => {
                tracing::info!("the clock of this node and the API server's agree again")
            }
            _ => {}
        }
    }
}

impl Collector for ServerClock {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(seconds) = self.skew_seconds() else {
            return Ok(());
        };
        let help = "Seconds that the clock of the operator is ahead of the API server's";
        let encoder =
            encoder.encode_descriptor("clock_skew_seconds", help, None, MetricType::Gauge)?;
        ConstGauge::new(seconds).encode(encoder)
    }
}

impl<S> Layer<S> for ServerClock {
    type Service = Noting<S>;

    fn layer(&self, inner: S) -> Noting<S> {
        Noting {
            inner,
            clock: self.clone(),
        }
    }
}

/// A client that notes the date of each answer.
#[derive(Clone)]
pub struct Noting<S> {
    inner: S,
    clock: ServerClock,
}

impl<S, Q, B> Service<Q> for Noting<S>
where
    S: Service<Q, Response = Response<B>>,
    S::Future: Send + 'static,
    B: 'static,
    S::Error: 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, question: Q) -> Self::Future {
        let (clock, asked) = (self.clock.clone(), Instant::now());
        self.inner
            .call(question)
            .inspect_ok(move |answer| {
                if let Some(date) = answer
                    .headers()
                    .get(DATE)
                    .and_then(|date| date.to_str().ok())
                {
                    clock.note(date, asked.elapsed());
                }
            })
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use kube::Client;
    use kube::client::{Body, ClientBuilder};

    use super::{ServerClock, Timestamp};
    use crate::metrics::Metrics;

    const NOW: &str = "2027-01-15T08:00:00.9Z";

    fn skew(date: &str, took: u64) -> Option<i64> {
        let clock = ServerClock::default();
        let now: Timestamp = NOW.parse().unwrap();
        clock.note_at(date, Duration::from_secs(took), now);
        clock.skew_seconds()
    }

    #[test]
    fn a_clock_that_is_set_wrong_is_seen() {
        assert_eq!(
            skew("Thu, 15 Jan 2026 08:00:00 GMT", 0),
            Some(365 * 86400 - 2)
        );
        assert_eq!(skew("Fri, 15 Jan 2027 08:10:00 GMT", 0), Some(-600));
    }

    #[test]
    fn whole_seconds_and_slow_answers_are_no_difference() {
        assert_eq!(skew("Fri, 15 Jan 2027 08:00:00 GMT", 0), Some(0));
        assert_eq!(skew("Fri, 15 Jan 2027 07:59:59 GMT", 0), Some(0));
        assert_eq!(skew("Fri, 15 Jan 2027 07:59:51 GMT", 10), Some(0));
        assert_eq!(skew("Fri, 15 Jan 2027 07:49:00 GMT", 10), Some(648));
    }

    #[test]
    fn what_is_no_date_says_nothing() {
        assert_eq!(skew("yesterday", 0), None);
    }

    #[tokio::test]
    async fn each_answer_of_the_api_server_is_noted() {
        let (service, mut handle) =
            tower_test::mock::pair::<http::Request<Body>, http::Response<Body>>();
        let played = tokio::spawn(async move {
            let (_, send) = handle.next_request().await.unwrap();
            let answer = http::Response::builder().header("date", "Thu, 01 Jan 2015 00:00:00 GMT");
            let version =
                br#"{"major": "1", "minor": "34", "gitVersion": "v1.34.0", "gitCommit": "",
                "gitTreeState": "",
                "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}"#;
            send.send_response(answer.body(Body::from(version.to_vec())).unwrap());
        });
        let clock = ServerClock::default();
        let client: Client = ClientBuilder::new(service, "default")
            .with_layer(&clock)
            .build();
        client.apiserver_version().await.unwrap();
        played.await.unwrap();
        assert!(clock.skew_seconds() > Some(10 * 365 * 86400));
        let text = Metrics::new(Arc::default(), clock).text();
        assert!(text.contains("\nminidbaas_clock_skew_seconds "), "{text}");
    }
}
