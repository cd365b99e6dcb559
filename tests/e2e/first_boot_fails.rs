//! Promise: a mistake at the first start is one clear message with its cause and what to do, the right exit code, and nothing left.

use std::{net::TcpListener, time::Duration};

use harness::{Guest, Machine, Python, ServerBuilder};

use crate::guest;

/// Starts it, expects it to leave with `code` and to say all of `said`.
#[track_caller]
fn leaves(server: ServerBuilder<'_>, code: i32, said: &[&str]) {
    let mut server = server.spawn();
    let status = server.wait_for_exit(Duration::from_secs(15));
    let text = server.log.text() + &server.stdout.text();
    assert_eq!(status.code(), Some(code), "{text}");
    for part in said {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    for never in ["panicked", "RUST_BACKTRACE", "Os {", "ready: "] {
        assert!(!text.contains(never), "{never:?} is in:\n{text}");
    }
    assert!(server.processes().is_empty(), "{:?}", server.processes());
}

/// A server of the plain guest application, whose files and arguments the case changes.
fn with_python(case: impl for<'m> FnOnce(ServerBuilder<'m>) -> ServerBuilder<'m>, code: i32, said: &[&str]) {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    leaves(case(machine.server().guest(Guest::PLAIN, &python)), code, said);
}

#[test]
fn a_module_that_is_missing() {
    with_python(|server| server.arguments(["appp:app"]), 4, &["appp", "did you mean", "app"]);
}

#[test]
fn an_attribute_that_is_missing() {
    with_python(|server| server.arguments(["app:ap"]), 4, &["ap", "app:app"]);
}

#[test]
fn an_exception_on_import() {
    let said = &["Traceback (most recent call last)", "connect_to_database", "no such database"];
    with_python(
        |server| server.file("app.py", &Guest::RAISES_ON_IMPORT.text()).arguments(["app:app"]),
        4,
        said,
    );
}

#[test]
fn a_module_that_the_application_lacks() {
    let text = "import surely_not_installed\n";
    with_python(|server| server.file("app.py", text).arguments(["app:app"]), 4, &["surely_not_installed"]);
}

#[test]
fn a_mistake_of_syntax() {
    with_python(
        |server| server.file("app.py", "def app(:\n").arguments(["app:app"]),
        4,
        &["SyntaxError", "app.py"],
    );
}

#[test]
fn a_start_up_that_fails() {
    let said = &["the cache cannot be reached: start-up fails on purpose"];
    with_python(|server| server.file("app.py", &Guest::FAILS_STARTUP.text()).arguments(["app:app"]), 3, said);
}

#[test]
fn a_start_that_takes_too_long() {
    let hangs = Guest::HANGS_ON_IMPORT.text();
    with_python(
        |server| server.file("app.py", &hangs).arguments(["--boot-timeout", "1", "app:app"]),
        3,
        &["1"],
    );
}

#[test]
fn an_application_that_leaves_the_process() {
    with_python(
        |server| server.file("app.py", &Guest::EXITS_ON_IMPORT.text()).arguments(["app:app"]),
        4,
        &["9"],
    );
}

#[test]
fn an_attribute_that_is_no_application() {
    with_python(|server| server.file("app.py", "app = 42\n").arguments(["app:app"]), 4, &["app"]);
}

#[test]
fn a_worker_class_for_another_interface() {
    let asgi = "async def app(scope, receive, send):\n    pass\n";
    let refused = |arguments: [&str; 3], parts: &[&str]| {
        with_python(|server| server.file("app.py", asgi).arguments(arguments), 4, parts);
    };
    refused(["--worker-class", "sync", "app:app"], &["--worker-class sync", "WSGI", "async"]);
    refused(["--worker-class", "gthread", "app:app"], &["--worker-class threads", "WSGI", "async"]);
    refused(["--threads", "2", "app:app"], &["--threads", "WSGI"]);
    let wsgi = |arguments: [&str; 3], parts: &[&str]| {
        with_python(|server| server.file("app.py", &Guest::WSGI.text()).arguments(arguments), 4, parts);
    };
    wsgi(["--lifespan", "on", "app:app"], &["--lifespan on", "WSGI"]);
    wsgi(["--loop", "asyncio", "app:app"], &["--loop", "WSGI"]);
}

