//! WebSockets in streams (RFC 8441): the extended CONNECT and its answers, the frames in DATA, back-pressure by the stream's window,
//! and every way to end.

use std::time::Duration;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use worker_server::{App, MessageKind, Received, Room, TimeLimit};

use super::{
    client::Client,
    frames::*,
    sockets::{self, CLOSE, Sockets, TEXT, close, echo, end, frame as masked, keeper, served, take},
    support::Metered,
};

const ENABLE_CONNECT_PROTOCOL: [u8; 6] = [0, 8, 0, 0, 0, 1];
const CANCEL: u32 = 8;

const ASK: [(&str, &str); 6] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/ws"),
    (":authority", "example.org"),
    ("sec-websocket-version", "13"),
];

fn ask(stream: u32) -> Vec<u8> {
    headers(stream, 0, &ASK)
}

fn client(app: impl Fn(&worker_server::RequestHead<'_>, sockets::Socket) + 'static) -> Client<impl App> {
    Client::with_limits(Sockets(app), sockets::limits())
}

#[test]
fn the_settings_tell_whether_the_app_speaks_it() {
    let told = |client: &Client<_>| {
        let first = client.frames.iter().find(|frame| frame.kind == SETTINGS).unwrap();
        first.payload.chunks(6).any(|setting| setting == ENABLE_CONNECT_PROTOCOL)
    };
    let app = || Sockets(echo);
    assert!(told(&Client::with_limits(app(), sockets::limits())));
    assert!(!told(&Client::new(app())));
}

#[test]
fn messages_come_back_beside_other_streams() {
    let mut client = client(echo);
    client.send(ask(1)).send(get(3, "/plain"));
    let reply = client.reply(1);
    assert_eq!((reply.status, reply.is_complete), (200, false));
    let names: Vec<&str> = reply.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["date", "server"], "no key is answered, and no length told");
    assert_eq!(client.reply(3).text(), "/plain");
    client.send(data(1, 0, &masked(TEXT, b"one"))).send(get(5, "/again"));
    for byte in masked(TEXT, b"two") {
        client.send(data(1, 0, &[byte]));
    }
    client.send(data(1, 0, &masked(CLOSE, &close(1000, "bye"))));
    let expected = [served(TEXT, b"one"), served(TEXT, b"two"), served(CLOSE, &close(1000, ""))].concat();
    let reply = client.reply(1);
    assert_eq!((reply.body, reply.is_complete), (expected, true));
    assert_eq!(client.reply(5).text(), "/again");
    client.send(data(1, END_STREAM, b"")).send(get(7, "/later"));
    assert_eq!((client.reply(7).text().as_str(), client.goaway()), ("/later", None));
}

#[test]
fn subprotocols_and_extensions_are_agreed_on_as_in_http1() {
    let mut client = client(|_, socket| {
        assert_eq!(socket.subprotocols().collect::<Vec<_>>(), [b"chat".as_slice(), b"v2"]);
        assert_eq!(socket.accept(Some(b"v2"), [(b"x-a".as_slice(), b"b".as_slice())].into_iter()), Ok(()));
    });
    let mut fields = ASK.to_vec();
    fields
        .extend([("sec-websocket-protocol", "chat, v2"), ("sec-websocket-extensions", "permessage-deflate")]);
    client.send(headers(1, 0, &fields));
    let reply = client.reply(1);
    assert_eq!(reply.field("sec-websocket-protocol"), Some("v2"));
    assert!(reply.field("sec-websocket-extensions").is_some_and(|it| it.starts_with("permessage-deflate")));
    assert_eq!(reply.field("x-a"), Some("b"));
}

#[test]
fn an_app_may_deny_and_other_handshakes_are_refused() {
    let mut client = client(|_, socket| {
        assert!(socket.exchange().head(200, std::iter::empty()).is_err(), "a 2xx would accept");
        crate::support::apps::reply(socket.exchange(), 403, &[], b"no entry");
    });
    client.send(ask(1));
    let reply = client.reply(1);
    assert_eq!((reply.status, reply.text().as_str(), reply.is_complete), (403, "no entry", true));
    client.send(headers(3, 0, &ASK[..5]));
    let reply = client.reply(3);
    assert_eq!((reply.status, reply.field("sec-websocket-version")), (426, Some("13")));
    let mut other = ASK;
    other[1].1 = "connect-udp";
    client.send(headers(5, 0, &other));
    assert_eq!(client.reply(5).status, 501);
}

#[test]
fn a_reset_stream_is_a_lost_client() {
    let (kept, app) = keeper();
    let mut client = client(app);
    client.send(ask(1)).send(rst_stream(1, CANCEL)).send(get(3, "/on"));
    let socket = kept.borrow_mut().pop().unwrap();
    assert_eq!(end(&socket), (1006, String::new()));
    assert_eq!(client.reply(3).text(), "/on");
}

#[test]
fn a_drain_tells_1012_and_the_connection_ends_after_the_last() {
    let (kept, app) = keeper();
    let mut client = client(app);
    client.send(ask(1));
    client.rig.drain.begin(Duration::from_secs(1));
    client.look();
    assert_eq!(end(&kept.borrow()[0]), (1012, String::new()), "the app's own chance");
    client.pass(Duration::from_secs(1));
    assert_eq!(client.reply(1).body, served(CLOSE, &close(1012, "")));
    assert!(client.goaway().is_some());
    client.send(data(1, END_STREAM, &masked(CLOSE, &close(1012, ""))));
    for _ in 0..5 {
        client.pass(Duration::from_secs(1));
    }
    assert!(client.rig.is_closed());
    assert_eq!(client.rig.drain.connections(), 0);
}

