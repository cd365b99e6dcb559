//! A worker under a supervisor: what it says, what it obeys, and that it is never left behind. Real processes, real pipes.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without ends it")]

mod fake_supervisor;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use fake_supervisor::{Start, Supervised, until};
use nix::sys::signal::Signal;
use protocol::{
    FromWorker, Phase, ToWorker, inherited,
    scoreboard::Counter,
    settings::{
        Application, EventLoop, Factory, Interface, Lifespan, PythonSettings,
        wsgi::{WorkerClass, WsgiSettings},
    },
};

/// A worker whose supervisor died is gone within a second (README, "orphan").
const ORPHANS_LIVE_AT_MOST: Duration = Duration::from_secs(1);

#[test]
fn a_worker_says_hello_loaded_ready_and_then_heartbeats() {
    let mut worker = Supervised::start(Start::welcome());
    let pid = worker.pid().as_raw().unsigned_abs();
    match worker.report() {
        FromWorker::Hello { version, pid: said, runtime, stack_signal } => {
            assert_eq!((version, said, stack_signal), (protocol::VERSION, pid, None));
            assert_eq!(runtime, "native");
        }
        other => panic!("no hello but {other:?}"),
    }
    assert!(matches!(worker.news(), FromWorker::Loaded { .. }));
    assert_eq!(worker.news(), FromWorker::Ready);
    for _ in 0..3 {
        assert!(matches!(worker.report(), FromWorker::Heartbeat { in_flight: 0, oldest_request_ms: 0, .. }));
    }
    assert!(worker.get("/healthz").ends_with("\r\n\r\nok\n"));
}

