//! The Lease that lets two replicas run safely: one works, the other waits.

use anyhow::{Context, Result};
use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;

/// A dead holder is replaced after so many seconds.
const DURATION_SECONDS: u64 = 15;
/// So many seconds before that the living one renews.
const GRACE_SECONDS: u64 = 5;

/// The Lease while it is held.
pub struct Lease {
    state: Receiver<bool>,
    task: JoinHandle<kube_lease_manager::Result<LeaseManager>>,
}

/// Waits for the Lease; `None` if the process is to stop before that.
pub async fn acquire(
    client: Client,
    namespace: &str,
    identity: &str,
    stop: impl Future<Output = ()>,
) -> Result<Option<Lease>> {
    let manager = LeaseManagerBuilder::new(client, api::names::LEASE)
        .with_namespace(namespace)
        .with_identity(identity)
        .with_duration(DURATION_SECONDS)
        .with_grace(GRACE_SECONDS)
        .build()
        .await
        .with_context(|| {
            format!(
                "the Lease {} in {namespace} cannot be used",
                api::names::LEASE
            )
        })?;
    let (mut state, task) = manager.watch().await;
    tracing::info!(identity, namespace, "waiting for the Lease");
    let held = tokio::select! {
        held = state.wait_for(|held| *held) => held.is_ok(),
        () = stop => false,
    };
    if held {
        Ok(Some(Lease { state, task }))
    } else {
        Ok(None)
    }
}

impl Lease {
    /// Resolves when the Lease is not held any more.
    pub async fn lost(&self) {
        // An error means that the task ended, and with it the renewals.
        let _ = self.state.clone().wait_for(|held| !held).await;
    }

    /// Lets another replica take over at once.
    pub async fn release(self) {
        drop(self.state);
        match self.task.await {
            Ok(Ok(manager)) => {
                if let Err(error) = manager.release().await {
                    tracing::warn!(%error, "the Lease was not released");
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "the Lease was not released"),
            Err(error) => tracing::warn!(%error, "the Lease was not released"),
        }
    }
}
