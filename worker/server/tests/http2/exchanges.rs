//! Requests and replies as the app and the client see them.

use std::time::Duration;

use worker_server::{Exchange, Last, RequestHead, Room, Taken};

use super::{
    client::Client,
    frames::*,
    support::{
        Line, Metered,
        apps::{Script, head, keeper, reply, site},
    },
};

#[test]
fn a_request_is_answered() {
    let mut client = Client::new(site());
    client.send(get(1, "/"));
    let reply = client.reply(1);
    assert_eq!((reply.status, reply.text().as_str(), reply.is_complete), (200, "hello", true));
    let fields = [
        ("content-type", "text/plain"),
        ("content-length", "5"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("server", "supervise"),
    ];
    assert_eq!(reply.fields, fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(client.count(RST_STREAM), 0);
}

#[test]
fn the_head_is_what_the_client_sent() {
    let mut client = Client::new(site());
    let mut fields = request("GET", "/head?a=b%20c");
    fields.extend([("x-a", "1"), ("cookie", "a=1"), ("x-b", "2"), ("cookie", "b=2"), ("cookie", "c=3")]);
    client.send(headers(1, END_STREAM, &fields));
    assert_eq!(
        client.reply(1).text(),
        "GET /head ?a=b%20c Http2 None [host=example.org;x-a=1;cookie=a=1; b=2; c=3;x-b=2]"
    );
}

#[test]
fn a_body_comes_in_as_the_app_receives_it() {
    let mut client = Client::new(site());
    client.send(post(1, "/describe"));
    client.send(data(1, 0, b"one")).send(data(1, 0, b"")).send(data(1, END_STREAM, b"two"));
    assert_eq!(client.reply(1).text(), "POST /describe ? Http2 Chunked [host=example.org] onetwo");
    let mut fields = request("POST", "/describe");
    fields.push(("content-length", "3"));
    client.send([headers(3, 0, &fields), data(3, END_STREAM, b"abc")].concat());
    let text = client.reply(3).text();
    assert_eq!(text, "POST /describe ? Http2 Known(3) [host=example.org;content-length=3] abc");
}

#[test]
fn the_meter_is_told_once_of_everything() {
    let mut client = Client::new(site());
    client.send([get(1, "/"), get(3, "/a?b")].concat());
    client.rig.wire.end_input();
    client.look();
    assert!(client.rig.is_closed());
    let started = |line: &str| Metered::Started(Line::new(line.as_bytes()));
    let finished = Metered::Finished { status: 200, request_bytes: 0, reply_bytes: 5, aborted: false };
    assert_eq!(
        *client.rig.ledger.entries.borrow(),
        [
            Metered::Opened,
            Metered::Idle,
            Metered::Busy,
            started("GET / HTTP/2.0"),
            started("GET /a?b HTTP/2.0"),
            finished.clone(),
            finished,
            Metered::Idle,
            Metered::Busy,
            Metered::Closed,
        ]
    );
}

#[test]
fn an_app_that_gives_up_ends_its_stream_alone() {
    let (kept, app) = keeper();
    let mut client = Client::new(app);
    client.send([get(1, "/"), get(3, "/"), get(5, "/")].concat());
    let mut exchanges = kept.borrow_mut().drain(..).collect::<Vec<_>>().into_iter();
    drop(exchanges.next());
    let broken = exchanges.next().unwrap();
    head(&broken, 200, &[]).unwrap();
    assert_eq!(broken.body(b"part".to_vec(), Last::No), Ok(Room::Free));
    client.look();
    broken.fail();
    client.look();
    reply(&exchanges.next().unwrap(), 200, &[], b"sound");
    client.look();
    assert_eq!((client.reply(1).status, client.reply(1).is_complete), (500, true));
    assert_eq!((client.reply(3).text().as_str(), client.reset(3)), ("part", Some(INTERNAL_ERROR)));
    assert_eq!((client.reply(5).text().as_str(), client.reset(5)), ("sound", None));
}

#[test]
fn a_client_that_resets_a_stream_is_gone_for_it_alone() {
    let (kept, app) = keeper();
    let mut client = Client::new(app);
    client.send([get(1, "/"), get(3, "/")].concat());
    let bell = client.rig.bell_of_app();
    kept.borrow()[0].receive(|_| ());
    assert_eq!(kept.borrow()[0].receive(|_| ()).0, Taken::Pending);
    kept.borrow()[0].wake_on_receive(bell.waker());
    client.send(rst_stream(1, CANCEL));
    assert!(bell.rang(), "the app is told");
    assert_eq!(kept.borrow()[0].receive(|_| ()).0, Taken::Disconnected);
    assert!(kept.borrow()[0].is_over() && !kept.borrow()[1].is_over());
    reply(&kept.borrow()[1], 200, &[], b"sound");
    client.look();
    assert_eq!(client.reply(3).text(), "sound");
    let aborted = Metered::Finished { status: 0, request_bytes: 0, reply_bytes: 0, aborted: true };
    assert_eq!(client.rig.ledger.count(&aborted), 1);
}

#[test]
fn a_reply_waits_for_the_window_of_its_stream() {
    let (kept, app) = keeper();
    let mut client = Client::new(app);
    client.send(settings(&[(4, 10)])).send(get(1, "/"));
    let exchange = kept.borrow_mut().remove(0);
    head(&exchange, 200, &[]).unwrap();
    assert_eq!(exchange.body(vec![b'a'; 64 * 1024], Last::No), Ok(Room::Full));
    let bell = client.rig.bell_of_app();
    exchange.wake_on_room(bell.waker());
    client.look();
    assert_eq!((client.reply(1).body.len(), bell.rang()), (10, false));
    client.send(window_update(1, 20_000));
    assert_eq!((client.reply(1).body.len(), bell.rang()), (20_010, false));
    client.send(window_update(1, 20_000));
    assert_eq!((client.reply(1).body.len(), bell.rang()), (40_010, true));
    assert_eq!(exchange.body(b"end".to_vec(), Last::Yes), Ok(Room::Free));
    client.send(window_update(1, 50_000)).send(window_update(0, 50_000));
    let reply = client.reply(1);
    assert_eq!((reply.body.len(), reply.is_complete), (64 * 1024 + 3, true));
}

#[test]
fn a_body_that_the_app_does_not_receive_closes_its_window() {
    let (kept, app) = keeper();
    let mut client = Client::new(app);
    client.send(post(1, "/"));
    for _ in 0..4 {
        client.send(data(1, 0, &[b'a'; 16_000]));
    }
    let updates = |client: &Client<_>, stream| {
        let of_stream = |it: &&Frame| it.kind == WINDOW_UPDATE && it.stream == stream;
        client.frames.iter().filter(of_stream).map(Frame::number).sum::<u32>()
    };
    assert_eq!(updates(&client, 1), 0);
    let exchange = kept.borrow_mut().remove(0);
    let mut received = 0;
    while let (Taken::Body { more: true }, Some(count)) = exchange.receive(<[u8]>::len) {
        received += count;
    }
    client.look();
    assert_eq!(received, 64_000);
    assert!(updates(&client, 1) >= 48_000, "{}", updates(&client, 1));
}

#[test]
fn replies_without_a_body_have_none() {
    let mut client = Client::new(site());
    client.send(
        [
            headers(1, END_STREAM, &request("HEAD", "/")),
            get(3, "/204"),
            get(5, "/304"),
            get(7, "/205"),
            headers(9, END_STREAM, &request("HEAD", "/stream")),
        ]
        .concat(),
    );
    for (stream, status, length) in
        [(1, 200, Some("5")), (3, 204, None), (5, 304, Some("3")), (7, 205, Some("0")), (9, 200, None)]
    {
        let reply = client.reply(stream);
        assert_eq!(
            (reply.status, reply.field("content-length"), reply.body.len(), reply.is_complete),
            (status, length, 0, true),
            "stream {stream}"
        );
    }
}

#[test]
fn fields_of_a_connection_are_not_sent() {
    let mut client = Client::new(Script(|_: &RequestHead<'_>, exchange: Exchange<Vec<u8>>| {
        let fields = [
            ("Connection", "close, x-a"),
            ("Keep-Alive", "timeout=5"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("X-B", " b "),
            ("Date", "today"),
            ("Server", "me"),
        ];
        reply(&exchange, 200, &fields, b"ok");
    }));
    client.send(get(1, "/"));
    let fields = [("x-b", "b"), ("date", "today"), ("server", "me"), ("content-length", "2")];
    let expected = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(client.reply(1).fields, expected);
}

#[test]
fn an_idle_connection_leaves_a_drain_at_once_and_an_open_stream_is_finished() {
    let (kept, app) = keeper();
    let mut client = Client::new(app);
    client.send(get(1, "/"));
    client.rig.drain.begin(Duration::from_secs(1));
    client.look();
    let goaways: Vec<_> = client.frames.iter().filter(|it| it.kind == GOAWAY).collect();
    assert_eq!((goaways[0].number(), goaways[0].code()), (0x7fff_ffff, NO_ERROR));
    let ping = client.frames.iter().find(|it| it.kind == PING).unwrap().clone();
    client.send(frame(PING, ACK, 0, &ping.payload));
    let last = client.frames.iter().rfind(|it| it.kind == GOAWAY).unwrap();
    assert_eq!((last.number(), last.code()), (1, NO_ERROR));
    client.pass(Duration::from_secs(20));
    assert!(!client.rig.is_closed());
    reply(&kept.borrow_mut().remove(0), 200, &[], b"last");
    client.look();
    assert_eq!(client.reply(1).text(), "last");
    assert!(client.rig.wire.is_shut_down());
    client.rig.wire.end_input();
    client.look();
    assert!(client.rig.is_closed());
    assert_eq!(client.rig.drain.connections(), 0);
}

#[test]
fn a_client_that_does_not_answer_the_goaway_is_left_after_the_linger() {
    let mut client = Client::new(site());
    client.send(get(1, "/"));
    client.rig.drain.begin(Duration::from_secs(1));
    client.look();
    client.pass(Duration::from_millis(999));
    assert!(!client.rig.wire.is_shut_down());
    client.pass(Duration::from_millis(1));
    assert!(client.rig.wire.is_shut_down());
}
