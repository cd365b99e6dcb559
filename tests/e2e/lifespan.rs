//! Promise: whatever an application makes of its lifespan, it is served or refused as the ASGI contract has it, what it raised is
//! shown, and no shutdown of its holds up an exit for ever.

use std::time::Duration;

use harness::{Guest, Machine, Python, ServerBuilder, http};
use nix::sys::signal::Signal;

/// A server of one application of `lifespan_corners.py`.
fn corner<'m>(machine: &'m Machine, app: &str) -> Option<ServerBuilder<'m>> {
    let python = Python::default_one()?;
    let server = machine.server().guest(Guest::LIFESPAN_CORNERS, &python);
    Some(server.arguments([format!("app:{app}").as_str()]))
}

/// Starts it, checks that it serves, stops it, and gives what was logged.
fn is_served<const N: usize>(app: &str, arguments: [&str; N]) -> String {
    let machine = Machine::shared();
    let Some(server) = corner(&machine, app) else { return String::new() };
    let mut server = server.arguments(arguments).start();
    let answer = http::get(server.address(), "/").expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "served"), "{app}");
    server.signal(Signal::SIGTERM);
    let status = server.wait_for_exit(Duration::from_secs(15));
    let log = server.log.text();
    assert_eq!(status.code(), Some(0), "{app}:\n{log}");
    log
}

/// Expects that it cannot start, with these words.
fn is_refused<const N: usize>(app: &str, arguments: [&str; N], said: &[&str]) {
    let machine = Machine::shared();
    let Some(server) = corner(&machine, app) else { return };
    let mut server = server.arguments(arguments).spawn();
    let status = server.wait_for_exit(Duration::from_secs(15));
    let log = server.log.text();
    assert_eq!(status.code(), Some(3), "{app}:\n{log}");
    for part in said {
        assert!(log.contains(part), "{app}: {part:?} is not in:\n{log}");
    }
}

#[track_caller]
fn says(log: &str, parts: &[&str]) {
    // Without a Python there is nothing to say.
    for part in parts {
        assert!(log.is_empty() || log.contains(part), "{part:?} is not in:\n{log}");
    }
}

#[test]
fn an_application_that_knows_no_lifespan_is_served_without() {
    let log = is_served("raises_at_once", []);
    says(&log, &["knows no lifespan", "--lifespan off"]);
    assert!(!log.contains("Traceback"), "nothing is wrong with it:\n{log}");
    let log = is_served("raises_at_once", ["--lifespan", "off"]);
    assert!(!log.contains("knows no lifespan"), "it was not asked:\n{log}");
    is_refused("raises_at_once", ["--lifespan", "on"], &["Traceback", "knows no lifespan"]);
}

/// The contract wants it served; but it had been told to start, so that this is no ignorance but a mistake, and is shown in full.
#[test]
fn an_application_that_raises_in_its_startup_is_served_and_shown() {
    let log = is_served("raises_in_startup", []);
    says(&log, &["ERROR", "Traceback", "no such database", "raises_in_startup", "--lifespan on"]);
    is_refused("raises_in_startup", ["--lifespan", "on"], &["Traceback", "no such database"]);
}

/// Found by this test: it was served as if nothing had been.
#[test]
fn an_application_that_leaves_the_process_in_its_startup_is_not_served() {
    for lifespan in ["auto", "on"] {
        is_refused("leaves_in_startup", ["--lifespan", lifespan], &["start-up", "SystemExit: 7"]);
    }
}

#[test]
fn an_application_that_returns_without_a_word() {
    is_served("returns_at_once", []);
    is_refused("returns_at_once", ["--lifespan", "on"], &["without completing the start-up"]);
}

#[test]
fn a_startup_without_an_end() {
    is_refused("hangs_in_startup", ["--boot-timeout", "1"], &["not ready"]);
}

/// Who wants no shutdown need not wait for it.
#[test]
fn an_application_that_returns_after_its_startup() {
    let log = is_served("returns_after_startup", ["--lifespan", "on"]);
    assert!(!log.contains("shutdown failed"), "{log}");
}

#[test]
fn a_shutdown_that_goes_wrong_is_shown_and_over() {
    let log = is_served("raises_in_shutdown", []);
    says(&log, &["shutdown failed", "Traceback", "the pool is gone"]);
    let log = is_served("fails_shutdown", []);
    says(&log, &["shutdown failed", "the queue was not empty"]);
    let log = is_served("hangs_in_shutdown", ["--graceful-timeout", "1"]);
    says(&log, &["shutdown failed", "TimeoutError"]);
}
