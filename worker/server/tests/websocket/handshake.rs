//! The opening handshake: what is accepted, denied, refused, or served as the plain request that it also is.

use worker_server::{AcceptError, Received, RequestHead};

use crate::{
    client::{
        self, REQUEST, SERVER, SWITCHED, Sockets, echo, end, frame, keeper, limits, received, rig, served,
    },
    support::{self, Metered, Rig},
};

fn answer(head: &str) -> String {
    let mut rig = Rig::with_limits(Sockets(echo), limits());
    rig.send(head);
    rig.received()
}

#[test]
fn a_handshake_is_answered_with_the_key_of_the_standard() {
    assert_eq!(answer(&format!("{REQUEST}\r\n")), format!("{SWITCHED}{SERVER}"));
}

#[test]
fn what_is_no_handshake_is_served_as_a_plain_request() {
    for (what, head) in [
        ("another protocol", REQUEST.replace("WebSocket\r\n", "h2c\r\n")),
        ("no option in Connection", REQUEST.replace("keep-alive, Upgrade", "keep-alive")),
        ("HTTP/1.0", REQUEST.replace("HTTP/1.1", "HTTP/1.0")),
        ("another method", REQUEST.replace("GET", "POST")),
        ("a body", format!("{REQUEST}Content-Length: 1\r\n\r\nx")),
    ] {
        let reply = answer(&format!("{head}\r\n"));
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.contains("/ws"), "{what}: {reply}");
    }
    let mut rig = Rig::new(Sockets(echo));
    let reply = rig.send(format!("{REQUEST}\r\n")).received();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "off: {reply}");
}

#[test]
fn a_handshake_that_is_wrong_is_refused() {
    for (what, head, status) in [
        ("no key", REQUEST.replace("Sec-WebSocket-Key", "X-Key"), "400 Bad Request"),
        ("a short key", REQUEST.replace("dGhl", ""), "400 Bad Request"),
        ("version 12", REQUEST.replace(": 13", ": 12"), "426 Upgrade Required"),
        ("no version", REQUEST.replace("Sec-WebSocket-Version", "X-Version"), "426 Upgrade Required"),
    ] {
        let reply = answer(&format!("{head}\r\n"));
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{what}: {reply}");
        let tells_version = reply.contains("\r\nsec-websocket-version: 13\r\n");
        assert_eq!(tells_version, status.starts_with("426"), "{what}: {reply}");
    }
}

#[test]
fn an_app_chooses_the_subprotocol_and_adds_fields() {
    let mut rig = Rig::with_limits(
        Sockets(|_: &RequestHead<'_>, socket: client::Socket| {
            let offered: Vec<&[u8]> = socket.subprotocols().collect();
            assert_eq!(offered, [&b"chat"[..], b"v2"]);
            let none = std::iter::empty();
            assert_eq!(socket.accept(Some(b"v3"), none.clone()), Err(AcceptError::UnofferedSubprotocol));
            for invalid in [("Sec-WebSocket-Protocol", "v2"), ("x y", ""), ("x", "a\r\nb")] {
                let fields = [(invalid.0.as_bytes(), invalid.1.as_bytes())];
                let accepted = socket.accept(None, fields.into_iter());
                assert_eq!(accepted, Err(AcceptError::InvalidHeader), "{invalid:?}");
            }
            let fields: [(&[u8], &[u8]); 5] = [
                (b"Set-Cookie", b"a=1"),
                (b"set-cookie", b"b=2"),
                (b"upgrade", b"h2c"),
                (b"Connection", b"close"),
                (b"content-length", b"3"),
            ];
            assert_eq!(socket.accept(Some(b"v2"), fields.into_iter()), Ok(()));
            assert_eq!(socket.accept(None, none), Err(AcceptError::OutOfOrder));
        }),
        limits(),
    );
    rig.send(format!("{REQUEST}Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: v2\r\n\r\n"));
    let expected = format!(
        "{SWITCHED}sec-websocket-protocol: v2\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n{SERVER}\u{88}\u{2}\u{3}\u{f3}"
    );
    assert_eq!(rig.received(), expected, "and an app that drops it closes it with 1011");
}

#[test]
fn an_app_denies_by_a_reply_or_by_none() {
    let mut denying = rig(|_, socket| {
        let exchange = socket.exchange();
        support::apps::head(exchange, 401, &[("x-a", "b")]).unwrap();
        exchange.body(b"no ".to_vec(), worker_server::Last::No).unwrap();
        exchange.body(b"entry".to_vec(), worker_server::Last::Yes).unwrap();
        assert_eq!(end(&socket), (1006, String::new()));
        assert_eq!(socket.accept(None, std::iter::empty()), Err(AcceptError::Disconnected));
    });
    let reply = denying.received();
    assert!(
        reply.starts_with("HTTP/1.1 401 Unauthorized\r\nx-a: b\r\ntransfer-encoding: chunked\r\n"),
        "{reply}"
    );
    assert!(reply.ends_with("3\r\nno \r\n5\r\nentry\r\n0\r\n\r\n"), "{reply}");
    denying.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(denying.received().ends_with("/next"), "the connection goes on");
    let mut dropping = rig(|_, _socket| {});
    assert!(dropping.received().starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
}

#[test]
fn a_client_that_leaves_before_the_answer_is_gone() {
    let kept = client::Kept::default();
    let keep = kept.clone();
    let mut rig = rig(move |_, socket| keep.borrow_mut().push(socket));
    let socket = kept.borrow_mut().remove(0);
    assert_eq!(client::take(&socket), Received::Pending);
    let bell = rig.bell_of_app();
    socket.wake_on_receive(bell.waker());
    rig.wire.end_input();
    rig.run();
    assert!(bell.rang() && rig.is_closed());
    assert_eq!(end(&socket), (1006, String::new()));
}

#[test]
fn bytes_behind_the_handshake_are_delivered_after_it() {
    let mut rig = Rig::with_limits(Sockets(echo), limits());
    let head = format!("{REQUEST}\r\n").into_bytes();
    rig.send([head, frame(client::TEXT, b"early"), frame(client::TEXT, b"bird")].concat());
    let output = received(&mut rig);
    let expected = [served(client::TEXT, b"early"), served(client::TEXT, b"bird")].concat();
    assert!(output.ends_with(&expected), "{}", output.escape_ascii());
}

#[test]
fn a_websocket_is_a_request_of_status_101_until_it_ends() {
    let (kept, app) = keeper();
    let mut rig = rig(app);
    let finished = |rig: &Rig<_>| {
        rig.ledger.entries.borrow().iter().filter(|it| matches!(it, Metered::Finished { .. })).count()
    };
    assert_eq!(finished(&rig), 0);
    rig.send(frame(client::BINARY, b"12345"));
    let socket = kept.borrow_mut().remove(0);
    socket.send(worker_server::MessageKind::Binary, b"abc".to_vec()).unwrap();
    rig.run();
    rig.wire.end_input();
    rig.run();
    let finish = Metered::Finished { status: 101, request_bytes: 11, reply_bytes: 3, aborted: true };
    assert_eq!(rig.ledger.count(&finish), 0, "a message still waits for the app");
    drop(client::take(&socket));
    rig.run();
    assert!(rig.is_closed());
    assert_eq!(rig.ledger.count(&finish), 1, "{:?}", rig.ledger.entries);
    assert_eq!(rig.ledger.count(&Metered::Closed), 1);
    accept_is_too_late(&socket);
}

fn accept_is_too_late(socket: &client::Socket) {
    assert_eq!(socket.accept(None, std::iter::empty()), Err(AcceptError::OutOfOrder));
}
