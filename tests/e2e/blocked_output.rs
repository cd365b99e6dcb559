//! Promise: a supervisor whose stdout and stderr are full pipes that nobody reads still acts at once.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use harness::{Machine, Reading, http, patient, processes, processes::Signal, wait_for, wait_until};

const AT_ONCE: Duration = Duration::from_millis(100);

#[test]
fn signals_and_health_checks_are_answered_at_once() {
    let machine = Machine::alone();
    let mut server = machine
        .server()
        .reading(Reading::Never)
        .arguments(["--workers", "1", "--welcome", "--bind", "unix:web.sock", "--log-level", "debug"])
        .spawn();
    // Nobody can read the address that it prints, but the kernel knows it.
    let address = wait_for("the port of /metrics", Duration::from_secs(10), || {
        let port = processes::listening_ports(server.pid()).into_iter().next()?;
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    });
    let get = |target: &str| http::get(address, target).expect("an answer");
    wait_until("readiness", Duration::from_secs(10), || get("/readyz").status == 200);

    let asked_at = Instant::now();
    assert_eq!(get("/healthz").status, 200);
    let health_took = asked_at.elapsed();

    let told_at = Instant::now();
    server.signal(Signal::SIGHUP);
    wait_until("a worker of the next generation", AT_ONCE * 50, || {
        server.workers().iter().any(|worker| worker.generation == 2)
    });
    let reload_took = told_at.elapsed();
    wait_until("the end of the reload", Duration::from_secs(10), || {
        let workers = server.workers();
        workers.len() == 1 && workers[0].generation == 2
    });

    let told_at = Instant::now();
    server.signal(Signal::SIGTERM);
    let status = server.wait_for_exit(Duration::from_secs(10));
    let stop_took = told_at.elapsed();
    println!("healthz {health_took:?}, HUP {reload_took:?}, TERM {stop_took:?}");
    assert_eq!(status.code(), Some(0));
    for (what, took) in [("/healthz", health_took), ("HUP", reload_took), ("TERM", stop_took)] {
        assert!(took <= patient(AT_ONCE), "{what} took {took:?}");
    }
}
