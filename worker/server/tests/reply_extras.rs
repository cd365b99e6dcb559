//! What a reply may have beyond a head and a body: early hints before it, trailers behind it, files in it.

#![expect(clippy::unwrap_used, reason = "a test that breaks its own rules may panic")]

mod support;

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
};

use support::{
    Rig,
    apps::{Script, head, keeper, reply},
};
use worker_server::{Exchange, FileSending, Last, Offers, ReplyError, RequestHead, Room};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_WITH_TRAILERS: &str = "GET / HTTP/1.1\r\nHost: a\r\nTE: deflate, Trailers\r\n\r\n";

type Fields = [(&'static [u8], &'static [u8])];

fn hint(exchange: &Exchange<Vec<u8>>, link: &'static [u8]) -> Result<Room, ReplyError> {
    exchange.early_hint([(b"Link".as_slice(), link)].into_iter())
}

fn trailers(exchange: &Exchange<Vec<u8>>, fields: &Fields) -> Result<(), ReplyError> {
    exchange.trailers(fields.iter().copied())
}

/// Sends a request and hands the exchange over.
fn exchange_for(request: &str) -> (Rig<impl worker_server::App<Chunk = Vec<u8>>>, Exchange<Vec<u8>>) {
    let (kept, app) = keeper();
    let mut rig = Rig::new(app);
    rig.send(request);
    let exchange = kept.borrow_mut().remove(0);
    (rig, exchange)
}

/// An unnamed file that holds `length` bytes, none like its neighbours.
fn file(length: usize) -> (File, Vec<u8>) {
    let content: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
    let mut file = tempfile();
    file.write_all(&content).unwrap();
    file.seek(SeekFrom::Start(7)).unwrap();
    (file, content)
}

