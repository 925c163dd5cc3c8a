//! The kstatus contract, checked over every status that a story leaves.

use anyhow::{Result, ensure};
use api::{DatabaseBackup, DatabaseInstance, DatabaseRestore, HACluster};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

/// A resource with a status that keeps the contract.
pub trait Reported {
    /// Its metadata.
    fn metadata(&self) -> &ObjectMeta;
    /// status.observedGeneration.
    fn observed_generation(&self) -> Option<i64>;
    /// status.conditions.
    fn conditions(&self) -> &[Condition];
}

macro_rules! reported {
    ($($kind:ty),*) => {$(
        impl Reported for $kind {
            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn observed_generation(&self) -> Option<i64> {
                self.status.as_ref()?.observed_generation
            }
            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
            }
        }
    )*};
}
reported!(DatabaseInstance, DatabaseBackup, DatabaseRestore, HACluster);

/// The condition of this type.
pub fn condition<'a>(resource: &'a impl Reported, type_: &str) -> Option<&'a Condition> {
    api::condition::find(resource.conditions(), type_)
}

/// Whether the status speaks of the present spec.
pub fn is_current(resource: &impl Reported) -> bool {
    let observed = resource.observed_generation();
    observed.is_some() && observed == resource.metadata().generation
}

/// Whether nothing is under way or stalled.
pub fn at_rest(instance: &impl Reported) -> bool {
    condition(instance, "Reconciling").is_none() && condition(instance, "Stalled").is_none()
}

/// Ready is present, everything is current, reasons are CamelCase words, messages are sentences.
pub fn check(instance: &impl Reported) -> Result<()> {
    let name = instance.metadata().name.as_deref().unwrap_or_default();
    ensure!(
        condition(instance, "Ready").is_some(),
        "{name} has no condition Ready"
    );
    ensure!(is_current(instance), "{name}: observedGeneration is behind");
    for condition in instance.conditions() {
        let Condition {
            type_,
            reason,
            message,
            ..
        } = condition;
        ensure!(
            ["True", "False", "Unknown"].contains(&condition.status.as_str()),
            "{name} {type_}: status {}",
            condition.status
        );
        ensure!(
            condition.observed_generation == instance.metadata().generation,
            "{name} {type_}: observedGeneration is behind"
        );
        ensure!(
            reason.starts_with(|c: char| c.is_ascii_uppercase())
                && reason.chars().all(|c| c.is_ascii_alphanumeric()),
            "{name} {type_}: reason {reason}"
        );
        ensure!(
            message.ends_with('.'),
            "{name} {type_}: the message is no sentence: {message}"
        );
        ensure!(
            !(type_ == "Stalled" || type_ == "Reconciling") || condition.status == "True",
            "{name}: {type_} is present and not true"
        );
    }
    Ok(())
}
