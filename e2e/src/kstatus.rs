//! The kstatus contract, checked over every status that a story leaves.

use anyhow::{Result, ensure};
use api::DatabaseInstance;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The condition of this type.
pub fn condition<'a>(instance: &'a DatabaseInstance, type_: &str) -> Option<&'a Condition> {
    instance
        .status
        .as_ref()?
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
}

/// Whether the status speaks of the present spec.
pub fn is_current(instance: &DatabaseInstance) -> bool {
    instance
        .status
        .as_ref()
        .is_some_and(|status| status.observed_generation == instance.metadata.generation)
}

/// Whether nothing is under way or stalled.
pub fn at_rest(instance: &DatabaseInstance) -> bool {
    condition(instance, "Reconciling").is_none() && condition(instance, "Stalled").is_none()
}

/// Ready is present, everything is current, reasons are CamelCase words, messages are sentences.
pub fn check(instance: &DatabaseInstance) -> Result<()> {
    let name = instance.metadata.name.as_deref().unwrap_or_default();
    let status = instance.status.clone().unwrap_or_default();
    ensure!(
        condition(instance, "Ready").is_some(),
        "{name} has no condition Ready"
    );
    ensure!(is_current(instance), "{name}: observedGeneration is behind");
    for condition in &status.conditions {
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
            condition.observed_generation == instance.metadata.generation,
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
