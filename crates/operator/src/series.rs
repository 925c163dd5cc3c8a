//! Counters by resource. A series ends with its resource, and there are never more than so many.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// Counters that are told apart by these labels.
pub struct Series<L> {
    most: usize,
    family: Family<L, Counter>,
    known: Mutex<BTreeSet<L>>,
}

impl<L> Series<L>
where
    L: Clone + Debug + Eq + Hash + Ord + EncodeLabelSet,
{
    /// So many series at most.
    pub fn new(most: usize) -> Self {
        Series {
            most,
            family: Family::default(),
            known: Mutex::default(),
        }
    }

    /// What is registered.
    pub fn family(&self) -> Family<L, Counter> {
        self.family.clone()
    }

    /// Counts one more. A new series for which there is no room is not begun: the sum over all is then too small, but
    /// nobody's own.
    pub fn count(&self, labels: L) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < self.most || known.contains(&labels) {
            self.family.get_or_create(&labels).inc();
            known.insert(labels);
        }
    }

    /// Ends the series of those that are not there any more.
    pub fn keep(&self, is_there: impl Fn(&L) -> bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|labels| {
            let stays = is_there(labels);
            if !stays {
                self.family.remove(labels);
            }
            stays
        });
    }

    /// Whether a new series would not be begun.
    pub fn is_full(&self) -> bool {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
            >= self.most
    }
}
