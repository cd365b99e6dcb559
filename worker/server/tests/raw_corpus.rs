//! Raw bytes in, raw bytes out: the limits of requests, and how the engine frames replies. What is a request at all is the business
//! of the corpus (strict_corpus.rs). Each case
//! is played in one piece and cut in two at every byte; the result must be the same.

mod support;

use support::{Rig, apps};

/// A conversation: what the client sends, what it reads, and whether the server closes.
struct Case {
    sent: String,
    received: String,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Closed,
}

fn play(pieces: &[&[u8]]) -> (String, End) {
    let mut rig = Rig::new(apps::site());
    for piece in pieces {
        rig.send(piece);
    }
    let end = if rig.wire.output_ended() { End::Closed } else { End::Open };
    // After a close the client's last bytes are read, or the reply could be lost in a reset.
    if end == End::Closed {
        assert_eq!(rig.wire.unread(), 0, "closed with unread bytes");
        rig.wire.end_input();
        rig.run();
        assert!(rig.is_closed(), "the client has closed too, but the connection lives");
    }
    (rig.received(), end)
}

fn check(case: &Case) {
    let sent = case.sent.as_bytes();
    let shown = sent.escape_ascii().to_string();
    let expected = (case.received.clone(), case.end);
    assert_eq!(play(&[sent]), expected, "{shown}");
    let step = (sent.len() / 400).max(1);
    for cut in (0..=sent.len()).step_by(step) {
        let (one, other) = sent.split_at(cut);
        assert_eq!(play(&[one, other]), expected, "{shown} cut at {cut}");
    }
    if sent.len() < 1000 {
        let bytes: Vec<&[u8]> = sent.chunks(1).collect();
        assert_eq!(play(&bytes), expected, "{shown} byte by byte");
    }
}

fn check_all(cases: impl IntoIterator<Item = (impl Into<String>, impl Into<String>, End)>) {
    for (sent, received, end) in cases {
        check(&Case { sent: sent.into(), received: received.into(), end });
    }
}

fn ok(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\nserver: supervise\r\n\r\n{body}", body.len())
}

fn ok_close(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\nserver: supervise\r\n\r\n{body}"
    )
}

fn refused(status: &str, explanation: &str) -> String {
    let reason = status.split_once(' ').map_or("", |(_, reason)| reason);
    let text = format!("{reason}: {explanation}\n");
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\nserver: supervise\r\n\r\n{text}",
        text.len()
    )
}

fn bad(explanation: &str) -> String {
    refused("400 Bad Request", explanation)
}

/// A request whose head is shown back.
fn shown(sent: &str, seen: &str) -> (String, String, End) {
    (sent.to_owned(), ok("", seen), End::Open)
}

#[test]
fn heads_reach_the_app_as_they_were_sent() {
    check_all([
        shown("GET /head HTTP/1.1\r\nHost: a\r\n\r\n", "GET /head ? Http11 None [host=a]"),
        shown("GET /head?a=b?c&d HTTP/1.1\r\nHost: a\r\n\r\n", "GET /head ?a=b?c&d Http11 None [host=a]"),
        shown("get /head? HTTP/1.1\r\nHOST:a\r\n\r\n", "get /head ? Http11 None [host=a]"),
        shown("M-SEARCH /head HTTP/1.1\r\nhost:\ta:1 \t\r\n\r\n", "M-SEARCH /head ? Http11 None [host=a:1]"),
        shown(
            "GET /head HTTP/1.1\r\nX-Two: b\r\nHost: [::1]\r\nx-two: a\r\nX-Empty:\r\nX-Empty2: \t \r\nX_Under: \"q\" \\\r\n\r\n",
            "GET /head ? Http11 None [x-two=b;host=[::1];x-two=a;x-empty=;x-empty2=;x_under=\\\"q\\\" \\\\]",
        ),
        shown(
            "GET /head HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n",
            "GET /head ? Http11 None [host=a;x=\\xc3\\xa9]",
        ),
        shown("\r\n\r\nGET /head HTTP/1.1\r\nHost: a\r\n\r\n", "GET /head ? Http11 None [host=a]"),
        shown(
            "GET /head?%C3%A9<>{}|^`\" HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /head ?%C3%A9<>{}|^`\\\" Http11 None [host=a]",
        ),
        shown("GET http://b:8/head?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET /head ?q Http11 None [host=b:8]"),
        shown(
            "GET HTTPS://b/head HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\n",
            "GET /head ? Http11 None [x=y;host=b]",
        ),
        shown(
            "GET /head HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
            "GET /head ? Http11 None [host=a;upgrade=h2c;connection=upgrade]",
        ),
        shown(
            "POST /describe HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "POST /describe ? Http11 Known(0) [host=a;content-length=0] ",
        ),
    ]);
    check_all([
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", ok("content-type: text/plain\r\n", "hello"), End::Open),
        (
            "GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n",
            ok("content-type: text/plain\r\n", "hello"),
            End::Open,
        ),
        ("GET http://b/head HTTP/1.0\r\n\r\n", ok_close("GET /head ? Http10 None [host=b]"), End::Closed),
    ]);
}

