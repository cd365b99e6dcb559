//! Promise: the main job on real input. FastAPI, Starlette and Django applications answer under supervision exactly as they do under
//! uvicorn: same status, same headers (but `server` and `date`), same body.
//!
//! What is not compared, because uvicorn is wrong there or the framing is the server's own affair, is listed in [`framing_differs`]
//! and in `http_probes`.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use harness::{
    Guest, Machine, Output, Python,
    http::{Connection, Reply, Request},
    processes::{Signal, send_signal},
    wait_for,
};

/// The same application under uvicorn.
struct Uvicorn {
    child: Child,
    log: Output,
    address: SocketAddr,
}

impl Uvicorn {
    fn start(python: &Python, directory: &std::path::Path) -> Self {
        let program = python.virtual_environment().join("bin/python3");
        let mut command = Command::new(program);
        command.args(["-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", "0", "--no-access-log"]);
        command.env("PYTHONDONTWRITEBYTECODE", "1").env(FIXED_ORDER.0, FIXED_ORDER.1).current_dir(directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("uvicorn starts");
        let log = Output::collect(child.stderr.take().expect("stderr is a pipe"));
        let before = "running on http://";
        let line = log.wait_for_line(before, Duration::from_secs(30));
        let (_, after) = line.split_once(before).expect("found by this text");
        let address = after.split_whitespace().next().and_then(|text| text.parse().ok()).expect("an address");
        Self { child, log, address }
    }
}

impl Drop for Uvicorn {
    fn drop(&mut self) {
        send_signal(self.child.id(), Signal::SIGTERM);
        let child = &mut self.child;
        wait_for("the end of uvicorn", Duration::from_secs(10), || child.try_wait().ok().flatten());
        if std::thread::panicking() {
            println!("--- uvicorn:\n{}", self.log.text());
        }
    }
}

/// Sets of texts in the same order in both servers: Starlette writes `Allow` from a set.
const FIXED_ORDER: (&str, &str) = ("PYTHONHASHSEED", "0");

/// A request of the comparison: method, target, headers, body.
struct Case {
    method: &'static str,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: Vec<u8>,
}

const NO_HEADERS: &[(&str, &str)] = &[];
const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];
const FORM: &[(&str, &str)] = &[("Content-Type", "application/x-www-form-urlencoded")];
const MULTIPART: &[(&str, &str)] = &[("Content-Type", "multipart/form-data; boundary=limit")];
const CHUNKED: &[(&str, &str)] = &[("Transfer-Encoding", "chunked")];

fn case(method: &'static str, target: &'static str) -> Case {
    Case { method, target, headers: NO_HEADERS, body: Vec::new() }
}

fn get(target: &'static str) -> Case {
    case("GET", target)
}

fn post(
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: impl Into<Vec<u8>>,
) -> Case {
    Case { method: "POST", target, headers, body: body.into() }
}

