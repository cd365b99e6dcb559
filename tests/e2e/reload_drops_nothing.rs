//! Promise: a reload drops nothing. Under full load, with code that takes a second to import, every version is served and not one
//! request is lost.

use std::time::{Duration, Instant};

use harness::{
    Machine, Python, Reloaded, Server,
    load::{Load, Running},
    processes::Signal,
    wait_until,
};

use crate::guest;

const RELOADS: u32 = 20;
const REQUESTS: u64 = 100_000;
const IMPORT_SECONDS: f32 = 1.0;

fn start(machine: &Machine, python: &Python) -> Server {
    let first = guest::version(0, IMPORT_SECONDS);
    guest::plain(machine, python, 2).file("version.py", &first).start()
}

/// Reloads after the outcome of the one before, another version each time.
fn reload_one_after_the_other(server: &Server, load: &Running) {
    load.wait_for_version("v0");
    for number in 1..=RELOADS {
        server.write_file("version.py", &guest::version(number, IMPORT_SECONDS));
        assert_eq!(server.reload(), Reloaded::Ok, "reload {number}");
        load.wait_for_version(&format!("v{number}"));
    }
    wait_until("enough requests", Duration::from_secs(120), || load.report().answered > REQUESTS);
}

fn twenty_reloads(load: impl FnOnce(&Server) -> Load) {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = start(&machine, &python);
    let load = load(&server).start();
    reload_one_after_the_other(&server, &load);
    let report = load.stop();
    println!("{report}");
    report.assert_nothing_lost(REQUESTS);
    assert_eq!(report.versions.len() as u32, RELOADS + 1, "every version was served: {report}");
    assert_eq!(server.reloads(Reloaded::Ok), f64::from(RELOADS));
    assert_eq!(server.reloads(Reloaded::Failed) + server.reloads(Reloaded::Rejected), 0.0);
    assert_eq!(server.restarts(""), 0.0, "a reload is no restart");
    server.stop();
}

#[test]
fn twenty_reloads_with_kept_connections() {
    twenty_reloads(|server| Load::new(server.address()));
}

#[test]
fn twenty_reloads_with_a_new_connection_for_each_request() {
    twenty_reloads(|server| Load::new(server.address()).with_new_connections());
}

#[test]
fn twenty_reloads_within_a_second_end_with_the_last_version() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = start(&machine, &python);
    let load = Load::new(server.address()).start();
    load.wait_for_version("v0");
    let begun = Instant::now();
    for number in 1..=RELOADS {
        server.write_file("version.py", &guest::version(number, IMPORT_SECONDS));
        server.signal(Signal::SIGHUP);
        // Far enough apart that the signals do not melt into one, and all within the second.
        load.wait_for_answers(40);
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "the signals took {took:?}");
    load.wait_for_version(&format!("v{RELOADS}"));
    // Then nothing else: once the last generation is alone, only its version answers.
    wait_until("one generation", Duration::from_secs(20), || {
        let workers = server.workers();
        workers.len() == 2 && workers.iter().all(|worker| worker.generation == workers[0].generation)
    });
    let report = load.stop();
    report.assert_nothing_lost(1_000);
    let last = Load { limit: Some(500), ..Load::new(server.address()) }.start().finish();
    last.assert_nothing_lost(500);
    assert_eq!(last.versions.keys().collect::<Vec<_>>(), [&format!("v{RELOADS}")], "{last}");
    server.stop();
}
