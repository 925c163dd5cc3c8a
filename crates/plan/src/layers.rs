//! The floors of this crate: a module uses what is below it, and nothing beside or above it. So a rule can be read with
//! what is below, and two kinds never have to know each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// From the ground up. The root of the crate (what a plan and a write are) is below all of them.
const FLOORS: [&[&str]; 9] = [
    &[
        "clock",
        "engine",
        "generated",
        "quantity",
        "quote",
        "retention",
        "storage_class",
        "version",
    ],
    &[
        "catalog",
        "difference",
        "names",
        "parameters",
        "resources",
        "schedule",
    ],
    &["facts", "reading", "step"],
    &["child"],
    &["origin", "password", "report", "task", "valid"],
    &["build", "failing"],
    &["backup", "ha_cluster", "instance", "restore"],
    &["fake_cluster", "ownership_law", "quoting_law"],
    &["layers"],
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match path.is_dir() {
            true if name != "tests" => sources(&path, found),
            false if name.ends_with(".rs") && name != "tests.rs" => found.push(path),
            _ => {}
        }
    }
}

/// A file without its tests.
fn code(path: &Path) -> String {
    let mut text = std::fs::read_to_string(path).unwrap();
    let tests = text.find("#[cfg(test)]\nmod tests {");
    text.truncate(tests.unwrap_or(text.len()));
    text
}

/// A reason is for people: it may be reworded without a rule going another way.
#[test]
fn no_rule_compares_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    sources(&root, &mut found);
    let allowed = [
        "report.rs",
        "layers.rs",
        "ownership_law.rs",
        "quoting_law.rs",
    ];
    found.retain(|path| !allowed.iter().any(|name| path.ends_with(name)));
    for path in found {
        for line in code(&path).lines().map(str::trim_start) {
            let is_arm = line.starts_with("reason::") && line.contains("=>");
            let marks = [
                "reason ==",
                "reason !=",
                "reason.as_str() ==",
                "contains(&why)",
            ];
            if is_arm || marks.iter().any(|mark| line.contains(mark)) {
                wrong.push(format!("{}: {line}", path.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn no_module_uses_what_is_beside_or_above_it() {
    let floors: BTreeMap<&str, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, modules)| modules.iter().map(move |module| (*module, floor)))
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut wrong, mut seen) = (Vec::new(), Vec::new(), 0);
    sources(&root, &mut found);
    for path in found {
        let place = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let module = place.split(['/', '.']).next().unwrap();
        if module == "lib" {
            continue;
        }
        let floor = *floors
            .get(module)
            .unwrap_or_else(|| panic!("{module} has no floor"));
        for used in code(&path).split("crate::").skip(1) {
            let name: String = used
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            // A group of names of the root, in which a module may be, too.
            let group = used
                .strip_prefix('{')
                .and_then(|group| group.split('}').next());
            let names = group.map_or(vec![name.as_str()], |group| {
                group
                    .split(',')
                    .map(|name| name.trim().split("::").next().unwrap())
                    .collect()
            });
            for name in names {
                let Some(below) = floors.get(name) else {
                    continue;
                };
                seen += 1;
                if name != module && *below >= floor {
                    wrong.push(format!("{place} uses {name}"));
                }
            }
        }
    }
    assert!(seen > 200, "only {seen} uses were found");
    assert_eq!(wrong, Vec::<String>::new());
}
