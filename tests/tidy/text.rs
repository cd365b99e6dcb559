//! What every source file must hold and must not hold.

use crate::sources::{Source, all, assert_none};

/// Longest file; one concern fits.
const MAX_LINES: usize = 500;

/// The lines of code outside of `allowed` that hold one of `words`, as findings.
fn lines_with(words: &[&str], allowed: &[&str], within: impl Fn(&Source) -> bool) -> Vec<String> {
    let mut findings = Vec::new();
    // This file names what it forbids.
    for source in
        all().iter().filter(|source| source.path != file!() && !source.stands_in(allowed) && within(source))
    {
        for (number, line) in source.code_lines() {
            let found = words.iter().filter(|word| line.contains(**word));
            findings.extend(found.map(|word| format!("{}:{number}: {word}", source.path)));
        }
    }
    findings
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = all().into_iter().filter(|source| !source.text.starts_with("//!"));
    assert_none(&silent.map(|source| source.path).collect::<Vec<_>>(), "files that do not open with `//!`");
}

#[test]
fn no_file_is_too_long() {
    let long = all().into_iter().filter(|source| source.text.lines().count() > MAX_LINES);
    let findings: Vec<_> =
        long.map(|source| format!("{}: {} lines", source.path, source.text.lines().count())).collect();
    assert_none(&findings, "files longer than 500 lines");
}

#[test]
fn no_file_is_named_after_nothing() {
    const EMPTY_NAMES: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "misc", "manager"];
    let named = all().into_iter().filter(|source| {
        let stems = source.path.trim_end_matches(".rs").split('/');
        stems.into_iter().any(|stem| EMPTY_NAMES.contains(&stem) || stem.ends_with("_manager"))
    });
    assert_none(&named.map(|source| source.path).collect::<Vec<_>>(), "names that say nothing");
}

#[test]
fn no_test_is_skipped_or_unfinished() {
    let findings = lines_with(&["#[ignore", "todo!(", "unimplemented!("], &[], |_| true);
    assert_none(&findings, "left over");
}

#[test]
fn nobody_waits_for_a_time() {
    // `tokio::time::sleep` shapes a load and ends a deadline; a thread that sleeps waits for nothing.
    let findings = lines_with(&["thread::sleep"], &["tests/harness/patience.rs", "tests/bench/"], |_| true);
    assert_none(&findings, "sleep as synchronisation");
}

#[test]
fn unsafe_stands_only_where_the_kernel_or_python_is_met() {
    const ALLOWED: [&str; 7] = [
        "supervisor/src/processes.rs",
        "supervisor/src/processes/",
        "supervisor/src/scoreboard.rs",
        "worker/src/inherited_sockets.rs",
        "worker/src/scoreboard_mapping.rs",
        "worker/python/",
        "tests/bench/",
    ];
    let findings = lines_with(&["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"], &ALLOWED, |_| true);
    assert_none(&findings, "unsafe in other places");
}

#[test]
fn the_law_and_the_protocol_are_pure() {
    let words = [
        "std::time",
        "Instant",
        "SystemTime",
        "std::env",
        "std::fs",
        "std::net",
        "std::thread",
        "std::process",
        "rand::",
        "HashMap",
        "HashSet",
        "println!",
    ];
    let is_pure = |source: &Source| source.stands_in(&["supervisor/fleet/src/", "protocol/src/"]);
    assert_none(
        &lines_with(&words, &[], is_pure),
        "a clock, thread, environment, file, chance or unordered map",
    );
}

#[test]
fn one_word_for_one_thing() {
    // Other programs' words for what DESIGN calls supervisor, worker, fleet and drain.
    let words =
        ["Master", "master_", "Arbiter", "arbiter", "Slave", "slave", "Minion", "ChildProcessManager"];
    let is_product = |source: &Source| !source.stands_in(&["tests/bench/"]);
    assert_none(&lines_with(&words, &[], is_product), "words of other programs");
}