#[test]
fn other_versions_are_refused() {
    let other_versions = [
        "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/0.9\r\n\r\n",
    ];
    let explanation = "only HTTP/1.0 and HTTP/1.1 are spoken here";
    check_all(
        other_versions
            .map(|sent| (sent, refused("505 HTTP Version Not Supported", explanation), End::Closed)),
    );
}

#[test]
fn what_is_not_offered_is_refused_by_name() {
    check_all([
        (
            "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
            refused("501 Not Implemented", "CONNECT is not supported"),
            End::Closed,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: a-pony\r\n\r\n",
            refused("417 Expectation Failed", "unknown expectation"),
            End::Closed,
        ),
    ]);
}

#[test]
fn limits_are_kept() {
    let head = |filler: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(filler));
    let line_overhead = "GET / HTTP/1.1".len();
    let too_long = refused("414 URI Too Long", "request line too long");
    check_all([
        (head(8 * 1024 - line_overhead), ok("content-type: text/plain\r\n", "hello"), End::Open),
        (head(8 * 1024 - line_overhead + 1), too_long.clone(), End::Closed),
        (head(100_000), too_long.clone(), End::Closed),
        ("x".repeat(8 * 1024 + 2), too_long, End::Closed),
    ]);
    let head = |filler: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(filler));
    let overhead = head(0).len();
    let too_large = refused("431 Request Header Fields Too Large", "header fields too large");
    check_all([
        (head(64 * 1024 - overhead), ok("content-type: text/plain\r\n", "hello"), End::Open),
        (head(64 * 1024 - overhead + 1), too_large.clone(), End::Closed),
        (head(200_000), too_large, End::Closed),
    ]);
    let head = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(count));
    let too_many = refused("431 Request Header Fields Too Large", "too many header fields");
    check_all([
        (head(127), ok("content-type: text/plain\r\n", "hello"), End::Open),
        (head(128), too_many.clone(), End::Closed),
        (head(3000), too_many, End::Closed),
    ]);
}

#[test]
fn bodies_are_decoded() {
    let post = |fields: &str, body: &str| format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
    let chunked = "Transfer-Encoding: Chunked\r\n";
    check_all([
        (post("Content-Length: 5\r\n", "hello"), ok("", "hello"), End::Open),
        (post("", ""), ok("", ""), End::Open),
        (post(chunked, "5\r\nhello\r\n0\r\n\r\n"), ok("", "hello"), End::Open),
        (
            post(chunked, "5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: y\r\n\r\n"),
            ok("", "hello world"),
            End::Open,
        ),
        (post(chunked, "0\r\n\r\n"), ok("", ""), End::Open),
        (post(chunked, "5\nhello\r\n0\r\n\r\n"), bad("malformed chunk"), End::Closed),
        (post(chunked, "5\r\nhelloX\r\n0\r\n\r\n"), bad("malformed chunk"), End::Closed),
        (post(chunked, "x\r\n"), bad("malformed chunk"), End::Closed),
        (
            post(chunked, "5\r\nhello\r\n0\r\nHost: b\r\n\r\n"),
            bad("malformed or forbidden trailer field"),
            End::Closed,
        ),
    ]);
    check_all([
        // A trailer is dropped, and what follows is the next request.
        (
            format!("{}GET /head HTTP/1.1\r\nHost: b\r\n\r\n", post(chunked, "1\r\na\r\n0\r\nX: y\r\n\r\n")),
            ok("", "a") + &ok("", "GET /head ? Http11 None [host=b]"),
            End::Open,
        ),
        // A body that the app leaves unread is not taken for the next request.
        (
            "POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /GET /head HTTP/1.1\r\nHost: b\r\n\r\n".into(),
            ok("", "unread") + &ok("", "GET /head ? Http11 None [host=b]"),
            End::Open,
        ),
        (
            "POST /unread HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\nGET /head HTTP/1.1\r\nHost: b\r\n\r\n".into(),
            ok("", "unread") + &ok("", "GET /head ? Http11 None [host=b]"),
            End::Open,
        ),
    ]);
}

