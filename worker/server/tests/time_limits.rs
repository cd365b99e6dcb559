//! Every wait for the client has an end.

mod support;

use std::time::Duration;

use support::{
    Metered, Rig,
    apps::{self, head, keeper},
    body_bytes,
};
use worker_server::{Last, Taken, TimeLimit};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_silent_new_connection_is_closed_without_a_word() {
    let mut rig = Rig::new(apps::site());
    rig.run().pass(milliseconds(9_999));
    assert!(!rig.wire.output_ended());
    rig.pass(milliseconds(1));
    assert!(rig.wire.output_ended());
    assert_eq!(rig.received(), "");
    rig.pass(milliseconds(300));
    assert!(rig.is_closed());
    assert_eq!(rig.ledger.count(&Metered::TimedOut(TimeLimit::HeaderRead)), 1);
}

#[test]
fn a_head_that_trickles_in_is_cut_off() {
    let mut rig = Rig::new(apps::site());
    rig.send("GET / HTTP/1.1\r\n");
    for _ in 0..9 {
        rig.pass(seconds(1)).send("X: y\r\n");
    }
    assert_eq!(rig.received(), "");
    rig.pass(seconds(1));
    assert!(rig.received().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert!(rig.wire.is_shut_down());
    rig.pass(seconds(1));
    assert!(rig.is_closed(), "a client that does not close is not waited for");
    assert_eq!(
        (
            rig.ledger.count(&Metered::TimedOut(TimeLimit::HeaderRead)),
            rig.ledger.count(&Metered::Refused(408))
        ),
        (1, 1)
    );
    // The empty lines that may come before a request do not win time.
    let mut rig = Rig::new(apps::site());
    for _ in 0..10 {
        rig.send("\r\n").pass(seconds(1));
    }
    assert!(rig.received().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let mut rig = Rig::new(apps::site());
    rig.send(GET);
    assert!(rig.received().ends_with("hello"));
    rig.pass(seconds(50)).send(GET);
    assert!(rig.received().ends_with("hello"));
    rig.pass(milliseconds(74_999));
    assert!(!rig.wire.output_ended());
    rig.pass(milliseconds(1));
    assert!(rig.wire.is_shut_down());
    assert_eq!(rig.received(), "");
    rig.pass(milliseconds(300));
    assert!(rig.is_closed());
    assert_eq!(rig.ledger.timeouts(), 0, "that is how connections end");
}

#[test]
fn a_body_that_stalls_is_cut_off() {
    let stalled = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123";
    let mut rig = Rig::new(apps::site());
    rig.send(stalled).pass(seconds(29)).send("456").pass(milliseconds(29_999));
    assert_eq!(rig.received(), "");
    rig.pass(milliseconds(1));
    let refusal = rig.received();
    assert!(refusal.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    let reply_bytes = body_bytes(&refusal);
    let cut_off = Metered::Finished { status: 408, request_bytes: 6, reply_bytes, aborted: false };
    assert_eq!(
        (rig.ledger.count(&Metered::TimedOut(TimeLimit::BodyRead)), rig.ledger.count(&cut_off)),
        (1, 1)
    );
    // A reply that was begun is broken off.
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send(stalled);
    let exchange = kept.borrow_mut().remove(0);
    head(&exchange, 200, &[]).unwrap();
    exchange.body(b"abc".to_vec(), Last::No).unwrap();
    rig.run();
    assert!(rig.received().ends_with("3\r\nabc\r\n"));
    rig.pass(seconds(30));
    assert!(exchange.is_over() && rig.wire.output_ended());
    assert_eq!(rig.received(), "");
}

#[test]
fn a_slow_app_is_not_the_clients_stall() {
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n").send(vec![b'x'; 100_000]);
    rig.pass(seconds(1000));
    let exchange = kept.borrow_mut().remove(0);
    assert_eq!(exchange.receive(<[u8]>::len).0, Taken::Body { more: true });
    rig.run();
    assert!(!exchange.is_over(), "the client's time begins when it is read from again");
    while let Taken::Body { .. } = exchange.receive(<[u8]>::len).0 {
        rig.run();
    }
    rig.pass(milliseconds(29_999));
    assert!(!exchange.is_over());
    rig.pass(milliseconds(1));
    assert!(exchange.is_over());
    assert!(rig.received().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    // Neither is an app that has the whole body and thinks.
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send(GET).pass(seconds(100_000));
    assert!(!kept.borrow()[0].is_over());
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    let mut rig = Rig::new(apps::site());
    rig.wire.set_window(Some(10));
    rig.send(GET).pass(seconds(59));
    rig.wire.set_window(Some(10));
    rig.run().pass(milliseconds(59_999));
    assert!(!rig.is_closed());
    rig.pass(milliseconds(1));
    assert!(rig.is_closed());
    assert_eq!(rig.ledger.count(&Metered::TimedOut(TimeLimit::Write)), 1);
    let aborted = Metered::Finished { status: 200, request_bytes: 0, reply_bytes: 5, aborted: true };
    assert_eq!(rig.ledger.count(&aborted), 1);
}

#[test]
fn a_rest_that_never_comes_is_not_waited_for() {
    let mut rig = Rig::new(apps::site());
    rig.send("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123");
    assert!(rig.received().ends_with("unread"));
    rig.pass(seconds(30));
    assert!(rig.wire.is_shut_down());
}

#[test]
fn busy_connections_leave_the_timer_alone() {
    let mut rig = Rig::new(apps::site());
    for _ in 0..1000 {
        rig.send(GET).pass(milliseconds(5));
    }
    assert_eq!(rig.received().matches("hello").count(), 1000);
    assert!(rig.time.operations() <= 2, "{} timer operations", rig.time.operations());
}
