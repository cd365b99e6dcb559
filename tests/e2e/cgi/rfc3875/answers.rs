//! The clauses about what a program answers (RFC 3875 §5, §6), and about what it must not be able to do (§3.1).

use harness::{
    Server,
    http::{Connection, Reply, Request},
};

use super::shown;
use crate::cgi::{get, post, put};

/// The answer of a program that answers `output`.
fn raw(server: &Server, output: &str) -> Reply {
    post(server, "/raw.sh", output.as_bytes())
}

pub(super) fn broken_programs(server: &Server) {
    for output in ["", "no header at all", "no header\n\nbody", "Content-Type: text/plain\nStatus: 99\n\n"] {
        let reply = raw(server, output);
        assert_eq!(reply.status, 502, "{output:?}");
        assert!(!reply.body.is_empty());
    }
    assert_eq!(get(server, "/no-interpreter.sh").status, 500);
    let too_long = raw(server, &format!("Content-Type: text/plain\nX: {}\n\n", "x".repeat(70_000)));
    assert_eq!(too_long.status, 502);
    // More body than announced, and less: never passed on as if it were right.
    for length in ["3", "7"] {
        let mut connection = Connection::open(server.address()).expect("a connection");
        let output = format!("Content-Type: text/plain\nContent-Length: {length}\n\nhello");
        let request = Request { method: "POST", target: "/raw.sh", headers: &[], body: output.as_bytes() };
        connection.send(&request.bytes()).expect("sent");
        let reply = connection.receive("POST");
        let is_whole = reply.as_ref().is_ok_and(|reply| reply.status == 200 && reply.body == b"hello");
        assert!(!is_whole, "{length}: {reply:?}");
    }
}

pub(super) fn non_parsed(server: &Server) {
    let mut connection = Connection::open(server.address()).expect("a connection");
    for _ in 0..2 {
        let output = b"HTTP/1.0 299 Odd\r\nX-Own: 1\r\nConnection: close\r\n\r\nbytes \x00\xff as they are";
        let request = Request { method: "POST", target: "/nph-raw.sh", headers: &[], body: output };
        let reply = connection.request(&request).expect("an answer");
        assert_eq!((reply.status, reply.header("x-own")), (299, Some("1")));
        assert_eq!(reply.body, b"bytes \x00\xff as they are");
    }
    assert_eq!(post(server, "/nph-raw.sh", b"Content-Type: a/b\n\n").status, 502);
}

pub(super) fn document(server: &Server) {
    let reply = raw(server, "Content-Type: text/x-own\n\nbody");
    assert_eq!(
        (reply.status, reply.header("content-type"), reply.text().as_str()),
        (200, Some("text/x-own"), "body")
    );
    assert!(reply.header("date").is_some() && reply.header("server").is_some(), "what HTTP wants besides");
}

pub(super) fn local_redirect(server: &Server) {
    let variables = shown(&raw(server, "Location: /deeper/show.sh/x?y=z\n\n"));
    assert_eq!(variables["REQUEST_METHOD"], "GET");
    assert_eq!((variables["PATH_INFO"].as_str(), variables["QUERY_STRING"].as_str()), ("/x", "y=z"));
    assert_eq!(variables.get("CONTENT_LENGTH"), None);
    assert_eq!(raw(server, "Location: /none\n\n").status, 404);
    assert_eq!(raw(server, "Location: /../etc/passwd\n\n").status, 400);
}

pub(super) fn local_redirect_circle(server: &Server) {
    let target = "/circle.sh";
    put(&server.directory().join("cgi-bin/circle.sh"), b"#!/bin/sh\nprintf 'Location: /circle.sh\\n\\n'\n");
    assert_eq!(get(server, target).status, 502);
}

pub(super) fn client_redirect(server: &Server) {
    let reply = raw(server, "Location: http://example.org/a?b#c\n\n");
    assert_eq!((reply.status, reply.header("location")), (302, Some("http://example.org/a?b#c")));
    assert_eq!(
        raw(server, "Location: http://example.org/\n\n\n").status,
        302,
        "a body without a type is no fault here"
    );
}