#[test]
fn told_to_drain_it_answers_what_is_in_flight_and_exits_0() {
    let mut worker = Supervised::start(Start::axum()).until_ready();
    let mut slow = worker.connect();
    slow.write_all(b"GET /slow?ms=300 HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    until("the request is in flight", || worker.requests_in_flight().len() == 1);
    worker.drain(5_000);
    assert_eq!(worker.news(), FromWorker::Draining);
    let mut reply = String::new();
    slow.read_to_string(&mut reply).unwrap();
    assert!(reply.contains("connection: close") && reply.ends_with("slept 300 ms\n"), "{reply}");
    assert!(worker.exit().0.success());
}

#[test]
fn a_drain_cuts_off_what_does_not_end_in_its_grace() {
    let mut worker = Supervised::start(Start::axum()).until_ready();
    let mut endless = worker.connect();
    endless.write_all(b"GET /slow?ms=60000 HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    until("the request is in flight", || worker.requests_in_flight().len() == 1);
    worker.drain(200);
    let (status, took) = worker.exit();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_later_order_shortens_the_grace() {
    let mut worker = Supervised::start(Start::axum()).until_ready();
    let mut endless = worker.connect();
    endless.write_all(b"GET /slow?ms=60000 HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    until("the request is in flight", || worker.requests_in_flight().len() == 1);
    worker.drain(60_000);
    assert_eq!(worker.news(), FromWorker::Draining);
    worker.order(&ToWorker::Drain { grace_ms: 1 });
    let (status, took) = worker.exit();
    assert!(status.success() && took < Duration::from_secs(2), "{status} after {took:?}");
}

#[test]
fn term_drains_too_and_hup_and_int_are_left_alone() {
    let mut worker = Supervised::start(Start::welcome()).until_ready();
    worker.signal(Signal::SIGHUP);
    worker.signal(Signal::SIGINT);
    assert!(worker.get("/healthz").ends_with("ok\n"));
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.news(), FromWorker::Draining);
    assert!(worker.exit().0.success());
}

#[test]
fn no_heartbeat_comes_while_the_loop_is_stuck() {
    let mut worker = Supervised::start(Start::axum()).until_ready();
    let mut stuck = worker.connect();
    stuck.write_all(b"GET /block HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    until("the loop is stuck in the request", || worker.requests_in_flight().len() == 1);
    assert_eq!(worker.requests_in_flight()[0].line, "GET /block HTTP/1.1");
    // What was sent before it got stuck may still be in the pipe; then silence, for twenty intervals.
    while worker.report_within(Duration::from_millis(100)).is_some() {}
    assert_eq!(worker.report_within(Duration::from_secs(1)), None);
}

#[test]
fn a_supervisor_that_does_not_read_costs_heartbeats_and_nothing_else() {
    let mut worker = Supervised::start(Start { heartbeat_interval_ms: 1, ..Start::welcome() }).until_ready();
    until("the pipe is full", || worker.reports_are_stuck());
    assert!(worker.get("/healthz").ends_with("ok\n"));
    worker.drain(5_000);
    assert!(worker.exit().0.success());
}

#[test]
fn an_orphan_answers_what_is_short_and_leaves_within_a_second() {
    let mut worker = Supervised::start(Start::axum()).until_ready();
    let mut slow = worker.connect();
    slow.write_all(b"GET /slow?ms=400 HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    let _idle = worker.connect();
    until("the request is in flight", || worker.requests_in_flight().len() == 1);
    worker.die();
    let (status, took) = worker.exit();
    assert!(status.success() && took < ORPHANS_LIVE_AT_MOST, "{status} after {took:?}");
    let mut reply = String::new();
    slow.read_to_string(&mut reply).unwrap();
    assert!(reply.ends_with("slept 400 ms\n"), "{reply:?}");
}

#[test]
fn an_orphan_that_is_stuck_leaves_within_a_second_too() {
    let mut worker = Supervised::start(Start::axum()).until_ready();
    let mut stuck = worker.connect();
    stuck.write_all(b"GET /block HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    until("the loop is stuck in the request", || worker.requests_in_flight().len() == 1);
    worker.die();
    let (_killed, took) = worker.exit();
    assert!(took < ORPHANS_LIVE_AT_MOST, "{took:?}");
}

#[test]
fn the_scoreboard_counts_what_was_served() {
    let worker = Supervised::start(Start::axum()).until_ready();
    assert!(worker.get("/json").starts_with("HTTP/1.1 200"));
    assert!(worker.get("/nowhere").starts_with("HTTP/1.1 404"));
    assert!(worker.get("/panic").starts_with("HTTP/1.1 500"));
    until("all is counted", || worker.counter(Counter::Responses5xx) == 1);
    assert_eq!(worker.counter(Counter::Responses2xx), 1);
    assert_eq!(worker.counter(Counter::Responses4xx), 1);
    assert_eq!(worker.counter(Counter::AppExceptions), 1);
    assert_eq!(worker.counter(Counter::ConnectionsAccepted), 3);
    let mut worker = worker;
    assert!(worker.get("/version").starts_with("HTTP/1.1 200"), "one panic costs one request");
    worker.drain(1_000);
    assert!(worker.exit().0.success());
}

#[test]
fn whoever_is_in_the_queue_when_the_drain_begins_is_answered() {
    let mut worker = Supervised::start(Start::welcome()).until_ready();
    worker.signal(Signal::SIGSTOP);
    let mut waiting: Vec<TcpStream> = (0..20).map(|_| worker.connect()).collect();
    worker.drain(5_000);
    worker.signal(Signal::SIGCONT);
    for stream in &mut waiting {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    }
    for mut stream in waiting {
        let mut reply = [0; 15];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"HTTP/1.1 200 OK");
    }
    assert!(worker.exit().0.success());
}

#[test]
fn a_native_program_that_is_not_there_is_named() {
    let program = "/no/such/program".into();
    let mut worker = Supervised::start(Start::of(Application::Native { program }));
    assert!(matches!(worker.report(), FromWorker::Hello { .. }));
    match worker.report() {
        FromWorker::Failed { phase: Phase::Load, message } => {
            assert_eq!(message, "cannot run /no/such/program: there is no such program");
        }
        other => panic!("no failure but {other:?}"),
    }
    assert_eq!(worker.exit().0.code(), Some(4));
}

#[test]
fn a_wrong_inheritance_is_a_message_that_names_the_variable() {
    for (variable, value, part) in [
        (inherited::LISTENERS, "9999", "not open in this process"),
        (inherited::LISTENERS, "", "names no listening socket"),
        (inherited::LISTENERS, "one", "no descriptor number"),
        (inherited::SCOREBOARD_RECORD, "100000", "no record 100000"),
        (inherited::SLOT, "first", "is no number"),
    ] {
        let mut worker =
            Supervised::start(Start { variables: vec![(variable, value.to_owned())], ..Start::welcome() });
        assert!(matches!(worker.report(), FromWorker::Hello { .. }));
        match worker.report() {
            FromWorker::Failed { phase: Phase::Startup, message } => {
                assert!(message.contains(part), "{variable}={value}: {message}");
            }
            other => panic!("{variable}={value}: no failure but {other:?}"),
        }
        assert_eq!(worker.exit().0.code(), Some(3));
    }
}

#[test]
fn a_search_for_python_that_finds_none_is_told_in_full() {
    let python = PythonSettings {
        target: "app:app".to_owned(),
        python: None,
        app_dir: "/".into(),
        factory: Factory::Auto,
        interface: Interface::Auto,
        wsgi: WsgiSettings {
            worker_class: WorkerClass::Async,
            threads: None,
            workers: 1,
            request_buffer_bytes: 0,
            reply_buffer_bytes: 0,
        },
        lifespan: Lifespan::Auto,
        event_loop: EventLoop::Auto,
        asgi: protocol::defaults::asgi(),
        env_file: None,
        log_config: None,
    };
    let nowhere = [("PATH", "/nowhere"), ("VIRTUAL_ENV", ""), ("CONDA_PREFIX", "")];
    let variables = nowhere.map(|(name, value)| (name, value.to_owned())).to_vec();
    let mut worker = Supervised::start(Start { variables, ..Start::of(Application::Python(python)) });
    assert!(matches!(worker.report(), FromWorker::Hello { .. }));
    let message = "no Python interpreter found; name one with --python PATH".to_owned();
    assert_eq!(worker.report(), FromWorker::Failed { phase: Phase::Load, message });
    assert_eq!(worker.exit().0.code(), Some(3));
    assert!(worker.evidence_text().contains("/nowhere/python3"), "{}", worker.evidence_text());
}
