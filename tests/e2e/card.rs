//! Promise: the card, literally. `supervise --worker-class async --workers $(nproc)` serves with no application at all and with a
//! native one; reload, crash, orphan and stop hold; a rebuilt worker program is served after a reload.

use std::{fs, path::Path, time::Duration};

use harness::{
    Binaries, Machine, Reloaded, Server, ServerBuilder, copy_of_binaries, http,
    load::{FailureKind, Load, check_not_empty, health_request},
    processes::{Signal, send_signal},
    wait_until,
};

fn workers() -> String {
    std::thread::available_parallelism().map_or(1, usize::from).to_string()
}

fn card(machine: &Machine) -> ServerBuilder<'_> {
    machine.server().arguments(["--worker-class", "async", "--workers", &workers()])
}

/// A load that asks for something that is the same in every version.
fn health_load(server: &Server) -> Load {
    Load { make_request: health_request, check: check_not_empty, ..Load::new(server.address()) }
}

/// The promises that every application gets, under load; `target` must be answered with 200 all the while.
fn holds_its_promises(server: Server, load: Load) {
    let count = server.workers().len();
    let load = load.start();
    load.wait_for_answers(1_000);
    for _ in 0..3 {
        assert_eq!(server.reload(), Reloaded::Ok);
        load.wait_for_answers(500);
    }
    let report = load.report();
    assert_eq!(report.failed_in_all(), 0, "a reload lost requests: {report}");

    let victim = server.workers()[0].pid;
    send_signal(victim, Signal::SIGKILL);
    server.wait_for_metric(
        "supervise_worker_restarts_total",
        &[("reason", "signal")],
        1.0,
        Duration::from_secs(5),
    );
    server.wait_for_ready_workers(u32::try_from(count).expect("few workers"));
    load.wait_for_answers(500);
    let report = load.report();
    assert!(report.failed_in_all() <= 64, "more failed than were in flight: {report}");
    assert_eq!(
        report.failed_by(FailureKind::Refused) + report.failed_by(FailureKind::TimedOut),
        0,
        "{report}"
    );
    drop(load);
    server.stop();
}

/// Kills the supervisor; nothing may be left a second later.
fn leaves_no_orphan(mut server: Server) {
    server.signal(Signal::SIGKILL);
    wait_until("the end of the workers", Duration::from_secs(1), || {
        server.processes().iter().all(|process| process.pid == server.pid())
    });
    let _ = server.wait_for_exit(Duration::from_secs(2));
    assert!(std::net::TcpListener::bind(server.address()).is_ok(), "the port is free");
}

#[test]
fn no_application_at_all() {
    let machine = Machine::alone();
    let server = card(&machine).start();
    let page = http::get(server.address(), "/").expect("an answer");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{page:?}");
    assert!(page.text().contains("<html"), "{}", page.text());
    assert_eq!(http::get(server.address(), "/healthz").expect("an answer").status, 200);
    let load = health_load(&server);
    holds_its_promises(server, load);
    leaves_no_orphan(card(&machine).start());
}

#[test]
fn a_native_application() {
    let machine = Machine::alone();
    let program = harness::product_directory().join("examples/axum");
    let program = program.to_str().expect("a path of text");
    let server = card(&machine).arguments([program]).start();
    let reply = http::get(server.address(), "/").expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let load = Load {
        make_request: |_, _| b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ..health_load(&server)
    };
    holds_its_promises(server, load);
    leaves_no_orphan(card(&machine).arguments([program]).start());
}

/// Replaces the worker program as a linker does (a new file under the old name), with another text in its page: what a rebuild
/// of changed code leaves behind.
fn rebuild(binaries: &Binaries, old: &str, new: &str) {
    assert_eq!(old.len(), new.len(), "the text is patched in place");
    let mut program = fs::read(binaries.worker()).expect("the worker is there");
    let places: Vec<usize> = program
        .windows(old.len())
        .enumerate()
        .filter(|(_, part)| *part == old.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "{old:?} is not in the worker program");
    for at in places {
        program[at..at + new.len()].copy_from_slice(new.as_bytes());
    }
    let draft: &Path = &binaries.directory.join("worker.new");
    fs::write(draft, program).expect("the directory can be written");
    fs::set_permissions(draft, fs::metadata(binaries.worker()).expect("the worker is there").permissions())
        .expect("made executable");
    fs::rename(draft, binaries.worker()).expect("the worker is replaced");
}

#[test]
fn a_rebuilt_worker_is_served_after_a_reload() {
    let machine = Machine::alone();
    let directory = harness::TestDirectory::new();
    let binaries = copy_of_binaries(&directory.join("bin"));
    let server = card(&machine).binaries(binaries.clone()).start();
    let page = || http::get(server.address(), "/").expect("an answer").text();
    assert!(page().contains("<html") && !page().contains("<HTML"));
    let load = health_load(&server).start();
    load.wait_for_answers(500);
    rebuild(&binaries, "<html", "<HTML");
    assert_eq!(server.reload(), Reloaded::Ok);
    wait_until("the new build's page", Duration::from_secs(5), || page().contains("<HTML"));
    load.wait_for_answers(500);
    load.stop().assert_nothing_lost(1_000);
    server.stop();
}
