//! Promise: when the supervisor is killed, its workers answer what they have in hand and are gone within a second, hung or not.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use harness::{
    Machine, Python, Server,
    http::{Connection, Request},
    load::Load,
    patient,
    processes::Signal,
    wait_until,
};

use crate::guest;

/// The workers' time to leave.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// Kills the supervisor and checks that all is gone in time, and the port free.
fn kill_and_expect_nothing(server: &mut Server) {
    let address = server.address();
    let killed_at = Instant::now();
    server.signal(Signal::SIGKILL);
    wait_until("the end of the workers", GONE_WITHIN, || {
        server.processes().iter().all(|process| process.pid == server.pid())
    });
    let took = killed_at.elapsed();
    println!("the workers left after {took:?}");
    let status = server.wait_for_exit(Duration::from_secs(5));
    assert_eq!(status.code(), None, "killed");
    assert!(took < patient(GONE_WITHIN), "the workers left after {took:?}");
    let listener = TcpListener::bind(address);
    assert!(listener.is_ok(), "the port is not free: {listener:?}");
}

#[test]
fn answers_in_flight_complete() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let mut server = guest::plain(&machine, &python, 2).start();
    let load = Load { concurrency: 32, ..Load::new(server.address()) }.start();
    load.wait_for_answers(500);
    let mut waiting: Vec<Connection> = Vec::new();
    for _ in 0..16 {
        let mut connection = Connection::open(server.address()).expect("a connection");
        connection.send(&Request::get("/sleep?ms=450").bytes()).expect("sent");
        waiting.push(connection);
    }
    server.wait_for_metric("supervise_http_requests_in_flight", &[], 16.0, Duration::from_millis(400));
    kill_and_expect_nothing(&mut server);
    for mut connection in waiting {
        assert_eq!(connection.receive("GET").expect("a whole answer").status, 200);
    }
    drop(load);
}

#[test]
fn hung_workers_leave_as_well() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    for route in ["/block", "/gil"] {
        let mut server = guest::plain(&machine, &python, 1).start();
        let mut connection = Connection::open(server.address()).expect("a connection");
        connection.send(&Request::get(route).bytes()).expect("sent");
        server.wait_for_metric("supervise_http_requests_in_flight", &[], 1.0, Duration::from_secs(5));
        kill_and_expect_nothing(&mut server);
    }
}

#[test]
fn native_workers_leave_as_well() {
    let machine = Machine::shared();
    let mut server = machine.server().arguments(["--workers", "2"]).start();
    kill_and_expect_nothing(&mut server);
}

#[test]
fn a_worker_that_is_still_booting_leaves_as_well() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let mut server = guest::plain(&machine, &python, 1).file("version.py", &guest::version(0, 30.0)).spawn();
    wait_until("a booting worker", Duration::from_secs(5), || !server.workers().is_empty());
    kill_and_expect_nothing(&mut server);
}
