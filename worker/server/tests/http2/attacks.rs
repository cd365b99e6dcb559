//! What a client does to wear the server out: each is stopped, and counted by its reason.

use worker_server::{App, Exchange, Last, RequestHead, Room, TimeLimit};

use super::{
    client::Client,
    frames::*,
    support::{
        Metered,
        apps::{Script, head, keeper, site},
    },
};

fn is_calmed<A: App>(client: &Client<A>) -> bool {
    client.goaway() == Some(ENHANCE_YOUR_CALM)
        && client.rig.wire.output_ended()
        && client.rig.ledger.count(&Metered::Flooded) == 1
}

#[test]
fn floods_of_frames_that_carry_nothing_end_the_connection() {
    let floods = [
        ("SETTINGS", settings(&[])),
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("answers to PING", frame(PING, ACK, 0, &[0; 8])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("empty DATA", data(1, 0, b"")),
        ("unknown frames", frame(0x42, 0, 0, b"")),
    ];
    for (name, flood) in floods {
        let mut client = Client::new(keeper().1);
        client.send(post(1, "/"));
        client.send(flood.repeat(50));
        assert!(client.goaway().is_none(), "{name}: a few are fine");
        client.send(flood.repeat(100));
        assert!(is_calmed(&client), "{name}: {:?}", client.frames);
    }
}

#[test]
fn a_block_of_fields_without_an_end_ends_the_connection() {
    let mut client = Client::new(site());
    client.send(frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/"))));
    for _ in 0..200 {
        client.send(frame(CONTINUATION, 0, 1, &literal(b"x", b"y").repeat(20)));
    }
    assert!(is_calmed(&client), "{:?}", client.frames);
}

#[test]
fn a_block_of_fields_whose_code_is_too_long_ends_the_connection_before_it_is_decoded() {
    let mut client = Client::new(site());
    client.send(get(1, "/one"));
    // An index beyond both tables, which would be told otherwise; the bound is 16 KiB, and twice as much ends it.
    let part = [vec![0xbe], literal(b"x", &[b'y'; 16_000])].concat();
    client.send(frame(HEADERS, END_STREAM, 3, &part)).send(frame(CONTINUATION, 0, 3, &part));
    assert_eq!((client.goaway(), client.reply(1).text().as_str()), (None, "hello"));
    client.send(frame(CONTINUATION, END_HEADERS, 3, &part));
    assert!(is_calmed(&client), "{:?}", client.frames);
}

#[test]
fn what_comes_between_the_frames_of_a_block_of_fields_ends_the_connection() {
    let mut client = Client::new(site());
    client.send(frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/"))));
    client.send(frame(PING, 0, 0, &[0; 8]));
    assert_eq!(client.goaway(), Some(PROTOCOL_ERROR));
    assert!(client.rig.wire.output_ended());
}

#[test]
fn rapid_resets_end_the_connection() {
    let mut client = Client::new(keeper().1);
    let attack: Vec<u8> =
        (0..60).flat_map(|it| [get(2 * it + 1, "/"), rst_stream(2 * it + 1, CANCEL)].concat()).collect();
    client.send(attack);
    assert!(is_calmed(&client), "{:?}", client.frames);
    let began =
        client.rig.ledger.entries.borrow().iter().filter(|it| matches!(it, Metered::Started(_))).count();
    assert!(began <= 20, "{began} requests reached the app");
}

#[test]
fn resets_at_leisure_are_bounded_too() {
    let mut client = Client::new(keeper().1);
    for it in 0..120 {
        client.send(get(2 * it + 1, "/")).send(rst_stream(2 * it + 1, CANCEL));
    }
    assert!(is_calmed(&client));
}

#[test]
fn errors_that_the_client_provokes_are_bounded() {
    let mut client = Client::new(site());
    for it in 0..60 {
        client.send(post(2 * it + 1, "/echo")).send(window_update(2 * it + 1, 0x7fff_ffff));
        client.send(window_update(2 * it + 1, 0x7fff_ffff));
    }
    assert_eq!(client.goaway(), Some(ENHANCE_YOUR_CALM), "{:?}", client.frames.len());
}

#[test]
fn a_list_of_fields_beyond_the_bound_that_was_told_is_answered_with_431_and_counted() {
    const MAX_HEADER_LIST_SIZE: [u8; 6] = [0, 6, 0, 0, 0x40, 0];
    let mut client = Client::new(site());
    let told = &client.frames[0];
    assert!(told.kind == SETTINGS && told.payload.chunks(6).any(|it| it == MAX_HEADER_LIST_SIZE), "{told:?}");
    let fill = |bytes: usize| [literal(b"x", &vec![b'y'; 8_000]), literal(b"x", &vec![b'y'; bytes])].concat();
    let whole: usize = request("GET", "/").iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    let rest = 16 * 1024 - whole - 33 - 8_000 - 33;
    for (stream, bytes, status) in [(1, rest, 200), (3, rest + 1, 431), (5, rest + 8_000, 431), (7, 1, 200)] {
        let fields = [block(&request("GET", "/")), fill(bytes)].concat();
        let (first, second) = fields.split_at(fields.len().min(10_000));
        client.send(frame(HEADERS, END_STREAM, stream, first));
        client.send(frame(CONTINUATION, END_HEADERS, stream, second));
        assert_eq!(client.reply(stream).status, status, "{bytes}");
    }
    assert_eq!(client.rig.ledger.count(&Metered::Refused(431)), 2);
}

#[test]
fn a_list_of_fields_far_beyond_the_bound_does_not_reach_the_app() {
    let mut client = Client::new(site());
    // One entry of 4,000 bytes, then named again and again: 5 bytes on the wire for each.
    let bomb =
        [block(&request("GET", "/")), indexed_literal(b"x", &[b'a'; 3_900]), vec![0xbe; 5_000]].concat();
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb));
    let status = client.reply(1).status;
    let is_stopped = status == 431 || client.goaway().is_some() || client.reset(1).is_some();
    assert!(is_stopped, "{:?}", client.frames);
    let started = client.rig.ledger.entries.borrow().iter().any(|it| matches!(it, Metered::Started(_)));
    assert!(!started, "no app sees it");
}

#[test]
fn a_client_that_takes_nothing_holds_a_bounded_reply() {
    let mut client = Client::new(Script(|_: &RequestHead<'_>, exchange: Exchange<Vec<u8>>| {
        head(&exchange, 200, &[]).unwrap();
        let mut sent = 0;
        while exchange.body(vec![0; 1_000], Last::No) == Ok(Room::Free) {
            sent += 1_000;
        }
        assert!(sent <= 64 * 1024, "{sent}");
        std::mem::forget(exchange);
    }));
    client.send(settings(&[(4, 0)])).send(get(1, "/"));
    assert_eq!(client.reply(1).status, 200);
    client.pass(std::time::Duration::from_secs(61));
    assert_eq!(client.rig.ledger.count(&Metered::TimedOut(TimeLimit::Write)), 1, "and not for ever");
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    let mut client = Client::new(site());
    client.send(post(1, "/echo")).send(get(3, "/"));
    client.pass(std::time::Duration::from_secs(31));
    assert_eq!((client.reply(1).status, client.reply(3).status), (408, 200));
    assert_eq!(client.rig.ledger.count(&Metered::TimedOut(TimeLimit::BodyRead)), 1);
}
