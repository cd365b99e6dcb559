//! Promise: every limit holds, is counted by its reason, and turns nobody away who could still be served: connections beyond the bound
//! wait, requests beyond it wait in a bounded queue, and only then is a client told when to come again.

use std::time::Duration;

use harness::{
    Guest, Machine, Python, Server, ServerBuilder,
    http::{self, Connection, Reply, Request},
    wait_until,
};

/// Holds each request for /hold until a file `release` is there; /begin begins its reply first.
const ASGI: &str = r#"
import asyncio, os

async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/begin":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    while scope["path"] in ("/hold", "/begin") and not os.path.exists("release"):
        await asyncio.sleep(0.01)
    if scope["path"] != "/begin":
        await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})
"#;

const WSGI: &str = r#"
import os, time

def app(environ, start_response):
    while environ["PATH_INFO"] == "/hold" and not os.path.exists("release"):
        time.sleep(0.01)
    start_response("200 OK", [("Content-Length", "4")])
    return [b"done"]
"#;

const PATIENCE: Duration = Duration::from_secs(10);

/// A server of one of the two.
fn holding<'m>(machine: &'m Machine, application: &'static str) -> Option<ServerBuilder<'m>> {
    let server = machine.server().guest(Guest::PROBE, &Python::default_one()?);
    Some(server.file("asgi_held.py", ASGI).file("wsgi_held.py", WSGI).arguments([application]))
}

fn asking(server: &Server, target: &str) -> Connection {
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.send(&Request::get(target).bytes()).expect("sent");
    connection
}

fn answer(connection: &mut Connection) -> Reply {
    connection.receive("GET").expect("an answer")
}

fn wait_for_active(server: &Server, count: f64) {
    wait_until("requests at the server", PATIENCE, || {
        server.metrics().sum("supervise_connections", &[("state", "active")]) >= count
    });
}

fn assert_counted(server: &Server, reason: &str) {
    let labels = [("reason", reason)];
    server.wait_for_metric("supervise_http_requests_rejected_total", &labels, 1.0, PATIENCE);
}

#[test]
fn requests_beyond_the_bound_wait_and_beyond_the_queue_are_told_when_to_come_again() {
    let machine = Machine::shared();
    for application in ["asgi_held:app", "wsgi_held:app"] {
        let Some(server) = holding(&machine, application) else { return };
        let server = server
            .arguments(["--limit-concurrency", "1", "--limit-queue", "1", "--queue-timeout", "60s"])
            .start();
        let mut first = asking(&server, "/hold");
        wait_for_active(&server, 1.0);
        let mut second = asking(&server, "/");
        wait_for_active(&server, 2.0);
        let refused = answer(&mut asking(&server, "/"));
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{application}");
        assert_counted(&server, "queue_full");
        assert_eq!(server.metrics().sum("supervise_http_requests_queued", &[]), 1.0, "{application}");
        server.write_file("release", "");
        assert_eq!([answer(&mut first).status, answer(&mut second).status], [200, 200], "{application}");
        assert_eq!(server.metrics().sum("supervise_http_requests_queued", &[]), 0.0, "{application}");
        server.stop();
    }
}

#[test]
fn a_request_whose_turn_does_not_come_in_time() {
    let machine = Machine::shared();
    let Some(server) = holding(&machine, "asgi_held:app") else { return };
    let server = server.arguments(["--limit-concurrency", "1", "--queue-timeout", "300ms"]).start();
    let mut first = asking(&server, "/hold");
    wait_for_active(&server, 1.0);
    let refused = answer(&mut asking(&server, "/"));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_counted(&server, "queue_timeout");
    server.write_file("release", "");
    assert_eq!(answer(&mut first).status, 200);
    server.stop();
}

