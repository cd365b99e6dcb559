//! Promise: any program in any language can be a worker: it inherits the socket and speaks lines of JSON; and one that speaks nonsense
//! harms nobody but itself.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use harness::{Machine, Reloaded, ServerBuilder, Tool, http, repository, require};

/// The worker of twenty lines as an executable in the server's directory; nothing without Python.
fn foreign_worker(machine: &Machine) -> Option<ServerBuilder<'_>> {
    require(Tool::Python)?;
    let text = fs::read_to_string(repository().join("tests/apps/foreign_worker.py"))
        .expect("it is in the repository");
    let server = machine.server().file("foreign_worker.py", &text);
    let program = server.directory().join("foreign_worker.py");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it can be made executable");
    Some(server.arguments(["--workers", "2", "./foreign_worker.py"]))
}

#[test]
fn twenty_lines_of_another_language() {
    let machine = Machine::shared();
    let Some(server) = foreign_worker(&machine) else { return };
    let server = server.start();
    assert_eq!(http::get(server.address(), "/").expect("an answer").text(), "hello\n");
    assert_eq!(server.reload(), Reloaded::Ok);
    assert_eq!(http::get(server.address(), "/").expect("an answer").text(), "hello\n");
    server.stop();
}

#[test]
fn nonsense_on_the_control_channel_replaces_the_worker() {
    let machine = Machine::shared();
    let Some(server) = foreign_worker(&machine) else { return };
    let server = server.start();
    let before: Vec<u32> = server.workers().iter().map(|worker| worker.pid).collect();
    assert_eq!(http::get(server.address(), "/garbage").expect("an answer").status, 200);
    server.wait_for_metric("supervise_worker_restarts_total", &[], 1.0, Duration::from_secs(10));
    server.wait_for_ready_workers(2);
    let stayed = server.workers().iter().filter(|worker| before.contains(&worker.pid)).count();
    assert_eq!(stayed, 1, "the sibling is untouched");
    assert!(server.log.has_line("no message of the protocol"), "the log says what was wrong");
    server.stop();
}

#[test]
fn another_version_is_refused_by_name() {
    let machine = Machine::shared();
    let Some(server) = foreign_worker(&machine) else { return };
    let mut server = server.environment("SPEAKS_VERSION", "99").spawn();
    let status = server.wait_for_exit(Duration::from_secs(10));
    assert_eq!(status.code(), Some(3), "{}", server.log.text());
    assert!(server.log.has_line("99"), "the log names the version:\n{}", server.log.text());
}
