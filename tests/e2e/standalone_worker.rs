//! Promise: a worker runs alone too, for pods that manage themselves: it binds, serves and stops by signals without a supervisor.

use std::time::Duration;

use harness::{Guest, Machine, Program, Python, Server, http, processes::Signal};

fn serves_and_stops(mut server: Server, target: &str, signal: Signal) {
    assert_eq!(http::get(server.address(), target).expect("an answer").status, 200);
    server.signal(signal);
    assert_eq!(server.wait_for_exit(Duration::from_secs(10)).code(), Some(0), "{signal}");
}

#[test]
fn the_welcome_app() {
    let machine = Machine::shared();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        serves_and_stops(machine.server().program(Program::Worker).spawn(), "/healthz", signal);
    }
}

#[test]
fn a_python_app() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let server = machine.server().program(Program::Worker).guest(Guest::PLAIN, &python);
        serves_and_stops(server.arguments(["app:app"]).spawn(), "/", signal);
    }
}
