//! Promise: a crash costs only what that worker had in hand, and its slot is back as fast as a start can be.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use harness::{
    Machine, Python, Server,
    load::{FailureKind, Load},
    patient,
    processes::{Signal, send_signal},
    wait_until,
};

use crate::guest;

const KILLS: usize = 20;
const COLD_STARTS: usize = 5;
/// How long a slot must have been ready before its worker is killed: then a replacement starts at once.
const READY_BEFORE_KILL: Duration = Duration::from_secs(2);

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// From exec to the first readiness of a server with one worker, beside the load.
fn cold_start(machine: &Machine, python: &Python) -> Duration {
    let server = guest::plain(machine, python, 1);
    let begun = Instant::now();
    let server = server.spawn();
    server.wait_until_ready();
    let took = begun.elapsed();
    server.stop();
    took
}

/// Kills the worker of a slot and waits until as many are ready as before; how long that took.
fn kill_and_wait(server: &Server, round: usize, killed: &mut BTreeSet<u32>) -> Duration {
    let ready_since = Instant::now();
    wait_until("a slot that is ready for a while", Duration::from_secs(30), || {
        ready_since.elapsed() >= READY_BEFORE_KILL
    });
    let workers = server.workers();
    assert_eq!(workers.len(), 2, "{workers:?}");
    let victim = workers[round % workers.len()].pid;
    killed.insert(victim);
    let restarts = server.restarts("");
    let killed_at = Instant::now();
    send_signal(victim, Signal::SIGKILL);
    wait_until("a replacement that is ready", Duration::from_secs(20), || {
        let metrics = server.metrics();
        let is_replaced = metrics.sum("supervise_worker_restarts_total", &[]) > restarts;
        is_replaced && metrics.sum("supervise_workers", &[("state", "ready")]) == 2.0
    });
    killed_at.elapsed()
}

#[test]
fn only_requests_in_flight_on_the_killed_worker_fail() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 2).start();
    let load = Load::new(server.address()).start();
    load.wait_for_answers(1_000);
    let cold: Vec<_> = (0..COLD_STARTS).map(|_| cold_start(&machine, &python)).collect();
    let mut killed = BTreeSet::new();
    let back: Vec<_> = (0..KILLS).map(|round| kill_and_wait(&server, round, &mut killed)).collect();
    let report = load.stop();
    println!("cold starts {cold:?}\nready again {back:?}\n{report}");

    assert_eq!(report.failed_by(FailureKind::Refused), 0, "{report}");
    assert_eq!(report.failed_by(FailureKind::TimedOut), 0, "{report}");
    assert_eq!(
        report.failed_by(FailureKind::BadStatus) + report.failed_by(FailureKind::WrongBody),
        0,
        "{report}"
    );
    // A connection that the killed worker had accepted but not yet answered names no worker; it was in its hand as well.
    let innocent = report.failures.iter().find(|failure| failure.pid != 0 && !killed.contains(&failure.pid));
    assert!(innocent.is_none(), "a request of another worker failed: {innocent:?}\n{report}");
    assert!(report.failed_in_all() <= (KILLS * 64) as u64, "more failed than were in flight: {report}");
    assert!(report.answered > 10_000, "{report}");
    assert_eq!(server.restarts("signal"), KILLS as f64, "counted by their reason");
    assert_eq!(server.restarts(""), KILLS as f64, "and by no other");
    let bound = patient(median(cold.clone()).mul_f64(1.3) + Duration::from_millis(100));
    assert!(
        median(back.clone()) <= bound,
        "ready again after {:?}, cold start {:?}",
        median(back),
        median(cold)
    );
    server.stop();
}

#[test]
fn an_exit_that_nobody_asked_for_is_counted_as_a_crash() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 1).start();
    let old = guest::pids(&server);
    let _ = harness::http::get(server.address(), "/exit?code=7");
    server.wait_for_metric(
        "supervise_worker_restarts_total",
        &[("reason", "crash")],
        1.0,
        Duration::from_secs(10),
    );
    server.wait_for_ready_workers(1);
    assert_ne!(guest::pids(&server), old);
    let line = server.log.wait_for_line(&format!("{}", old[0]), Duration::from_secs(5));
    assert!(server.log.text().contains('7'), "the exit code is in the log: {line}");
    assert_eq!(harness::http::get(server.address(), "/").expect("an answer").status, 200);
    server.stop();
}
