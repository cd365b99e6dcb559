//! Promise: an ASGI application is called by the letter of the specification, and the options that change how it is called do so.

use std::time::Duration;

use harness::{
    Guest, Machine, Python, Server, http,
    http::{Connection, Request},
    wait_until,
};

fn start(machine: &Machine, arguments: &[&str]) -> Option<Server> {
    let mut server = machine.server().guest(Guest::ASGI_RULES, &Python::default_one()?);
    for argument in arguments {
        server = server.arguments([argument]);
    }
    Some(server.start())
}

fn told(server: &Server, target: &str) -> serde_json::Value {
    let reply = http::get(server.address(), target).expect("an answer");
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
}

/// Waits for what the application notes.
fn wait_for_note(server: &Server, note: &str) {
    wait_until(note, Duration::from_secs(10), || {
        told(server, "/notes").as_array().is_some_and(|notes| notes.iter().any(|it| it == note))
    });
}

/// Begins a request, and leaves when the application has it.
fn begin_and_leave(server: &Server, target: &str) {
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.send(&Request::get(target).bytes()).expect("sent");
    wait_for_note(server, "begun");
}

/// The same; then waits for what the application noted.
fn leave(server: &Server, target: &str, noted: &str) {
    begin_and_leave(server, target);
    wait_for_note(server, noted);
}

#[test]
fn as_uvicorn_does_unless_told_otherwise() {
    let machine = Machine::shared();
    let Some(server) = start(&machine, &["app:app"]) else { return };
    let seen = told(&server, "/a%20b");
    assert_eq!(seen["asgi"], serde_json::json!({"version": "3.0", "spec_version": "2.3"}));
    assert_eq!((&seen["path"], &seen["raw_path"]), (&"/a b".into(), &"/a%20b".into()));
    assert_eq!((&seen["root_path"], &seen["mark"]), (&"".into(), &"of the import".into()));
    leave(&server, "/late", "silent");
    let reply = http::get(server.address(), "/").expect("an answer");
    assert!(reply.header("date").is_some() && reply.header("server") == Some("supervise"), "{reply:?}");
    server.stop();
}

#[test]
fn by_options() {
    let machine = Machine::shared();
    let Some(server) = start(
        &machine,
        &[
            "--asgi-spec-version",
            "2.5",
            "--root-path",
            "/shop/",
            "--cancel-on-disconnect",
            "--reset-contextvars",
            "--loop",
            "app:own_loop",
            "--header",
            "X-Frame-Options: DENY",
            "--no-server-header",
            "--no-date-header",
            "--forwarded-headers",
            "x-forwarded-prefix",
            "app:app",
        ],
    ) else {
        return;
    };
    let seen = told(&server, "/a%20b");
    assert_eq!(seen["asgi"]["spec_version"], "2.5");
    assert_eq!((&seen["path"], &seen["raw_path"]), (&"/shop/a b".into(), &"/shop/a%20b".into()));
    assert_eq!((&seen["root_path"], &seen["mark"]), (&"/shop".into(), &"none".into()));
    let mut connection = Connection::open(server.address()).expect("a connection");
    let prefixed = Request { headers: &[("X-Forwarded-Prefix", "/other/")], ..Request::get("/x") };
    for (request, root, path) in [(prefixed, "/other", "/other/x"), (Request::get("/x"), "/shop", "/shop/x")]
    {
        let reply = connection.request(&request).expect("an answer");
        let seen: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!((&seen["root_path"], &seen["path"]), (&root.into(), &path.into()));
    }
    leave(&server, "/waits", "cancelled");
    let reply = http::get(server.address(), "/").expect("an answer");
    assert_eq!(reply.header("x-frame-options"), Some("DENY"));
    assert!(reply.header("date").is_none() && reply.header("server").is_none(), "{reply:?}");
    server.stop();
}

#[test]
fn sending_to_a_client_that_left_raises_and_is_not_reported() {
    let machine = Machine::shared();
    let Some(server) = start(&machine, &["--asgi-spec-version", "2.5", "app:app"]) else { return };
    leave(&server, "/late", "OSError");
    assert!(!server.log.text().contains("Exception in ASGI application"), "{}", server.log.text());
    assert_eq!(server.metrics().sum("supervise_app_exceptions_total", &[]), 0.0);
    server.stop();
}

/// Sending to nobody completes at once, as uvicorn's does: without a pause such an application would be all that ever runs.
#[test]
fn whoever_sends_for_ever_to_nobody_leaves_others_their_turn() {
    let machine = Machine::shared();
    let Some(server) = start(&machine, &["--timeout", "3", "--graceful-timeout", "1", "app:app"]) else {
        return;
    };
    for _ in 0..3 {
        begin_and_leave(&server, "/endless");
    }
    wait_until("the connections to be gone", Duration::from_secs(10), || {
        server.metrics().sum("supervise_connections", &[]) == 0.0
    });
    for _ in 0..20 {
        assert_eq!(told(&server, "/x")["path"], "/x");
    }
    assert_eq!(server.restarts(""), 0.0, "no worker hung");
    server.stop();
}

#[test]
fn asgi_2() {
    let machine = Machine::shared();
    for arguments in [
        &["app:Two"][..],
        &["--interface", "asgi2", "--root-path", "/x", "--root-path-mode", "verbatim", "app:Two"],
    ] {
        let Some(server) = start(&machine, arguments) else { return };
        let seen = told(&server, "/x/y");
        assert_eq!(seen["path"], "/x/y");
        assert!(server.log.has_line("ready"), "{}", server.log.text());
        server.stop();
    }
}
