//! Promise: a stop answers whatever was connected before it, never waits for the idle, and leaves nothing behind.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use harness::{
    Machine, Python,
    http::{Connection, Request},
    load::{FailureKind, Load},
    patient,
    processes::{Signal, children_of},
    wait_until,
};

use crate::guest;

fn stop_under_load(load: impl FnOnce(Load) -> Load) {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let mut server = guest::plain(&machine, &python, 2).start();
    let load = load(Load::new(server.address())).start();
    load.wait_for_answers(2_000);
    let told_at = Instant::now();
    server.signal(Signal::SIGTERM);
    let status = server.wait_for_exit(Duration::from_secs(15));
    let report = load.stop();
    println!("stopped after {:?}\n{report}", told_at.elapsed());
    assert_eq!(status.code(), Some(0));
    let lost = report.failures.iter().find(|failure| {
        failure.kind != FailureKind::Refused
            && failure.connected_at.is_some_and(|connected| connected <= told_at)
    });
    assert!(lost.is_none(), "a connection made before the stop was not answered: {lost:?}\n{report}");
    assert!(server.processes().is_empty(), "{:?}", server.processes());
}

#[test]
fn every_kept_connection_is_answered() {
    stop_under_load(|load| load);
}

#[test]
fn every_new_connection_is_answered() {
    stop_under_load(Load::with_new_connections);
}

#[test]
fn idle_connections_do_not_delay_it() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let mut server = guest::plain(&machine, &python, 2).start();
    let mut idle: Vec<Connection> =
        (0..50).map(|_| Connection::open(server.address()).expect("a connection")).collect();
    for connection in &mut idle {
        assert_eq!(connection.request(&Request::get("/")).expect("an answer").status, 200);
    }
    let told_at = Instant::now();
    server.signal(Signal::SIGTERM);
    let status = server.wait_for_exit(Duration::from_secs(10));
    let took = told_at.elapsed();
    println!("50 idle connections: stopped after {took:?}");
    assert_eq!(status.code(), Some(0));
    assert!(took < patient(Duration::from_secs(2)), "it took {took:?}");
    // Told properly: the end of the stream, no reset, nothing else.
    for mut connection in idle {
        assert_eq!(connection.receive_to_end().expect("a proper end"), b"");
    }
}

#[test]
fn a_reply_under_way_is_finished() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let mut server = guest::plain(&machine, &python, 1).start();
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.send(&Request::get("/stream?parts=20&ms=50").bytes()).expect("sent");
    connection.receive_until(b"000000001").expect("the reply began");
    server.signal(Signal::SIGTERM);
    let reply = connection.receive("GET").expect("the whole reply");
    assert_eq!(reply.body.len(), 200);
    assert_eq!(server.wait_for_exit(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn newcomers_are_refused_while_replies_are_finished() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let mut server = guest::plain(&machine, &python, 2).start();
    let address = server.address();
    let mut connection = Connection::open(address).expect("a connection");
    connection.send(&Request::get("/stream?parts=40&ms=50").bytes()).expect("sent");
    connection.receive_until(b"000000001").expect("the reply began");
    server.signal(Signal::SIGTERM);
    // Refused, not left waiting in a queue that nobody will ever look at.
    wait_until("a refusal", Duration::from_secs(1), || TcpStream::connect(address).is_err());
    assert_eq!(connection.receive("GET").expect("the whole reply").body.len(), 400);
    assert_eq!(server.wait_for_exit(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn it_acts_at_once_in_the_middle_of_a_reload() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let mut server = guest::plain(&machine, &python, 2).start();
    server.write_file("version.py", &guest::version(1, 20.0));
    server.signal(Signal::SIGHUP);
    wait_until("a worker of the new generation", Duration::from_secs(5), || {
        server.workers().iter().any(|worker| worker.generation == 2)
    });
    let told_at = Instant::now();
    server.signal(Signal::SIGTERM);
    let status = server.wait_for_exit(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0));
    assert!(told_at.elapsed() < patient(Duration::from_secs(2)), "it took {:?}", told_at.elapsed());
}

#[test]
fn the_graceful_timeout_ends_what_does_not_end() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let mut server = guest::plain(&machine, &python, 1).arguments(["--graceful-timeout", "1"]).start();
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.send(&Request::get("/sleep?ms=60000").bytes()).expect("sent");
    server.wait_for_metric("supervise_http_requests_in_flight", &[], 1.0, Duration::from_secs(5));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_exit(Duration::from_secs(8)).code(), Some(0));
}

#[test]
fn quick_stops_and_second_stops() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    for (first, second) in [
        (Signal::SIGINT, None),
        (Signal::SIGQUIT, None),
        (Signal::SIGTERM, Some(Signal::SIGTERM)),
        (Signal::SIGTERM, Some(Signal::SIGINT)),
    ] {
        let mut server = guest::plain(&machine, &python, 1).start();
        let mut connection = Connection::open(server.address()).expect("a connection");
        connection.send(&Request::get("/sleep?ms=60000").bytes()).expect("sent");
        server.wait_for_metric("supervise_http_requests_in_flight", &[], 1.0, Duration::from_secs(5));
        server.signal(first);
        if let Some(second) = second {
            // Two signals of one kind that are sent at once are one signal.
            let _ = server.log.wait_for_line("stopping", Duration::from_secs(5));
            server.signal(second);
        }
        let told_at = Instant::now();
        let status = server.wait_for_exit(Duration::from_secs(10));
        assert_eq!(status.code(), Some(0), "{first} {second:?}");
        let took = told_at.elapsed();
        assert!(took < patient(Duration::from_secs(5)), "{first} {second:?} took {took:?}");
        assert!(children_of(server.pid()).is_empty());
    }
}
