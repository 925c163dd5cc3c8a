//! CPU and memory of a server's container.

use api::condition::reason;
use k8s_openapi::api::core::v1::ResourceRequirements;
use serde_json::{Value, json};

use crate::Invalid;
use crate::engine::Engine;
use crate::quantity::{bytes, thousandths};
use crate::quote::quoted;

/// What is asked for, with defaults, checked. `memory` is the limit when nothing is said of memory.
pub fn complete(
    asked: Option<&ResourceRequirements>,
    engine: &dyn Engine,
    memory: &str,
) -> Result<Value, Invalid> {
    let mut resources = asked.map_or_else(|| json!({}), |resources| json!(resources));
    let refuse = |message: String| Err(Invalid::spec(reason::INVALID_RESOURCES, message));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if resources["requests"]["cpu"].is_null() && resources["limits"]["cpu"].is_null() {
        resources["requests"]["cpu"] = json!("100m");
    }
    let request = text(&resources["requests"]["memory"]);
    let limit = text(&resources["limits"]["memory"])
        .or_else(|| request.clone())
        .unwrap_or_else(|| memory.to_owned());
    resources["limits"]["memory"] = json!(limit);
    resources["requests"]["memory"] = json!(request.unwrap_or_else(|| limit.clone()));
    for kind in ["requests", "limits"] {
        for (name, value) in resources[kind].as_object().into_iter().flatten() {
            if value.as_str().and_then(bytes).is_none_or(|value| value < 0) {
                return refuse(format!(
                    "spec.resources.{kind}.{}: {} is not a quantity such as 500m or 1Gi.",
                    quoted(name),
                    quoted(&value.to_string())
                ));
            }
        }
    }
    for name in ["cpu", "memory"] {
        let value = |kind: &str| resources[kind][name].as_str().and_then(thousandths);
        if value("limits").is_some() && value("requests") > value("limits") {
            return refuse(format!(
                "spec.resources.requests.{name} is greater than spec.resources.limits.{name}. Raise the limit, or \
                    lower the request."
            ));
        }
    }
    let least = engine.least_memory();
    if bytes(&limit).is_some_and(|limit| limit < least) {
        return refuse(format!(
            "spec.resources.limits.memory: {} is too little for {}. Give it at least {}Mi.",
            quoted(&limit),
            engine.title(),
            least >> 20
        ));
    }
    Ok(resources)
}
