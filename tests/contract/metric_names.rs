//! Every metric that `deploy/` and the README rely on is there from the start: an alert on a name that does not exist never fires.

use std::{collections::BTreeSet, fs};

use harness::{Machine, repository};

/// Every word that begins with the products' prefix.
fn metric_names(text: &str) -> BTreeSet<String> {
    let is_name_character = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.match_indices("supervise_")
        .map(|(at, _)| {
            let rest = &text[at..];
            rest[..rest.find(|c| !is_name_character(c)).unwrap_or(rest.len())].to_owned()
        })
        .collect()
}

#[test]
fn what_the_alerts_ask_for_is_exported() {
    let machine = Machine::shared();
    let server = machine.server().arguments(["--workers", "1"]).start();
    let metrics = server.metrics();
    let rules =
        fs::read_to_string(repository().join("deploy/prometheus/alerts.yml")).expect("the rules are there");
    let names = metric_names(&rules);
    assert!(names.len() >= 3, "the rules name metrics: {names:?}");
    for name in names {
        assert!(metrics.has(&name), "/metrics has {name}");
    }
    server.stop();
}