#[test]
fn a_request_that_takes_too_long() {
    let machine = Machine::shared();
    let Some(server) = holding(&machine, "asgi_held:app") else { return };
    let server = server.arguments(["--request-timeout", "300ms"]).start();
    assert_eq!(answer(&mut asking(&server, "/hold")).status, 503);
    let begun = asking(&server, "/begin").receive_to_end().expect("an end");
    assert!(begun.ends_with(b"begun\r\n"), "no proper end: {}", begun.escape_ascii());
    let labels = [("reason", "request_timeout")];
    server.wait_for_metric("supervise_http_requests_rejected_total", &labels, 2.0, PATIENCE);
    wait_until("the requests in the log", PATIENCE, || {
        let log = server.log.text();
        ["GET /hold HTTP/1.1", "GET /begin HTTP/1.1"].iter().all(|line| log.contains(line))
    });
    assert_eq!(answer(&mut asking(&server, "/")).status, 200, "the worker goes on");
    // So do the two calls of the application, and a stop would wait for them.
    server.write_file("release", "");
    server.stop();
}

fn assert_equal(metric: f64, count: u32) {
    assert!((metric - f64::from(count)).abs() < 0.5, "{metric} is not {count}");
}

/// One more connection than may be open waits until one closes; a stop while one waits is in good order.
fn connections_beyond_the_bound_wait(server: Server, workers: u32) {
    let mut open: Vec<Connection> = (0..workers).map(|_| asking(&server, "/")).collect();
    for connection in &mut open {
        assert_eq!(answer(connection).status, 200, "each worker has room for one");
    }
    let mut waiting = asking(&server, "/");
    server.wait_for_metric("supervise_accept_pauses_total", &[], 1.0, PATIENCE);
    let accepted = || server.metrics().sum("supervise_connections_accepted_total", &[]);
    assert_equal(accepted(), workers);
    drop(open.pop());
    assert_eq!(answer(&mut waiting).status, 200);
    assert_equal(accepted(), workers + 1);
    let mut last = asking(&server, "/");
    drop(waiting);
    assert_eq!(answer(&mut last).status, 200);
    server.stop();
}

#[test]
fn connections_wait_for_python_workers() {
    let machine = Machine::shared();
    for application in ["asgi_held:app", "wsgi_held:app"] {
        let Some(server) = holding(&machine, application) else { return };
        let server = server.arguments(["--workers", "2", "--worker-connections", "1"]).start();
        connections_beyond_the_bound_wait(server, 2);
    }
}

#[test]
fn connections_wait_for_native_workers() {
    let machine = Machine::shared();
    let server = machine.server().arguments(["--workers", "2", "--worker-connections", "1"]).start();
    connections_beyond_the_bound_wait(server, 2);
}

#[test]
fn a_body_that_trickles() {
    let machine = Machine::shared();
    let Some(server) = holding(&machine, "asgi_held:app") else { return };
    let server = server.arguments(["--min-body-rate", "1KiB"]).start();
    let mut slow = Connection::open(server.address()).expect("a connection");
    slow.send(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc").expect("sent");
    assert_eq!(answer(&mut slow).status, 408);
    assert_counted(&server, "body_too_slow");
    // The application goes on, and a stop would wait for it.
    server.write_file("release", "");
    server.stop();
}

#[test]
fn sizes_are_counted_each_by_its_name() {
    let machine = Machine::shared();
    let server = machine
        .server()
        .arguments(["--limit-request-line", "100", "--limit-request-head", "1KiB"])
        .arguments(["--limit-request-body", "10"])
        .start();
    let long = "x".repeat(2_000);
    let cases = [
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414, "request_line_too_long"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431, "header_too_large"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n".to_owned(), 413, "body_too_large"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "bad_request"),
    ];
    for (request, status, reason) in cases {
        let mut connection = Connection::open(server.address()).expect("a connection");
        connection.send(request.as_bytes()).expect("sent");
        assert_eq!(answer(&mut connection).status, status, "{reason}");
        assert_counted(&server, reason);
    }
    server.stop();
}

#[test]
fn options_of_websockets_are_idle_for_wsgi_and_said_to_be() {
    let machine = Machine::shared();
    let Some(server) = holding(&machine, "wsgi_held:app") else { return };
    let server = server.arguments(["--ws-max-size", "1MiB"]).start();
    assert_eq!(http::get(server.address(), "/").expect("an answer").status, 200);
    assert!(server.log.text().contains("the --ws options have no effect"), "{}", server.log.text());
    server.stop();
}
