//! More requests than the app may have at once wait in their order, for a bounded time and in bounded number; what takes too long is
//! cut off.

mod support;

use std::{rc::Rc, time::Duration};

use support::{
    Metered, Rig,
    apps::{Kept, head, keeper, reply},
    body_bytes, limits,
};
use worker_server::{AdmissionLimits, App, HalfClose, Last, Limits, Taken, TimeLimit};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

/// One request with the app, two in the queue for five seconds at most.
fn narrow() -> Limits {
    let admission = AdmissionLimits { concurrent_requests: 1, queued_requests: 2, queue_timeout: 5 * SECOND };
    Limits { admission: Some(admission), ..limits() }
}

fn keeping(limits: Limits) -> (Kept, Rig<impl App<Chunk = Vec<u8>>>) {
    let (kept, app) = keeper();
    (kept, Rig::with_limits(app, limits))
}

/// Another connection to the same worker, with an app that keeps as the first one does.
fn beside<A: App>(rig: &Rig<A>) -> (Kept, Rig<impl App<Chunk = Vec<u8>>>) {
    let (kept, app) = keeper();
    (kept, rig.sibling(app, Rc::clone(&rig.ledger)))
}

fn answer(kept: &Kept) {
    let exchange = kept.borrow_mut().remove(0);
    reply(&exchange, 200, &[], b"done");
}

#[test]
fn requests_wait_in_their_order() {
    let (first, mut one) = keeping(narrow());
    let (second, mut two) = beside(&one);
    let (third, mut three) = beside(&one);
    one.send(GET);
    two.send(GET);
    three.send(GET);
    let begun = || [&first, &second, &third].map(|kept| kept.borrow().len());
    assert_eq!(begun(), [1, 0, 0]);
    answer(&first);
    one.run();
    three.run();
    two.run();
    assert_eq!(begun(), [0, 1, 0], "whoever has waited longest");
    // Nobody overtakes, not even the connection that has just been served.
    one.send(GET);
    answer(&second);
    two.run();
    one.run();
    three.run();
    assert_eq!(begun(), [0, 0, 1]);
    answer(&third);
    three.run();
    one.run();
    assert_eq!(begun(), [1, 0, 0]);
    assert!(three.received().ends_with("done") && two.received().ends_with("done"));
}

#[test]
fn beyond_the_queue_a_client_is_told_when_to_come_again() {
    let (kept, mut one) = keeping(narrow());
    let (_second, mut two) = beside(&one);
    let (_third, mut three) = beside(&one);
    let (fourth, mut four) = beside(&one);
    one.send(GET);
    two.send(GET);
    three.send(GET);
    four.send(GET);
    let refused = four.received();
    assert!(refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refused}");
    assert!(refused.contains("\r\nretry-after: 1\r\n") && refused.contains("\r\nconnection: close\r\n"));
    assert!(fourth.borrow().is_empty());
    assert_eq!((one.ledger.count(&Metered::QueueFull), one.ledger.timeouts()), (1, 0));
    answer(&kept);
    assert!(one.run().received().ends_with("done"));
}

#[test]
fn a_turn_that_does_not_come_in_time_is_not_waited_for() {
    let (kept, mut one) = keeping(narrow());
    let (other, mut two) = beside(&one);
    one.send(GET);
    two.send(GET).pass(5 * SECOND - MOMENT);
    assert_eq!(two.received(), "");
    two.pass(MOMENT);
    let refused = two.received();
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    assert_eq!(one.ledger.count(&Metered::TimedOut(TimeLimit::Queue)), 1);
    // Its place in the queue is free again, and the request with the app is none the worse for it.
    answer(&kept);
    assert!(one.run().received().ends_with("done"));
    one.send(GET);
    assert_eq!((kept.borrow().len(), other.borrow().len()), (1, 0));
}

#[test]
fn whoever_leaves_gives_its_turn_to_the_next() {
    let (first, mut one) = keeping(narrow());
    let (second, mut two) = beside(&one);
    let (third, mut three) = beside(&one);
    one.send(GET);
    two.send(GET);
    three.send(GET);
    two.wire.end_input();
    two.run();
    assert!(two.is_closed(), "a client that has left");
    // The one with the app leaves too: its place is the next one's.
    one.wire.end_input();
    one.run();
    assert!(first.borrow()[0].is_over());
    three.run();
    assert_eq!((second.borrow().len(), third.borrow().len()), (0, 1));
    // A connection that is dropped while its turn has come, and it has not noticed.
    let (_fourth, mut four) = beside(&three);
    let (fifth, mut five) = beside(&three);
    four.send(GET);
    five.send(GET);
    answer(&third);
    three.run();
    four.drop_connection();
    five.run();
    assert_eq!(fifth.borrow().len(), 1);
}

#[test]
fn a_client_that_has_said_all_may_wait_too() {
    let (first, mut one) = keeping(Limits { half_close: HalfClose::Waits, ..narrow() });
    let (second, mut two) = beside(&one);
    one.send(GET);
    two.send(GET);
    two.wire.end_input();
    two.run();
    answer(&first);
    one.run();
    two.run();
    answer(&second);
    assert!(two.run().received().ends_with("done"));
}

