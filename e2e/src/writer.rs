//! A client that inserts 1, 2, 3, ... one after another, and what the server acknowledged of it, kept outside the
//! cluster.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::api::AttachedProcess;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::Database;

/// A row each 20 ms: without a pause two processors do nothing else. (A `sleep` would be another process each time.)
const PACE: &str = "n=0; exec 9<> <(:); pace() { read -t 0.02 -u 9; }";

/// A running client; dropping it hangs up.
pub struct Writer {
    _process: AttachedProcess,
    acknowledged: Arc<Mutex<Vec<(u64, Instant)>>>,
}

impl Writer {
    /// Begins to insert into the table, which has one column; each row is a transaction of its own.
    pub async fn start(database: &Database<'_>, table: &str) -> Result<Self> {
        // Says n only when the INSERT of n is done: the client sends one statement after another and stops at an error.
        Self::run(database, |client| {
            format!("{PACE}; while n=$((n+1)); do echo \"INSERT INTO {table} VALUES ($n); SELECT $n;\"; pace; done | \
                {client}")
        })
        .await
    }

    /// The same by one connection for each row, so that it goes on after an error or when no answer comes. A row that
    /// was not acknowledged is not tried again: it may be there.
    pub async fn reconnecting(database: &Database<'_>, table: &str) -> Result<Self> {
        Self::run(database, |client| {
            // Said by the shell, which ends when nobody listens any more.
            let insert = format!("echo \"INSERT INTO {table} VALUES ($n); SELECT $n;\" | timeout 3 {client} \
                2>/dev/null");
            format!("{PACE}; export PGCONNECT_TIMEOUT=2; while n=$((n+1)); do if r=$({insert}); then echo $r || exit; \
                fi; pace; done")
        })
        .await
    }

    async fn run(database: &Database<'_>, shape: impl FnOnce(&str) -> String) -> Result<Self> {
        let mut process = database.run(shape, "").await?;
        let stdout = process.stdout().context("no standard output")?;
        let acknowledged = Arc::default();
        tokio::spawn(read(stdout, Arc::clone(&acknowledged)));
        Ok(Writer {
            _process: process,
            acknowledged,
        })
    }

    /// The rows that the server has acknowledged until now.
    pub fn acknowledged(&self) -> Vec<u64> {
        self.rows().into_iter().map(|(row, _)| row).collect()
    }

    /// The longest time between two rows of which the later one was acknowledged after this moment.
    pub fn longest_pause_since(&self, moment: Instant) -> Duration {
        let rows = self.rows();
        let pauses = rows.windows(2).filter(|pair| pair[1].1 >= moment);
        pauses
            .map(|pair| pair[1].1 - pair[0].1)
            .max()
            .unwrap_or_default()
    }

    fn rows(&self) -> Vec<(u64, Instant)> {
        let rows = self.acknowledged.lock();
        rows.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Checks that each acknowledged row is in the table, once; says how many there are.
pub async fn none_lost(
    what: &str,
    database: &Database<'_>,
    table: &str,
    acknowledged: &[u64],
) -> Result<()> {
    let rows = database.sql(&format!("SELECT n FROM {table}")).await?;
    let found: Vec<u64> = rows.lines().map(str::parse).collect::<Result<_, _>>()?;
    let set: BTreeSet<u64> = found.iter().copied().collect();
    ensure!(set.len() == found.len(), "{what}: a row is there twice");
    let lost: Vec<&u64> = acknowledged.iter().filter(|n| !set.contains(n)).collect();
    let (count, found) = (acknowledged.len(), found.len());
    ensure!(
        lost.is_empty(),
        "{what}: of {count} acknowledged rows these are lost: {lost:?}"
    );
    eprintln!("{what}: {count} rows acknowledged, {found} found, 0 lost");
    Ok(())
}

/// Only whole lines count: the last one may be cut off.
async fn read(stdout: impl AsyncRead + Unpin, acknowledged: Arc<Mutex<Vec<(u64, Instant)>>>) {
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    while matches!(lines.read_line(&mut line).await, Ok(count) if count > 0) {
        if let Some(row) = line.strip_suffix('\n').and_then(|row| row.parse().ok()) {
            let mut rows = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
            rows.push((row, Instant::now()));
        }
        line.clear();
    }
}
