//! What an observed claim means: its size, its access mode, and why it has no volume.

use api::condition::reason;
use api::names::ANNOTATION_ACCESS_MODE;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Trouble, sentence, trouble};
use crate::quantity::thousandths;
use crate::storage_class::EXCLUSIVE;

/// Whether the claim is smaller than asked.
pub fn grows(asked: &Quantity, claim: &PersistentVolumeClaim) -> bool {
    thousandths(&asked.0) > requested(claim).and_then(thousandths)
}

/// The size a claim asks for.
pub fn requested(claim: &PersistentVolumeClaim) -> Option<&str> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    requests.get("storage").map(|size| size.0.as_str())
}

/// The size a bound claim has.
pub fn capacity(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim
        .status
        .as_ref()?
        .capacity
        .as_ref()?
        .get("storage")
        .map(|size| size.0.as_str())
}

/// Whether a claim has its volume.
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        == Some("Bound")
}

/// Why the claim has no volume, from its last warning.
pub fn volume_trouble(claim: &PersistentVolumeClaim, warning: Option<&str>) -> Option<Trouble> {
    let class = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_deref())
        .unwrap_or("(none)");
    let said = sentence(warning?);
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let refused =
        said.to_lowercase().replace(' ', "").contains("accessmode") || said.contains(EXCLUSIVE);
    let remedy = if refused && access_mode(claim) == Some(EXCLUSIVE) {
        format!(
            "Storage that does not know {EXCLUSIVE} needs the annotation {ANNOTATION_ACCESS_MODE}: ReadWriteOnce on \
                its StorageClass; then delete the PersistentVolumeClaim {name}, which has no volume: it is made anew."
        )
    } else {
        format!("`kubectl describe pvc {name}` shows more.")
    };
    Some(trouble(
        reason::VOLUME_NOT_BOUND,
        format!("The volume of class {class} could not be made: {said}. {remedy}"),
    ))
}

/// The access mode of a claim; there is one.
pub fn access_mode(claim: &PersistentVolumeClaim) -> Option<&str> {
    let modes = claim.spec.as_ref()?.access_modes.as_ref()?;
    modes.first().map(String::as_str)
}
