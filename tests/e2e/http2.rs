//! Promise: HTTP/2 with and without TLS for every kind of application, as curl and httpx speak it; reloads and a stop at full
//! load lose not one stream; and a client that is there no longer is found out.

mod websocket;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use harness::{
    Authority, Guest, Machine, Python, Reloaded, Server, ServerBuilder, Tool, load::Load, processes::Signal,
    product_directory, repository, require, wait_for,
};

use crate::guest;

const LIMIT: Duration = Duration::from_secs(15);
const RELOADS: u32 = 5;
/// As a busy proxy would hold them: connections, and streams on each.
const CONNECTIONS: usize = 8;
const STREAMS: usize = 32;

/// Body, protocol and status of what curl gets.
fn curl(arguments: &[&str]) -> Option<(String, String)> {
    let mut command = Command::new(require(Tool::Curl)?);
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "30",
        "--write-out",
        "\n%{http_version} %{http_code}",
    ]);
    let output = command.args(arguments).output().expect("curl runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, told) = text.rsplit_once('\n').expect("what was asked for");
    Some((body.to_owned(), told.to_owned()))
}

#[track_caller]
fn assert_holds(python: &Python, scenario: &str, base: &str, authority: &[&str]) {
    let mut command = Command::new(python.virtual_environment().join("bin/python3"));
    command.arg(repository().join("tests/apps/http2_client.py")).arg(scenario).arg(base).args(authority);
    let output = command.output().expect("the interpreter runs");
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim_end() == "it holds", "{scenario}: {said}{complained}");
}

fn base(address: SocketAddr) -> String {
    format!("http://{address}")
}

#[test]
fn asgi_wsgi_and_native_applications_over_one_connection() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let asgi = guest::plain(&machine, &python, 1).start();
    assert_holds(&python, "asgi", &base(asgi.address()), &[]);
    asgi.stop();
    let wsgi = machine.server().guest(Guest::WSGI, &python);
    let wsgi = wsgi.arguments(["--worker-class", "threads", "app:app"]).start();
    assert_holds(&python, "wsgi", &base(wsgi.address()), &[]);
    wsgi.stop();
    let program = product_directory().join("examples/axum");
    let native = machine.server().arguments([program.to_str().expect("a path of text")]).start();
    assert_holds(&python, "native", &base(native.address()), &[]);
    native.stop();
}

#[test]
fn a_websocket_is_a_stream_among_others() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = machine.server().guest(Guest::WEBSOCKET, &python).arguments(["app:app"]).start();
    let address = server.address();
    let mut command = Command::new(python.virtual_environment().join("bin/python3"));
    command.arg(repository().join("tests/apps/http2_websocket_client.py"));
    command.args([address.ip().to_string(), address.port().to_string()]);
    let output = command.output().expect("the interpreter runs");
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim_end() == "it holds", "{said}{complained}");
    server.stop();
}

/// The server, started with a certificate of this authority, and the address of its TLS.
fn over_tls(server: ServerBuilder<'_>, authority: &Authority) -> (Server, SocketAddr) {
    let issued = authority.issue(&["localhost"]);
    let server = server
        .file("server.pem", &issued.certificate)
        .file("server.key", &issued.key)
        .arguments(["--certfile", "server.pem", "--keyfile", "server.key"])
        .start();
    let line = server.log.wait_for_line("listening on https://", LIMIT);
    let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    (server, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

#[test]
fn over_tls_by_alpn() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let authority = Authority::new();
    let (server, address) =
        over_tls(guest::plain(&machine, &python, 1).file("authority.pem", &authority.pem()), &authority);
    let base = format!("https://localhost:{}", address.port());
    let file = server.directory().join("authority.pem");
    let file = file.to_str().expect("a path of text");
    assert_holds(&python, "asgi", &base, &[file]);
    for (asked, spoken) in [("--http2", "2 200"), ("--http1.1", "1.1 200")] {
        let Some((_, told)) = curl(&[asked, "--cacert", file, &base]) else { return };
        assert_eq!(told, spoken, "{asked}");
    }
    server.stop();
}

#[test]
fn curl_and_the_access_log() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = machine.server().guest(Guest::PROBE, &python);
    let server = server.arguments(["--access-logfile", "log", "app:app"]).start();
    let url = |path: &str| base(server.address()) + path;
    // An offer to upgrade to HTTP/2 is declined by an answer in HTTP/1.1 (RFC 9113 §3.1 has done away with it).
    for (asked, spoken) in [("--http2-prior-knowledge", "2 200"), ("--http2", "1.1 200")] {
        let Some((_, told)) = curl(&[asked, &url("/show")]) else { return };
        assert_eq!(told, spoken, "{asked}");
    }
    let trailed = ["--http2-prior-knowledge", "--include", "--header", "TE: trailers", &url("/trailers")];
    let (trailed, _) = curl(&trailed).expect("curl is there");
    assert!(trailed.ends_with("onetwox-sum: 1\r\nx-two: b\r\n"), "{trailed:?}");
    let (head, told) = curl(&["--http2-prior-knowledge", "--head", &url("/show")]).expect("curl is there");
    assert!(head.starts_with("HTTP/2 200") && told == "2 200", "{head}");
    let line = wait_for("the line of a request over HTTP/2", LIMIT, || {
        let text = std::fs::read_to_string(server.directory().join("log")).ok()?;
        text.lines().find(|line| line.contains("/trailers")).map(str::to_owned)
    });
    assert!(line.contains("\"GET /trailers HTTP/2") && line.contains(" 200"), "{line}");
    server.stop();
}

