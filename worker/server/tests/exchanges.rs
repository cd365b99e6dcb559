//! Bodies and replies that take their time: back-pressure both ways, 100-continue, early replies, clients that leave.

mod support;

use std::rc::Rc;

use support::{
    Line, Metered, Rig,
    apps::{self, Script, head, keeper, reply},
};
use worker_server::{Exchange, HalfClose, Last, Limits, ReplyError, RequestHead, Room, Taken};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Takes what there is of a body.
fn take(exchange: &Exchange<Vec<u8>>) -> (Taken, Vec<u8>) {
    let (taken, bytes) = exchange.receive(<[u8]>::to_vec);
    (taken, bytes.unwrap_or_default())
}

/// A body of `length` bytes that shows what went missing.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

#[test]
fn a_client_that_does_not_read_stops_the_app() {
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.wire.set_window(Some(1000));
    rig.send(GET);
    let exchange = kept.borrow_mut().remove(0);
    head(&exchange, 200, &[]).unwrap();
    let mut accepted = 0;
    while exchange.body(vec![b'x'; 8 * 1024], Last::No).unwrap() == Room::Free {
        accepted += 1;
        assert!(accepted < 100, "nothing stops the app");
        rig.run();
    }
    assert_eq!(accepted, 8, "64 KiB may wait");
    assert_eq!(exchange.room(), Room::Full);
    let bell = rig.bell_of_app();
    exchange.wake_on_room(bell.waker());
    rig.wire.set_window(Some(20 * 1024));
    rig.run();
    assert!(!bell.rang(), "more than 32 KiB still wait");
    rig.wire.set_window(Some(20 * 1024));
    rig.run();
    assert!(bell.rang());
    assert_eq!(exchange.room(), Room::Free);
    exchange.wake_on_room(bell.waker());
    assert!(bell.rang(), "there is room already");
    exchange.body(Vec::new(), Last::Yes).unwrap();
    rig.wire.set_window(None);
    rig.run();
    assert!(rig.received().ends_with("\r\n0\r\n\r\n"));
}

#[test]
fn an_app_that_does_not_receive_stops_the_client() {
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    let body = pattern(1024 * 1024);
    rig.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
    for piece in body.chunks(16 * 1024) {
        rig.send(piece);
    }
    let unread = rig.wire.unread();
    assert!(unread > 900 * 1024, "only {unread} bytes were left in the socket");
    let exchange = kept.borrow_mut().remove(0);
    let mut received = Vec::new();
    loop {
        let (taken, bytes) = take(&exchange);
        received.extend(bytes);
        match taken {
            Taken::Body { more: false } => break,
            Taken::Body { more: true } => _ = rig.run(),
            Taken::Pending | Taken::Disconnected => panic!("{taken:?} after {} bytes", received.len()),
        }
    }
    assert!(received == body, "the body arrived damaged");
    assert_eq!(take(&exchange).0, Taken::Pending);
    reply(&exchange, 200, &[], b"ok");
    rig.run();
    assert!(rig.received().ends_with("ok"));
    assert_eq!(take(&exchange).0, Taken::Disconnected);
}

#[test]
fn a_large_chunked_body_arrives_whole_however_it_is_cut() {
    let body = pattern(300_000);
    for (chunk, piece) in [(1, 3000), (7, 1), (4096, 4096), (70_000, 10_000), (300_000, 300_100)] {
        let length = if piece == 1 { 3000 } else { body.len() };
        let mut sent = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in body[..length].chunks(chunk) {
            sent.extend_from_slice(format!("{:X}\r\n", part.len()).as_bytes());
            sent.extend_from_slice(part);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(b"0\r\n\r\n");
        let mut rig = Rig::new(apps::site());
        for piece in sent.chunks(piece) {
            rig.send(piece);
        }
        let output = rig.wire.take_output();
        assert!(output.ends_with(&body[..length]), "chunks of {chunk} in pieces of {piece}");
        assert!(!rig.is_closed());
    }
}

#[test]
fn a_body_that_is_there_is_read_before_the_app_starts() {
    let seen = Rc::new(std::cell::RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    let app = Script(move |_: &RequestHead<'_>, exchange: Exchange<Vec<u8>>| {
        log.borrow_mut().push((take(&exchange).0, take(&exchange).0));
        reply(&exchange, 200, &[], b"");
    });
    let mut rig = Rig::new(app);
    rig.wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
    for piece in pattern(200_000).chunks(16 * 1024) {
        rig.wire.send(piece);
    }
    rig.run();
    assert_eq!(*seen.borrow(), [(Taken::Body { more: false }, Taken::Pending)]);
    rig.wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    rig.run();
    assert_eq!(seen.borrow()[1], (Taken::Body { more: true }, Taken::Pending), "the app waits for no client");
}

#[test]
fn large_parts_of_a_reply_are_not_copied() {
    let app = Script(|_: &RequestHead<'_>, exchange: Exchange<Vec<u8>>| {
        reply(&exchange, 200, &[], &pattern(100_000));
    });
    let mut rig = Rig::new(app);
    rig.send(GET);
    assert_eq!((rig.wire.writes(), rig.wire.vectored_writes()), (1, 1), "head and body leave in one call");
    assert!(rig.wire.take_output().ends_with(&pattern(100_000)));
    let mut rig = Rig::new(apps::site());
    rig.send(GET);
    assert_eq!((rig.wire.writes(), rig.wire.vectored_writes()), (1, 0));
    rig.send(GET.repeat(10));
    assert_eq!(rig.wire.writes(), 2, "replies to pipelined requests leave together");
}

