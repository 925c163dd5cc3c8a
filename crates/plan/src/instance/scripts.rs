//! The scripts that run in the instance's pods: an immutable ConfigMap, another one for other scripts, and the end of
//! former ones.

use api::condition::reason;
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::{Decision, Observed, scripts_name};
use crate::build::config_map;
use crate::child::is_controlled_by;
use crate::facts;
use crate::valid::Subject;
use crate::{Invalid, Kind, Write};

/// Former scripts go so many seconds after their successors came: until then a Job may need them.
const FORMER_SECONDS: i64 = 3600;

/// Whether the ConfigMap of this name, if there is one, is the one that we would make. No pod is made that mounts
/// scripts that differ: they would run with the administrator's password.
pub fn check(subject: &Subject<'_>, observed: &Observed) -> Decision<()> {
    let Some(map) = &observed.scripts else {
        return Ok(());
    };
    let ours = is_controlled_by(&map.metadata, subject.uid)
        && map.immutable == Some(true)
        && map.binary_data.as_ref().is_none_or(|data| data.is_empty())
        && json!(map.data) == config_map::scripts_data(subject.engine);
    if ours {
        return Ok(());
    }
    let name = map.metadata.name.as_deref().unwrap_or_default();
    Err(Invalid::surroundings(
        reason::NAME_TAKEN,
        format!(
            "There is a ConfigMap {name} whose scripts are not those of the operator, which starts nothing with them. \
                Delete it: it is made anew."
        ),
    ))
}

/// Makes what is missing, and deletes what nothing mounts any more.
pub fn plan(subject: &Subject<'_>, observed: &Observed, now: &Time) -> Vec<Write> {
    let Some(map) = &observed.scripts else {
        return vec![Write::Create(config_map::scripts(subject))];
    };
    let since = facts::seconds_since(map.metadata.creation_timestamp.as_ref(), now);
    if since < FORMER_SECONDS {
        return Vec::new();
    }
    let current = scripts_name(subject.cr);
    let former = observed.all_scripts.iter().filter(|former| {
        let name = former.name.as_deref().unwrap_or_default();
        name != current
            && is_controlled_by(former, subject.uid)
            && former.deletion_timestamp.is_none()
            && !is_mounted(observed, name)
    });
    former
        .map(|former| Write::delete(Kind::ConfigMap, former))
        .collect()
}

/// Whether the StatefulSet's pods mount this ConfigMap, or the present one does.
fn is_mounted(observed: &Observed, name: &str) -> bool {
    let mounts = |spec: &PodSpec| {
        let volumes = spec.volumes.iter().flatten();
        volumes
            .flat_map(|volume| volume.projected.iter())
            .flat_map(|projected| projected.sources.iter().flatten())
            .filter_map(|source| source.config_map.as_ref())
            .any(|map| map.name == name)
    };
    let set = observed
        .stateful_set
        .as_ref()
        .and_then(|set| set.spec.as_ref());
    let template = set.and_then(|set| set.template.spec.as_ref());
    let pod = observed.pod.as_ref().and_then(|pod| pod.spec.as_ref());
    [template, pod].into_iter().flatten().any(mounts)
}