fn tempfile() -> File {
    let path = std::env::temp_dir().join(format!(
        "reply_extras-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

#[test]
fn requests_say_what_their_replies_may_use() {
    let app = Script(|head: &RequestHead<'_>, exchange: Exchange<Vec<u8>>| {
        let Offers { early_hints, trailers, files } = head.offers;
        assert!(files, "HTTP/1 can always send files");
        reply(&exchange, 200, &[], format!("{early_hints} {trailers}").as_bytes());
    });
    let mut rig = Rig::new(app);
    for (request, expected) in [
        (GET, "true false"),
        (GET_WITH_TRAILERS, "true true"),
        ("GET / HTTP/1.1\r\nHost: a\r\nTE: trailersx\r\n\r\n", "true false"),
        ("GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\nTE: trailers\r\n\r\n", "true true"),
        ("GET / HTTP/1.0\r\nTE: trailers\r\nConnection: keep-alive\r\n\r\n", "false false"),
    ] {
        rig.send(request);
        let received = rig.received();
        assert!(received.ends_with(expected), "{request:?}: {received}");
    }
}

#[test]
fn early_hints_come_before_the_head() {
    let (mut rig, exchange) = exchange_for(GET);
    assert_eq!(hint(&exchange, b"</a.css>; rel=preload"), Ok(Room::Free));
    rig.run();
    assert_eq!(rig.received(), "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n");
    head(&exchange, 200, &[]).unwrap();
    hint(&exchange, b"</b>").unwrap();
    hint(&exchange, b"</c>").unwrap();
    rig.run();
    let hints =
        "HTTP/1.1 103 Early Hints\r\nlink: </b>\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </c>\r\n\r\n";
    assert_eq!(rig.received(), hints, "the head is held back, the hints are not");
    exchange.body(b"ok".to_vec(), Last::No).unwrap();
    assert_eq!(hint(&exchange, b"</d>"), Err(ReplyError::OutOfOrder));
    exchange.body(Vec::new(), Last::Yes).unwrap();
    assert_eq!(hint(&exchange, b"</d>"), Err(ReplyError::Disconnected));
    rig.run();
    assert_eq!(
        rig.received(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nserver: supervise\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    );
}

#[test]
fn early_hints_are_checked_and_kept_from_old_clients() {
    let (mut rig, exchange) = exchange_for(GET);
    for field in [(b"content-length".as_slice(), b"5".as_slice()), (b"link", b"a\r\nb: c"), (b"a b", b"c")] {
        assert_eq!(exchange.early_hint([field].into_iter()), Err(ReplyError::InvalidHeader));
    }
    rig.run();
    assert_eq!(rig.received(), "");
    let (mut rig, exchange) = exchange_for("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(hint(&exchange, b"</a>"), Ok(Room::Free));
    reply(&exchange, 200, &[], b"ok");
    rig.run();
    assert!(rig.received().starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_client_that_reads_no_hints_stops_the_app() {
    let (mut rig, exchange) = exchange_for(GET);
    rig.wire.set_window(Some(0));
    let mut sent = 0;
    while hint(&exchange, b"</a>").unwrap() == Room::Free {
        sent += 1;
        assert!(sent < 10_000, "nothing stops the app");
    }
    rig.run();
    assert_eq!(exchange.room(), Room::Full);
}

#[test]
fn a_client_that_waits_to_continue_is_told_so_while_the_head_is_held() {
    let (mut rig, exchange) =
        exchange_for("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    head(&exchange, 200, &[]).unwrap();
    exchange.receive(|_| ());
    rig.run();
    assert_eq!(rig.received(), "HTTP/1.1 100 Continue\r\n\r\n");
    exchange.body(b"ok".to_vec(), Last::Yes).unwrap();
    rig.send("hi").send(GET);
    assert_eq!(rig.received(), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nserver: supervise\r\n\r\nok");
}

#[test]
fn trailers_follow_a_chunked_body_where_they_are_wanted() {
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nserver: supervise\r\n\r\n2\r\nok\r\n0\r\n";
    for (request, lines) in [(GET_WITH_TRAILERS, "x-sum: 1\r\nx-two: b\r\n"), (GET, "")] {
        let (mut rig, exchange) = exchange_for(request);
        head(&exchange, 200, &[]).unwrap();
        exchange.body(b"ok".to_vec(), Last::No).unwrap();
        trailers(&exchange, &[(b"X-Sum", b"1"), (b"x-two", b"b")]).unwrap();
        assert!(exchange.is_over());
        rig.run();
        assert_eq!(rig.received(), format!("{chunked}{lines}\r\n"));
        rig.send(GET);
        assert!(!rig.is_closed(), "the connection goes on");
    }
}

#[test]
fn trailers_have_no_place_in_a_body_of_known_length() {
    let (mut rig, exchange) = exchange_for(GET_WITH_TRAILERS);
    head(&exchange, 200, &[("content-length", "2")]).unwrap();
    exchange.body(b"ok".to_vec(), Last::No).unwrap();
    trailers(&exchange, &[(b"x-sum", b"1")]).unwrap();
    rig.run();
    assert!(rig.received().ends_with("\r\n\r\nok"));

    let (mut rig, exchange) = exchange_for(GET_WITH_TRAILERS);
    head(&exchange, 200, &[("content-length", "3")]).unwrap();
    exchange.body(b"ok".to_vec(), Last::No).unwrap();
    assert_eq!(trailers(&exchange, &[]), Err(ReplyError::TooShort));
    rig.run();
    assert!(rig.wire.output_ended(), "a short reply is not completed");
}

#[test]
fn trailers_are_checked_and_come_last() {
    let (mut rig, exchange) = exchange_for(GET_WITH_TRAILERS);
    assert_eq!(trailers(&exchange, &[]), Err(ReplyError::OutOfOrder));
    head(&exchange, 200, &[]).unwrap();
    assert_eq!(trailers(&exchange, &[(b"Content-Length", b"3")]), Err(ReplyError::InvalidHeader));
    assert_eq!(trailers(&exchange, &[(b"x", b"a\nb")]), Err(ReplyError::InvalidHeader));
    trailers(&exchange, &[(b"x", b"y")]).unwrap();
    assert_eq!(exchange.body(b"late".to_vec(), Last::Yes), Err(ReplyError::Disconnected));
    rig.run();
    assert!(rig.received().ends_with("\r\n\r\n0\r\nx: y\r\n\r\n"), "without a body");

    let (mut rig, exchange) = exchange_for("HEAD / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
    head(&exchange, 200, &[]).unwrap();
    trailers(&exchange, &[(b"x", b"y")]).unwrap();
    rig.run();
    assert!(rig.received().ends_with("server: supervise\r\n\r\n"), "HEAD ends with its head");
}

/// The body that arrives when `ranges` of a file are sent with `fields`, and how often the kernel was asked.
fn sent(
    sending: FileSending,
    window: Option<usize>,
    fields: &[(&str, &str)],
    ranges: &[(u64, u64)],
) -> (Vec<u8>, usize) {
    let (mut rig, exchange) = exchange_for(GET);
    rig.wire.set_file_sending(sending);
    let (file, _) = file(500_000);
    head(&exchange, 200, fields).unwrap();
    for (index, &(offset, count)) in ranges.iter().enumerate() {
        let last = if index + 1 == ranges.len() { Last::Yes } else { Last::No };
        exchange.send_file(file.try_clone().unwrap(), offset, count, last).unwrap();
    }
    let mut received = Vec::new();
    for _ in 0..10_000 {
        rig.wire.set_window(window);
        rig.run();
        let piece = rig.wire.take_output();
        if piece.is_empty() {
            break;
        }
        received.extend(piece);
    }
    let mut position = file;
    assert_eq!(position.stream_position().unwrap(), 7, "the file's own position was moved");
    assert!(!rig.wire.output_ended(), "the connection is kept");
    let head_end = received.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
    (received.split_off(head_end), rig.wire.file_sends())
}

#[test]
fn files_arrive_as_they_are_whoever_sends_them() {
    let (_, content) = file(500_000);
    for sending in [FileSending::ByReading, FileSending::ByKernel] {
        for window in [None, Some(10_007), Some(200_000)] {
            let (body, kernel) = sent(sending, window, &[("content-length", "500000")], &[(0, 500_000)]);
            assert!(body == content, "{sending:?} {window:?}: {} bytes", body.len());
            assert_eq!(kernel > 0, sending == FileSending::ByKernel);
            let (body, _) = sent(sending, window, &[], &[(100, 200_000), (400_000, 3), (9, 0), (5, 70_000)]);
            let chunks = [
                b"30d40\r\n".as_slice(),
                &content[100..200_100],
                b"\r\n3\r\n",
                &content[400_000..400_003],
                b"\r\n11170\r\n",
                &content[5..70_005],
                b"\r\n0\r\n\r\n",
            ]
            .concat();
            assert!(body == chunks, "{sending:?} {window:?}");
        }
    }
    let (body, kernel) = sent(FileSending::ByKernel, None, &[], &[(3, 40_000)]);
    assert!(body == content[3..40_003]);
    assert_eq!(kernel, 0, "a small file leaves together with the head");
}

#[test]
fn a_file_that_has_become_shorter_breaks_the_reply_off() {
    for sending in [FileSending::ByReading, FileSending::ByKernel] {
        let (mut rig, exchange) = exchange_for(GET);
        rig.wire.set_file_sending(sending);
        let (file, _) = file(300_000);
        head(&exchange, 200, &[]).unwrap();
        rig.wire.set_window(Some(1_000));
        exchange.send_file(file.try_clone().unwrap(), 0, 300_000, Last::Yes).unwrap();
        rig.run();
        file.set_len(150_000).unwrap();
        rig.wire.set_window(None);
        rig.run();
        let length = rig.wire.take_output().len();
        assert!((150_000..151_000).contains(&length), "{sending:?}: {length} bytes");
        assert!(rig.is_closed(), "{sending:?}");
    }
}

#[test]
fn a_file_is_closed_when_it_is_sent_or_the_client_is_gone() {
    for is_reset in [false, true] {
        let (mut rig, exchange) = exchange_for(GET);
        let (file, _) = file(200_000);
        let held = file.try_clone().unwrap();
        head(&exchange, 200, &[]).unwrap();
        rig.wire.set_window(Some(10_000));
        exchange.send_file(file, 0, 200_000, Last::Yes).unwrap();
        rig.run();
        assert_eq!(descriptors_of(&held), 2, "ours and the engine's");
        if is_reset {
            rig.wire.reset();
        } else {
            rig.wire.set_window(None);
        }
        rig.run();
        assert_eq!(rig.is_closed(), is_reset);
        assert_eq!(descriptors_of(&held), 1, "ours alone");
    }
}

/// How many descriptors of this process are of that file.
fn descriptors_of(file: &File) -> usize {
    let wanted = file.metadata().unwrap();
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let is_same = |found: std::fs::Metadata| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino());
    all.filter(|it| std::fs::metadata(it.as_ref().unwrap().path()).is_ok_and(is_same)).count()
}

#[test]
fn a_file_obeys_the_announced_length_and_the_method() {
    let (mut rig, exchange) = exchange_for(GET);
    let (file, _) = file(10);
    head(&exchange, 200, &[("content-length", "5")]).unwrap();
    let clone = || file.try_clone().unwrap();
    assert_eq!(exchange.send_file(clone(), 0, 6, Last::Yes), Err(ReplyError::TooLong));
    assert_eq!(exchange.send_file(clone(), u64::MAX, 2, Last::Yes), Err(ReplyError::TooLong));
    assert_eq!(exchange.send_file(clone(), 0, u64::MAX, Last::Yes), Err(ReplyError::TooLong));
    assert_eq!(exchange.send_file(clone(), 2, 5, Last::Yes), Ok(Room::Free));
    rig.run();
    assert!(rig.received().ends_with("\r\n\r\n\u{2}\u{3}\u{4}\u{5}\u{6}"));

    let (mut rig, exchange) = exchange_for("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    head(&exchange, 200, &[]).unwrap();
    exchange.send_file(clone(), 0, 10, Last::Yes).unwrap();
    rig.run();
    assert_eq!(rig.received(), "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nserver: supervise\r\n\r\n");
}

#[test]
fn a_large_file_waits_like_any_other_part() {
    let (mut rig, exchange) = exchange_for(GET);
    rig.wire.set_file_sending(FileSending::ByKernel);
    rig.wire.set_window(Some(1_000));
    let (file, _) = file(300_000);
    head(&exchange, 200, &[]).unwrap();
    assert_eq!(exchange.send_file(file, 0, 300_000, Last::No), Ok(Room::Full));
    let bell = rig.bell_of_app();
    exchange.wake_on_room(bell.waker());
    rig.run();
    assert!(!bell.rang());
    rig.wire.set_window(None);
    rig.run();
    assert!(bell.rang(), "the file is sent");
}