#[test]
fn one_connection_cannot_have_the_thread_for_itself() {
    let mut rig = Rig::new(apps::site());
    rig.wire.send(GET.repeat(40).as_bytes());
    for replies in [16, 16, 8] {
        rig.turn();
        assert_eq!(rig.received().matches("hello").count(), replies);
    }
    // An app that receives as fast as the client sends.
    let mut rig = Rig::new(apps::site());
    rig.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 100 * 16 * 1024));
    for piece in pattern(100 * 16 * 1024).chunks(16 * 1024) {
        rig.wire.send(piece);
    }
    let before = rig.wire.reads();
    rig.turn();
    let reads = rig.wire.reads() - before;
    assert!((10..=32).contains(&reads), "{reads} reads in one turn");
    rig.run();
    assert!(rig.wire.take_output().ends_with(&pattern(100 * 16 * 1024)));
}

const EXPECTING: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n";

#[test]
fn the_client_is_told_to_continue_when_the_app_first_finds_nothing() {
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send(EXPECTING);
    assert_eq!(rig.received(), "");
    let exchange = kept.borrow_mut().remove(0);
    for _ in 0..2 {
        assert_eq!(take(&exchange).0, Taken::Pending);
    }
    rig.run();
    assert_eq!(rig.received(), "HTTP/1.1 100 Continue\r\n\r\n");
    rig.send("hello");
    assert_eq!(take(&exchange), (Taken::Body { more: false }, b"hello".to_vec()));
    reply(&exchange, 200, &[], b"ok");
    rig.run();
    assert_eq!(rig.received(), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nserver: supervise\r\n\r\nok");
    assert!(!rig.is_closed());
}

#[test]
fn a_client_that_was_not_told_to_continue_is_told_that_it_ends() {
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send(EXPECTING);
    let exchange = kept.borrow_mut().remove(0);
    head(&exchange, 200, &[]).unwrap();
    exchange.body(b"no".to_vec(), Last::Yes).unwrap();
    rig.run();
    assert_eq!(
        rig.received(),
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\nserver: supervise\r\n\r\nno"
    );
    assert!(rig.wire.is_shut_down());
    // The body that it sends all the same is read, or the reply could be lost in a reset.
    rig.send("hello");
    assert_eq!(rig.wire.unread(), 0);
    // A client that sends its body at once is not asked for it.
    let mut rig = Rig::new(apps::site());
    rig.send(EXPECTING.replace("POST /", "POST /echo") + "hello");
    assert_eq!(rig.received(), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nserver: supervise\r\n\r\nhello");
}

#[test]
fn an_early_reply_is_sent_at_once() {
    // A short rest is read and thrown away; the connection lives.
    let mut rig = Rig::new(apps::site());
    rig.send("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    assert!(rig.received().ends_with("unread"));
    for piece in pattern(100_000).chunks(999) {
        rig.send(piece);
    }
    rig.send(GET);
    assert!(rig.received().ends_with("hello"));
    // A long rest is not: the reply says so, and the client is given time to read it.
    let mut rig = Rig::new(apps::site());
    rig.send("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n");
    let received = rig.received();
    assert!(received.contains("connection: close\r\n") && received.ends_with("unread"));
    assert!(rig.wire.is_shut_down() && !rig.is_closed());
    rig.send(pattern(200_000));
    assert!(!rig.is_closed() && rig.wire.unread() == 0);
    rig.send(pattern(200_000));
    assert!(rig.is_closed(), "what is thrown away is bounded");
}

#[test]
fn a_client_that_leaves_is_noticed() {
    for leave in [|rig: &Rig<_>| rig.wire.end_input(), |rig: &Rig<_>| rig.wire.reset()] {
        let (kept, app) = keeper();
        let mut rig = Rig::new(app);
        rig.send(GET);
        let exchange = kept.borrow_mut().remove(0);
        assert_eq!(take(&exchange).0, Taken::Body { more: false });
        let bell = rig.bell_of_app();
        exchange.wake_on_receive(bell.waker());
        assert!(!bell.rang());
        leave(&rig);
        rig.run();
        assert!(bell.rang() && rig.is_closed());
        assert_eq!(take(&exchange).0, Taken::Disconnected);
        assert_eq!(take(&exchange).0, Taken::Disconnected);
        assert_eq!(head(&exchange, 200, &[]), Err(ReplyError::Disconnected));
        assert_eq!(exchange.body(Vec::new(), Last::Yes), Err(ReplyError::Disconnected));
        assert!(exchange.is_over());
        let aborted = Metered::Finished { status: 0, request_bytes: 0, reply_bytes: 0, aborted: true };
        assert_eq!(rig.ledger.count(&aborted), 1);
        assert_eq!(rig.ledger.count(&Metered::Idle), rig.ledger.count(&Metered::Busy));
    }
}

#[test]
fn a_client_that_leaves_wakes_a_sender_that_waits_for_room() {
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.wire.set_window(Some(0));
    rig.send(GET);
    let exchange = kept.borrow_mut().remove(0);
    head(&exchange, 200, &[]).unwrap();
    assert_eq!(exchange.body(pattern(100_000), Last::No), Ok(Room::Full));
    let bell = rig.bell_of_app();
    exchange.wake_on_room(bell.waker());
    rig.run();
    assert!(!bell.rang());
    rig.wire.reset();
    rig.run();
    assert!(bell.rang() && exchange.is_over());
}

#[test]
fn a_reply_in_the_socket_survives_a_client_that_has_said_all() {
    let mut rig = Rig::new(apps::site());
    rig.wire.set_window(Some(10));
    rig.wire.send(GET.repeat(3).as_bytes());
    rig.wire.end_input();
    rig.run();
    rig.wire.set_window(None);
    rig.run();
    assert_eq!(rig.received().matches("hello").count(), 3);
    assert!(rig.is_closed());
}

#[test]
fn stale_handles_are_powerless() {
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send(GET);
    let first = kept.borrow_mut().remove(0);
    let clone = first.clone();
    reply(&first, 200, &[], b"first");
    rig.run();
    rig.send(GET);
    let second = kept.borrow_mut().remove(0);
    assert!(first.is_over() && !second.is_over());
    assert_eq!(clone.body(b"evil".to_vec(), Last::Yes), Err(ReplyError::Disconnected));
    clone.fail();
    drop((first, clone));
    assert!(!second.is_over());
    reply(&second, 200, &[], b"second");
    rig.run();
    let received = rig.received();
    assert!(received.contains("first") && received.ends_with("second") && !received.contains("evil"));
}

#[test]
fn the_order_and_the_fields_of_a_reply_are_checked_before_anything_is_set() {
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send(GET);
    let exchange = kept.borrow_mut().remove(0);
    assert_eq!(exchange.body(Vec::new(), Last::Yes), Err(ReplyError::OutOfOrder));
    for status in [0, 100, 199, 1000] {
        assert_eq!(head(&exchange, status, &[]), Err(ReplyError::InvalidStatus), "{status}");
    }
    let invalid = [("a b", "x"), ("", "x"), ("a", "x\r\ninjected: y"), ("a", "\0"), ("content-length", "1x")];
    for field in invalid {
        assert_eq!(
            head(&exchange, 200, &[("fine", "x"), field]),
            Err(ReplyError::InvalidHeader),
            "{field:?}"
        );
        assert!(!exchange.is_started());
    }
    head(&exchange, 201, &[("fine", "y")]).unwrap();
    assert!(exchange.is_started());
    assert_eq!(head(&exchange, 200, &[]), Err(ReplyError::OutOfOrder));
    exchange.body(b"ok".to_vec(), Last::Yes).unwrap();
    rig.run();
    assert_eq!(
        rig.received(),
        "HTTP/1.1 201 Created\r\nfine: y\r\ncontent-length: 2\r\nserver: supervise\r\n\r\nok"
    );
}

#[test]
fn an_app_may_fail_late_and_from_outside() {
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send(GET);
    let exchange = kept.borrow_mut().remove(0);
    head(&exchange, 200, &[]).unwrap();
    rig.run();
    assert_eq!(rig.received(), "", "a head waits for the first part of the body");
    exchange.fail();
    rig.run();
    assert!(rig.received().starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
    assert_eq!(
        rig.ledger.count(&Metered::Finished {
            status: 500,
            request_bytes: 0,
            reply_bytes: "Internal Server Error".len() as u64,
            aborted: false
        }),
        1
    );
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send(GET);
    let exchange = kept.borrow_mut().remove(0);
    head(&exchange, 200, &[]).unwrap();
    exchange.body(Vec::new(), Last::No).unwrap();
    rig.run();
    assert!(rig.received().ends_with("\r\n\r\n"), "an empty part sends the head");
    exchange.body(b"abc".to_vec(), Last::No).unwrap();
    drop(exchange);
    rig.run();
    assert_eq!(rig.received(), "3\r\nabc\r\n");
    assert!(rig.wire.output_ended());
    assert_eq!(
        rig.ledger.count(&Metered::Finished { status: 200, request_bytes: 0, reply_bytes: 3, aborted: true }),
        1
    );
}

#[test]
fn a_broken_body_is_the_clients_fault_and_not_the_apps() {
    let broken = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let mut rig = Rig::new(apps::site());
    rig.send(broken);
    assert_eq!(rig.received(), "");
    rig.send("zzz\r\n");
    assert!(rig.received().starts_with("HTTP/1.1 400 Bad Request\r\n"));
    // When a reply was begun it cannot be taken back, but it must not look whole.
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send(broken);
    let exchange = kept.borrow_mut().remove(0);
    head(&exchange, 200, &[]).unwrap();
    exchange.body(b"abc".to_vec(), Last::No).unwrap();
    rig.run();
    rig.send("zzz\r\n");
    assert!(exchange.is_over());
    assert!(rig.received().ends_with("3\r\nabc\r\n") && rig.wire.output_ended());
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let limits = || Limits { body_bytes: Some(5), ..support::limits() };
    let known =
        |length: usize| format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n123456");
    let mut rig = Rig::with_limits(apps::site(), limits());
    rig.send(&known(5)[..known(5).len() - 1]);
    assert!(rig.received().ends_with("12345"));
    rig.send(known(6));
    assert!(rig.received().starts_with("HTTP/1.1 413 Content Too Large\r\n"));
    assert_eq!(rig.ledger.count(&Metered::Refused(413)), 1);
    for split in [false, true] {
        let mut rig = Rig::with_limits(apps::site(), limits());
        let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n123\r\n";
        if split {
            rig.send(chunked).send("3\r\n456\r\n0\r\n\r\n");
        } else {
            rig.send(chunked.to_owned() + "3\r\n456\r\n0\r\n\r\n");
        }
        assert!(rig.received().starts_with("HTTP/1.1 413 Content Too Large\r\n"), "split: {split}");
    }
}

#[test]
fn the_meter_sees_all_of_it() {
    let mut rig = Rig::new(apps::site());
    rig.send("POST /echo?q HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    rig.send("oops\r\n\r\n");
    rig.wire.end_input();
    rig.run();
    let expected = [
        Metered::Opened,
        Metered::Idle,
        Metered::Busy,
        Metered::Started(Line::new(b"POST /echo?q HTTP/1.1")),
        Metered::Idle,
        Metered::Finished { status: 200, request_bytes: 5, reply_bytes: 5, aborted: false },
        Metered::Busy,
        Metered::Refused(400),
        Metered::Closed,
    ];
    assert_eq!(*rig.ledger.entries.borrow(), expected);
}

#[test]
fn a_client_that_has_said_all_may_wait_for_its_replies() {
    let limits = Limits { half_close: HalfClose::Waits, ..support::limits() };
    let (kept, app) = keeper();
    let mut rig = Rig::with_limits(app, limits.clone());
    rig.wire.send(GET.repeat(2).as_bytes());
    rig.wire.end_input();
    rig.run();
    assert!(!rig.wire.output_ended(), "it waits");
    for _ in 0..2 {
        let exchange = kept.borrow_mut().remove(0);
        assert_eq!(take(&exchange).0, Taken::Body { more: false });
        assert_eq!(take(&exchange).0, Taken::Pending, "it has not left");
        reply(&exchange, 200, &[], b"all");
        rig.run();
        assert!(rig.received().ends_with("all"));
    }
    assert!(rig.is_closed(), "nothing more can come");
    // A request that can never be whole is nobody's.
    let (kept, app) = keeper();
    let mut rig = Rig::with_limits(app, limits);
    rig.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhell");
    let exchange = kept.borrow_mut().remove(0);
    rig.wire.end_input();
    rig.run();
    while let (Taken::Body { .. }, _) = take(&exchange) {}
    assert_eq!(take(&exchange).0, Taken::Disconnected);
    assert!(rig.is_closed());
}
