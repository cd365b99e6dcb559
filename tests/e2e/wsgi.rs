//! Promise: WSGI to the letter (PEP 3333), by both classes that serve it.

use std::{fs, io, time::Duration};

use harness::{
    Guest, Machine, Python, Server, http,
    http::{Connection, Reply, Request},
    patient,
    processes::Signal,
    wait_until,
};
use serde_json::{Value, json};

const CLASSES: [&str; 2] = ["sync", "threads"];

fn start(machine: &Machine, class: &str) -> Option<Server> {
    let server = machine.server().guest(Guest::WSGI, &Python::default_one()?);
    Some(server.arguments(["--worker-class", class, "app:app"]).start())
}

/// Runs `case` against the application in both classes.
fn in_both_classes(case: impl Fn(&Server, &str)) {
    let machine = Machine::shared();
    for class in CLASSES {
        let Some(server) = start(&machine, class) else { return };
        case(&server, class);
        server.stop();
    }
}

fn ask(server: &Server, request: &Request<'_>) -> Reply {
    Connection::open(server.address()).expect("a connection").request(request).expect("an answer")
}

fn text(server: &Server, target: &str) -> String {
    http::get(server.address(), target).expect("an answer").text()
}

fn json_of(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
}

/// What the application's bodies noted at their close.
fn closed(server: &Server) -> Value {
    json_of(&http::get(server.address(), "/closed").expect("an answer"))
}

#[test]
fn the_environ_has_what_the_contract_says() {
    in_both_classes(|server, class| {
        let headers = [
            ("X-Twice", "one"),
            ("X-Twice", "two"),
            ("Cookie", "a=1"),
            ("Cookie", "b=2"),
            ("X_Spoofed", "yes"),
            ("Content-Type", "text/x"),
            ("X-Latin", "caf\u{e9}"),
        ];
        let request =
            Request { method: "POST", headers: &headers, body: b"12345", ..Request::get("/environ?a=b%20c") };
        let told = json_of(&ask(server, &request));
        let values = &told["values"];
        for (key, value) in [
            ("REQUEST_METHOD", json!("POST")),
            ("SCRIPT_NAME", json!("")),
            ("PATH_INFO", json!("/environ")),
            ("QUERY_STRING", json!("a=b%20c")),
            ("RAW_URI", json!("/environ?a=b%20c")),
            ("REQUEST_URI", json!("/environ?a=b%20c")),
            ("CONTENT_TYPE", json!("text/x")),
            ("CONTENT_LENGTH", json!("5")),
            ("SERVER_NAME", json!("127.0.0.1")),
            ("SERVER_PORT", json!(server.address().port().to_string())),
            ("SERVER_PROTOCOL", json!("HTTP/1.1")),
            ("REMOTE_ADDR", json!("127.0.0.1")),
            ("HTTP_HOST", json!("localhost")),
            ("HTTP_X_TWICE", json!("one,two")),
            ("HTTP_COOKIE", json!("a=1; b=2")),
            // The bytes of UTF-8, one character each.
            ("HTTP_X_LATIN", json!("caf\u{c3}\u{a9}")),
            ("wsgi.url_scheme", json!("http")),
            ("wsgi.multithread", json!(class == "threads")),
            ("wsgi.multiprocess", json!(false)),
            ("wsgi.run_once", json!(false)),
            ("wsgi.input_terminated", json!(true)),
        ] {
            assert_eq!(values[key], value, "{class}: {key} of {values}");
        }
        for key in ["HTTP_X_SPOOFED", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTPS"] {
            assert_eq!(values[key], Value::Null, "{class}: {key}");
        }
        assert_eq!(told["kinds"], json!(["str"]), "{class}: the CGI variables are native strings");
        let decoded = json_of(&ask(server, &Request::get("/caf%C3%A9%20bar")));
        assert_eq!(decoded["values"]["PATH_INFO"], "/caf\u{c3}\u{a9} bar", "{class}");
        assert_eq!(decoded["values"]["CONTENT_LENGTH"], Value::Null, "{class}");
    });
}

