//! Who may import whom, read from what cargo itself makes of the Cargo.toml files.

use std::{collections::BTreeMap, process::Command};

use crate::sources::{all, assert_none};

/// Every crate of ours, and those of ours that it may import.
const ALLOWED: [(&str, &[&str]); 7] = [
    ("protocol", &[]),
    ("supervisor-fleet", &[]),
    ("supervisor", &["supervisor-fleet", "protocol"]),
    ("worker-server", &[]),
    ("worker", &["worker-server", "protocol"]),
    ("worker-python", &["worker", "worker-server", "protocol"]),
    ("tests", &["protocol"]),
];

/// A crate's dependencies: name and kind, where "" is the normal kind.
type Dependencies = Vec<(String, String)>;

fn crates() -> BTreeMap<String, Dependencies> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(harness::repository());
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let dependencies = |package: &serde_json::Value| {
        let list = package["dependencies"].as_array().expect("a list of dependencies");
        list.iter().map(|dependency| (text(&dependency["name"]), text(&dependency["kind"]))).collect()
    };
    packages.iter().map(|package| (text(&package["name"]), dependencies(package))).collect()
}

#[test]
fn crates_import_only_whom_they_may() {
    let crates = crates();
    let names: Vec<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        crates.keys().map(String::as_str).collect::<Vec<_>>(),
        sorted(&names),
        "the crates of the workspace"
    );
    let mut findings = Vec::new();
    for (name, allowed) in ALLOWED {
        for (dependency, _) in &crates[name] {
            if names.contains(&dependency.as_str()) && !allowed.contains(&dependency.as_str()) {
                findings.push(format!("{name} imports {dependency}"));
            }
        }
    }
    assert_none(&findings, "forbidden imports between the crates of ours");
}

fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

#[test]
fn the_law_depends_on_nothing() {
    let normal: Vec<_> =
        crates()["supervisor-fleet"].iter().filter(|(_, kind)| kind != "dev").cloned().collect();
    assert_eq!(normal, [], "[dependencies] of fleet is empty and stays so");
}

/// Packages that have one job: the only places that may name them, at least one of which must.
const PLACES: [(&str, &[&str]); 9] = [
    (
        "command_group",
        &[
            "supervisor/src/processes.rs",
            "supervisor/src/processes/",
            "worker/src/apps/cgi.rs",
            "worker/src/apps/cgi/",
        ],
    ),
    ("serde_yaml", &["supervisor/src/config/file.rs"]),
    (
        "prometheus",
        &["supervisor/src/metrics.rs", "supervisor/src/metrics/", "supervisor/src/status_server.rs"],
    ),
    ("clap", &["supervisor/src/", "worker/src/", "tests/bench/"]),
    ("tracing", &["supervisor/src/", "worker/src/", "worker/python/"]),
    ("nix", &["supervisor/src/", "worker/src/", "worker/tests/", "worker/python/", "tests/"]),
    (
        "tokio",
        &[
            "supervisor/src/",
            "worker/src/",
            "worker/examples/",
            "worker/python/",
            "worker/server/tests/",
            "tests/",
        ],
    ),
    ("hyper", &["supervisor/src/", "worker/", "tests/bench/", "tests/fuzz/"]),
    ("pyo3", &["worker/python/"]),
];

#[test]
fn each_named_package_does_its_job_in_its_place() {
    let sources = all();
    let mut findings = Vec::new();
    for (package, places) in PLACES {
        let path = format!("{package}::");
        let users: Vec<_> = sources
            .iter()
            .filter(|source| {
                source.path != file!() && source.code_lines().any(|(_, line)| names(line, &path))
            })
            .collect();
        if !users.iter().any(|source| source.stands_in(places)) {
            findings.push(format!("{package} is not used in {places:?}"));
        }
        let strays = users.iter().filter(|source| !source.stands_in(places));
        findings.extend(strays.map(|source| format!("{package} is named in {}", source.path)));
    }
    assert_none(&findings, "a package outside of its place");
}

/// Whether the line holds the path as a word of its own.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}