pub(super) fn client_redirect_document(server: &Server) {
    let reply =
        raw(server, "Status: 307 Elsewhere\nLocation: http://example.org/\nContent-Type: a/b\n\nmoved");
    assert_eq!((reply.status, reply.text().as_str()), (307, "moved"));
    let local = raw(server, "Status: 303 See Other\nLocation: /show.sh\n\n");
    assert_eq!(
        (local.status, local.header("location")),
        (303, Some("/show.sh")),
        "with a status it is for the client"
    );
}

pub(super) fn cgi_fields(server: &Server) {
    for output in [
        "X-Own: 1\n\nbody",
        "Content-Type:\n\nbody",
        "Content-Type: a/b\nContent-Type: a/b\n\n",
        "Status: 200\nStatus: 200\n\n",
        "Location: /a\nLocation: /b\n\n",
        "Content-Type: a/b\n continued\n\n",
        "Content-Type : a/b\n\n",
    ] {
        assert_eq!(raw(server, output).status, 502, "{output:?}");
    }
    assert_eq!(raw(server, "CONTENT-TYPE:a/b\n\nx").status, 200);
}

pub(super) fn response_content_type(server: &Server) {
    assert_eq!(raw(server, "Status: 200 OK\n\nbody").status, 502);
    let bare = raw(server, "Status: 410 Gone\n\n");
    assert_eq!((bare.status, bare.header("content-type"), bare.body.len()), (410, None, 0));
    let exact = "Text/HTML;  Charset=\"latin-1\"";
    assert_eq!(raw(server, &format!("Content-Type: {exact}\n\nx")).header("content-type"), Some(exact));
}

pub(super) fn response_status(server: &Server) {
    for status in [200, 404, 451, 599] {
        let reply = raw(server, &format!("Status: {status} Own Words\nContent-Type: a/b\n\n"));
        assert_eq!((reply.status, reply.header("status")), (status, None));
    }
    let empty = raw(server, "Status: 204 No Content\nContent-Type: a/b\n\nno body here");
    assert_eq!((empty.status, empty.body.len()), (204, 0));
    assert_eq!(raw(server, "Status: 101 Switching\n\n").status, 502);
}

pub(super) fn protocol_fields(server: &Server) {
    let output = "Content-Type: a/b\nETag: \"x\"\nSet-Cookie: a=1\nSet-Cookie: b=2\nTransfer-Encoding: chunked\nConnection: close\n\
                  Keep-Alive: x\nUpgrade: y\n\nbody";
    let mut connection = Connection::open(server.address()).expect("a connection");
    for _ in 0..2 {
        let request = Request { method: "POST", target: "/raw.sh", headers: &[], body: output.as_bytes() };
        let reply =
            connection.request(&request).expect("the connection goes on, whatever a program says of it");
        assert_eq!((reply.header("etag"), reply.text().as_str()), (Some("\"x\""), "body"));
        let cookies =
            reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).count();
        assert_eq!(cookies, 2);
        assert_eq!(
            (reply.header("keep-alive"), reply.header("upgrade"), reply.header("connection")),
            (None, None, None)
        );
    }
}

pub(super) fn extension_fields(server: &Server) {
    assert_eq!(raw(server, "Content-Type: a/b\nX-CGI-A: 1\n\n").header("x-cgi-a"), None);
}

pub(super) fn response_body(server: &Server) {
    let body: String = (0..400_000).map(|number| char::from(b'a' + (number % 26) as u8)).collect();
    assert_eq!(raw(server, &format!("Content-Type: a/b\n\n{body}")).text(), body);
    // Both ways at once: what was sent is answered before the rest is sent.
    let mut connection = Connection::open(server.address()).expect("a connection");
    let head = b"POST /echo_lines.sh HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\none\n";
    connection.send(head).expect("sent");
    connection.receive_until(b"got one").expect("the first line's answer");
    connection.send(b"two\n").expect("sent");
    assert_eq!(connection.receive("POST").expect("an answer").text(), "got one\ngot two\n");
}
