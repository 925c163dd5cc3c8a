//! The engine catalog: which versions there are, their images, and the default. Compiled in; the ConfigMap
//! `minidbaas-catalog` in the operator's namespace replaces the part of each engine it names.

use std::collections::BTreeMap;

use api::Engine;

const DEFAULT: &str = "default";

/// Keys `<engine>.<version>` with an image each, and `<engine>.default` with a version.
const BUILT_IN: [(&str, &str); 12] = [
    ("postgresql.default", "17"),
    ("postgresql.18", "postgres:18-trixie"),
    ("postgresql.17", "postgres:17-trixie"),
    ("postgresql.16", "postgres:16-trixie"),
    ("postgresql.15", "postgres:15-trixie"),
    ("mysql.default", "8.4"),
    ("mysql.8.4", "mysql:8.4"),
    ("mysql.9.7", "mysql:9.7"),
    ("mariadb.default", "11.8"),
    ("mariadb.11.8", "mariadb:11.8"),
    ("mariadb.11.4", "mariadb:11.4"),
    ("mariadb.10.11", "mariadb:10.11"),
];

/// The catalog in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog(BTreeMap<String, String>);

impl Catalog {
    /// The compiled-in catalog.
    pub fn built_in() -> Self {
        Catalog(
            BUILT_IN
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        )
    }

    /// The compiled-in catalog, with the engines that the ConfigMap's data names replaced.
    pub fn with(data: &BTreeMap<String, String>) -> Self {
        let named = |engine: Engine| data.keys().any(|key| belongs(key, engine));
        let kept = Self::built_in()
            .0
            .into_iter()
            .filter(|(key, _)| !Engine::ALL.into_iter().any(|e| belongs(key, e) && named(e)));
        Catalog(kept.chain(data.clone()).collect())
    }

    /// The data of a ConfigMap that says the same.
    pub fn data(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// The version that an instance without one gets.
    pub fn default_version(&self, engine: Engine) -> Option<&str> {
        self.0
            .get(&format!("{}.{DEFAULT}", engine.name()))
            .map(String::as_str)
    }

    /// The image of a version.
    pub fn image(&self, engine: Engine, version: &str) -> Option<&str> {
        if version == DEFAULT {
            return None;
        }
        self.0
            .get(&format!("{}.{version}", engine.name()))
            .map(String::as_str)
    }

    /// The versions of an engine, for a person to read.
    pub fn versions(&self, engine: Engine) -> String {
        let prefix = format!("{}.", engine.name());
        let versions: Vec<&str> = self
            .0
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix))
            .filter(|version| *version != DEFAULT)
            .collect();
        versions.join(", ")
    }
}

fn belongs(key: &str, engine: Engine) -> bool {
    key.strip_prefix(engine.name())
        .is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::Catalog;
    use api::Engine;

    #[test]
    fn every_default_has_an_image() {
        let catalog = Catalog::built_in();
        for engine in Engine::ALL {
            let version = catalog.default_version(engine).unwrap();
            assert!(catalog.image(engine, version).is_some(), "{engine:?}");
        }
    }

    #[test]
    fn a_config_map_replaces_whole_engines() {
        let data = [
            ("mysql.default", "9.7"),
            ("mysql.9.7", "localhost/mysql:9.7"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()));
        let catalog = Catalog::with(&data.into());
        assert_eq!(catalog.versions(Engine::Mysql), "9.7");
        assert_eq!(catalog.versions(Engine::Mariadb), "10.11, 11.4, 11.8");
        assert_eq!(catalog.image(Engine::Mysql, "8.4"), None);
        assert_eq!(catalog.image(Engine::Mysql, "default"), None);
    }
}
