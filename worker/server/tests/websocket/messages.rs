//! Messages and frames to the letter, by the groups of the Autobahn suite: 1 messages of any size, 2 pings, 3 reserved bits, 4 opcodes,
//! 5 fragments, 6 UTF-8, 9 large ones, 10 fragments on the way out. What the client sends comes in whole, and byte by byte.

use crate::{
    client::{BINARY, CLOSE, MESSAGE_BYTES, PING, PONG, TEXT, close, echo, frame, open, received, served},
    support::wire::Wire,
};

/// Plays the frames against the echo app, as one write and in small pieces. Both must bring the same.
fn play(frames: &[Vec<u8>]) -> Vec<u8> {
    let bytes = frames.concat();
    let mut results = [usize::MAX, 1].into_iter().map(|step| {
        let mut rig = open(echo);
        for piece in bytes.chunks(step.max(bytes.len() / 3000)) {
            if !rig.is_closed() {
                rig.send(piece);
            }
        }
        received(&mut rig)
    });
    let (whole, pieces) = (results.next().unwrap_or_default(), results.next().unwrap_or_default());
    assert!(whole == pieces, "whole {} pieces {}", head(&whole), head(&pieces));
    whole
}

fn head(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(100)].escape_ascii().to_string()
}

#[track_caller]
fn check(sent: &[Vec<u8>], expected: &[Vec<u8>]) {
    let reply = play(sent);
    let expected = expected.concat();
    assert!(reply == expected, "{} instead of {}", head(&reply), head(&expected));
}

/// The connection is failed with this code.
#[track_caller]
fn check_failed(sent: &[Vec<u8>], echoed: &[Vec<u8>], code: u16) {
    let reply = play(sent);
    let echoed = echoed.concat();
    assert!(reply.starts_with(&echoed), "{} instead of {}", head(&reply), head(&echoed));
    let rest = &reply[echoed.len()..];
    assert!(rest.len() > 4 && rest[0] == CLOSE && rest[2..4] == code.to_be_bytes(), "{}", head(rest));
}

#[test]
fn group_1_messages_of_any_size_come_back() {
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, MESSAGE_BYTES] {
        let text = vec![b'*'; length];
        let binary = vec![0xfe; length];
        check(&[frame(TEXT, &text)], &[served(TEXT, &text)]);
        check(&[frame(BINARY, &binary)], &[served(BINARY, &binary)]);
    }
}

#[test]
fn group_2_pings_are_answered_and_pongs_are_not() {
    for payload in [&b""[..], b"Hello", b"\x00\xff\xfe\xfd", &[0xfe; 125]] {
        check(&[frame(PING, payload)], &[served(PONG, payload)]);
    }
    check_failed(&[frame(PING, &[0; 126])], &[], 1002);
    check(&[frame(PONG, b"unasked"), frame(PING, b"x")], &[served(PONG, b"x")]);
    let pings: Vec<_> = (0..10).map(|n| frame(PING, &[n])).collect();
    let pongs: Vec<_> = (0..10).map(|n| served(PONG, &[n])).collect();
    check(&pings, &pongs);
}

#[test]
fn group_3_and_4_reserved_bits_and_opcodes_fail_the_connection() {
    let hello = || frame(TEXT, b"Hello");
    for first in [0x91, 0xa1, 0xc1, 0xf2, 0xd9, 0xc8, 0xf8] {
        check_failed(&[hello(), frame(first, b"x"), frame(PING, b"")], &[served(TEXT, b"Hello")], 1002);
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        check_failed(&[hello(), frame(0x80 | opcode, b""), hello()], &[served(TEXT, b"Hello")], 1002);
    }
}

#[test]
fn unmasked_frames_fail_the_connection() {
    check_failed(&[served(TEXT, b"Hello")], &[], 1002);
}

#[test]
fn group_5_fragments_are_joined_and_pings_in_between_answered() {
    let [first, middle, last] = [0x01, 0x00, 0x80];
    check(&[frame(first, b"frag"), frame(last, b"ment")], &[served(TEXT, b"fragment")]);
    check(
        &[frame(first, b"a"), frame(PING, b"p"), frame(middle, b""), frame(PING, b"q"), frame(last, b"b")],
        &[served(PONG, b"p"), served(PONG, b"q"), served(TEXT, b"ab")],
    );
    check(
        &[frame(2, b"x"), frame(last, b"y"), frame(TEXT, b"z"), frame(first, b""), frame(last, b"")],
        &[served(BINARY, b"xy"), served(TEXT, b"z"), served(TEXT, b"")],
    );
    check_failed(&[frame(0x09, b"x"), frame(0x80, b"y")], &[], 1002);
    check_failed(&[frame(0x0a, b"x"), frame(0x80, b"y")], &[], 1002);
    for continuation in [0x80, 0x00] {
        check_failed(&[frame(continuation, b"x"), frame(TEXT, b"y")], &[], 1002);
        let whole = [frame(TEXT, b"whole"), frame(continuation, b"x")];
        check_failed(&whole, &[served(TEXT, b"whole")], 1002);
    }
    check_failed(&[frame(first, b"a"), frame(TEXT, b"b")], &[], 1002);
    check_failed(&[frame(first, b"a"), frame(first, b"b"), frame(last, b"c")], &[], 1002);
}