#[test]
fn request_bodies_are_streams() {
    in_both_classes(|server, class| {
        // Small, larger than what is kept before the application starts, with a length and in chunks.
        for length in [0_usize, 5, 300_000, 3_000_000] {
            let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let plain = Request { method: "POST", body: &body, ..Request::get("/digest") };
            let chunked = chunked(&body);
            let chunked =
                Request { headers: &[("Transfer-Encoding", "chunked")], body: &chunked, ..plain.clone() };
            let told = [json_of(&ask(server, &plain)), json_of(&ask(server, &chunked))];
            for told in &told {
                assert_eq!(told["length"], length, "{class}");
                assert_eq!(told["rest"], 0, "{class}: after the end there is nothing");
            }
            assert_eq!(told[0]["sha256"], told[1]["sha256"], "{class}, {length} bytes");
            let counted = if length <= 1_048_576 { json!(length.to_string()) } else { Value::Null };
            assert_eq!(told[1]["announced"], counted, "{class}: a chunked body that is kept is counted");
        }
        let body = b"abcline\nlong line\nthird\nfourth\nrest";
        let told = ask(server, &Request { method: "POST", body, ..Request::get("/pieces") }).text();
        assert_eq!(
            told, "[b'', b'abc', b'line\\n', b'lo', b'ng line\\n', [b'third\\n'], b'fourth\\n', b'rest']",
            "{class}"
        );
    });
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in body.chunks(10_000) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[test]
fn an_unread_body_does_not_harm_the_next_request() {
    in_both_classes(|server, class| {
        let mut connection = Connection::open(server.address()).expect("a connection");
        for length in [10_usize, 100_000] {
            let body = vec![b'x'; length];
            let request = Request { method: "POST", body: &body, ..Request::get("/first?bytes=3") };
            assert_eq!(connection.request(&request).expect("an answer").text(), "xxx", "{class}");
        }
        assert_eq!(connection.request(&Request::get("/generator")).expect("an answer").status, 200);
    });
}

#[test]
fn replies_follow_the_order_of_the_contract() {
    in_both_classes(|server, class| {
        let get = |target: &str| ask(server, &Request::get(target));
        assert_eq!(get("/writes").text(), "one two three", "{class}");
        assert_eq!(get("/generator").text(), "in the first step", "{class}");
        let replaced = get("/replaced");
        assert_eq!((replaced.status, replaced.text().as_str()), (503, "sorry"), "{class}");
        assert_eq!((replaced.header("x-first"), replaced.header("x-second")), (None, Some("yes")), "{class}");
        for target in ["/twice", "/no-start", "/single-string", "/strings", "/fails-before"] {
            assert_eq!(get(target).status, 500, "{class}: {target}");
        }
        let told = json_of(&get("/heads"));
        let refused = told.as_object().expect("an object");
        assert_eq!(refused.len(), 10, "{class}: {told}");
        let latin = get("/latin");
        assert_eq!((latin.status, latin.header("content-length")), (200, Some("0")), "{class}");
        wait_until("the traceback in the log", Duration::from_secs(5), || {
            server.log.has_line("this application fails at once")
        });
    });
}

#[test]
fn replies_that_end_wrongly_are_never_completed() {
    in_both_classes(|server, class| {
        let mut connection = Connection::open(server.address()).expect("a connection");
        // More than announced: cut off, and the iteration with it.
        assert_eq!(connection.request(&Request::get("/overrun")).expect("an answer").text(), "partp");
        assert_eq!(closed(server), json!(["overrun"]), "{class}");
        for (target, name) in [("/underrun", "underrun"), ("/fails", "fails")] {
            let mut connection = Connection::open(server.address()).expect("a connection");
            let error = connection.request(&Request::get(target)).expect_err("no whole reply");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{class}: {target}: {error}");
            assert_eq!(closed(server), json!([name]), "{class}: close() after {target}");
        }
        let mut connection = Connection::open(server.address()).expect("a connection");
        let error = connection.request(&Request::get("/too-late")).expect_err("no whole reply");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{class}: {error}");
        wait_until("the exception, raised again", Duration::from_secs(5), || {
            server.log.has_line("found out too late")
        });
    });
}

#[test]
fn heads_and_lengths() {
    in_both_classes(|server, class| {
        let head = |target: &str| ask(server, &Request { method: "HEAD", ..Request::get(target) });
        let whole = ask(server, &Request::get("/thread"));
        let length = whole.body.len().to_string();
        assert_eq!(head("/thread").header("content-length"), Some(length.as_str()), "{class}");
        let streamed = head("/stream?parts=1000000");
        assert_eq!((streamed.status, streamed.header("content-length")), (200, None), "{class}");
        assert_eq!(closed(server), json!(["stream"]), "{class}");
        let old = b"GET /stream?parts=2 HTTP/1.0\r\n\r\n";
        let mut connection = Connection::open(server.address()).expect("a connection");
        connection.send(old).expect("sent");
        assert_eq!(connection.receive("GET").expect("an answer").body.len(), 2 * 65536, "{class}");
    });
}

#[test]
fn files_are_sent_from_where_they_stand() {
    in_both_classes(|server, class| {
        let content: Vec<u8> = (0..500_000_u32).map(|at| (at % 253) as u8).collect();
        fs::write(server.directory().join("content"), &content).expect("a file");
        let mut connection = Connection::open(server.address()).expect("a connection");
        for skip in [0_usize, 1_000, 499_990, 500_000] {
            let target = format!("/file?name=content&skip={skip}");
            let reply = connection.request(&Request::get(&target)).expect("an answer");
            assert!(reply.body == content[skip..], "{class}: {} bytes after {skip}", reply.body.len());
            assert_eq!(
                reply.header("content-length"),
                Some((500_000 - skip).to_string().as_str()),
                "{class}"
            );
        }
    });
}

#[test]
fn a_client_that_leaves_ends_its_request() {
    in_both_classes(|server, class| {
        let mut reader = Connection::open(server.address()).expect("a connection");
        reader.send(&Request::get("/stream?parts=100000").bytes()).expect("sent");
        reader.receive_until(b"xxx").expect("the beginning");
        drop(reader);
        wait_until("close() of the reply", patient(Duration::from_secs(10)), || {
            closed(server) == json!(["stream"])
        });
        let mut writer = Connection::open(server.address()).expect("a connection");
        writer.send(b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n").expect("sent");
        writer.send(&vec![b'x'; 2_000_000]).expect("sent");
        drop(writer);
        wait_until("an OSError out of read()", patient(Duration::from_secs(10)), || {
            closed(server) == json!(["ConnectionResetError"])
        });
        assert_eq!(text(server, "/generator"), "in the first step", "{class}: others are served");
    });
}

#[test]
fn requests_run_where_and_as_they_should() {
    in_both_classes(|server, class| {
        let where_it_runs = if class == "sync" { "MainThread True" } else { "wsgi-" };
        let told = text(server, "/thread");
        assert!(told.starts_with(where_it_runs), "{class}: {told}");
        for _ in 0..8 {
            assert_eq!(text(server, "/context"), "nothing", "{class}: a context of its own");
        }
        assert_eq!(text(server, "/subprocess"), "0 0", "{class}: no signal is blocked");
        assert_eq!(text(server, "/errors"), "said", "{class}");
        wait_until("what wsgi.errors was told", Duration::from_secs(5), || {
            server.log.has_line("said to wsgi.errors")
        });
    });
}

#[test]
fn the_standard_library_finds_no_fault() {
    let machine = Machine::shared();
    for class in CLASSES {
        let Some(python) = Python::default_one() else { return };
        let server = machine.server().guest(Guest::WSGI, &python);
        let server =
            server.arguments(["--worker-class", class, "--interface", "wsgi", "app:checked"]).start();
        let mut connection = Connection::open(server.address()).expect("a connection");
        for request in [
            Request::get("/"),
            Request { method: "POST", body: b"a body", ..Request::get("/a/b?c=d") },
            Request { headers: &[("Cookie", "a"), ("Cookie", "b")], ..Request::get("/%C3%A9") },
        ] {
            let reply = connection.request(&request).expect("an answer");
            assert_eq!((reply.status, reply.text().as_str()), (200, "checked"), "{class}: {request:?}");
        }
        assert!(!server.log.has_line("AssertionError"), "{class}: {}", server.log.text());
        server.stop();
    }
}

#[test]
fn every_python_serves_it() {
    let machine = Machine::shared();
    for python in Python::one_of_each_version() {
        for class in CLASSES {
            let server = machine.server().guest(Guest::WSGI, &python);
            let mut server = server.arguments(["--worker-class", class, "--workers", "2", "app:app"]).start();
            let body = vec![b'x'; 2_000_000];
            let told =
                json_of(&ask(&server, &Request { method: "POST", body: &body, ..Request::get("/digest") }));
            assert_eq!(told["length"], body.len(), "{}", python.minor_version());
            let told = json_of(&ask(&server, &Request::get("/environ")));
            assert_eq!(told["values"]["wsgi.multiprocess"], true, "{}", python.minor_version());
            assert_eq!(text(&server, "/writes"), "one two three");
            server.signal(Signal::SIGTERM);
            assert_eq!(server.wait_for_exit(Duration::from_secs(15)).code(), Some(0));
        }
    }
}
