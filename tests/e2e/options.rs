//! Promise: no option is accepted and ignored. Each one that shapes the application's surroundings or the HTTP bounds shows its effect.

use std::{
    fs,
    io::{Read, Write},
    time::Duration,
};

use harness::{
    Guest, Machine, Python, Server, ServerBuilder, http,
    http::{Connection, Request},
};

/// A server of the application that tells, which is not started yet.
fn tells(machine: &Machine) -> Option<ServerBuilder<'_>> {
    Some(machine.server().guest(Guest::TELLS, &Python::default_one()?))
}

fn told(server: &Server) -> serde_json::Value {
    let reply = http::get(server.address(), "/").expect("an answer");
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
}

#[test]
fn environment_and_directories() {
    let machine = Machine::shared();
    let Some(server) = tells(&machine) else { return };
    let elsewhere = harness::TestDirectory::new();
    let library = harness::TestDirectory::new();
    fs::write(library.join("inner.py"), Guest::TELLS.text()).expect("a file");
    fs::write(elsewhere.join("variables.env"), "FROM_FILE=from the file\n").expect("a file");
    let path =
        |directory: &harness::TestDirectory| directory.path().to_str().expect("a path of text").to_owned();
    let server = server
        .arguments(["--chdir", &path(&elsewhere), "--app-dir", &path(&library), "--env", "GREETING=hello"])
        .arguments(["--env-file", "variables.env", "inner:app"])
        .start();
    let told = told(&server);
    assert_eq!(told["cwd"], path(&elsewhere));
    assert_eq!(told["first_path"], path(&library));
    assert_eq!(told["greeting"], "hello");
    assert_eq!(told["from_file"], "from the file");
    server.stop();
}

#[test]
fn factories() {
    let machine = Machine::shared();
    for (arguments, made_by) in [
        (&["--factory", "app:make"][..], "the factory"),
        (&["app:make()"], "the factory"),
        (&["app:app"], "the module"),
    ] {
        let Some(mut server) = tells(&machine) else { return };
        for argument in arguments {
            server = server.arguments([argument]);
        }
        let server = server.start();
        assert_eq!(told(&server)["made_by"], made_by, "{arguments:?}");
        server.stop();
    }
}

#[test]
fn an_interface_by_force() {
    let machine = Machine::shared();
    let Some(server) = tells(&machine) else { return };
    // By its looks it is a factory.
    let server = server.arguments(["--interface", "asgi3", "app:with_defaults"]).start();
    assert_eq!(told(&server)["made_by"], "the module");
    server.stop();
}

#[test]
fn lifespan_and_loop() {
    let machine = Machine::shared();
    for (lifespan, started, event_loop) in
        [("auto", true, "uvloop"), ("on", true, "asyncio"), ("off", false, "asyncio")]
    {
        let Some(server) = tells(&machine) else { return };
        let server = server.arguments(["--lifespan", lifespan, "--loop", event_loop, "app:app"]).start();
        let told = told(&server);
        assert_eq!(told["started"], started, "--lifespan {lifespan}");
        let module = told["loop"].as_str().expect("a module");
        assert!(module.starts_with(event_loop), "--loop {event_loop} runs {module}");
        server.stop();
    }
}

#[test]
fn the_configuration_of_logging() {
    let machine = Machine::shared();
    let Some(server) = tells(&machine) else { return };
    let config = r#"{"version": 1, "disable_existing_loggers": false,
        "handlers": {"file": {"class": "logging.FileHandler", "filename": "told.log"}},
        "root": {"handlers": ["file"], "level": "INFO"}}"#;
    let server =
        server.file("logging.json", config).arguments(["--log-config", "logging.json", "app:app"]).start();
    let _ = told(&server);
    let log = fs::read_to_string(server.directory().join("told.log")).expect("the configured file");
    assert!(log.contains("a request for /"), "{log}");
    server.stop();
}

#[test]
fn log_lines_for_machines() {
    let machine = Machine::shared();
    let server = machine.server().arguments(["--log-format", "json", "--log-level", "debug"]).start();
    for line in server.log.text().lines() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|value| value.is_object()), "no JSON object: {line}");
    }
    server.stop();
}

#[test]
fn bounds_of_requests() {
    let machine = Machine::shared();
    let Some(server) = tells(&machine) else { return };
    let server = server
        .arguments(["--limit-request-line", "100", "--limit-request-fields", "8"])
        .arguments(["--limit-request-head", "2000", "--limit-request-body", "1000", "app:app"])
        .start();
    let status = |request: &Request<'_>| {
        let mut connection = Connection::open(server.address()).expect("a connection");
        connection.request(request).expect("an answer").status
    };
    let long = "x".repeat(1_900);
    assert_eq!(status(&Request::get("/")), 200);
    assert_eq!(status(&Request::get(&format!("/{}", &long[..200]))), 414);
    assert_eq!(status(&Request { headers: &[("A", "b"); 9], ..Request::get("/") }), 431);
    assert_eq!(status(&Request { headers: &[("A", &long), ("B", &long)], ..Request::get("/") }), 431);
    let body =
        |length: usize| Request { method: "POST", body: &long.as_bytes()[..length], ..Request::get("/") };
    assert_eq!(status(&body(1_000)), 200);
    assert_eq!(status(&body(1_001)), 413);
    server.stop();
}

#[test]
fn clients_that_have_said_all() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = machine.server().guest(Guest::PROBE, &python);
    let server = server.arguments(["--half-close", "waits", "app:app"]).start();
    let mut stream = std::net::TcpStream::connect(server.address()).expect("a connection");
    stream.write_all(&Request::get("/slow/300").bytes()).expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("half closed");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("the reply, and then the end");
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    server.stop();
}

#[test]
fn time_limits_of_connections() {
    let machine = Machine::shared();
    let Some(server) = tells(&machine) else { return };
    let server = server
        .arguments(["--keep-alive", "300ms", "--header-read-timeout", "300ms"])
        .arguments(["--body-read-timeout", "300ms", "app:app"])
        .start();
    // Idle after a reply: closed without a word.
    let mut idle = Connection::open(server.address()).expect("a connection");
    assert_eq!(idle.request(&Request::get("/")).expect("an answer").status, 200);
    assert_eq!(idle.receive_to_end().expect("a proper end"), b"");
    // A head, and a body, that never become whole.
    for beginning in
        [&b"GET / HTTP/1.1\r\nHo"[..], b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf"]
    {
        let mut slow = Connection::open(server.address()).expect("a connection");
        slow.send(beginning).expect("sent");
        assert_eq!(
            slow.receive("GET").expect("an answer").status,
            408,
            "{}",
            String::from_utf8_lossy(beginning)
        );
    }
    for reason in ["header_timeout", "body_timeout"] {
        let labels = [("reason", reason)];
        server.wait_for_metric(
            "supervise_http_requests_rejected_total",
            &labels,
            1.0,
            Duration::from_secs(5),
        );
    }
    server.stop();
}
