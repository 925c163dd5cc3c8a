//! How long a restore took, step by step; written down once, when the database accepts connections for the first time.

use api::instance::RestoreStatus;
use api::reported::Reported;
use api::restore::RestoreStep;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Observed, source};
use crate::facts;
use crate::facts::PREPARE;
use crate::valid::Subject;

/// The record of the restore that ended with this pass, or before it.
pub fn record(
    subject: &Subject<'_>,
    observed: &Observed,
    serving: bool,
    now: &Time,
) -> Option<RestoreStatus> {
    let kept = subject.cr.last_status().restore;
    if kept.is_some() || !serving || !source::is_restoring(subject, observed) {
        return kept;
    }
    let claim = observed.claim.as_ref()?;
    let pod = observed.pod.as_ref()?;
    let since = |type_: &str| facts::condition(pod, type_)?.last_transition_time.clone();
    let prepare = facts::container(pod, PREPARE)
        .and_then(|container| container.state.as_ref()?.terminated.as_ref());
    let asked = claim.metadata.creation_timestamp.clone();
    let scheduled = since("PodScheduled");
    let begun = prepare.and_then(|end| end.started_at.clone());
    let keyed = prepare.and_then(|end| end.finished_at.clone());
    let ready = since("Ready");
    let steps = [
        ("Volume", &asked, &scheduled),
        ("Mount", &scheduled, &begun),
        ("Rekey", &begun, &keyed),
        ("Start", &keyed, &ready),
    ];
    let steps = steps.into_iter().filter_map(|(name, from, to)| {
        let seconds = to.as_ref()?.0.as_second() - from.as_ref()?.0.as_second();
        Some(RestoreStep {
            name: name.to_owned(),
            seconds: seconds.max(0),
        })
    });
    Some(RestoreStatus {
        steps: steps.collect(),
        completed_at: Some(ready.unwrap_or_else(|| now.clone())),
        started_at: asked,
    })
}
