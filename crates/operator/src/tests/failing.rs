//! Passes that fail again and again: what the user reads, when, how often, and that it goes away.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use api::DatabaseInstance;
use kube::core::DeserializeGuard;
use serde_json::{Value, json};

use super::pass::{STATUS, empty};
use super::server::{Asked, SILENCE, context, instance, refusal};
use crate::context::Context;
use crate::pass;

/// What the API server is asked, and what it answers beside the usual.
struct Played {
    context: Arc<Context>,
    asked: Arc<Mutex<Vec<Asked>>>,
    trouble: Arc<Mutex<Option<(u16, Value)>>>,
    resource: DatabaseInstance,
}

/// An API server that answers every question whose first line contains `what` with this, until it is healed.
fn played(what: &'static str, answer: (u16, Value)) -> Played {
    let trouble = Arc::new(Mutex::new(Some(answer)));
    let told = trouble.clone();
    let (context, asked) = context(move |asked| {
        let trouble = told.lock().unwrap().clone();
        match trouble.filter(|_| asked.what.contains(what)) {
            Some(answer) => answer,
            None => empty(asked),
        }
    });
    Played {
        context,
        asked,
        trouble,
        resource: instance(),
    }
}

impl Played {
    /// One pass over the resource as the API server has it: with the status that was written last.
    async fn pass(&mut self) -> Result<(), String> {
        let guard = Arc::new(DeserializeGuard(Ok(self.resource.clone())));
        let result = pass::run(guard, self.context.clone()).await;
        if let Some(status) = self.statuses().pop() {
            self.resource.status = serde_json::from_value(status).unwrap();
        }
        result.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn failed_passes(&mut self, count: usize) {
        for _ in 0..count {
            self.pass().await.unwrap_err();
        }
    }

    /// The API server is well again.
    fn heal(&self) {
        *self.trouble.lock().unwrap() = None;
    }

    fn bodies(&self, what: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        let those = asked.iter().filter(|asked| asked.what.contains(what));
        those.map(|asked| asked.body.clone()).collect()
    }

    /// The statuses that were written.
    fn statuses(&self) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        let those = asked.iter().filter(|asked| asked.what == STATUS);
        those.map(Asked::status).collect()
    }

    /// The condition of this type in the status that was written last.
    fn condition(&self, type_: &str) -> Option<Value> {
        let last = self.statuses().pop()?;
        let conditions = last["conditions"].as_array()?;
        let mut of_type = conditions.iter().filter(|one| one["type"] == type_);
        of_type.next().cloned()
    }

    /// Reasons of the Warning Events.
    fn warnings(&self) -> Vec<Value> {
        let events = self.bodies("POST /apis/events.k8s.io/").into_iter();
        let warnings = events.filter(|event| event["type"] == "Warning");
        warnings.map(|event| event["reason"].clone()).collect()
    }
}

#[tokio::test]
async fn three_reads_that_fail_are_told_once_and_a_good_pass_takes_it_back() {
    let away = refusal(500, "InternalError", "etcd is away");
    let mut world = played("GET /api/v1/namespaces/demo/secrets/shop", away);
    world.failed_passes(2).await;
    assert_eq!(world.statuses(), Vec::<Value>::new());
    world.failed_passes(1).await;
    let (ready, stalled) = (world.condition("Ready"), world.condition("Stalled"));
    let (ready, stalled) = (ready.unwrap(), stalled.unwrap());
    assert_eq!(ready["status"], "Unknown");
    assert_eq!(
        (&stalled["status"], &stalled["reason"]),
        (&json!("True"), &json!("ReadFailed"))
    );
    let message = stalled["message"].as_str().unwrap();
    assert!(
        message.contains("get Secret shop: etcd is away"),
        "{message}"
    );
    assert!(message.ends_with('.'), "{message}");
    assert_eq!(world.statuses()[0]["observedGeneration"], 1);
    world.failed_passes(5).await;
    assert_eq!(world.statuses().len(), 1);
    assert_eq!(world.warnings(), ["ReadFailed"]);
    world.heal();
    world.pass().await.unwrap();
    assert_eq!(world.condition("Stalled"), None);
    assert_eq!(world.condition("Ready").unwrap()["reason"], "Provisioning");
}

