//! Promise: what the operating system and careless parents do to a supervisor does not take the service down.

use std::time::{Duration, Instant};

use harness::{
    Machine, Python, Reloaded, http,
    http::{Connection, Request},
    load::{FailureKind, Load},
    processes::{Signal, send_signal},
    wait_until,
};

use crate::guest;

#[test]
fn all_workers_killed_at_once_refuse_nobody() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 2).start();
    let load = Load { concurrency: 16, ..Load::new(server.address()) }.start();
    load.wait_for_answers(200);
    for pid in guest::pids(&server) {
        send_signal(pid, Signal::SIGKILL);
    }
    server.wait_for_metric(
        "supervise_worker_restarts_total",
        &[("reason", "signal")],
        2.0,
        Duration::from_secs(10),
    );
    server.wait_for_ready_workers(2);
    load.wait_for_answers(200);
    let report = load.stop();
    // The listening socket is the supervisor's: whoever connects meanwhile waits in its queue.
    assert_eq!(
        report.failed_by(FailureKind::Refused) + report.failed_by(FailureKind::TimedOut),
        0,
        "{report}"
    );
    // The second kill comes a moment after the first and meets those who asked again.
    assert!(report.failed_in_all() <= 2 * 16, "more failed than were in flight: {report}");
    server.stop();
}

#[test]
fn a_supervisor_that_stood_still_kills_nobody() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 2).arguments(["--timeout", "1"]).start();
    let before = guest::pids(&server);
    send_signal(server.pid(), Signal::SIGSTOP);
    let stopped_at = Instant::now();
    // Far beyond the heartbeat timeout; the workers serve on all the while.
    wait_until("the end of the stillness", Duration::from_secs(20), || {
        assert_eq!(http::get(server.address(), "/").expect("an answer").status, 200);
        stopped_at.elapsed() > Duration::from_secs(4)
    });
    send_signal(server.pid(), Signal::SIGCONT);
    assert_eq!(server.reload(), Reloaded::Ok, "it acts again");
    assert_eq!(server.restarts(""), 0.0, "nobody was taken for hung");
    // The reload is over when the new ones serve; the old ones may still say goodbye.
    wait_until("the end of the old workers", Duration::from_secs(10), || {
        before.iter().all(|pid| !guest::pids(&server).contains(pid))
    });
    assert_eq!(server.restarts(""), 0.0, "all were replaced by the reload alone");
    server.stop();
}

#[test]
fn signals_that_the_parent_ignored_work_all_the_same() {
    let machine = Machine::shared();
    let server = machine.server().arguments(["--workers", "1"]);
    let server = server.after_shell_line("trap '' CHLD HUP TERM INT PIPE; exec \"$@\"").start();
    let victim = server.workers()[0].pid;
    send_signal(victim, Signal::SIGKILL);
    server.wait_for_metric(
        "supervise_worker_restarts_total",
        &[("reason", "signal")],
        1.0,
        Duration::from_secs(10),
    );
    server.wait_for_ready_workers(1);
    assert_eq!(server.reload(), Reloaded::Ok);
    server.stop();
}

#[test]
fn closed_standard_streams_are_no_place_for_sockets() {
    let machine = Machine::shared();
    let server = machine.server().arguments([
        "--workers",
        "1",
        "--welcome",
        "--bind",
        "unix:web.sock",
        "--metrics",
        "off",
    ]);
    let mut server = server.after_shell_line("exec \"$@\" <&- >&- 2>&-").spawn();
    let socket = server.directory().join("web.sock");
    wait_until("an answer", Duration::from_secs(10), || {
        let answer =
            Connection::open_unix(&socket).and_then(|mut made| made.request(&Request::get("/healthz")));
        answer.is_ok_and(|reply| reply.status == 200)
    });
    // Log lines that went into a socket would break a reply.
    server.signal(Signal::SIGHUP);
    wait_until("the next generation", Duration::from_secs(10), || {
        let workers = server.workers();
        workers.len() == 1 && workers[0].generation == 2
    });
    let mut connection = Connection::open_unix(&socket).expect("a connection");
    for _ in 0..50 {
        assert_eq!(connection.request(&Request::get("/healthz")).expect("an answer").text(), "ok\n");
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_for_exit(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn more_connections_than_descriptors_are_survived() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 1).after_shell_line("ulimit -n 64; exec \"$@\"").start();
    let before = guest::pids(&server);
    let mut crowd: Vec<Connection> =
        (0..150).map(|_| Connection::open(server.address()).expect("the kernel's queue has room")).collect();
    for connection in &mut crowd {
        connection.send(&Request::get("/").bytes()).expect("sent");
    }
    // As many as there are descriptors are answered; the others are once the first have left.
    for mut connection in crowd.drain(..) {
        assert_eq!(connection.receive("GET").expect("an answer").status, 200);
    }
    assert_eq!(guest::pids(&server), before, "nobody died of it");
    server.stop();
}

#[test]
fn what_a_worker_started_dies_with_it() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 1).start();
    let worker = guest::pids(&server)[0];
    assert_eq!(http::get(server.address(), "/child").expect("an answer").status, 200);
    let children = || server.processes().iter().filter(|process| process.name == "sleep").count();
    assert_eq!(children(), 1);
    send_signal(worker, Signal::SIGKILL);
    server.wait_for_metric(
        "supervise_worker_restarts_total",
        &[("reason", "signal")],
        1.0,
        Duration::from_secs(10),
    );
    wait_until("the end of the worker's child", Duration::from_secs(5), || children() == 0);
    server.wait_for_ready_workers(1);
    server.stop();
}

#[test]
fn signals_of_the_terminal_do_not_reach_workers() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 2).start();
    let before = guest::pids(&server);
    let load = Load { concurrency: 8, ..Load::new(server.address()) }.start();
    load.wait_for_answers(100);
    for &pid in &before {
        assert!(
            harness::processes::Process::find(pid).is_some_and(|process| process.group == pid),
            "a group of its own"
        );
        send_signal(pid, Signal::SIGHUP);
        send_signal(pid, Signal::SIGINT);
    }
    load.wait_for_answers(300);
    assert_eq!(guest::pids(&server), before);
    load.stop().assert_nothing_lost(400);
    server.stop();
}

#[test]
fn a_worker_that_is_told_to_stop_is_replaced_and_loses_nothing() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = guest::plain(&machine, &python, 2).start();
    let load = Load { concurrency: 16, ..Load::new(server.address()) }.start();
    load.wait_for_answers(200);
    let told = guest::pids(&server)[0];
    send_signal(told, Signal::SIGTERM);
    server.wait_for_metric("supervise_worker_starts_total", &[], 3.0, Duration::from_secs(10));
    server.wait_for_ready_workers(2);
    wait_until("the end of the worker", Duration::from_secs(10), || !guest::pids(&server).contains(&told));
    load.wait_for_answers(200);
    load.stop().assert_nothing_lost(400);
    server.stop();
}
