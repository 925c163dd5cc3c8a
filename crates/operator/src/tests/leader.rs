//! The Lease and the passes do not share a thread.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::server::{Asked, client, refusal};
use crate::leader::{THREAD, acquire};

/// The Lease as an API server keeps it.
fn kept(lease: &mut Value, asked: &Asked) -> (u16, Value) {
    if asked.what.starts_with("GET") && lease.is_null() {
        return refusal(404, "NotFound", "there is none");
    }
    if !asked.what.starts_with("GET") {
        let held = lease["spec"].as_object().cloned().unwrap_or_default();
        *lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": held,
            "metadata": {"name": "minidbaas", "namespace": "system", "uid": "u", "resourceVersion": "1"}});
        for (name, value) in asked.body["spec"].as_object().into_iter().flatten() {
            lease["spec"][name] = value.clone();
        }
    }
    (200, lease.clone())
}

#[tokio::test]
async fn the_lease_is_renewed_on_a_thread_of_its_own_and_given_back_at_the_end() {
    let lease: Arc<Mutex<Value>> = Arc::default();
    let threads: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let (of_server, seen) = (lease.clone(), threads.clone());
    let connect = move || {
        let answer = move |asked: &Asked| {
            let thread = std::thread::current().name().map(str::to_owned);
            seen.lock().unwrap().extend(thread);
            kept(&mut of_server.lock().unwrap(), asked)
        };
        Ok(client(answer).0)
    };
    let held = acquire(connect, "system", "me", std::future::pending()).await;
    let held = held.unwrap().unwrap();
    assert_eq!(lease.lock().unwrap()["spec"]["holderIdentity"], "me");
    // This thread is busy all the time: the call blocks it.
    futures::executor::block_on(held.release());
    assert_eq!(
        *threads.lock().unwrap(),
        BTreeSet::from([THREAD.to_owned()])
    );
    assert_ne!(lease.lock().unwrap()["spec"]["holderIdentity"], "me");
}

#[tokio::test]
async fn a_lease_that_cannot_be_used_is_said() {
    let connect = || Ok(client(|_| refusal(403, "Forbidden", "no right to leases")).0);
    let error = acquire(connect, "system", "me", std::future::pending()).await;
    let error = format!("{:#}", error.err().unwrap());
    assert!(error.contains("no right to leases"), "{error}");
}
