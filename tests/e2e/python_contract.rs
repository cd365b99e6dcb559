//! Promise: in a worker, asyncio, anyio, threads, signals, context variables and the ASGI contract behave as everywhere else, on
//! every Python and on both event loops.

use std::time::Duration;

use harness::{
    Guest, Machine, Program, Python, Server, http,
    http::{Connection, Request},
    processes::Signal,
    wait_until,
};

fn start(machine: &Machine, python: &Python, event_loop: &str) -> Server {
    let server = machine.server().program(Program::Worker).guest(Guest::COMPAT, python);
    server.arguments(["app:app", "--loop", event_loop]).spawn()
}

/// Runs `case` against the application on both loops, and stops the worker in good order.
fn on_both_loops(python: &Python, case: impl Fn(&Server)) {
    let machine = Machine::shared();
    for event_loop in ["asyncio", "uvloop"] {
        let mut server = start(&machine, python, event_loop);
        case(&server);
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait_for_exit(Duration::from_secs(15)).code(), Some(0), "{event_loop}");
        let said = server.stdout.text() + &server.log.text();
        assert!(said.contains("the application was shut down"), "{event_loop}:\n{said}");
    }
}

#[test]
fn every_check_passes_on_every_python() {
    for python in Python::one_of_each_version() {
        on_both_loops(&python, |server| {
            let names = http::get(server.address(), "/checks").expect("an answer").text();
            assert!(names.lines().count() > 15, "{names}");
            let mut connection = Connection::open(server.address()).expect("a connection");
            // Twice on one connection: what the first leaves behind must not reach the second.
            for name in names.lines().chain(names.lines()) {
                let reply = connection.request(&Request::get(&format!("/check/{name}"))).expect("an answer");
                assert_eq!(
                    (reply.status, reply.text().as_str()),
                    (200, "ok"),
                    "{name} on Python {:?}",
                    python.version
                );
            }
        });
    }
}

#[test]
fn pipelined_requests_share_no_context() {
    let Some(python) = Python::default_one() else { return };
    on_both_loops(&python, |server| {
        let mut connection = Connection::open(server.address()).expect("a connection");
        let requests: Vec<u8> =
            (0..4).flat_map(|_| Request::get("/check/context_is_fresh").bytes()).collect();
        connection.send(&requests).expect("sent");
        for _ in 0..4 {
            let reply = connection.receive("GET").expect("an answer");
            assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
        }
    });
}

/// Waits until the application noted this event.
fn wait_for_event(server: &Server, event: &str) {
    wait_until(&format!("the event {event:?}"), Duration::from_secs(10), || {
        http::get(server.address(), "/events").expect("an answer").text().contains(event)
    });
}

#[test]
fn an_application_learns_that_its_client_left() {
    let Some(python) = Python::default_one() else { return };
    on_both_loops(&python, |server| {
        for target in ["/endless", "/idle", "/poll_disconnect", "/raw_disconnect"] {
            let mut connection = Connection::open(server.address()).expect("a connection");
            connection.send(&Request::get(target).bytes()).expect("sent");
            wait_for_event(server, "begun");
            drop(connection);
            wait_for_event(server, "ended");
        }
    });
}

#[test]
fn an_application_that_fails_is_answered_for() {
    let Some(python) = Python::default_one() else { return };
    on_both_loops(&python, |server| {
        let get = |how: &str| http::get(server.address(), &format!("/misbehave/{how}"));
        for how in ["return_nothing", "raise_before", "raise_base", "raise_after_start"] {
            assert_eq!(get(how).expect("an answer").status, 500, "{how}");
        }
        let fine = get("fine").expect("an answer");
        assert_eq!((fine.status, fine.text().as_str()), (200, "abcd"));
        // The head is out: only a broken connection tells the client that this is not all.
        for how in ["raise_in_body", "too_long"] {
            assert!(get(how).is_err(), "{how} ended as if it were whole");
        }
        wait_until("the tracebacks in the log", Duration::from_secs(5), || {
            let log = server.log.text();
            log.matches("ValueError: on purpose").count() >= 3 && log.contains("SystemExit: 7")
        });
    });
}

#[test]
fn bodies_stream_both_ways() {
    let Some(python) = Python::default_one() else { return };
    on_both_loops(&python, |server| {
        let streamed = http::get(server.address(), "/stream").expect("an answer");
        assert_eq!(streamed.text(), "piece 0\npiece 1\npiece 2\npiece 3\npiece 4\n");
        assert_eq!(streamed.header("x-middleware"), Some("seen"));
        let body = vec![b'z'; 3_000_000];
        let mut connection = Connection::open(server.address()).expect("a connection");
        let request = Request { method: "POST", body: &body, ..Request::get("/length") };
        assert_eq!(connection.request(&request).expect("an answer").text(), "3000000");
    });
}
