//! What is logged unless somebody says otherwise.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing_subscriber::EnvFilter;

use crate::LOGGED;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Of an answer that does not parse the client warns with its whole text, which may be a Secret's.
#[test]
fn what_the_api_server_answered_is_not_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(LOGGED))
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        tracing::warn!(target: "kube_client::client", "a password, error in the column 7");
        tracing::error!(target: "kube_client::client", "no connection");
        tracing::info!(target: "minidbaas::apply", "created");
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("password"), "{text}");
    assert!(
        text.contains("no connection") && text.contains("created"),
        "{text}"
    );
}
