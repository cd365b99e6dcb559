//! Back-pressure both ways, with bounded memory.

use std::time::Duration;

use worker_server::{MessageKind, Received, Room, SendError, TimeLimit};

use crate::{
    client::{PING, PONG, TEXT, end, frame, keeper, open, received, take},
    support::Metered,
};

#[test]
fn an_app_that_does_not_receive_stops_the_client() {
    let (kept, app) = keeper();
    let mut rig = open(app);
    let socket = kept.borrow_mut().remove(0);
    let message = vec![b'm'; 10_000];
    for _ in 0..100 {
        rig.send(frame(TEXT, &message));
    }
    let unread = rig.wire.unread();
    assert!(unread > 850_000, "only {unread} bytes were left in the socket");
    for _ in 0..100 {
        assert_eq!(take(&socket), Received::Message((MessageKind::Text, message.clone())));
        rig.run();
    }
    assert_eq!(take(&socket), Received::Pending);
    assert_eq!(rig.wire.unread(), 0);
}

#[test]
fn a_client_that_does_not_read_stops_the_app() {
    let (kept, app) = keeper();
    let mut rig = open(app);
    let socket = kept.borrow_mut().remove(0);
    rig.wire.set_window(Some(1000));
    let mut sent = 0;
    while socket.send(MessageKind::Binary, vec![0; 8 * 1024]).unwrap() == Room::Free {
        sent += 1;
        assert!(sent < 100, "nothing stops the app");
        rig.run();
    }
    assert_eq!(sent, 8, "64 KiB may wait");
    let bell = rig.bell_of_app();
    socket.wake_on_room(bell.waker());
    rig.wire.set_window(Some(40 * 1024));
    rig.run();
    assert!(bell.rang() && socket.room() == Room::Free);
    socket.send(MessageKind::Binary, vec![0; 100 * 1024]).unwrap();
    socket.wake_on_room(bell.waker());
    rig.run();
    rig.pass(Duration::from_secs(61));
    assert!(rig.is_closed() && bell.rang(), "the write timeout");
    assert_eq!(rig.ledger.count(&Metered::TimedOut(TimeLimit::Write)), 1);
    assert_eq!(end(&socket), (1006, String::new()));
    assert_eq!(socket.send(MessageKind::Binary, Vec::new()), Err(SendError::Disconnected));
    assert_eq!(socket.room(), Room::Free, "nothing to wait for");
}

#[test]
fn a_flood_of_pings_by_a_client_that_does_not_read_is_not_kept() {
    let (_kept, app) = keeper();
    let mut rig = open(app);
    rig.wire.set_window(Some(0));
    let pings = frame(PING, &[7; 125]).repeat(1000);
    for _ in 0..10 {
        rig.send(&pings);
    }
    assert!(rig.wire.unread() > 1_000_000, "{} were left", rig.wire.unread());
    rig.wire.set_window(None);
    rig.run();
    let pongs = received(&mut rig);
    assert_eq!(pongs.len(), 10_000 * 127);
    assert_eq!(pongs[0], PONG);
}

#[test]
fn pings_are_answered_while_the_app_does_not_receive() {
    let (_kept, app) = keeper();
    let mut rig = open(app);
    rig.send(frame(PING, b"1"));
    assert_eq!(received(&mut rig), [PONG, 1, b'1']);
    let started = rig.wire.reads();
    rig.pass(Duration::from_secs(1));
    assert!(rig.wire.reads() - started < 3, "it sleeps");
}
