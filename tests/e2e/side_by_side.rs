//! The same application under our server and under another: the same requests, and what must be equal in the answers.
//!
//! What is not compared, because the other is wrong there or the framing is the server's own affair, is listed in [`framing_differs`]
//! and in `http_probes`.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use harness::{
    Guest, Machine, Output, Python, Server,
    http::{Connection, Reply, Request},
    processes::{Signal, send_signal},
    wait_for, wait_until,
};

/// The same application under uvicorn.
pub(crate) struct Uvicorn {
    child: Child,
    log: Output,
    pub(crate) address: SocketAddr,
}

impl Uvicorn {
    pub(crate) fn start(python: &Python, directory: &std::path::Path) -> Self {
        let program = python.virtual_environment().join("bin/python3");
        let mut command = Command::new(program);
        command.args(["-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", "0", "--no-access-log"]);
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("DATABASE", "theirs")
            .env(FIXED_ORDER.0, FIXED_ORDER.1)
            .current_dir(directory);
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

/// gunicorn with its threads, on a port that the system chose.
pub(crate) struct Gunicorn {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Gunicorn {
    /// Nothing when this Python has no gunicorn.
    pub(crate) fn start(python: &Python, server: &Server, target: &str) -> Option<Self> {
        let program = python.virtual_environment().join("bin/gunicorn");
        if !program.exists() {
            return None;
        }
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        drop(socket);
        let child = Command::new(program)
            .args(["-k", "gthread", "--threads", "2", "-b", &address.to_string(), target])
            .current_dir(server.directory())
            .env(FIXED_ORDER.0, FIXED_ORDER.1)
            .env("DATABASE", "theirs")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("gunicorn starts");
        let gunicorn = Self { child, address };
        wait_until("gunicorn", Duration::from_secs(30), || Connection::open(address).is_ok());
        Some(gunicorn)
    }
}

impl Drop for Gunicorn {
    fn drop(&mut self) {
        send_signal(self.child.id(), Signal::SIGTERM);
        let _ended = self.child.wait();
    }
}

/// Sets of texts in the same order in both servers: Starlette writes `Allow` from a set.
pub(crate) const FIXED_ORDER: (&str, &str) = ("PYTHONHASHSEED", "0");

/// A request of the comparison: method, target, headers, body.
pub(crate) struct Case {
    pub(crate) method: &'static str,
    pub(crate) target: &'static str,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) body: Vec<u8>,
}

pub(crate) const NO_HEADERS: &[(&str, &str)] = &[];
pub(crate) const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];
pub(crate) const FORM: &[(&str, &str)] = &[("Content-Type", "application/x-www-form-urlencoded")];
pub(crate) const MULTIPART: &[(&str, &str)] = &[("Content-Type", "multipart/form-data; boundary=limit")];
pub(crate) const CHUNKED: &[(&str, &str)] = &[("Transfer-Encoding", "chunked")];

pub(crate) fn case(method: &'static str, target: &'static str) -> Case {
    Case { method, target, headers: NO_HEADERS, body: Vec::new() }
}

pub(crate) fn get(target: &'static str) -> Case {
    case("GET", target)
}

pub(crate) fn post(
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: impl Into<Vec<u8>>,
) -> Case {
    Case { method: "POST", target, headers, body: body.into() }
}

/// A megabyte that no two pieces of look alike.
pub(crate) fn megabyte() -> Vec<u8> {
    (0..262_144_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

/// The megabyte in chunks of odd sizes.
pub(crate) fn chunked_megabyte() -> Vec<u8> {
    let mut framed = Vec::new();
    for chunk in megabyte().chunks(7_777) {
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

pub(crate) fn multipart(file_field: &str, text_field: &str) -> Vec<u8> {
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
pub(crate) fn ask(address: SocketAddr, case: &Case) -> Reply {
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

/// uvicorn knows no `http.response.pathsend`. A file that leaves by it passes Starlette's GZipMiddleware untouched, which adds Vary
/// to every other reply.
fn differs_for_a_file(case: &Case, name: &str) -> bool {
    case.target == "/file" && name == "vary"
}

/// Headers as they are compared: lower case, in a stable order by name, without what every server words its own way.
pub(crate) fn compared(reply: &Reply) -> Vec<(String, String)> {
    let mut headers: Vec<_> =
        reply.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    headers.retain(|(name, _)| !matches!(name.as_str(), "server" | "date"));
    // gunicorn says of every connection what HTTP/1.1 takes for granted.
    headers.retain(|(name, value)| name != "connection" || value != "keep-alive");
    let app_named_length = headers.iter().any(|(name, _)| name == "content-length");
    if !app_named_length || reply.header("transfer-encoding").is_some() {
        headers.retain(|(name, _)| !framing_differs(name));
    }
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    headers
}

pub(crate) fn answers_as_under_uvicorn(guest: Guest, cases: &[Case]) {
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
        let of_case = |reply: &Reply| {
            let mut headers = compared(reply);
            headers.retain(|(name, _)| !differs_for_a_file(case, name));
            headers
        };
        if ours.status != theirs.status || of_case(&ours) != of_case(&theirs) || ours.body != theirs.body {
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

pub(crate) fn show(reply: &Reply) -> String {
    let body = reply.text();
    let body: String = body.chars().take(200).collect();
    format!("{} {:?} {} bytes: {body:?}", reply.status, compared(reply), reply.body.len())
}
