//! Two ConfigMaps: the settings, which change while the server runs, and the scripts, which nobody can edit.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use api::names::{self, COMPONENT_DATABASE, COMPONENT_SCRIPTS};
use serde_json::{Map, Value, json};

use crate::difference::hash;
use crate::engine::{self, Engine, Settings};
use crate::valid::Subject;
use crate::{Kind, Object};

/// Key under which the settings lie as JSON; what the next pass compares with.
pub const SETTINGS_KEY: &str = "settings.json";

/// The ConfigMap with these settings: as a file for the server, and for the operator to read again.
pub fn config_map(subject: &Subject<'_>, settings: &Settings) -> Object {
    let engine = subject.engine;
    let data = json!({
        engine.settings_key(): engine.render(settings),
        SETTINGS_KEY: json!(settings).to_string(),
    });
    subject.owned(
        Kind::ConfigMap,
        subject.name,
        COMPONENT_DATABASE,
        json!({"data": data}),
    )
}

/// The ConfigMap with the scripts. They run where the administrator's Secret is mounted, so it is immutable: other
/// scripts are another ConfigMap, and its name, which the pod template has, says which.
pub fn scripts(subject: &Subject<'_>) -> Object {
    let mut object = subject.owned(
        Kind::ConfigMap,
        &scripts_name(subject.name, subject.engine),
        COMPONENT_SCRIPTS,
        json!({"immutable": true, "data": scripts_data(subject.engine)}),
    );
    // It is made once, for any version.
    if let Some(labels) = object.value["metadata"]["labels"].as_object_mut() {
        labels.remove("app.kubernetes.io/version");
    }
    object
}

/// The hash of an engine's scripts by its title. They are the same for as long as the operator runs, and every pass
/// asks for them.
static HASHES: LazyLock<BTreeMap<&str, String>> = LazyLock::new(|| {
    let engines = [
        api::Engine::Postgresql,
        api::Engine::Mysql,
        api::Engine::Mariadb,
    ]
    .map(engine::of);
    let hashes = engines.map(|engine| (engine.title(), hash(&scripts_data(engine))));
    hashes.into()
});

/// Its name.
pub fn scripts_name(instance: &str, engine: &dyn Engine) -> String {
    match HASHES.get(engine.title()) {
        Some(known) => names::scripts(instance, known),
        None => names::scripts(instance, &hash(&scripts_data(engine))),
    }
}

/// The scripts by file name.
pub fn scripts_data(engine: &dyn Engine) -> Value {
    let files = engine.files().into_iter();
    let files: Map<String, Value> = files
        .map(|(name, text)| (name.to_owned(), json!(text)))
        .collect();
    Value::Object(files)
}