#[test]
fn an_interpreter_that_is_missing() {
    let machine = Machine::shared();
    let server = machine.server().file("app.py", "").arguments(["--python", "/no/such/python3", "app:app"]);
    leaves(server, 2, &["/no/such/python3"]);
}

#[test]
fn a_port_in_use() {
    let machine = Machine::shared();
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address").to_string();
    leaves(machine.server().arguments(["--bind", &address]), 69, &[&address, "in use"]);
    leaves(machine.server().arguments(["--metrics", &address]), 69, &[&address, "in use"]);
}

#[test]
fn the_default_metrics_port_in_use_is_only_a_warning() {
    let machine = Machine::shared();
    // Whoever holds it: this test, or another program of the machine.
    let _holder = TcpListener::bind("127.0.0.1:9464");
    let server = machine.server().without_defaults().arguments(["--bind", "127.0.0.1:0"]).start();
    assert!(server.log.has_line("9464"), "the warning names the port");
    assert_eq!(harness::http::get(server.address(), "/healthz").expect("an answer").status, 200);
    server.stop();
}

#[test]
fn bad_flags() {
    let machine = Machine::shared();
    leaves(machine.server().arguments(["--wrokers", "2"]), 2, &["--wrokers", "--workers"]);
    leaves(machine.server().arguments(["--workers", "many"]), 2, &["many", "--workers"]);
    leaves(machine.server().arguments(["--workers", "0"]), 2, &["workers"]);
    leaves(machine.server().arguments(["--worker-class", "asnyc"]), 2, &["asnyc", "async"]);
    leaves(machine.server().arguments(["--worker-class", "gevent"]), 2, &["gevent", "threads"]);
    leaves(machine.server().arguments(["--worker-class", "sync"]), 2, &["--worker-class sync", "WSGI"]);
    leaves(machine.server().arguments(["--threads", "2"]), 2, &["--threads", "WSGI"]);
    leaves(
        machine.server().arguments(["--threads", "2", "--interface", "asgi3", "app:app"]),
        2,
        &["--threads", "ASGI"],
    );
    leaves(machine.server().arguments(["--bind", "127.0.0.1:99999"]), 2, &["99999"]);
    leaves(machine.server().arguments(["--prot", "1"]), 2, &["--prot"]);
}

#[test]
fn bad_configuration_files() {
    let machine = Machine::shared();
    let with = |text: &str| machine.server().file("supervise.yaml", text).arguments(["-c", "supervise.yaml"]);
    leaves(with("wrokers: 2\n"), 78, &["wrokers", "did you mean", "workers", "supervise.yaml:1:1"]);
    leaves(with("workers: many\n"), 78, &["workers", "supervise.yaml:1"]);
    leaves(with("workers: [\n"), 78, &["supervise.yaml"]);
    leaves(with("bind: 127.0.0.1:0\nworkers: 2\nworkers: 3\n"), 78, &["workers"]);
    leaves(machine.server().arguments(["-c", "missing.yaml"]), 66, &["missing.yaml"]);
}

#[test]
fn check_config_tells_good_from_bad() {
    let machine = Machine::shared();
    let check = |text: &str| {
        let server = machine.server().without_defaults().file("supervise.yaml", text);
        server.arguments(["check-config", "-c", "supervise.yaml"])
    };
    leaves(check("workers: 2\nbind: 127.0.0.1:0\n"), 0, &[]);
    leaves(check("wrokers: 2\n"), 78, &["wrokers", "workers"]);
}

#[test]
fn a_directory_of_settings_is_used() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let yaml = "workers: 3\nworker_class: async\napp: app:app\n";
    let server = guest::plain(&machine, &python, 3).file("supervise.yaml", yaml);
    let server = server.arguments(["-c", "supervise.yaml"]).start();
    assert_eq!(server.workers().len(), 3);
    server.stop();
}
