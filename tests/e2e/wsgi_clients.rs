//! Promise: a thread only runs the application. Slow and idle clients hold none, a stuck pool is found and explained, and a reload or
//! a stop loses nothing.

use std::time::{Duration, Instant};

use harness::{
    Guest, Machine, Python, Reloaded, Server, ServerBuilder, http,
    http::{Connection, Request},
    load::Load,
    patient,
    processes::Signal,
    wait_until,
};

use crate::guest;

/// Slow clients at a time.
const SLOW_CLIENTS: usize = 200;

fn server<'m>(machine: &'m Machine, python: &Python) -> ServerBuilder<'m> {
    machine.server().guest(Guest::WSGI, python).file("version.py", &guest::version(0, 0.0))
}

/// Asks ten times, each time on a new connection; how long the slowest took.
fn answers_others(server: &Server) -> Duration {
    let ask = |_| {
        let begun = Instant::now();
        assert_eq!(http::get(server.address(), "/generator").expect("an answer").status, 200);
        begun.elapsed()
    };
    (0..10).map(ask).max().unwrap_or_default()
}

#[test]
fn slow_clients_hold_no_thread() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    for class in
        [["--worker-class", "threads", "--threads", "1"], ["--worker-class", "sync", "--workers", "1"]]
    {
        let server = server(&machine, &python).arguments(class).arguments(["app:app"]).start();
        let begin = |bytes: &[u8]| {
            let mut connection = Connection::open(server.address()).expect("a connection");
            connection.send(bytes).expect("sent");
            connection
        };
        let head = b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nthe beginning";
        let mut uploads: Vec<Connection> = (0..SLOW_CLIENTS).map(|_| begin(head)).collect();
        // Nothing is read of a page that is larger than what the sockets take, nor of a file.
        server.write_file("large", &"x".repeat(12 << 20));
        let targets = ["/stream?parts=15", "/file?name=large"];
        let readers: Vec<Connection> =
            (0..SLOW_CLIENTS).map(|number| begin(&Request::get(targets[number % 2]).bytes())).collect();
        let slowest = answers_others(&server);
        assert!(slowest < patient(Duration::from_secs(1)), "{class:?}: others wait for {slowest:?}");
        // They are whole in the end.
        for upload in &mut uploads {
            upload.send(&vec![b'x'; 100_000 - "the beginning".len()]).expect("sent");
        }
        for upload in &mut uploads {
            assert_eq!(upload.receive("POST").expect("an answer").status, 200, "{class:?}");
        }
        drop(readers);
        server.stop();
    }
}

#[test]
fn a_client_that_never_reads_is_cut_off() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    let limits = ["--write-timeout", "500ms", "--wsgi-reply-buffer", "64KiB"];
    let server = server(&machine, &python)
        .arguments(["--worker-class", "threads", "--threads", "1"])
        .arguments(limits)
        .arguments(["app:app"])
        .start();
    let mut idle = Connection::open(server.address()).expect("a connection");
    idle.send(&Request::get("/stream?parts=100000").bytes()).expect("sent");
    // It holds the one thread until the time limit frees that.
    let closed = || http::get(server.address(), "/closed").expect("an answer").text();
    wait_until("close() of the reply", patient(Duration::from_secs(9)), || closed().contains("stream"));
    server.stop();
}

#[test]
fn bodies_beyond_the_buffer_stream() {
    let machine = Machine::shared();
    let Some(python) = Python::default_one() else { return };
    for class in ["sync", "threads"] {
        let server = server(&machine, &python)
            .arguments(["--worker-class", class, "--wsgi-request-buffer", "4KiB", "app:app"])
            .start();
        let mut connection = Connection::open(server.address()).expect("a connection");
        connection
            .send(b"POST /first?bytes=5000 HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n")
            .expect("sent");
        connection.send(&[b'x'; 6_000]).expect("sent");
        // The rest was never sent, and still the application has answered.
        assert_eq!(connection.receive("POST").expect("an answer").body, [b'x'; 5_000], "{class}");
        // A stop would wait for the rest of its body.
        drop(connection);
        server.stop();
    }
}

