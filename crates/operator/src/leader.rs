//! The Lease that lets two replicas run safely: one works, the other waits.
//!
//! It has a thread, a runtime and connections of its own. Passes compute on the threads of the main runtime; however
//! long one of them takes, the Lease is renewed meanwhile, by the scheduler of the system.

use std::thread::JoinHandle;

use anyhow::{Context, Result};
use kube::Client;
use kube_lease_manager::LeaseManagerBuilder;
use tokio::sync::oneshot;
use tokio::sync::watch::{self, Receiver, Sender};

/// A dead holder is replaced after so many seconds.
const DURATION_SECONDS: u64 = 15;
/// So many seconds before that the living one renews.
const GRACE_SECONDS: u64 = 5;
/// The name of the thread.
pub const THREAD: &str = "lease";

/// The Lease while it is held.
pub struct Lease {
    held: Receiver<bool>,
    release: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Waits for the Lease; `None` if the process is to stop before that. `connect` is called on the Lease's own thread.
pub async fn acquire(
    connect: impl FnOnce() -> Result<Client> + Send + 'static,
    namespace: &str,
    identity: &str,
    stop: impl Future<Output = ()>,
) -> Result<Option<Lease>> {
    let (sender, mut held) = watch::channel(false);
    let (ready, is_ready) = oneshot::channel();
    let (release, released) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let keeper = Keeper {
        namespace: namespace.to_owned(),
        identity: identity.to_owned(),
        held: sender,
    };
    let thread = std::thread::Builder::new()
        .name(THREAD.to_owned())
        .spawn(move || runtime.block_on(keeper.keep(connect, ready, released)))?;
    is_ready
        .await
        .context("the thread of the Lease ended")?
        .with_context(|| {
            format!(
                "the Lease {} in {namespace} cannot be used",
                api::names::LEASE
            )
        })?;
    tracing::info!(identity, namespace, "waiting for the Lease");
    let is_held = tokio::select! {
        held = held.wait_for(|held| *held) => held.is_ok(),
        () = stop => false,
    };
    Ok(is_held.then_some(Lease {
        held,
        release,
        thread,
    }))
}

impl Lease {
    /// Resolves when the Lease is not held any more.
    pub async fn lost(&self) {
        // An error means that the thread ended, and with it the renewals.
        let _ = self.held.clone().wait_for(|held| !held).await;
    }

    /// Lets another replica take over at once.
    pub async fn release(self) {
        // Nobody who hears it: the thread ended before.
        let _ = self.release.send(());
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::warn!("the thread of the Lease did not end as it should");
        }
    }
}

/// Who renews the Lease.
struct Keeper {
    namespace: String,
    identity: String,
    held: Sender<bool>,
}

impl Keeper {
    async fn keep(
        self,
        connect: impl FnOnce() -> Result<Client>,
        ready: oneshot::Sender<Result<()>>,
        mut released: oneshot::Receiver<()>,
    ) {
        let built = async {
            let manager = LeaseManagerBuilder::new(connect()?, api::names::LEASE)
                .with_namespace(&self.namespace)
                .with_identity(&self.identity)
                .with_duration(DURATION_SECONDS)
                .with_grace(GRACE_SECONDS)
                .build();
            Ok(manager.await?)
        };
        let manager = match built.await {
            Ok(manager) => manager,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let (mut state, task) = manager.watch().await;
        let _ = ready.send(Ok(()));
        loop {
            self.held.send_replace(*state.borrow_and_update());
            tokio::select! {
                changed = state.changed() => if changed.is_err() { break },
                // The other end is also gone when the process is to stop before it has the Lease.
                _ = &mut released => break,
            }
        }
        drop(state);
        let given_back = match task.await {
            Ok(Ok(manager)) => manager.release().await.map_err(anyhow::Error::from),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = given_back {
            tracing::warn!(%error, "the Lease was not released");
        }
    }
}
