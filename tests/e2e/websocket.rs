//! Promise: WebSockets work as clients and frameworks expect them: the contract of ASGI to the letter, each setting, chats in three
//! frameworks, a proxy in front, and a reload that loses no client silently.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use harness::{
    Guest, Machine, Python, Reloaded, ServerBuilder, TestDirectory, Tool, open_to_all, repository, require,
};

use crate::deploy::deployed_nginx;

const RELOADS: u32 = 5;

fn server<'m>(machine: &'m Machine, python: &Python) -> ServerBuilder<'m> {
    machine.server().guest(Guest::WEBSOCKET, python)
}

/// A client by another hand, about to play these scenarios.
fn client(python: &Python, scenarios: &str, address: SocketAddr) -> Command {
    let mut command = Command::new(python.virtual_environment().join("bin/python3"));
    command
        .arg(repository().join("tests/apps/websocket_client.py"))
        .arg(scenarios)
        .arg(format!("ws://{address}"));
    command
}

#[track_caller]
fn assert_holds(python: &Python, scenarios: &str, address: SocketAddr) {
    let output = client(python, scenarios, address).output().expect("the interpreter runs");
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim_end() == "it holds", "{scenarios}: {said}{complained}");
}

#[test]
fn the_contract_of_asgi() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    for event_loop in ["asyncio", "uvloop"] {
        let server = server(&machine, &python).arguments(["--loop", event_loop, "app:app"]).start();
        let scenarios = "messages,scope,refusals,ends,violations,mistakes,early_bytes,back_pressure,deflate";
        assert_holds(&python, scenarios, server.address());
        let log = server.log.text();
        for logged in ["before the accept", "after the accept", "returned without accepting or denying"] {
            assert!(log.contains(logged), "{logged:?} is not in the log");
        }
        assert!(!log.contains("the WebSocket client is gone"), "what send() raised is no failure");
        server.stop();
    }
}

#[test]
fn each_setting_shows_its_effect() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let off = server(&machine, &python).arguments(["--ws", "none", "app:app"]).start();
    assert_holds(&python, "plain", off.address());
    off.stop();
    let limited = server(&machine, &python)
        .arguments(["--ws-max-size", "1000", "--ws-per-message-deflate", "false"])
        .arguments(["--ws-ping-interval", "200ms", "--ws-ping-timeout", "200ms", "app:app"])
        .start();
    assert_holds(&python, "limits", limited.address());
    limited.stop();
}

#[test]
fn a_websocket_is_counted_as_a_request_when_it_ends() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = server(&machine, &python).arguments(["app:app"]).start();
    assert_holds(&python, "messages", server.address());
    let seconds = Duration::from_secs(10);
    server.wait_for_metric("supervise_http_responses_total", &[("code_class", "1xx")], 1.0, seconds);
    server.stop();
}

#[test]
fn chats_of_starlette_fastapi_and_channels() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    for app in ["app:of_starlette", "app:of_fastapi", "app:of_channels"] {
        let server = machine.server().guest(Guest::CHATS, &python).arguments([app]).start();
        assert_holds(&python, "chat", server.address());
        server.stop();
    }
}

#[test]
fn reloads_and_a_stop_tell_every_client_1012() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = server(&machine, &python).arguments(["--workers", "2", "app:app"]).start();
    let mut client = client(&python, "drains", server.address())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter runs");
    let mut said = BufReader::new(client.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert_eq!(said.next().as_deref(), Some("talking"));
    for reload in 0..RELOADS {
        assert_eq!(server.reload(), Reloaded::Ok, "reload {reload}");
    }
    drop(client.stdin.take());
    let status = client.wait().expect("it ends");
    let said: Vec<String> = said.collect();
    assert!(status.success() && said == ["it holds"], "{said:?}");
    server.stop();
}

#[test]
fn nginx_in_front_over_a_unix_socket() {
    let machine = Machine::shared();
    let (Some(nginx), Some(python)) = (require(Tool::Nginx), Python::default_one()) else { return };
    let server = server(&machine, &python).arguments(["--bind", "unix:web.sock", "app:app"]).start();
    let front = TestDirectory::new();
    // nginx's workers run as another user.
    open_to_all(front.path());
    open_to_all(server.directory());
    let (nginx, address) = deployed_nginx(&nginx, front.path(), &server.directory().join("web.sock"));
    assert_holds(&python, "behind_proxy", address);
    drop(nginx);
    server.stop();
}
