//! The ConfigMap: scripts, the settings file, and the same settings for the operator to read again.

use api::names::COMPONENT_DATABASE;
use serde_json::json;

use super::Subject;
use crate::engine::Settings;
use crate::{Kind, Object};

/// Key under which the settings lie as JSON; what the next pass compares with.
pub const SETTINGS_KEY: &str = "settings.json";

/// The ConfigMap with these settings.
pub fn config_map(subject: &Subject<'_>, settings: &Settings) -> Object {
    let engine = subject.engine;
    let mut data = json!({
        engine.settings_key(): engine.render(settings),
        SETTINGS_KEY: json!(settings).to_string(),
    });
    for (key, text) in engine.files() {
        data[key] = json!(text);
    }
    subject.owned(
        Kind::ConfigMap,
        subject.name,
        COMPONENT_DATABASE,
        json!({"data": data}),
    )
}