#[test]
fn group_6_text_is_utf_8_and_told_so_at_once() {
    let right = "Hello-µ@ßöäüàá-UTF-8!! κόσμε \u{10ffff}\u{0}\u{fffe}";
    check(&[frame(TEXT, right.as_bytes())], &[served(TEXT, right.as_bytes())]);
    let fragments: Vec<_> =
        right.bytes().enumerate().map(|(n, byte)| frame(u8::from(n == 0), &[byte])).collect();
    check(&[fragments.concat(), frame(0x80, b"")], &[served(TEXT, right.as_bytes())]);
    for wrong in [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..],
        b"\xf8\x88\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf4\x90\x80\x80",
        b"\xce",
        b"\xff",
    ] {
        check_failed(&[frame(TEXT, wrong)], &[], 1007);
        check_failed(&[frame(0x01, wrong), frame(0x80, b"")], &[], 1007);
    }
    // 6.3 and 6.4: the end of the message is not waited for, nor the end of the frame.
    let mut rig = open(echo);
    rig.send(frame(0x01, b"\xce\xba\xf4\x90"));
    assert_eq!(received(&mut rig)[..4], [CLOSE, 19, 0x03, 0xef]);
    let mut rig = open(echo);
    let frame = frame(TEXT, b"\xce\xba\xf4\x90\x80\x80");
    rig.send(&frame[..frame.len() - 3]);
    assert_eq!(received(&mut rig), b"");
    rig.send(&frame[frame.len() - 3..frame.len() - 2]);
    assert_eq!(received(&mut rig)[..4], [CLOSE, 19, 0x03, 0xef]);
}

#[test]
fn group_7_the_client_closes() {
    for (payload, echoed) in [
        (Vec::new(), Vec::new()),
        (close(1000, ""), close(1000, "")),
        (close(1000, "Hello World!"), close(1000, "")),
        (close(1007, &"*".repeat(123)), close(1007, "")),
        (close(3000, ""), close(3000, "")),
        (close(4999, ""), close(4999, "")),
    ] {
        check(&[frame(CLOSE, &payload), frame(TEXT, b"late"), frame(PING, b"")], &[served(CLOSE, &echoed)]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check_failed(&[frame(CLOSE, &close(code, ""))], &[], 1002);
    }
    check_failed(&[frame(CLOSE, b"\x03")], &[], 1002);
    check_failed(&[frame(CLOSE, &close(1000, &"*".repeat(124)))], &[], 1002);
    check_failed(&[frame(CLOSE, b"\x03\xe8\xce\xba\xed\xa0\x80")], &[], 1007);
    check(&[frame(TEXT, b"a"), frame(CLOSE, b"")], &[served(TEXT, b"a"), served(CLOSE, b"")]);
    check(&[frame(0x01, b"a"), frame(CLOSE, b"")], &[served(CLOSE, b"")]);
}

#[test]
fn group_9_what_is_too_large_is_refused_by_its_head() {
    let large = vec![b'x'; MESSAGE_BYTES + 1];
    let mut rig = open(echo);
    rig.send(&frame(BINARY, &large)[..14]);
    assert_eq!(received(&mut rig)[..4], [CLOSE, 17, 0x03, 0xf1]);
    check_failed(&[frame(0x02, &large[..MESSAGE_BYTES]), frame(0x80, b"x")], &[], 1009);
    for step in [64, 256, 1024, 4096, 16_384] {
        let mut fragments: Vec<_> = large[..MESSAGE_BYTES]
            .chunks(step)
            .enumerate()
            .map(|(n, piece)| frame(if n == 0 { 0x02 } else { 0x00 }, piece))
            .collect();
        fragments.push(frame(0x80, b""));
        check(&fragments, &[served(BINARY, &large[..MESSAGE_BYTES])]);
    }
}

#[test]
fn one_read_and_one_write_serve_many_messages() {
    let mut rig = open(echo);
    let count = |wire: &Wire| (wire.reads(), wire.writes());
    let before = count(&rig.wire);
    let messages: Vec<_> = (0..100).map(|n| frame(TEXT, format!("message {n}").as_bytes())).collect();
    rig.send(messages.concat());
    let after = count(&rig.wire);
    assert_eq!(received(&mut rig).len(), (0..100).map(|n| 2 + format!("message {n}").len()).sum::<usize>());
    assert_eq!(after.1 - before.1, 1, "writes");
    assert!(after.0 - before.0 <= 2, "one read, and one that finds nothing: {}", after.0 - before.0);
}
