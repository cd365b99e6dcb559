//! permessage-deflate end to end (groups 12 and 13 of the Autobahn suite): every window and takeover that a client may offer.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use worker_server::{App, MessageKind};

use crate::{
    client::{
        CLOSE, MESSAGE_BYTES, REQUEST, SERVER, SWITCHED, Sockets, echo, frame, keeper, limits, received,
        served,
    },
    support::Rig,
};

fn open(offer: &str, answer: &str) -> Rig<impl App<Chunk = Vec<u8>>> {
    let mut rig = Rig::with_limits(Sockets(echo), limits());
    rig.send(format!("{REQUEST}Sec-WebSocket-Extensions: permessage-deflate{offer}\r\n\r\n"));
    let expected = format!("{SWITCHED}sec-websocket-extensions: permessage-deflate{answer}\r\n{SERVER}");
    assert_eq!(rig.received(), expected);
    rig
}

fn deflate(state: &mut Compress, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 1000);
    state.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0, 0, 255, 255]));
    out.truncate(out.len() - 4);
    out
}

/// The messages in the server's frames, inflated.
fn inflate(state: &mut Decompress, mut frames: &[u8], fresh: bool) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let [first, short, rest @ ..] = frames {
        let (length, rest) = match short {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            short => (usize::from(*short), rest),
        };
        let payload = &rest[..length];
        frames = &rest[length..];
        if first & 0x40 == 0 {
            messages.push(payload.to_vec());
            continue;
        }
        if fresh {
            state.reset(false);
        }
        let mut message = Vec::with_capacity(MESSAGE_BYTES + 1000);
        let payload = [payload, &[0, 0, 255, 255]].concat();
        state.decompress_vec(&payload, &mut message, FlushDecompress::Sync).unwrap();
        messages.push(message);
    }
    messages
}

fn messages() -> Vec<Vec<u8>> {
    let json = "{\"id\":1234,\"name\":\"a name\",\"tags\":[\"x\",\"y\"]},";
    [16, 64, 256, 1024, 4096, 8192, 32_768, 65_536]
        .into_iter()
        .chain([100, 100, 0, 1, MESSAGE_BYTES])
        .map(|length| json.repeat(length / json.len() + 1).into_bytes()[..length].to_vec())
        .collect()
}

#[test]
fn every_window_and_takeover_works_in_both_directions() {
    for bits in 9..=15 {
        for takeover in [true, false] {
            let ours = bits.min(12);
            let (offered, agreed) = if takeover {
                ("", "")
            } else {
                (
                    "; server_no_context_takeover; client_no_context_takeover",
                    "; server_no_context_takeover; client_no_context_takeover",
                )
            };
            let mut rig = open(
                &format!("{offered}; server_max_window_bits={bits}; client_max_window_bits={bits}"),
                &format!("{agreed}; server_max_window_bits={ours}; client_max_window_bits={ours}"),
            );
            let mut deflater = Compress::new_with_window_bits(Compression::new(6), false, ours);
            let mut inflater = Decompress::new_with_window_bits(false, ours);
            for message in messages() {
                let payload = if message.is_empty() { vec![0] } else { deflate(&mut deflater, &message) };
                if !takeover {
                    deflater.reset();
                }
                // As one frame, and as fragments of which only the first says that it is deflated.
                let middle = payload.len() / 2;
                let sent = if message.len() % 2 == 0 {
                    frame(0xc1, &payload)
                } else {
                    [frame(0x41, &payload[..middle]), frame(0x00, &payload[middle..]), frame(0x80, b"")]
                        .concat()
                };
                rig.send(sent);
                let back = inflate(&mut inflater, &received(&mut rig), !takeover);
                assert!(back == [message], "{bits} {takeover}");
            }
        }
    }
}

#[test]
fn a_client_without_the_parameter_may_use_any_window() {
    let mut rig = open("", "; server_max_window_bits=12");
    let mut deflater = Compress::new_with_window_bits(Compression::new(9), false, 15);
    let message = [vec![b'a'; 100], (0..60_000_u32).map(|n| (n % 95 + 32) as u8).collect()].concat();
    for _ in 0..2 {
        rig.send(frame(0xc1, &deflate(&mut deflater, &message)));
        assert!(!received(&mut rig).is_empty());
    }
}

#[test]
fn uncompressed_messages_are_taken_between_compressed_ones() {
    let mut rig = open("", "; server_max_window_bits=12");
    let mut deflater = Compress::new_with_window_bits(Compression::new(6), false, 15);
    let hello = deflate(&mut deflater, b"Hello");
    let again = deflate(&mut deflater, b"Hello");
    rig.send([frame(0xc1, &hello), frame(0x81, b"plain"), frame(0xc1, &again)].concat());
    let expected = [served(0x81, b"Hello"), served(0x81, b"plain"), served(0x81, b"Hello")].concat();
    assert_eq!(received(&mut rig), expected, "short ones come back as they are");
}

#[test]
fn what_inflates_beyond_the_limit_or_is_no_deflate_fails_the_connection() {
    let mut deflater = Compress::new_with_window_bits(Compression::new(9), false, 15);
    let bomb = deflate(&mut deflater, &vec![0; MESSAGE_BYTES + 1]);
    assert!(bomb.len() < 1000);
    for (payload, code) in [(&bomb[..], [0x03, 0xf1]), (b"\xff\xff\xff", [0x03, 0xef])] {
        let mut rig = open("", "; server_max_window_bits=12");
        rig.send(frame(0xc2, payload));
        let reply = received(&mut rig);
        assert_eq!((reply[0], &reply[2..4]), (CLOSE, &code[..]));
    }
    // The marker on a continuation or a control frame, and text that is no UTF-8 when inflated.
    let wrong_text =
        deflate(&mut Compress::new_with_window_bits(Compression::new(9), false, 15), b"\xff\xfe");
    for (frames, code) in [
        ([frame(0x41, b""), frame(0xc0, b"")].concat(), [0x03, 0xea]),
        (frame(0xc9, b""), [0x03, 0xea]),
        (frame(0xc1, &wrong_text), [0x03, 0xef]),
    ] {
        let mut rig = open("", "; server_max_window_bits=12");
        rig.send(frames);
        assert_eq!(received(&mut rig)[2..4], code);
    }
}

#[test]
fn a_large_message_that_deflates_badly_survives() {
    let (kept, app) = keeper();
    let mut rig = Rig::with_limits(Sockets(app), limits());
    rig.send(format!("{REQUEST}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"));
    received(&mut rig);
    let noise: Vec<u8> = (0..90_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    kept.borrow()[0].send(MessageKind::Binary, noise.clone()).unwrap();
    rig.run();
    let mut inflater = Decompress::new_with_window_bits(false, 12);
    assert!(inflate(&mut inflater, &received(&mut rig), false) == [noise]);
}
