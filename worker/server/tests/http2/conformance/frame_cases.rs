//! RFC 9113 §4 and §6: frames that make up streams, one by one.

use super::{
    super::frames::*,
    Case,
    Expect::{Connection, Holds, Reply},
    case,
};

fn then_get(bytes: Vec<u8>) -> Vec<u8> {
    [bytes, get(1, "/")].concat()
}

pub fn all() -> Vec<Case> {
    [format(), data_frames(), headers_frames(), priority_and_reset()].into_iter().flatten().collect()
}

fn format() -> Vec<Case> {
    let sized = |kind, stream, size: usize| frame(kind, 0, stream, &vec![0; size]);
    vec![
        case(
            "9113 §4.1",
            "a frame of unknown type is ignored",
            then_get(frame(0x42, 0xff, 0, b"x")),
            Reply(200),
        ),
        case("9113 §4.1", "and one on a stream", then_get(frame(0x42, 0xff, 3, b"x")), Reply(200)),
        case(
            "9113 §4.1",
            "undefined flags are ignored",
            then_get(frame(PING, 0xfe, 0, &[7; 8])),
            Holds(|seen| seen.count(PING) == 1),
        ),
        case(
            "9113 §4.1",
            "the reserved bit is ignored",
            then_get(frame(PING, 0, 0x8000_0000, &[7; 8])),
            Holds(|seen| seen.count(PING) == 1),
        ),
        case(
            "9113 §4.2",
            "DATA of the greatest size is taken",
            [post(1, "/"), data(1, END_STREAM, &[b'x'; 16_384])].concat(),
            Reply(200),
        ),
        case(
            "9113 §4.2",
            "DATA beyond the greatest size",
            [post(1, "/"), data(1, 0, &[b'x'; 16_385])].concat(),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "9113 §4.2",
            "HEADERS beyond the greatest size",
            frame(HEADERS, END_HEADERS, 1, &[0; 16_385]),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "9113 §4.2",
            "SETTINGS beyond the greatest size",
            sized(SETTINGS, 0, 16_386),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "9113 §4.2",
            "a frame of unknown type beyond the greatest size",
            sized(0x42, 0, 16_385),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "9113 §4.3",
            "a block cut off by another frame",
            [frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/"))), frame(PRIORITY, 0, 3, &[0; 5])]
                .concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §4.3",
            "a block cut off by HEADERS of another stream",
            [frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/"))), get(3, "/")].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §4.3",
            "a block cut off by DATA",
            [frame(HEADERS, 0, 1, &block(&request("GET", "/"))), data(1, 0, b"x")].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §4.3",
            "a block that cannot be decoded",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 20]),
            Connection(&[COMPRESSION_ERROR, PROTOCOL_ERROR]),
        ),
        case(
            "9113 §5.5",
            "a frame of unknown type in a block",
            [frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/"))), frame(0x42, 0, 1, b"x")].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
    ]
}

fn data_frames() -> Vec<Case> {
    let padded = |pad: u8, bytes: &[u8], padding: usize| [&[pad][..], bytes, &vec![0; padding]].concat();
    vec![
        case("9113 §6.1", "DATA on stream 0", data(0, 0, b"x"), Connection(&[PROTOCOL_ERROR])),
        case(
            "9113 §6.1",
            "padding is cut off",
            [post(1, "/"), frame(DATA, PADDED | END_STREAM, 1, &padded(3, b"abc", 3))].concat(),
            Reply(200),
        ),
        case(
            "9113 §6.1",
            "nothing but padding",
            [post(1, "/"), frame(DATA, PADDED | END_STREAM, 1, &padded(9, b"", 9))].concat(),
            Reply(200),
        ),
        case(
            "9113 §6.1",
            "as much padding as payload",
            [post(1, "/"), frame(DATA, PADDED | END_STREAM, 1, &[5, 0, 0, 0, 0])].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.1",
            "more padding than payload",
            [post(1, "/"), frame(DATA, PADDED | END_STREAM, 1, &[200, 0, 0])].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.1",
            "no room for the pad length",
            [post(1, "/"), frame(DATA, PADDED | END_STREAM, 1, &[])].concat(),
            Connection(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
        ),
        case(
            "9113 §6.1",
            "empty DATA ends a body",
            [post(1, "/"), data(1, 0, b"abc"), data(1, END_STREAM, b"")].concat(),
            Reply(200),
        ),
        case(
            "9113 §6.1",
            "empty DATA within a body",
            [post(1, "/"), data(1, 0, b""), data(1, END_STREAM, b"abc")].concat(),
            Reply(200),
        ),
    ]
}

fn headers_frames() -> Vec<Case> {
    let whole = block(&request("GET", "/"));
    let flags = END_HEADERS | END_STREAM;
    let padded = |pad: u8, padding: usize| [&[pad][..], &whole, &vec![0; padding]].concat();
    let priority = [0, 0, 0, 5, 10];
    let split: Vec<Vec<u8>> = whole.chunks(25).map(<[u8]>::to_vec).collect();
    let last = split.len() - 1;
    let continued: Vec<u8> = split
        .iter()
        .enumerate()
        .flat_map(|(index, part)| {
            let end = if index == last { END_HEADERS } else { 0 };
            match index {
                0 => frame(HEADERS, END_STREAM, 1, part),
                _ => frame(CONTINUATION, end, 1, part),
            }
        })
        .collect();
    vec![
        case(
            "9113 §6.2",
            "HEADERS on stream 0",
            headers(0, END_STREAM, &request("GET", "/")),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case("9113 §6.2", "padding", frame(HEADERS, flags | PADDED, 1, &padded(4, 4)), Reply(200)),
        case(
            "9113 §6.2",
            "more padding than payload",
            frame(HEADERS, flags | PADDED, 1, &[200, 0x82]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.2",
            "no room for the pad length",
            frame(HEADERS, flags | PADDED, 1, &[]),
            Connection(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
        ),
        case(
            "9113 §6.2",
            "a priority",
            frame(HEADERS, flags | WITH_PRIORITY, 1, &[&priority[..], &whole].concat()),
            Reply(200),
        ),
        case(
            "9113 §6.2",
            "a priority and padding",
            frame(
                HEADERS,
                flags | WITH_PRIORITY | PADDED,
                1,
                &[&[2][..], &priority, &whole, &[0, 0]].concat(),
            ),
            Reply(200),
        ),
        case(
            "9113 §6.2",
            "no room for the priority",
            frame(HEADERS, flags | WITH_PRIORITY, 1, &[0, 0]),
            Connection(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
        ),
        case("9113 §6.10", "a block in many pieces", continued, Reply(200)),
        case(
            "9113 §6.10",
            "empty CONTINUATION",
            [
                frame(HEADERS, END_STREAM, 1, &whole),
                frame(CONTINUATION, 0, 1, b""),
                frame(CONTINUATION, END_HEADERS, 1, b""),
            ]
            .concat(),
            Reply(200),
        ),
        case(
            "9113 §6.10",
            "CONTINUATION on stream 0",
            [frame(HEADERS, END_STREAM, 1, &whole), frame(CONTINUATION, END_HEADERS, 0, b"")].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.10",
            "CONTINUATION of another stream",
            [frame(HEADERS, END_STREAM, 1, &whole), frame(CONTINUATION, END_HEADERS, 3, b"")].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.10",
            "CONTINUATION after nothing",
            frame(CONTINUATION, END_HEADERS, 1, &whole),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.10",
            "CONTINUATION after a whole block",
            [post(1, "/"), frame(CONTINUATION, END_HEADERS, 1, &whole)].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.10",
            "CONTINUATION after DATA",
            [post(1, "/"), data(1, 0, b"x"), frame(CONTINUATION, END_HEADERS, 1, &whole)].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.10",
            "CONTINUATION after the end of a block in pieces",
            [
                frame(HEADERS, END_STREAM, 1, &whole),
                frame(CONTINUATION, END_HEADERS, 1, b""),
                frame(CONTINUATION, END_HEADERS, 1, b""),
            ]
            .concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.10",
            "HEADERS within a block",
            [frame(HEADERS, END_STREAM, 1, &whole), frame(HEADERS, END_HEADERS, 1, &whole)].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.10",
            "SETTINGS within a block",
            [frame(HEADERS, END_STREAM, 1, &whole), settings(&[])].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
    ]
}

fn priority_and_reset() -> Vec<Case> {
    vec![
        case(
            "9113 §6.3",
            "PRIORITY on stream 0",
            frame(PRIORITY, 0, 0, &[0; 5]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.3",
            "PRIORITY of an idle stream",
            then_get(frame(PRIORITY, 0, 99, &[0, 0, 0, 1, 9])),
            Reply(200),
        ),
        case(
            "9113 §6.3",
            "PRIORITY of a closed stream",
            [get(1, "/"), frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9])].concat(),
            Reply(200),
        ),
        case(
            "9113 §6.3",
            "PRIORITY too short",
            [post(1, "/"), frame(PRIORITY, 0, 1, &[0; 4])].concat(),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "9113 §6.3",
            "PRIORITY too long",
            [post(1, "/"), frame(PRIORITY, 0, 1, &[0; 6])].concat(),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case("9113 §6.4", "RST_STREAM on stream 0", rst_stream(0, CANCEL), Connection(&[PROTOCOL_ERROR])),
        case(
            "9113 §6.4",
            "RST_STREAM of an idle stream",
            rst_stream(5, CANCEL),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.4",
            "RST_STREAM too short",
            [post(1, "/"), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "9113 §6.4",
            "RST_STREAM too long",
            [post(1, "/"), frame(RST_STREAM, 0, 1, &[0; 5])].concat(),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        Case {
            section: "9113 §6.4",
            name: "RST_STREAM of a stream that is done",
            pieces: vec![get(1, "/"), rst_stream(1, NO_ERROR)],
            expect: Reply(200),
        },
        case(
            "9113 §7",
            "an unknown error code",
            [get(1, "/"), post(3, "/"), rst_stream(3, 0xdead_beef)].concat(),
            Reply(200),
        ),
    ]
}
