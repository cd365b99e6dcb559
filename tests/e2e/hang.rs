//! Promise: a hung worker is found in time, explained (request and Python stack) and replaced while its siblings serve; a worker that
//! is busy but lives is never killed.

use std::time::{Duration, Instant};

use harness::{
    Machine, Python, Server, http,
    http::{Connection, Request},
    patient,
    processes::{Signal, send_signal},
    wait_until,
};

use crate::guest;

/// The longest silence until it must be found, with `--timeout 2`: that, and two heartbeats (a third of the timeout each).
const FOUND_WITHIN: Duration = Duration::from_millis(2_000 + 2 * 667);

fn start(machine: &Machine, python: &Python) -> Server {
    guest::plain(machine, python, 2).arguments(["--timeout", "2"]).start()
}

/// Waits for `evidence` in the log, with requests to the siblings all the while; how long that took.
fn found_after(server: &Server, evidence: &str) -> Duration {
    let begun = Instant::now();
    let mut served = 0;
    wait_until(&format!("{evidence:?} in the log"), FOUND_WITHIN * 3, || {
        let answer = http::get(server.address(), "/").expect("a sibling answers");
        assert_eq!(answer.status, 200);
        served += 1;
        server.log.has_line(evidence)
    });
    let took = begun.elapsed();
    println!("found after {took:?}; siblings served {served} requests meanwhile");
    assert!(served > 10, "siblings served {served}");
    took
}

/// The worker is replaced, for the right reason, and the replacement serves.
fn is_replaced(server: &Server, hung: u32) {
    server.wait_for_metric(
        "supervise_worker_restarts_total",
        &[("reason", "heartbeat")],
        1.0,
        Duration::from_secs(10),
    );
    server.wait_for_ready_workers(2);
    wait_until("the end of the hung worker", Duration::from_secs(10), || {
        !guest::pids(server).contains(&hung)
    });
    assert_eq!(server.restarts(""), 1.0);
}

/// Hangs one worker by a request to `route`; the Python function where it hangs must be named.
fn is_found_and_explained(route: &str, function: &str) {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = start(&machine, &python);
    let mut connection = Connection::open(server.address()).expect("a connection");
    let pid = connection.request(&Request::get("/")).expect("an answer").text();
    let pid: u32 =
        pid.split_whitespace().last().and_then(|word| word.parse().ok()).expect("the worker's pid");
    connection.send(&Request::get(route).bytes()).expect("sent");
    let took = found_after(&server, function);
    assert!(took <= patient(FOUND_WITHIN), "found after {took:?}");
    assert!(server.log.has_line(&format!("GET {route}")), "the request line is in the log");
    assert!(server.log.has_line("app.py"), "the stack names the file");
    is_replaced(&server, pid);
    server.stop();
}

#[test]
fn an_async_def_that_blocks_the_loop() {
    is_found_and_explained("/block", "block_the_loop_for_ever");
}

#[test]
fn a_c_call_that_keeps_the_gil() {
    is_found_and_explained("/gil", "hold_the_gil_for_ever");
}

#[test]
fn a_stopped_process() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = start(&machine, &python);
    let victim = guest::pids(&server)[0];
    send_signal(victim, Signal::SIGSTOP);
    let took = found_after(&server, "no stack");
    assert!(took <= patient(FOUND_WITHIN), "found after {took:?}");
    is_replaced(&server, victim);
    server.stop();
}

#[test]
fn a_busy_loop_that_lives_is_not_killed() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = start(&machine, &python);
    let before = guest::pids(&server);
    let mut connection = Connection::open(server.address()).expect("a connection");
    // Busy for 9 s, over four times the timeout, 600 ms at a stretch.
    let request = Request::get("/busy?ms=600&times=15");
    connection.send(&request.bytes()).expect("sent");
    assert_eq!(connection.receive("GET").expect("an answer").status, 200);
    assert_eq!(guest::pids(&server), before);
    assert_eq!(server.restarts(""), 0.0);
    server.stop();
}
