//! Waits for what a status says, of any kind of resource.

use std::fmt::Debug;

use anyhow::Result;
use api::reported::Reported;
use kube::Api;
use serde::de::DeserializeOwned;

use crate::space::Space;

/// Waits until the status speaks of the present spec, Ready is true and nothing is under way or stalled.
pub async fn until_at_rest<K>(space: &Space, resources: &Api<K>, name: &str) -> Result<K>
where
    K: Reported + Clone + Debug + DeserializeOwned,
{
    let what = format!("{name} is Ready and at rest");
    let rests = || async {
        let resource = resources.get(name).await?;
        Ok(resource.is_current()
            && resource.is_at_rest()
            && resource
                .condition("Ready")
                .is_some_and(|c| c.status == "True"))
    };
    space.until(&what, rests).await?;
    Ok(resources.get(name).await?)
}

/// Waits until a condition has this status and reason, for the present spec; returns its message.
pub async fn until_says<K>(
    space: &Space,
    resources: &Api<K>,
    name: &str,
    type_: &str,
    status: &str,
    reason: &str,
) -> Result<String>
where
    K: Reported + Clone + Debug + DeserializeOwned,
{
    let what = format!("{name} has the condition {type_}={status} {reason}");
    let says = || async {
        let resource = resources.get(name).await?;
        let condition = resource.condition(type_);
        Ok(resource.is_current()
            && condition.is_some_and(|c| c.status == status && c.reason == reason))
    };
    space.until(&what, says).await?;
    let resource = resources.get(name).await?;
    let condition = resource.condition(type_);
    Ok(condition.map(|c| c.message.clone()).unwrap_or_default())
}