#[test]
fn a_websocket_is_counted_once_with_status_200() {
    let mut client = client(echo);
    client.send(ask(1)).send(data(1, 0, &masked(TEXT, b"one")));
    client.send(data(1, END_STREAM, &masked(CLOSE, &close(1000, ""))));
    assert!(client.reply(1).is_complete);
    let entries = client.rig.ledger.entries.borrow();
    let ends: Vec<_> = entries.iter().filter(|it| matches!(it, Metered::Finished { .. })).collect();
    assert_eq!(entries.iter().filter(|it| matches!(it, Metered::Started(_))).count(), 1, "{entries:?}");
    assert!(matches!(ends[..], [Metered::Finished { status: 200, aborted: false, .. }]), "{entries:?}");
}

#[test]
fn messages_are_deflated_where_it_was_agreed_on() {
    const DEFLATED_TEXT: u8 = TEXT | 0x40;
    let mut client = client(echo);
    let mut fields = ASK.to_vec();
    fields.push(("sec-websocket-extensions", "permessage-deflate"));
    client.send(headers(1, 0, &fields));
    let text = b"the same again, ".repeat(50);
    let mut deflated = Vec::with_capacity(2_000);
    let mut state = Compress::new(Compression::fast(), false);
    state.compress_vec(&text, &mut deflated, FlushCompress::Sync).unwrap();
    // The end of a flush is left out (RFC 7692 §7.2.1).
    deflated.truncate(deflated.len() - 4);
    client.send(data(1, 0, &masked(DEFLATED_TEXT, &deflated)));
    let body = client.reply(1).body;
    assert!(
        body.len() < 100 && body[0] == DEFLATED_TEXT && usize::from(body[1]) == body.len() - 2,
        "{body:?}"
    );
    let mut inflated = Vec::with_capacity(2_000);
    let payload = [&body[2..], &[0, 0, 0xff, 0xff]].concat();
    Decompress::new(false).decompress_vec(&payload, &mut inflated, FlushDecompress::Sync).unwrap();
    assert_eq!(inflated, text);
}

/// What the client may still send on a stream, of which it has sent so much; the windows are those of the glass box.
fn credit<A: App>(client: &Client<A>, stream: u32, sent: usize) -> usize {
    let granted = |stream: u32| -> usize {
        let updates = client.frames.iter().filter(|it| it.kind == WINDOW_UPDATE && it.stream == stream);
        updates.map(|it| it.number() as usize).sum()
    };
    (64 * 1024 + granted(stream)).min(65_535 + granted(0)) - sent
}

#[test]
fn an_app_that_does_not_receive_closes_the_window_of_its_stream_alone() {
    let (kept, app) = keeper();
    let mut client = client(app);
    client.send(ask(1));
    let socket = kept.borrow_mut().remove(0);
    let message = vec![b'm'; 10_000];
    let framed = masked(TEXT, &message);
    let (mut sent, mut received) = (0, 0);
    let mut send = |client: &mut Client<_>, most: usize| {
        while sent < most * framed.len() && credit(client, 1, sent) >= framed.len() {
            client.send(data(1, 0, &framed));
            sent += framed.len();
        }
        sent / framed.len()
    };
    let before = send(&mut client, 100);
    assert!((6..20).contains(&before), "{before} messages");
    client.send(get(3, "/plain"));
    assert_eq!(client.reply(3).text(), "/plain");
    while received < 100 {
        assert_eq!(take(&socket), Received::Message((MessageKind::Text, message.clone())), "{received}");
        received += 1;
        client.look();
        send(&mut client, 100);
    }
    assert_eq!(take(&socket), Received::Pending);
}

#[test]
fn a_window_that_stays_shut_stops_the_app_and_ends_its_stream_alone() {
    let (kept, app) = keeper();
    let mut client = client(app);
    client.send(settings(&[(4, 1_000)])).send(window_update(0, 1_000_000)).send(ask(1));
    let socket = kept.borrow_mut().remove(0);
    let fill = |client: &mut Client<_>| {
        let mut sent = 0;
        while socket.send(MessageKind::Binary, vec![0; 8 * 1024]).unwrap() == Room::Free {
            sent += 1;
            assert!(sent < 50, "nothing stops the app");
            client.look();
        }
    };
    fill(&mut client);
    assert_eq!(client.reply(1).body.len(), 1_000);
    let bell = client.rig.bell_of_app();
    socket.wake_on_room(bell.waker());
    client.send(window_update(1, 200 * 1024));
    assert!(bell.rang() && socket.room() == Room::Free);
    fill(&mut client);
    client.look().pass(Duration::from_secs(61)).send(get(3, "/on"));
    assert_eq!(client.rig.ledger.count(&Metered::TimedOut(TimeLimit::Write)), 1, "the write timeout");
    assert_eq!(end(&socket), (1006, String::new()));
    assert_eq!((client.reply(3).text().as_str(), client.goaway()), ("/on", None));
}
