//! The pages: links lead somewhere, and files that are named are there.

use std::path::{Path, PathBuf};

use regex::Regex;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn pages() -> Vec<PathBuf> {
    let folders = [
        "",
        "docs",
        "e2e/cluster",
        ".github",
        ".github/ISSUE_TEMPLATE",
    ];
    let entries = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(root().join(folder)).ok())
        .flatten();
    let pages: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    assert!(pages.len() > 15, "{pages:?}");
    pages
}

/// What a heading is called in links, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}

fn anchors(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap();
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if !in_code && line.starts_with('#') {
            found.push(anchor(line.trim_start_matches('#')));
        }
    }
    found
}

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for found in link.captures_iter(&text) {
            let target = &found[1];
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            let lost = !path.exists();
            let unheaded = || {
                !heading.is_empty()
                    && path.extension().is_some_and(|extension| extension == "md")
                    && !anchors(&path).iter().any(|anchor| anchor == heading)
            };
            if lost || unheaded() {
                wrong.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(seen > 50, "only {seen} links were looked at");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn files_that_pages_name_are_there() {
    let named =
        Regex::new(r"(?:crates|crds|deploy|docs|e2e|examples)/[A-Za-z0-9_./-]*[A-Za-z0-9_/]")
            .unwrap();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for found in named.find_iter(&text) {
            let before = text[..found.start()].chars().next_back();
            let after = text[found.end()..].chars().next();
            // Parts of longer paths, addresses and patterns.
            if before.is_some_and(|c| c.is_alphanumeric() || "/.-_".contains(c))
                || after.is_some_and(|c| "*<{…".contains(c))
            {
                continue;
            }
            seen += 1;
            if !root().join(found.as_str()).exists() {
                wrong.push(format!("{}: {}", page.display(), found.as_str()));
            }
        }
    }
    assert!(seen > 50, "only {seen} names were looked at");
    assert_eq!(wrong, Vec::<String>::new());
}
