//! How a WebSocket ends: by the app, the client, the loss of the connection, silence, or a drain; and that each side hears of it.

use std::time::Duration;

use worker_server::{MessageKind, Received, SendError, TimeLimit};

use crate::{
    client::{BINARY, CLOSE, PING, PONG, TEXT, close, end, frame, keeper, open, received, served, take},
    support::Metered,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_app_closes_and_the_client_answers() {
    let (kept, app) = keeper();
    let mut rig = open(app);
    let socket = kept.borrow_mut().remove(0);
    assert_eq!(socket.close(1006, ""), Err(SendError::InvalidClose));
    assert_eq!(socket.close(1000, &"x".repeat(124)), Err(SendError::InvalidClose));
    assert_eq!(socket.close(4001, "rsn"), Ok(()));
    rig.run();
    assert_eq!(received(&mut rig), served(CLOSE, &close(4001, "rsn")));
    assert_eq!(end(&socket), (4001, "rsn".into()));
    assert_eq!(socket.send(MessageKind::Text, b"late".to_vec()), Err(SendError::Closed));
    assert_eq!(socket.close(1000, ""), Err(SendError::Closed));
    rig.send(frame(TEXT, b"crossing"));
    assert!(!rig.wire.is_shut_down(), "the client's close frame is awaited");
    rig.send(frame(CLOSE, &close(4001, "")));
    assert!(rig.wire.is_shut_down());
    rig.wire.end_input();
    rig.run();
    assert!(rig.is_closed());
    assert_eq!(received(&mut rig), b"");
    let finish = Metered::Finished { status: 101, request_bytes: 22, reply_bytes: 0, aborted: false };
    assert_eq!(rig.ledger.count(&finish), 1, "{:?}", rig.ledger.entries);
}

#[test]
fn a_client_that_does_not_answer_a_close_is_left_after_ten_seconds() {
    let (kept, app) = keeper();
    let mut rig = open(app);
    kept.borrow()[0].finish();
    rig.run();
    assert_eq!(received(&mut rig), served(CLOSE, &close(1000, "")));
    rig.pass(9 * SECOND);
    assert!(!rig.is_closed());
    rig.pass(2 * SECOND);
    assert!(rig.is_closed());
}

#[test]
fn a_client_closes_and_the_app_hears_why_after_what_came_before() {
    for (payload, expected) in
        [(close(3001, "bye"), (3001, "bye".to_owned())), (Vec::new(), (1005, String::new()))]
    {
        let (kept, app) = keeper();
        let mut rig = open(app);
        let socket = kept.borrow_mut().remove(0);
        rig.send([frame(TEXT, b"last words"), frame(CLOSE, &payload)].concat());
        assert_eq!(take(&socket), Received::Message((MessageKind::Text, b"last words".to_vec())));
        assert_eq!(end(&socket), expected);
        assert_eq!(end(&socket), expected, "however often it asks");
        assert_eq!(socket.send(MessageKind::Text, b"late".to_vec()), Err(SendError::Disconnected));
        rig.run();
        assert!(rig.wire.is_shut_down());
    }
}

#[test]
fn a_lost_connection_is_1006_after_what_came_before() {
    let (kept, app) = keeper();
    let mut rig = open(app);
    let socket = kept.borrow_mut().remove(0);
    let bell = rig.bell_of_app();
    assert_eq!(take(&socket), Received::Pending);
    socket.wake_on_receive(bell.waker());
    rig.wire.send(&frame(BINARY, b"1"));
    rig.wire.send(&frame(BINARY, b"2")[..5]);
    rig.wire.end_input();
    rig.run();
    assert!(bell.rang());
    assert_eq!(take(&socket), Received::Message((MessageKind::Binary, b"1".to_vec())));
    assert_eq!(end(&socket), (1006, String::new()));
    rig.run();
    assert!(rig.is_closed());
    let (kept, app) = keeper();
    let mut rig = open(app);
    let socket = kept.borrow_mut().remove(0);
    socket.wake_on_receive(bell.waker());
    rig.wire.reset();
    rig.run();
    assert!(bell.rang() && rig.is_closed());
    assert_eq!(end(&socket), (1006, String::new()));
}

#[test]
fn an_app_hears_what_the_client_did_wrong() {
    let (kept, app) = keeper();
    let mut rig = open(app);
    rig.send(frame(TEXT, b"\xff"));
    assert_eq!(end(&kept.borrow()[0]), (1007, "text is not UTF-8".into()));
    assert!(rig.wire.is_shut_down());
    rig.pass(2 * SECOND);
    assert!(rig.is_closed(), "a client that was failed is not waited for");
}

#[test]
fn a_silent_client_is_asked_and_then_left() {
    let (kept, app) = keeper();
    let mut rig = open(app);
    rig.pass(19 * SECOND);
    assert_eq!(received(&mut rig), b"");
    rig.pass(2 * SECOND);
    assert_eq!(received(&mut rig), served(PING, &1_u32.to_be_bytes()));
    rig.send(frame(PONG, &1_u32.to_be_bytes()));
    rig.pass(20 * SECOND);
    assert_eq!(received(&mut rig), served(PING, &2_u32.to_be_bytes()));
    rig.pass(29 * SECOND);
    assert!(!rig.wire.is_shut_down());
    rig.pass(2 * SECOND);
    assert_eq!(received(&mut rig), served(CLOSE, &close(1011, "keepalive ping timeout")));
    assert_eq!(end(&kept.borrow()[0]).0, 1011);
    assert_eq!(rig.ledger.count(&Metered::TimedOut(TimeLimit::Ping)), 1);
}

#[test]
fn a_drain_is_told_to_the_app_first_and_then_to_the_client() {
    let (kept, app) = keeper();
    let mut rig = open(app);
    let socket = kept.borrow_mut().remove(0);
    let bell = rig.bell_of_app();
    socket.wake_on_receive(bell.waker());
    rig.drain.begin(2 * SECOND);
    rig.run();
    assert!(bell.rang());
    assert_eq!(end(&socket), (1012, String::new()));
    assert_eq!(received(&mut rig), b"", "the app has its chance");
    socket.send(MessageKind::Text, b"farewell".to_vec()).unwrap();
    socket.finish();
    rig.run();
    let expected = [served(TEXT, b"farewell"), served(CLOSE, &close(1012, ""))].concat();
    assert_eq!(received(&mut rig), expected);
    rig.pass(SECOND + SECOND / 10);
    assert!(rig.is_closed(), "a client that does not answer delays no exit");
}

#[test]
fn a_drain_ends_a_websocket_whose_app_does_not_care() {
    let (kept, app) = keeper();
    let mut rig = open(app);
    rig.drain.begin(2 * SECOND);
    rig.run();
    rig.pass(SECOND);
    assert_eq!(received(&mut rig), b"");
    rig.pass(SECOND);
    assert_eq!(received(&mut rig), served(CLOSE, &close(1012, "")));
    rig.send(frame(CLOSE, &close(1012, "")));
    rig.wire.end_input();
    rig.run();
    assert!(rig.is_closed());
    let (_kept, app) = keeper();
    let mut rig = open(app);
    rig.drain.cut();
    rig.run();
    assert!(rig.is_closed());
    drop(kept);
}

#[test]
fn an_app_that_fails_or_returns_is_told_to_the_client() {
    for (leave, code) in [(0, 1011), (1, 1011), (2, 1000)] {
        let (kept, app) = keeper();
        let mut rig = open(app);
        let socket = kept.borrow_mut().remove(0);
        match leave {
            0 => drop(socket),
            1 => socket.fail(),
            _ => socket.finish(),
        }
        rig.run();
        assert_eq!(received(&mut rig), served(CLOSE, &close(code, "")));
    }
}

#[test]
fn a_close_behind_a_message_is_answered_though_the_app_does_not_receive_again() {
    let (kept, app) = keeper();
    let mut rig = open(app);
    rig.send([frame(TEXT, b"last words"), frame(CLOSE, &close(1000, ""))].concat());
    assert_eq!(received(&mut rig), b"");
    assert!(matches!(take(&kept.borrow()[0]), Received::Message(_)));
    rig.run();
    assert_eq!(received(&mut rig), served(CLOSE, &close(1000, "")));
}