/// Reloads one after the other, another version each time.
fn reload(server: &Server, running: &harness::load::Running, times: u32) {
    running.wait_for_version("v0");
    for number in 1..=times {
        server.write_file("version.py", &guest::version(number, 0.2));
        assert_eq!(server.reload(), Reloaded::Ok, "reload {number}");
        running.wait_for_version(&format!("v{number}"));
    }
}

#[test]
fn reloads_at_full_load_lose_no_stream() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 2).start();
    let load = Load::new(server.address()).over_http2(CONNECTIONS, STREAMS).start();
    reload(&server, &load, RELOADS);
    let report = load.stop();
    println!("{report}");
    report.assert_nothing_lost(10_000);
    assert_eq!(report.clean_closes, 0, "every connection was told to go: {report}");
    server.stop();
}

#[test]
fn reloads_at_full_load_lose_no_stream_over_tls() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let authority = Authority::new();
    let (server, address) = over_tls(guest::plain(&machine, &python, 2), &authority);
    let load = Load::new(address).over_http2(CONNECTIONS, STREAMS).over_tls(authority.client(None)).start();
    reload(&server, &load, 3);
    let report = load.stop();
    println!("{report}");
    report.assert_nothing_lost(5_000);
    assert_eq!(report.clean_closes, 0, "every connection was told to go: {report}");
    server.stop();
}

#[test]
fn a_stop_at_full_load_answers_every_stream_that_was_taken() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let mut server = guest::plain(&machine, &python, 2).start();
    let load = Load::new(server.address()).over_http2(CONNECTIONS, STREAMS).start();
    load.wait_for_answers(2_000);
    let told_at = Instant::now();
    server.signal(Signal::SIGTERM);
    let status = server.wait_for_exit(LIMIT);
    let report = load.stop();
    println!("stopped after {:?}\n{report}", told_at.elapsed());
    assert_eq!(status.code(), Some(0));
    let lost = report
        .failures
        .iter()
        .find(|failure| failure.connected_at.is_some_and(|connected| connected <= told_at));
    assert!(lost.is_none(), "a stream of a connection from before the stop was lost: {lost:?}\n{report}");
}

#[test]
fn a_streaming_reply_runs_to_its_end_during_a_drain() {
    let machine = Machine::shared();
    let (Some(python), Some(curl)) = (Python::default_one(), require(Tool::Curl)) else { return };
    let server = guest::plain(&machine, &python, 1).start();
    let old = guest::pids(&server);
    let mut client = Command::new(curl)
        .args(["--silent", "--no-buffer", "--http2-prior-knowledge"])
        .arg(base(server.address()) + "/stream?parts=40&ms=50")
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl runs");
    let mut body = BufReader::new(client.stdout.take().expect("a pipe"));
    let mut text = String::new();
    body.read_line(&mut text).expect("the first part");
    assert_eq!(server.reload(), Reloaded::Ok);
    assert_ne!(guest::pids(&server), old, "the new worker serves while the old one finishes");
    body.read_to_string(&mut text).expect("the rest");
    let whole: String = (0..40).map(|number| format!("{number:09}\n")).collect();
    assert_eq!(text, whole);
    assert!(client.wait().expect("it ends").success());
    server.stop();
}