#[test]
fn a_body_and_a_pipeline_wait_with_their_request() {
    let (first, mut one) = keeping(narrow());
    let (second, mut two) = beside(&one);
    one.send(GET);
    two.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc").send("def").send(GET);
    answer(&first);
    one.run();
    two.run();
    let exchange = second.borrow_mut().remove(0);
    let (taken, body) = exchange.receive(<[u8]>::to_vec);
    assert_eq!((taken, body.as_deref()), (Taken::Body { more: false }, Some(&b"abcdef"[..])));
    reply(&exchange, 200, &[], b"");
    two.run();
    assert_eq!(second.borrow().len(), 1, "the next of the pipeline");
    answer(&second);
    assert_eq!(two.run().received().matches("HTTP/1.1 200 ").count(), 2);
}

#[test]
fn a_drain_serves_those_that_wait() {
    let (first, mut one) = keeping(narrow());
    let (second, mut two) = beside(&one);
    one.send(GET);
    two.send(GET);
    one.drain.begin(SECOND);
    one.run();
    two.run().pass(2 * SECOND);
    answer(&first);
    one.run();
    two.run();
    answer(&second);
    let last = two.run().received();
    assert!(last.starts_with("HTTP/1.1 200 ") && last.contains("\r\nconnection: close\r\n"), "{last}");
}

#[test]
fn a_request_that_takes_too_long_is_cut_off() {
    let limits = || Limits { request_timeout: Some(3 * SECOND), ..limits() };
    // Nothing was sent.
    let (kept, mut rig) = keeping(limits());
    rig.send(GET).pass(3 * SECOND - MOMENT);
    assert_eq!(rig.received(), "");
    rig.pass(MOMENT);
    let refusal = rig.received();
    assert!(refusal.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    assert!(kept.borrow()[0].is_over(), "the app is told");
    assert_eq!(rig.ledger.count(&Metered::Overdue(3 * SECOND)), 1);
    let reply_bytes = body_bytes(&refusal);
    let cut_off = Metered::Finished { status: 503, request_bytes: 0, reply_bytes, aborted: false };
    assert_eq!(rig.ledger.count(&cut_off), 1);
    // A reply was begun.
    let (kept, mut rig) = keeping(limits());
    rig.send(GET);
    let exchange = kept.borrow_mut().remove(0);
    head(&exchange, 200, &[]).unwrap();
    exchange.body(b"abc".to_vec(), Last::No).unwrap();
    rig.run().pass(3 * SECOND);
    assert!(exchange.is_over() && rig.wire.output_ended());
    assert!(rig.received().ends_with("3\r\nabc\r\n"), "no end that could be taken for one");
    // The reply is complete, and its client does not take it.
    let (kept, mut rig) = keeping(limits());
    rig.wire.set_window(Some(10));
    rig.send(GET);
    answer(&kept);
    rig.run().pass(3 * SECOND);
    assert!(rig.is_closed());
    // One in time is no matter of the one before.
    let (kept, mut rig) = keeping(limits());
    for _ in 0..3 {
        rig.send(GET).pass(2 * SECOND);
        answer(&kept);
        assert!(rig.run().received().ends_with("done"));
    }
}

#[test]
fn a_body_that_comes_too_slowly_is_cut_off() {
    let limits = || Limits { body_bytes_per_second: Some(10), ..limits() };
    let begun = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    let (_kept, mut rig) = keeping(limits());
    rig.send(begun);
    for _ in 0..4 {
        rig.pass(SECOND).send("x");
    }
    rig.pass(SECOND - MOMENT);
    assert_eq!(rig.received(), "");
    rig.pass(MOMENT);
    assert!(rig.received().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert_eq!(rig.ledger.count(&Metered::TimedOut(TimeLimit::BodyRate)), 1);
    // Fast enough.
    let (kept, mut rig) = keeping(limits());
    rig.send(begun);
    for _ in 0..60 {
        rig.pass(SECOND).send("0123456789abcdefghij");
    }
    assert!(!kept.borrow()[0].is_over());
    // The time in which the app does not receive, and the engine has read as far ahead as it does, is not the client's.
    let (kept, mut rig) = keeping(limits());
    rig.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
    rig.send(vec![b'x'; 100_000]).pass(100_000 * SECOND);
    assert!(!kept.borrow()[0].is_over());
}

#[test]
fn a_client_that_waits_to_be_asked_for_its_body_is_not_slow() {
    let (kept, mut rig) = keeping(Limits { body_bytes_per_second: Some(10), ..limits() });
    rig.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n");
    rig.pass(1_000 * SECOND);
    let exchange = kept.borrow_mut().remove(0);
    assert!(!exchange.is_over());
    assert_eq!(exchange.receive(<[u8]>::len).0, Taken::Pending);
    assert_eq!(rig.run().received(), "HTTP/1.1 100 Continue\r\n\r\n");
    rig.pass(5 * SECOND - MOMENT);
    assert!(!exchange.is_over(), "its time begins now");
    rig.pass(MOMENT);
    assert!(exchange.is_over());
    assert!(rig.received().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    // That it has left is noticed meanwhile.
    let (kept, mut rig) = keeping(limits());
    rig.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n");
    rig.wire.end_input();
    rig.run();
    assert!(kept.borrow()[0].is_over() && rig.is_closed());
}

#[test]
fn whoever_waits_for_fewer_connections_is_told() {
    let (_kept, mut one) = keeping(limits());
    let (_other, two) = beside(&one);
    let bell = one.bell_of_app();
    let waker = bell.waker();
    let mut fewer = std::pin::pin!(one.drain.fewer_than(2));
    let mut look = || fewer.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_ready();
    assert!(!look());
    drop(two);
    assert!(bell.rang() && look());
    one.run();
    assert_eq!(one.drain.connections(), 1);
}