#[test]
fn a_stuck_pool_is_found_explained_and_replaced() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    for class in
        [["--worker-class", "threads", "--threads", "2"], ["--worker-class", "sync", "--workers", "1"]]
    {
        let server =
            server(&machine, &python).arguments(class).arguments(["--timeout", "2", "app:app"]).start();
        let before = guest::pids(&server);
        let mut stuck: Vec<Connection> = Vec::new();
        for _ in 0..3 {
            let mut connection = Connection::open(server.address()).expect("a connection");
            connection.send(&Request::get("/block").bytes()).expect("sent");
            stuck.push(connection);
        }
        wait_until("the stack in the log", patient(Duration::from_secs(15)), || {
            server.log.has_line("block_for_ever")
        });
        assert!(server.log.has_line("GET /block"), "{class:?}: the request line is in the log");
        wait_until("a new worker", patient(Duration::from_secs(15)), || {
            let pids = guest::pids(&server);
            pids.len() == 1 && pids != before
        });
        assert_eq!(http::get(server.address(), "/generator").expect("an answer").status, 200, "{class:?}");
        server.stop();
    }
}

#[test]
fn long_requests_alone_are_no_reason_to_replace_a_worker() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    let server = server(&machine, &python)
        .arguments(["--worker-class", "threads", "--threads", "1", "--timeout", "1", "app:app"])
        .start();
    let reply = http::get(server.address(), "/sleep?ms=4000").expect("an answer");
    assert_eq!(reply.status, 200);
    assert_eq!(server.restarts(""), 0.0);
    server.stop();
}

#[test]
fn reloads_at_full_load_lose_nothing() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    for class in ["threads", "sync"] {
        let server = server(&machine, &python)
            .arguments(["--worker-class", class, "--workers", "2", "app:app"])
            .start();
        let load = Load::new(server.address()).start();
        load.wait_for_version("v0");
        for number in 1..=4 {
            server.write_file("version.py", &guest::version(number, 0.2));
            assert_eq!(server.reload(), Reloaded::Ok, "{class}: reload {number}");
            load.wait_for_version(&format!("v{number}"));
        }
        let report = load.stop();
        println!("{class}: {report}");
        report.assert_nothing_lost(1_000);
        assert_eq!(report.versions.len(), 5, "{class}: every version was served: {report}");
        server.stop();
    }
}

#[test]
fn a_stop_finishes_what_runs_and_cuts_what_never_ends() {
    let machine = Machine::alone();
    let Some(python) = Python::default_one() else { return };
    for class in ["threads", "sync"] {
        let start = || {
            let server = server(&machine, &python);
            server.arguments(["--worker-class", class, "--graceful-timeout", "3", "app:app"]).start()
        };
        let begin = |server: &Server, target: &str| {
            let mut connection = Connection::open(server.address()).expect("a connection");
            connection.send(&Request::get(target).bytes()).expect("sent");
            wait_until("the request in the application", patient(Duration::from_secs(5)), || {
                server.metrics().sum("supervise_http_requests_in_flight", &[]) >= 1.0
            });
            connection
        };
        let mut server = start();
        let mut running = begin(&server, "/sleep?ms=1000");
        server.signal(Signal::SIGTERM);
        assert_eq!(running.receive("GET").expect("an answer").status, 200, "{class}");
        assert_eq!(server.wait_for_exit(Duration::from_secs(15)).code(), Some(0), "{class}");
        let mut server = start();
        let _endless = begin(&server, "/block");
        server.signal(Signal::SIGTERM);
        let begun = Instant::now();
        server.wait_for_exit(patient(Duration::from_secs(15)));
        assert!(
            begun.elapsed() < patient(Duration::from_secs(6)),
            "{class}: left after {:?}",
            begun.elapsed()
        );
    }
}
