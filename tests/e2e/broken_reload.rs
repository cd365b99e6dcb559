//! Promise: a broken reload harms nothing. The old workers serve on, the log says why, the counter counts, and mended code serves.

use std::time::Duration;

use harness::{Guest, Machine, Python, Reloaded, Server, ServerBuilder, load::Load, wait_until};

use crate::guest;

/// What is broken, and what must be said about it.
struct Breakage {
    spoil: fn(&Server),
    mend: fn(&Server),
    outcome: Reloaded,
    logged: &'static [&'static str],
}

/// The application file is replaced by one that cannot serve.
const fn code(spoil: fn(&Server), logged: &'static [&'static str]) -> Breakage {
    let mend: fn(&Server) = |server| server.write_file("app.py", &Guest::PLAIN.text());
    Breakage { spoil, mend, outcome: Reloaded::Failed, logged }
}

fn harms_nothing(server: impl for<'m> FnOnce(ServerBuilder<'m>) -> ServerBuilder<'m>, breakage: &Breakage) {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = server(guest::plain(&machine, &python, 2)).start();
    let old_workers = guest::pids(&server);
    let load = Load { concurrency: 16, ..Load::new(server.address()) }.start();
    load.wait_for_answers(100);

    server.write_file("version.py", &guest::version(1, 0.0));
    (breakage.spoil)(&server);
    assert_eq!(server.reload(), breakage.outcome);
    load.wait_for_answers(100);
    let what = "the old workers, all of them and no other";
    wait_until(what, Duration::from_secs(5), || guest::pids(&server) == old_workers);
    for part in breakage.logged {
        let _ = server.log.wait_for_line(part, Duration::from_secs(5));
    }
    assert!(!load.report().versions.contains_key("v1"), "broken code served");

    (breakage.mend)(&server);
    assert_eq!(server.reload(), Reloaded::Ok, "the mended code");
    load.wait_for_version("v1");
    load.stop().assert_nothing_lost(200);
    assert_eq!(server.reloads(breakage.outcome), 1.0);
    assert_eq!(server.reloads(Reloaded::Ok), 1.0);
    server.stop();
}

#[test]
fn code_that_raises_on_import() {
    let spoil: fn(&Server) = |server| server.write_file("app.py", &Guest::RAISES_ON_IMPORT.text());
    let logged = &[
        "Traceback (most recent call last)",
        "connect_to_database",
        "no such database: the import fails on purpose",
    ];
    harms_nothing(|server| server, &code(spoil, logged));
}

#[test]
fn code_that_hangs_at_import() {
    let spoil: fn(&Server) = |server| server.write_file("app.py", &Guest::HANGS_ON_IMPORT.text());
    harms_nothing(|server| server.arguments(["--boot-timeout", "3"]), &code(spoil, &["app.py"]));
}

#[test]
fn code_whose_start_up_fails() {
    let spoil: fn(&Server) = |server| server.write_file("app.py", &Guest::FAILS_STARTUP.text());
    harms_nothing(|server| server, &code(spoil, &["the cache cannot be reached: start-up fails on purpose"]));
}

#[test]
fn code_that_leaves_the_process() {
    let spoil: fn(&Server) = |server| server.write_file("app.py", &Guest::EXITS_ON_IMPORT.text());
    harms_nothing(|server| server, &code(spoil, &["9"]));
}

#[test]
fn code_that_is_gone() {
    let spoil: fn(&Server) = |server| {
        std::fs::remove_file(server.directory().join("app.py")).expect("the application is there");
    };
    harms_nothing(|server| server, &code(spoil, &["there is no such module in"]));
}

#[test]
fn a_broken_configuration() {
    let breakage = Breakage {
        spoil: |server| server.write_file("supervise.yaml", "wrokers: 2\n"),
        mend: |server| server.write_file("supervise.yaml", "graceful_timeout: 20\n"),
        outcome: Reloaded::Rejected,
        logged: &["wrokers", "workers"],
    };
    harms_nothing(
        |server| server.file("supervise.yaml", "graceful_timeout: 10\n").arguments(["-c", "supervise.yaml"]),
        &breakage,
    );
}
