//! The volumes of the servers that were asked for.

use api::condition::{PlannedCondition, STORAGE_READY, Truth, reason, state};
use api::external::zalando::volume_claims;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::Observed;
use crate::facts::{capacity, is_bound};
use crate::quantity::{bytes, thousandths};
use crate::storage_class::StorageClass;
use crate::valid::Cluster;

/// The claims of the servers that were asked for.
pub fn claims<'a>(cluster: &Cluster<'_>, observed: &'a Observed) -> Vec<&'a PersistentVolumeClaim> {
    let servers = usize::try_from(cluster.cr.spec.replicas).unwrap_or_default();
    let wanted = volume_claims(cluster.name, servers);
    let is_wanted = |claim: &&PersistentVolumeClaim| {
        claim
            .metadata
            .name
            .as_ref()
            .is_some_and(|name| wanted.contains(name))
    };
    observed.claims.iter().filter(is_wanted).collect()
}

/// The size of the smallest of their volumes.
pub fn smallest(claims: &[&PersistentVolumeClaim]) -> Option<Quantity> {
    let sizes = claims.iter().filter_map(|claim| capacity(claim));
    sizes
        .min_by_key(|size| bytes(size))
        .map(|size| Quantity(size.to_owned()))
}

/// StorageReady: all volumes are as large as asked.
pub fn storage(cluster: &Cluster<'_>, claims: &[&PersistentVolumeClaim]) -> PlannedCondition {
    let asked = &cluster.cr.spec.storage.size.0;
    let not = |why, message: String| state(STORAGE_READY, Truth::False, why, message);
    let name = |claim: &PersistentVolumeClaim| claim.metadata.name.clone().unwrap_or_default();
    if let Some(unbound) = claims.iter().find(|claim| !is_bound(claim)) {
        return not(
            reason::VOLUME_NOT_BOUND,
            format!("The volume claim {} is not bound yet.", name(unbound)),
        );
    }
    let small = |claim: &&&PersistentVolumeClaim| {
        capacity(claim).and_then(thousandths) < thousandths(asked)
    };
    match claims.iter().find(small) {
        Some(small) => not(
            reason::RESIZING,
            format!(
                "The volume of {} has {} and is to have {asked}.",
                name(small),
                capacity(small).unwrap_or("no size yet")
            ),
        ),
        None => state(
            STORAGE_READY,
            Truth::True,
            reason::BOUND,
            "All volumes are as large as asked.",
        ),
    }
}

/// The class of the claims; before there are any, the class that they are going to have.
pub fn class_name(cluster: &Cluster<'_>, observed: &Observed) -> Option<String> {
    let mut claims = observed.claims.iter();
    let of_claim = claims.find_map(|claim| claim.spec.as_ref()?.storage_class_name.clone());
    of_claim
        .or_else(|| cluster.cr.spec.storage.class_name.clone())
        .or_else(|| match &observed.storage_class {
            StorageClass::Found { name, .. } => Some(name.clone()),
            StorageClass::Missing | StorageClass::Unread => None,
        })
}
