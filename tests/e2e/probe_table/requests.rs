//! Rows of the probe table about requests: what is refused, and what the application is shown.

use harness::Server;

use super::{all_for, refused, reply_to};

pub(super) fn hosts(server: &Server) {
    refused(server, b"GET / HTTP/1.1\r\n\r\n", &[400]);
    refused(server, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[400]);
}

pub(super) fn length_and_encoding(server: &Server) {
    let both =
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    refused(server, both, &[400]);
}

pub(super) fn lengths(server: &Server) {
    let with = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\nhello").into_bytes();
    refused(server, &with("Content-Length: 5\r\nContent-Length: 6\r\n"), &[400]);
    refused(server, &with("Content-Length: +5\r\n"), &[400]);
    refused(server, &with("Transfer-Encoding: xchunked\r\n"), &[400, 501]);
}

pub(super) fn chunked_in_http_1_0(server: &Server) {
    refused(server, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]);
}

pub(super) fn lines(server: &Server) {
    refused(server, b"GET / HTTP/1.1\nHost: a\n\n", &[400]);
    refused(server, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", &[400]);
    refused(server, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", &[400]);
    refused(server, b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", &[400]);
    // The bytes at which Python's splitlines() splits.
    for byte in ["\u{b}", "\u{c}", "\u{1c}", "\u{1d}", "\u{1e}"] {
        refused(server, format!("GET / HTTP/1.1\r\nHost: a\r\nX: y{byte}Z: w\r\n\r\n").as_bytes(), &[400]);
    }
}

pub(super) fn sizes(server: &Server) {
    let head = |target: &str, fields: &str| {
        format!("GET /{target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
    };
    refused(server, &head("", &format!("X: {}\r\n", "y".repeat(200_000))), &[431]);
    refused(server, &head("", &"X: y\r\n".repeat(3_000)), &[431]);
    refused(server, &head(&"x".repeat(100_000), ""), &[414]);
}

pub(super) fn absolute_form(server: &Server) {
    let (reply, _) = reply_to(server, b"GET http://b/show/x?q HTTP/1.1\r\nHost: a\r\n\r\n");
    let seen = reply.text();
    assert!(seen.contains(r#""path": "/show/x""#) && seen.contains(r#""raw_path": "/show/x""#), "{seen}");
    assert!(seen.contains(r#""query": "q""#) && seen.contains(r#"[["host", "b"]]"#), "{seen}");
}

pub(super) fn options_and_connect(server: &Server) {
    let (reply, _) = reply_to(server, b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains(r#""path": "*""#), "{}", reply.text());
    refused(server, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", &[400, 405, 501]);
}

pub(super) fn upload_with_trailer(server: &Server) {
    let upload = b"POST /show HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\nX-Trailer: y\r\n\r\n";
    let all = all_for(server, upload);
    assert!(all.contains(r#""body": "hello""#) && !all.contains("x-trailer"), "{all}");
}
