//! The kstatus contract, checked over every status that a story leaves.

use anyhow::{Result, ensure};
use api::reported::Reported;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Ready is present, everything is current, reasons are CamelCase words, messages are sentences.
pub fn check(instance: &impl Reported) -> Result<()> {
    let name = instance.metadata().name.as_deref().unwrap_or_default();
    ensure!(
        instance.condition("Ready").is_some(),
        "{name} has no condition Ready"
    );
    ensure!(
        instance.is_current(),
        "{name}: observedGeneration is behind"
    );
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
