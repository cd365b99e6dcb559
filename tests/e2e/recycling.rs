//! Promise: a worker that has answered enough requests, served long enough or holds too much memory is replaced by one that is ready
//! before it leaves: nothing is lost and no capacity is missing. One that holds far too much is not waited for.

use std::time::Duration;

use harness::{
    Machine, Python, Server, http,
    http::{Connection, Reply, Request},
    load::Load,
    patient, wait_until,
};

use crate::guest;

/// A boot takes a second or two on a loaded machine.
const SOON: Duration = Duration::from_secs(40);

fn replaced(server: &Server, reason: &str, at_least: f64) {
    server.wait_for_metric("supervise_worker_restarts_total", &[("reason", reason)], at_least, patient(SOON));
}

/// Asks for `target` on a connection of its own, and says which process answered.
fn pid_of(server: &Server, target: &str) -> u32 {
    answerer(&http::get(server.address(), target).expect("an answer"))
}

/// Which process gave this answer.
fn answerer(reply: &Reply) -> u32 {
    reply.text().split_whitespace().last().and_then(|pid| pid.parse().ok()).expect("a process id")
}

#[test]
fn max_requests_at_full_load_loses_nothing_and_no_capacity() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 3)
        .arguments(["--max-requests", "200", "--max-requests-jitter", "50"])
        .start();
    let first = guest::pids(&server);
    let load = Load { concurrency: 32, ..Load::new(server.address()) }.start();
    let mut fewest = f64::INFINITY;
    wait_until("each worker replaced twice", patient(SOON), || {
        fewest = fewest.min(server.ready_workers());
        server.restarts("max_requests") >= 6.0
    });
    let report = load.stop();
    report.assert_nothing_lost(600);
    assert!(fewest >= 3.0, "only {fewest} workers were ready at a time");
    assert_eq!(server.restarts(""), server.restarts("max_requests"), "no other reason");
    wait_until("the end of the first workers", patient(SOON), || {
        guest::pids(&server).iter().all(|pid| !first.contains(pid))
    });
    assert!(server.log.has_line("requests (--max-requests)"), "the log says why:\n{}", server.log.text());
    server.stop();
}

#[test]
fn max_lifetime_replaces_an_idle_fleet_too() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 2)
        .arguments(["--max-lifetime", "2s", "--max-lifetime-jitter", "1s"])
        .start();
    replaced(&server, "max_lifetime", 3.0);
    assert!(server.ready_workers() >= 2.0);
    assert!(server.log.has_line("(--max-lifetime)"), "the log says why:\n{}", server.log.text());
    server.stop();
}

#[test]
fn max_memory_lets_the_worker_finish() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 2).arguments(["--max-memory", "150MiB"]).start();
    let before = guest::pids(&server);
    let mut held = Connection::open(server.address()).expect("a connection");
    let heavy = answerer(&held.request(&Request::get("/hold?mib=200")).expect("an answer"));
    // In flight from before the worker is found out until after its successor is ready.
    held.send(&Request::get("/sleep?ms=6000").bytes()).expect("sent");
    replaced(&server, "max_memory", 1.0);
    let finished = held.receive("GET").expect("the request in flight is answered").text();
    assert!(finished.contains(&heavy.to_string()), "by the same worker: {finished}");
    wait_until("the end of the heavy worker", patient(SOON), || !guest::pids(&server).contains(&heavy));
    let after = guest::pids(&server);
    assert_eq!(before.iter().filter(|pid| after.contains(pid)).count(), 1, "its sibling stays: {after:?}");
    assert!(server.log.has_line("MiB (--max-memory)"), "the log says why:\n{}", server.log.text());
    assert_eq!(server.restarts(""), 1.0);
    server.stop();
}

#[test]
fn max_memory_hard_waits_for_nobody() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 2)
        .arguments(["--max-memory", "120MiB", "--max-memory-hard", "150MiB"])
        .start();
    let mut held = Connection::open(server.address()).expect("a connection");
    held.send(&Request::get("/hold?mib=200&ms=60000").bytes()).expect("sent");
    replaced(&server, "max_memory_hard", 1.0);
    assert!(held.receive("GET").is_err(), "its request went down with it");
    server.wait_for_ready_workers(2);
    let log = server.log.text();
    assert!(log.contains("(--max-memory-hard): it is ended at once"), "{log}");
    assert!(log.contains("/hold?mib=200&ms=60000"), "the request in flight is named:\n{log}");
    assert!(pid_of(&server, "/") > 0);
    server.stop();
}