#[test]
fn replies_are_framed_by_method_status_and_version() {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let chunks = "3\r\none\r\n5\r\nthree\r\n0\r\n\r\n";
    check_all([
        (
            get("/stream"),
            format!(
                "HTTP/1.1 200 OK\r\nx-a: b\r\ntransfer-encoding: chunked\r\nserver: supervise\r\n\r\n{chunks}"
            ),
            End::Open,
        ),
        (
            get("/length"),
            "HTTP/1.1 200 OK\r\ncontent-length: 8\r\nserver: supervise\r\n\r\nonethree".into(),
            End::Open,
        ),
        (
            get("/framing"),
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: today\r\nserver: me\r\n\r\nok".into(),
            End::Open,
        ),
        (get("/204"), "HTTP/1.1 204 No Content\r\nserver: supervise\r\n\r\n".into(), End::Open),
        (
            get("/205"),
            "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\nserver: supervise\r\n\r\n".into(),
            End::Open,
        ),
        (
            get("/304"),
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\nserver: supervise\r\n\r\n".into(),
            End::Open,
        ),
        (get("/999"), "HTTP/1.1 999 \r\ncontent-length: 3\r\nserver: supervise\r\n\r\nodd".into(), End::Open),
        (get("/close"), ok_close("bye"), End::Closed),
    ]);
    let head = |path: &str| format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    check_all([
        (
            head("/"),
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\nserver: supervise\r\n\r\n",
            End::Open,
        ),
        (head("/stream"), "HTTP/1.1 200 OK\r\nx-a: b\r\nserver: supervise\r\n\r\n", End::Open),
        (head("/length"), "HTTP/1.1 200 OK\r\ncontent-length: 8\r\nserver: supervise\r\n\r\n", End::Open),
    ]);
}

#[test]
fn http_1_0_is_closed_or_kept_as_it_asks() {
    let http10 = |path: &str, fields: &str| format!("GET {path} HTTP/1.0\r\n{fields}\r\n");
    check_all([
        (
            http10("/length", ""),
            "HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\nserver: supervise\r\n\r\nonethree",
            End::Closed,
        ),
        (
            http10("/stream", ""),
            "HTTP/1.1 200 OK\r\nx-a: b\r\nconnection: close\r\nserver: supervise\r\n\r\nonethree",
            End::Closed,
        ),
        (
            http10("/stream", "Connection: keep-alive\r\n"),
            "HTTP/1.1 200 OK\r\nx-a: b\r\nconnection: close\r\nserver: supervise\r\n\r\nonethree",
            End::Closed,
        ),
        (
            http10("/length", "Connection: Keep-Alive\r\n"),
            "HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: keep-alive\r\nserver: supervise\r\n\r\nonethree",
            End::Open,
        ),
    ]);
    check_all([(
        "GET /unread HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
        ok_close("unread"),
        End::Closed,
    )]);
}

#[test]
fn an_app_that_gives_up_is_an_error_and_never_a_whole_reply() {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let error = "HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 21\r\nconnection: close\r\nserver: supervise\r\n\r\nInternal Server Error";
    check_all([
        (get("/drop"), error, End::Closed),
        (get("/drop-after-head"), error, End::Closed),
        (get("/short"), error, End::Closed),
        (
            get("/drop-in-body"),
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nserver: supervise\r\n\r\n4\r\npart\r\n",
            End::Closed,
        ),
        (
            get("/short-in-body"),
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nserver: supervise\r\n\r\npart",
            End::Closed,
        ),
        (get("/long"), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nserver: supervise\r\n\r\nok", End::Open),
        (
            "HEAD /drop HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            "HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 21\r\nconnection: close\r\nserver: supervise\r\n\r\n",
            End::Closed,
        ),
    ]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let requests: String = (0..50)
        .map(|n| format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{n:02}"))
        .collect();
    let replies: String = (0..50).map(|n| ok("", &format!("{n:02}"))).collect();
    check_all([(requests, replies, End::Open)]);
}

#[test]
fn nothing_is_answered_after_the_last_reply() {
    let sent =
        "GET /unread HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(play(&[sent.as_bytes()]), (ok_close("unread"), End::Closed));
}
