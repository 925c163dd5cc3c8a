//! What the resources of all kinds have in common: metadata, and a status with the head that Kubernetes' API
//! conventions ask for. What is said the same way of all four is written against it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

use crate::condition::{RECONCILING, STALLED, find};
use crate::{
    DatabaseBackup, DatabaseBackupStatus, DatabaseInstance, DatabaseInstanceStatus,
    DatabaseRestore, DatabaseRestoreStatus, HACluster, HAClusterStatus,
};

/// A resource that reports.
pub trait Reported {
    /// Its status.
    type Status: Head;

    /// Its metadata.
    fn metadata(&self) -> &ObjectMeta;
    /// Its status; `None` before the first pass.
    fn status(&self) -> Option<&Self::Status>;
    /// The same, to be changed.
    fn status_mut(&mut self) -> &mut Option<Self::Status>;

    /// The status as it was written last; an empty one before the first pass.
    fn last_status(&self) -> Self::Status {
        self.status().cloned().unwrap_or_default()
    }

    /// status.conditions.
    fn conditions(&self) -> &[Condition] {
        self.status().map(Head::conditions).unwrap_or_default()
    }

    /// The condition of this type.
    fn condition(&self, type_: &str) -> Option<&Condition> {
        find(self.conditions(), type_)
    }

    /// Whether the status speaks of the present spec.
    fn is_current(&self) -> bool {
        let observed = self.status().and_then(Head::observed_generation);
        observed.is_some() && observed == self.metadata().generation
    }

    /// Whether nothing is under way or stalled.
    fn is_at_rest(&self) -> bool {
        self.condition(RECONCILING).is_none() && self.condition(STALLED).is_none()
    }
}

/// The head of a status.
pub trait Head: Clone + Default {
    /// status.observedGeneration.
    fn observed_generation(&self) -> Option<i64>;
    /// status.observedGeneration, to be changed.
    fn observed_generation_mut(&mut self) -> &mut Option<i64>;
    /// status.conditions.
    fn conditions(&self) -> &[Condition];
    /// status.conditions, to be changed.
    fn conditions_mut(&mut self) -> &mut Vec<Condition>;
}

macro_rules! reported {
    ($($kind:ty: $status:ty),*) => {$(
        impl Reported for $kind {
            type Status = $status;

            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn status(&self) -> Option<&Self::Status> {
                self.status.as_ref()
            }
            fn status_mut(&mut self) -> &mut Option<Self::Status> {
                &mut self.status
            }
        }

        impl Head for $status {
            fn observed_generation(&self) -> Option<i64> {
                self.observed_generation
            }
            fn observed_generation_mut(&mut self) -> &mut Option<i64> {
                &mut self.observed_generation
            }
            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }
            fn conditions_mut(&mut self) -> &mut Vec<Condition> {
                &mut self.conditions
            }
        }
    )*};
}
reported!(
    DatabaseInstance: DatabaseInstanceStatus,
    DatabaseBackup: DatabaseBackupStatus,
    DatabaseRestore: DatabaseRestoreStatus,
    HACluster: HAClusterStatus
);
