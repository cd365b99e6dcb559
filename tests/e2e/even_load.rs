//! Promise: connections spread evenly over the workers, with no router process in between. The kernel alone gives most of them to
//! one worker (1079, 237, 165 and 19 of 1,500, measured).

use std::collections::BTreeMap;

use harness::{Machine, Python, Server, http};

use crate::guest;

const WORKERS: u32 = 4;
/// No worker may have more than so many times its fair share.
const MOST: f64 = 1.25;

/// Which process answered: it says its id last.
fn answered_by(reply: &http::Reply) -> u32 {
    let text = reply.text();
    assert_eq!(reply.status, 200, "{text}");
    text.split_whitespace()
        .last()
        .and_then(|pid| pid.parse().ok())
        .unwrap_or_else(|| panic!("no process id in {text:?}"))
}

fn assert_even(what: &str, answers: &BTreeMap<u32, u32>) {
    let fair_share = f64::from(answers.values().sum::<u32>()) / f64::from(WORKERS);
    let most = answers.values().copied().max().unwrap_or_default();
    assert!(f64::from(most) <= MOST * fair_share, "{what}: connections by process: {answers:?}");
}

/// Connections that come one after the other, each for one request; then such that stay.
fn spreads_evenly(server: Server, target: &str) {
    let mut answers = BTreeMap::new();
    for _ in 0..400 {
        let reply = http::get(server.address(), target).expect("an answer");
        *answers.entry(answered_by(&reply)).or_default() += 1;
    }
    assert_even("one after the other", &answers);

    let mut answers = BTreeMap::new();
    let kept: Vec<_> = (0..200)
        .map(|_| {
            let mut connection = http::Connection::open(server.address()).expect("a connection");
            let reply = connection.request(&http::Request::get(target)).expect("an answer");
            *answers.entry(answered_by(&reply)).or_default() += 1;
            connection
        })
        .collect();
    assert_even("kept open", &answers);
    drop(kept);
    server.stop();
}

#[test]
fn over_native_workers() {
    let machine = Machine::alone();
    let program = harness::product_directory().join("examples/axum");
    let program = program.to_str().expect("a path of text");
    let server = machine.server().arguments(["--workers", &WORKERS.to_string(), program]).start();
    spreads_evenly(server, "/pid");
}

#[test]
fn over_python_workers() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    spreads_evenly(guest::plain(&machine, &python, WORKERS).start(), "/");
}
