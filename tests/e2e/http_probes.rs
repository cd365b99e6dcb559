//! Promise: HTTP/1.1 as the standards ask, where other servers guess. The probes are those on which uvicorn, hypercorn and daphne
//! were found wrong; here they are sent to a Python application behind the whole product.

use std::io;

use harness::{
    Machine, Python, Server,
    http::{Connection, Reply, Request},
};

use crate::guest;

/// Sends bytes and reads one reply.
fn probe(server: &Server, bytes: &[u8]) -> io::Result<Reply> {
    let mut connection = Connection::open(server.address())?;
    connection.send(bytes)?;
    connection.receive("GET")
}

fn start(machine: &Machine) -> Option<Server> {
    let python = Python::default_one()?;
    Some(guest::plain(machine, &python, 1).start())
}

#[test]
fn malformed_heads_are_refused() {
    let machine = Machine::shared();
    let Some(server) = start(&machine) else { return };
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(100_000));
    let long_header = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(200_000));
    let many_headers = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: b\r\n".repeat(3_000));
    let probes: [(&str, &[u8], &[u16]); 21] = [
        ("no Host", b"GET / HTTP/1.1\r\n\r\n", &[400]),
        ("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[400]),
        (
            "Content-Length and Transfer-Encoding",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400],
        ),
        ("two lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", &[400]),
        ("a signed length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", &[400]),
        ("an unknown coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", &[400, 501]),
        ("chunked in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
        ("bare LF", b"GET / HTTP/1.1\nHost: a\n\n", &[400]),
        ("a folded header", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n  c\r\n\r\n", &[400]),
        ("space before the colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", &[400]),
        ("NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n", &[400]),
        ("bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n", &[400]),
        ("a bad chunk size", b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", &[400]),
        ("a chunk without its CRLF", b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", &[400]),
        ("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", &[400, 405, 501]),
        ("HTTP/2.0 in words", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", &[400, 505]),
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", &[400]),
        ("a path in Host", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", &[400]),
        ("a target of 100 KB", long_target.as_bytes(), &[414]),
        ("a header of 200 KB", long_header.as_bytes(), &[431]),
        ("3000 headers", many_headers.as_bytes(), &[431]),
    ];
    for (what, bytes, statuses) in probes {
        let reply = probe(&server, bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(statuses.contains(&reply.status), "{what}: {} {}", reply.status, reply.text());
    }
    let metrics = server.metrics();
    assert!(
        metrics.sum("supervise_http_requests_rejected_total", &[]) >= 20.0,
        "refusals are counted: {}",
        metrics.text
    );
    server.stop();
}

#[test]
fn a_smuggled_request_is_never_served() {
    let machine = Machine::shared();
    let Some(server) = start(&machine) else { return };
    let mut connection = Connection::open(server.address()).expect("a connection");
    let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n";
    connection.send(bytes).expect("sent");
    assert_eq!(connection.receive("POST").expect("a refusal").status, 400);
    let rest = connection.receive_to_end().expect("then the end");
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    server.stop();
}

#[test]
fn well_formed_rarities_are_served() {
    let machine = Machine::shared();
    let Some(server) = start(&machine) else { return };
    for (what, bytes) in [
        ("absolute form", &b"GET http://example.org/ HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
        ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an unknown method", b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("HTTP/1.0 without Host", b"GET / HTTP/1.0\r\n\r\n"),
        ("an empty line first", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        let reply = probe(&server, bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(reply.status, 200, "{what}: {}", reply.text());
    }
    server.stop();
}

#[test]
fn replies_to_old_clients_end_with_the_connection() {
    let machine = Machine::shared();
    let Some(server) = start(&machine) else { return };
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.send(b"GET /stream?parts=3&ms=1 HTTP/1.0\r\n\r\n").expect("sent");
    let all = connection.receive_to_end().expect("the end");
    let text = String::from_utf8_lossy(&all).into_owned();
    assert!(!text.to_ascii_lowercase().contains("transfer-encoding"), "{text}");
    assert!(text.ends_with("\r\n\r\n000000000\n000000001\n000000002\n"), "{text}");
    // With a length and the wish to keep it, the connection is kept.
    let mut connection = Connection::open(server.address()).expect("a connection");
    for _ in 0..2 {
        connection.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").expect("sent");
        assert_eq!(connection.receive("GET").expect("an answer").status, 200);
    }
    server.stop();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let machine = Machine::shared();
    let Some(server) = start(&machine) else { return };
    let mut connection = Connection::open(server.address()).expect("a connection");
    let mut bytes = Vec::new();
    for id in 1..=20 {
        let delay = if id % 3 == 0 { "/sleep?ms=20" } else { "/" };
        bytes.extend_from_slice(
            format!("GET {delay} HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\n\r\n").as_bytes(),
        );
    }
    connection.send(&bytes).expect("sent");
    for id in 1..=20 {
        let reply = connection.receive("GET").expect("an answer");
        assert!(reply.text().starts_with(&format!("{id} ")), "{id}: {}", reply.text());
    }
    server.stop();
}

#[test]
fn a_body_is_asked_for_only_when_the_application_reads_it() {
    let machine = Machine::shared();
    let Some(server) = start(&machine) else { return };
    let head = |target: &str| {
        format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    };
    let mut reads = Connection::open(server.address()).expect("a connection");
    reads.send(head("/upload").as_bytes()).expect("sent");
    reads.receive_until(b"HTTP/1.1 100 Continue\r\n\r\n").expect("the body is asked for");
    reads.send(b"hello").expect("sent");
    assert!(reads.receive("POST").expect("an answer").text().starts_with("5 "));

    let mut ignores = Connection::open(server.address()).expect("a connection");
    ignores.send(head("/").as_bytes()).expect("sent");
    ignores.receive_until(b"HTTP/1.1 ").expect("a reply");
    let reply = ignores.receive("POST").expect("an answer");
    assert_eq!(reply.status, 200);
    server.stop();
}

#[test]
fn replies_without_a_body_have_none() {
    let machine = Machine::shared();
    let Some(server) = start(&machine) else { return };
    let mut connection = Connection::open(server.address()).expect("a connection");
    for target in ["/", "/stream?parts=3&ms=1"] {
        connection.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("sent");
        assert_eq!(connection.receive("HEAD").expect("a head").status, 200);
        // The same connection must be in step: a body that leaked would be taken for the next reply.
        let reply = connection.request(&Request::get("/")).expect("in step");
        assert_eq!(reply.status, 200);
    }
    server.stop();
}

#[test]
fn an_application_that_fails_is_answered_for() {
    let machine = Machine::shared();
    let Some(server) = start(&machine) else { return };
    let reply = probe(&server, b"GET /fail HTTP/1.1\r\nHost: a\r\n\r\n").expect("an answer");
    assert_eq!(reply.status, 500);
    assert!(!reply.text().contains("Traceback"), "no secrets in the reply: {}", reply.text());
    assert!(server.log.has_line("this route always fails"), "the traceback is in the log");
    assert!(server.log.has_line("Traceback"));
    server.stop();
}
