//! A drain loses no request: what is in flight finishes, who waits is answered once more and told that it is the last time.

mod support;

use std::{
    future::Future,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use support::{
    Rig,
    apps::{self, head, keeper, reply},
};
use worker_server::Last;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LINGER: Duration = Duration::from_secs(1);
const LAST: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\nconnection: close\r\nserver: supervise\r\n\r\nhello";

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The client reads the last reply and closes.
fn part(rig: &mut Rig<impl worker_server::App>) {
    assert!(rig.wire.is_shut_down(), "the server has not closed its side");
    rig.wire.end_input();
    rig.run();
    assert!(rig.is_closed());
    assert_eq!(rig.drain.connections(), 0);
}

#[test]
fn fresh_and_idle_connections_are_answered_once_more() {
    for is_fresh in [true, false] {
        let mut rig = Rig::new(apps::site());
        if !is_fresh {
            rig.send(GET);
        }
        rig.run();
        rig.received();
        rig.drain.begin(LINGER);
        rig.run().pass(milliseconds(999));
        assert!(!rig.wire.output_ended());
        rig.send(GET);
        assert_eq!(rig.received(), LAST);
        part(&mut rig);
    }
}

#[test]
fn fresh_and_idle_connections_are_closed_after_the_linger() {
    for is_fresh in [true, false] {
        let mut rig = Rig::new(apps::site());
        if !is_fresh {
            rig.send(GET);
        }
        rig.run();
        rig.received();
        rig.drain.begin(LINGER);
        rig.run().pass(LINGER);
        assert_eq!(rig.received(), "");
        part(&mut rig);
        assert_eq!(rig.ledger.timeouts(), 0);
    }
    // A client that never closes its side delays nobody: 300 ms, and it is over.
    let mut rig = Rig::new(apps::site());
    rig.run();
    rig.drain.begin(LINGER);
    rig.run().pass(LINGER).pass(milliseconds(300));
    assert!(rig.is_closed());
}

#[test]
fn a_request_that_arrives_with_the_end_of_the_linger_is_answered() {
    let mut rig = Rig::new(apps::site());
    rig.send(GET);
    rig.received();
    rig.drain.begin(LINGER);
    rig.run();
    // Both are there when the connection wakes: the bytes go first.
    rig.wire.send(GET.as_bytes());
    rig.pass(LINGER);
    assert_eq!(rig.received(), LAST);
    part(&mut rig);
}

#[test]
fn what_is_in_flight_finishes_and_says_that_it_is_the_last() {
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send(GET);
    rig.drain.begin(LINGER);
    rig.run().pass(Duration::from_secs(25));
    assert!(!rig.wire.output_ended(), "a request in flight has until the grace ends");
    reply(&kept.borrow_mut().remove(0), 200, &[], b"late");
    rig.run();
    assert_eq!(
        rig.received(),
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\nserver: supervise\r\n\r\nlate"
    );
    part(&mut rig);
}

#[test]
fn a_head_half_read_is_a_request_in_flight() {
    let mut rig = Rig::new(apps::site());
    rig.send(&GET[..10]);
    rig.drain.begin(LINGER);
    rig.run().pass(Duration::from_secs(5)).send(&GET[10..]);
    assert_eq!(rig.received(), LAST);
    part(&mut rig);
}

#[test]
fn a_reply_that_was_begun_before_is_followed_by_one_more() {
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send(GET);
    let exchange = kept.borrow_mut().remove(0);
    head(&exchange, 200, &[]).unwrap();
    exchange.body(b"be".to_vec(), Last::No).unwrap();
    rig.run();
    rig.drain.begin(LINGER);
    rig.run();
    exchange.body(b"gun".to_vec(), Last::Yes).unwrap();
    rig.run();
    assert!(!rig.wire.output_ended(), "the client was promised that the connection lives");
    rig.send(GET);
    reply(&kept.borrow_mut().remove(0), 200, &[], b"last");
    rig.run();
    let received = rig.received();
    assert!(received.contains("connection: close\r\n") && received.ends_with("last"));
    part(&mut rig);
}

#[test]
fn pipelined_requests_end_with_the_first_that_says_close() {
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send(GET.repeat(2));
    rig.drain.begin(LINGER);
    reply(&kept.borrow_mut().remove(0), 200, &[], b"one");
    rig.run();
    assert_eq!(rig.received().matches("HTTP/1.1").count(), 1);
    assert!(kept.borrow().is_empty());
    part(&mut rig);
}

#[test]
fn what_is_left_at_the_end_of_the_grace_is_broken_off() {
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send(GET);
    rig.drain.begin(LINGER);
    rig.run();
    let exchange = kept.borrow_mut().remove(0);
    assert!(!exchange.is_over());
    rig.drain.cut();
    rig.run();
    assert!(rig.is_closed() && exchange.is_over());
    assert_eq!(rig.drain.connections(), 0);
}

#[test]
fn a_driver_can_wait_for_the_last_connection() {
    let mut rig = Rig::new(apps::site());
    rig.run();
    let bell = rig.bell_of_app();
    let waker = bell.waker();
    let mut gone = pin!(rig.drain.gone());
    assert!(gone.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(rig.drain.connections(), 1);
    rig.drop_connection();
    assert!(bell.rang());
    assert_eq!(gone.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(()));
}

#[test]
fn connections_are_told_at_once_and_later_ones_too() {
    let mut rig = Rig::new(apps::site());
    rig.run();
    assert!(!rig.bell.rang());
    rig.drain.begin(LINGER);
    assert!(rig.bell.rang(), "a sleeping connection is woken");
    let ledger = Rc::clone(&rig.ledger);
    let mut late = rig.sibling(apps::site(), ledger);
    late.send(GET);
    assert_eq!(late.received(), LAST);
}
