//! What is under way: edits that wait for their turn, and what the Zalando operator is at.

use api::condition::reason;
use api::names::FIELD_MANAGER;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Observed;
use super::credentials::Credentials;
use super::edits::{Delegate, Edits};
use super::members::Members;
use crate::facts::seconds_since;
use crate::valid::Cluster;

/// A server that was added has this time to start before it is called missing.
const START_SECONDS: i64 = 120;

/// What is under way.
pub fn progress(
    cluster: &Cluster<'_>,
    observed: &Observed,
    members: &Members<'_>,
    credentials: &Credentials,
    edits: &Edits,
    delegate: Delegate,
    now: &Time,
) -> Option<(&'static str, String)> {
    let changed = observed
        .postgresql
        .as_ref()
        .and_then(|found| found.applied_at(FIELD_MANAGER));
    let message = if !edits.pending.is_empty() {
        let pending = edits.pending.join(", ");
        format!(
            "To be changed, one after another: {pending}. The Zalando operator takes one change at a time."
        )
    } else if credentials.pending {
        "The new password is being changed in the database; the binding follows.".to_owned()
    } else if matches!(delegate, Delegate::Awaited | Delegate::Busy) {
        "The Zalando operator is carrying out the last change.".to_owned()
    } else if members.primary.is_some()
        && !members.missing.is_empty()
        && seconds_since(changed, now) < START_SECONDS
        && members
            .missing
            .iter()
            .all(|name| is_newer(observed, name, changed))
    {
        // The operator says that it is done when the pods are asked for.
        format!("Servers are starting: {}.", members.missing.join(", "))
    } else if members.pods > cluster.cr.spec.replicas {
        format!(
            "{} pods run; the Zalando operator removes what is too many.",
            members.pods
        )
    } else {
        return None;
    };
    Some((reason::UPDATING, message))
}

/// Whether a pod was made after a time, or is yet to be made.
fn is_newer(observed: &Observed, pod: &str, time: Option<&Time>) -> bool {
    let mut pods = observed.pods.iter();
    let found = pods.find(|found| found.metadata.name.as_deref() == Some(pod));
    found.is_none_or(|found| {
        found
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|made| made.0)
            >= time.map(|time| time.0)
    })
}
