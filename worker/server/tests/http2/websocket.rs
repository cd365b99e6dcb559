//! WebSockets in streams (RFC 8441): the extended CONNECT and its answers, the frames in DATA, and every way to end.

use std::time::Duration;

use worker_server::App;

use super::{
    client::Client,
    frames::*,
    sockets::{self, CLOSE, Sockets, TEXT, close, echo, end, frame as masked, keeper, served},
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
