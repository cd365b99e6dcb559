//! Promise: with --shutdown-delay a stop is told before it begins: /readyz says so at once, while every request is served as before; a
//! balancer that looks there loses none.

use std::time::{Duration, Instant};

use harness::{
    Machine, Python, Server, http,
    http::{Connection, Request},
    load::Load,
    processes::Signal,
    wait_until,
};

use crate::guest;

const SOON: Duration = Duration::from_secs(10);

fn readiness(server: &Server) -> u16 {
    http::get(server.metrics_address(), "/readyz").expect("an answer").status
}

fn start(machine: &Machine, python: &Python, delay: &str) -> Server {
    guest::plain(machine, python, 2).arguments(["--shutdown-delay", delay]).start()
}

fn leave_under_load(load: impl FnOnce(Load) -> Load) {
    const DELAY: Duration = Duration::from_secs(4);
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let mut server = start(&machine, &python, "4s");
    let load = load(Load::new(server.address())).start();
    load.wait_for_answers(500);
    assert_eq!(readiness(&server), 200);
    let told_at = Instant::now();
    server.signal(Signal::SIGTERM);
    wait_until("readiness to end", Duration::from_secs(2), || readiness(&server) == 503);
    assert_eq!(http::get(server.metrics_address(), "/healthz").expect("an answer").status, 200);
    // What a balancer does that has looked: nothing new after a while.
    load.wait_for_answers(500);
    let report = load.stop();
    println!("{report}");
    report.assert_nothing_lost(1_000);
    assert!(told_at.elapsed() < DELAY, "the load outlasted the delay: nothing was proven");
    assert_eq!(server.workers().len(), 2, "nobody leaves before the delay is over");
    assert_eq!(http::get(server.address(), "/").expect("an answer").status, 200);
    assert_eq!(server.wait_for_exit(Duration::from_secs(15)).code(), Some(0));
    assert!(told_at.elapsed() >= DELAY, "it ended after {:?}", told_at.elapsed());
}

#[test]
fn kept_connections_lose_nothing() {
    leave_under_load(|load| load);
}

#[test]
fn new_connections_lose_nothing() {
    leave_under_load(Load::with_new_connections);
}

#[test]
fn a_second_signal_cuts_it_short_and_answers_what_is_under_way() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    for second in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = start(&machine, &python, "1h");
        server.signal(Signal::SIGTERM);
        wait_until("readiness to end", SOON, || readiness(&server) == 503);
        let mut connection = Connection::open(server.address()).expect("a connection");
        connection.send(&Request::get("/stream?parts=20&ms=25").bytes()).expect("sent");
        connection.receive_until(b"000000001").expect("the reply began");
        server.signal(Signal::SIGHUP);
        let _ = server.log.wait_for_line("SIGHUP is ignored: the program stops", SOON);
        server.signal(second);
        assert_eq!(connection.receive("GET").expect("the whole reply").body.len(), 200, "{second}");
        assert_eq!(server.wait_for_exit(SOON).code(), Some(0), "{second}");
    }
}

#[test]
fn a_quick_stop_does_not_wait() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let mut server = start(&machine, &python, "1h");
        server.signal(signal);
        assert_eq!(server.wait_for_exit(SOON).code(), Some(0), "{signal}");
    }
}