#[tokio::test]
async fn a_right_that_is_missing_is_told() {
    let words =
        "services \"shop\" is forbidden: User \"operator\" cannot get resource \"services\"";
    let mut world = played(
        "GET /api/v1/namespaces/demo/services/shop",
        refusal(403, "Forbidden", words),
    );
    world.failed_passes(3).await;
    let message = world.condition("Stalled").unwrap()["message"].to_string();
    assert!(message.contains("get Service shop: services"), "{message}");
    assert!(message.contains("rights"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn silence_is_told() {
    let mut world = played("GET /api/v1/namespaces/demo/services/shop", SILENCE);
    world.failed_passes(3).await;
    let message = world.condition("Stalled").unwrap()["message"].to_string();
    assert!(
        message.contains("get Service shop: no answer within 10 s"),
        "{message}"
    );
}

#[tokio::test]
async fn a_webhook_that_is_down_is_told_and_what_was_read_is_kept() {
    let words = "Internal error occurred: failed calling webhook \"no.example.org\": dial tcp 10.0.0.9:443: connect: \
        connection refused";
    let mut world = played(
        "PATCH /api/v1/namespaces/demo/services/shop",
        refusal(500, "InternalError", words),
    );
    world.failed_passes(2).await;
    assert_eq!(world.statuses(), Vec::<Value>::new());
    world.failed_passes(4).await;
    let stalled = world.condition("Stalled").unwrap();
    assert_eq!(stalled["reason"], "ApplyFailed");
    let message = stalled["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("apply Service shop: {words}")),
        "{message}"
    );
    assert_eq!(world.condition("Ready").unwrap()["status"], "False");
    assert_eq!(world.statuses().pop().unwrap()["version"], "17");
    assert_eq!(world.statuses().len(), 1);
    assert_eq!(world.warnings(), ["ApplyFailed"]);
    world.heal();
    world.pass().await.unwrap();
    assert_eq!(world.condition("Stalled"), None);
}

#[tokio::test]
async fn other_words_of_a_lasting_trouble_are_not_written_at_every_pass() {
    let mut world = played(
        "GET /api/v1/namespaces/demo/services/shop",
        refusal(500, "InternalError", "x"),
    );
    for attempt in 0..20 {
        let words = format!("read tcp 10.0.0.1:{attempt}: connection reset by peer");
        *world.trouble.lock().unwrap() = Some(refusal(500, "InternalError", &words));
        world.failed_passes(1).await;
    }
    assert_eq!(world.statuses().len(), 1);
}

#[tokio::test]
async fn the_words_of_a_server_that_talks_much_are_cut() {
    let words = format!("{} and this is why", "x".repeat(1_000_000));
    let mut world = played(
        "PATCH /api/v1/namespaces/demo/services/shop",
        refusal(422, "Invalid", &words),
    );
    world.failed_passes(1).await;
    let message = world.condition("Stalled").unwrap()["message"].to_string();
    assert!(message.len() < 1000, "{} characters", message.len());
    assert!(message.contains("and this is why"), "{message}");
}

#[tokio::test]
async fn a_world_that_moves_on_is_told_only_when_it_never_rests() {
    let mut world = played("POST", refusal(409, "AlreadyExists", "it is there"));
    world.failed_passes(9).await;
    assert_eq!(world.statuses(), Vec::<Value>::new());
    world.failed_passes(1).await;
    assert_eq!(world.condition("Stalled").unwrap()["reason"], "ApplyFailed");
}

#[tokio::test]
async fn a_trouble_that_cannot_be_written_down_is_still_the_trouble_of_the_pass() {
    let mut world = played("/", refusal(500, "InternalError", "all is away"));
    for _ in 0..4 {
        let error = world.pass().await.unwrap_err();
        assert!(
            error.contains("all is away") && error.contains("get"),
            "{error}"
        );
    }
    assert_eq!(world.warnings(), Vec::<Value>::new());
}

/// A status that the schema does not take would never be told of: what was known before is written, and why.
#[tokio::test]
async fn a_status_that_is_refused_is_told_of_by_the_one_before() {
    let refused = AtomicBool::new(false);
    let (context, asked) = context(move |asked| {
        let first = asked.what == STATUS && !refused.swap(true, Relaxed);
        match first {
            true => refusal(
                422,
                "Invalid",
                "status.source.parameters: at most 16384 bytes in all",
            ),
            false => empty(asked),
        }
    });
    let mut world = Played {
        context,
        asked,
        trouble: Arc::default(),
        resource: instance(),
    };
    world.pass().await.unwrap_err();
    let told = world.condition("Stalled").unwrap();
    assert_eq!(told["reason"], "ApplyFailed");
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("status.source.parameters"), "{message}");
    assert_eq!(world.warnings(), ["ApplyFailed"]);
}