/// A megabyte that no two pieces of look alike.
fn megabyte() -> Vec<u8> {
    (0..262_144_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

/// The megabyte in chunks of odd sizes.
fn chunked_megabyte() -> Vec<u8> {
    let mut framed = Vec::new();
    for chunk in megabyte().chunks(7_777) {
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

fn multipart(file_field: &str, text_field: &str) -> Vec<u8> {
    let mut body = format!(
        "--limit\r\nContent-Disposition: form-data; name=\"{file_field}\"; filename=\"r\u{e9}port.bin\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(&megabyte());
    body.extend_from_slice(
        format!("\r\n--limit\r\nContent-Disposition: form-data; name=\"{text_field}\"\r\n\r\nh\u{e9}llo\r\n--limit--\r\n")
            .as_bytes(),
    );
    body
}

/// One case on a connection of its own, so that a close by one server says nothing about the next case.
fn ask(address: SocketAddr, case: &Case) -> Reply {
    let mut connection = Connection::open(address).expect("a connection");
    let request =
        Request { method: case.method, target: case.target, headers: case.headers, body: &case.body };
    let what = format!("{} {}", case.method, case.target);
    // A reply may come before all of a large body was taken; then the rest of it meets a closed connection.
    let sent = connection.send(&request.bytes());
    connection.receive(case.method).unwrap_or_else(|error| panic!("{what}: {error} (sending: {sent:?})"))
}

/// Framing is the server's own: where the application names no length, we send a body that is complete at once with
/// Content-Length, uvicorn in chunks.
fn framing_differs(name: &str) -> bool {
    matches!(name, "content-length" | "transfer-encoding")
}

/// Headers as they are compared: lower case, in a stable order by name, without what every server words its own way.
fn compared(reply: &Reply) -> Vec<(String, String)> {
    let mut headers: Vec<_> =
        reply.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    headers.retain(|(name, _)| !matches!(name.as_str(), "server" | "date"));
    let app_named_length = headers.iter().any(|(name, _)| name == "content-length");
    if !app_named_length || reply.header("transfer-encoding").is_some() {
        headers.retain(|(name, _)| !framing_differs(name));
    }
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    headers
}

fn answers_as_under_uvicorn(guest: Guest, cases: &[Case]) {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    let server = machine.server().guest(guest, &python).environment(FIXED_ORDER.0, FIXED_ORDER.1);
    let server = server.arguments(["--worker-class", "async", "--workers", &workers, "app:app"]).start();
    let uvicorn = Uvicorn::start(&python, server.directory());
    let mut differences = Vec::new();
    for case in cases {
        let ours = ask(server.address(), case);
        let theirs = ask(uvicorn.address, case);
        if ours.status != theirs.status || compared(&ours) != compared(&theirs) || ours.body != theirs.body {
            differences.push(format!(
                "{} {}\n  ours   {}\n  theirs {}",
                case.method,
                case.target,
                show(&ours),
                show(&theirs)
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    drop(uvicorn);
    server.stop();
}

fn show(reply: &Reply) -> String {
    let body = reply.text();
    let body: String = body.chars().take(200).collect();
    format!("{} {:?} {} bytes: {body:?}", reply.status, compared(reply), reply.body.len())
}

#[test]
fn fastapi() {
    let cases = [
        get("/"),
        get("/sync"),
        get("/items/7"),
        get("/items/7?verbose=true"),
        get("/items/seven"),
        Case { headers: &[("X-Caller", "someone")], ..get("/items/8") },
        Case { headers: &[("X-Caller", "first"), ("X-Caller", "second")], ..get("/items/8") },
        post("/orders", JSON, r#"{"name": "t\u00e9a", "count": 2, "tags": ["a", "b"]}"#),
        post("/orders", JSON, r#"{"count": "many"}"#),
        post("/orders", JSON, "{not json"),
        post("/orders", NO_HEADERS, ""),
        post("/orders/none", JSON, r#"{"name": "tea"}"#),
        post("/upload", MULTIPART, multipart("file", "note")),
        post("/upload", MULTIPART, "--limit--\r\n"),
        get("/stream"),
        get("/forbidden"),
        get("/crash"),
        get("/nowhere"),
        get("/openapi.json"),
        get("/docs"),
        case("PUT", "/items/7"),
        case("DELETE", "/items/7"),
        case("HEAD", "/"),
        case("OPTIONS", "/items/7"),
    ];
    answers_as_under_uvicorn(Guest::FASTAPI, &cases);
}

#[test]
fn starlette() {
    let cases = [
        get("/"),
        get("/items/12?a=1&b=%20two&a=3"),
        get("/items/none"),
        Case { headers: &[("X-One", "1"), ("X-Two", "zwei"), ("x-one", "again")], ..get("/headers") },
        get("/scope/plain"),
        get("/scope/%E2%82%AC/%2F/a%20b?q=%E2%82%AC&r=+"),
        get("/scope//double//slash/../dots"),
        get("/scope/bad%FFutf8"),
        get("/scope/q?a=b?c"),
        get("/state"),
        post("/echo", JSON, r#"{"a": 1}"#),
        post("/echo", NO_HEADERS, megabyte()),
        post("/echo", CHUNKED, chunked_megabyte()),
        Case { method: "PUT", ..post("/echo", NO_HEADERS, "put") },
        post("/digest", NO_HEADERS, megabyte()),
        post("/digest", CHUNKED, chunked_megabyte()),
        post("/digest", NO_HEADERS, ""),
        post("/form", FORM, "a=1&b=zwei+drei&c=%C3%A9"),
        post("/form", MULTIPART, multipart("upload", "text")),
        get("/stream"),
        get("/large"),
        get("/file"),
        Case { headers: &[("Range", "bytes=10-19")], ..get("/file") },
        get("/redirect"),
        get("/nothing"),
        get("/cookies"),
        get("/background"),
        get("/teapot"),
        get("/crash"),
        get("/nowhere"),
        case("HEAD", "/"),
        case("HEAD", "/large"),
        case("DELETE", "/"),
        case("OPTIONS", "/"),
    ];
    answers_as_under_uvicorn(Guest::STARLETTE, &cases);
}

#[test]
fn django() {
    let cases = [
        get("/"),
        get("/async?a=1&b=%20two"),
        case("DELETE", "/async"),
        get("/items/3"),
        get("/items/three"),
        Case { headers: &[("X-One", "1"), ("X-Two-Words", "zwei")], ..get("/headers") },
        get("/digest"),
        post("/digest", NO_HEADERS, megabyte()),
        post("/digest", CHUNKED, chunked_megabyte()),
        post("/json", JSON, r#"{"a": [1, 2, {"b": "é"}]}"#),
        post("/json", JSON, "{not json"),
        post("/form", FORM, "a=1&b=zwei+drei"),
        post("/form", MULTIPART, multipart("upload", "text")),
        get("/stream"),
        get("/cookies"),
        get("/redirect"),
        get("/missing"),
        get("/crash"),
        get("/nowhere"),
        case("HEAD", "/"),
        case("OPTIONS", "/"),
    ];
    answers_as_under_uvicorn(Guest::DJANGO, &cases);
}
