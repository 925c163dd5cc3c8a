//! The node loses its power once, for all stories that need it: each prepares, all begin what is to be interrupted,
//! then it is dark.

mod backups;
mod clusters;
mod instances;

use std::time::Instant;

use anyhow::Result;
use e2e::cluster;
use tokio::sync::{Barrier, Mutex};

#[tokio::test]
async fn a_crash_of_the_node_loses_no_acknowledged_row_and_everything_comes_to_its_end()
-> Result<()> {
    let power = Power {
        all: Barrier::new(3),
        lost_at: Mutex::new(None),
    };
    futures::try_join!(
        instances::story_of(&power),
        backups::story_of(&power),
        clusters::story_of(&power),
    )?;
    Ok(())
}

/// The power of the node, and who depends on it.
struct Power {
    all: Barrier,
    lost_at: Mutex<Option<Instant>>,
}

impl Power {
    /// Waits until every story has got as far.
    async fn all(&self) {
        self.all.wait().await;
    }

    /// The node loses its power when every story is ready for it; returns when it is up again, with the moment of the
    /// loss.
    async fn lost(&self) -> Result<Instant> {
        self.all().await;
        let mut lost_at = self.lost_at.lock().await;
        if let Some(lost_at) = *lost_at {
            return Ok(lost_at);
        }
        cluster::script(&["crash"]).await?;
        let dark = Instant::now();
        cluster::script(&["up"]).await?;
        eprintln!("power: the node is up again after {:.1?}", dark.elapsed());
        *lost_at = Some(dark);
        Ok(dark)
    }
}
