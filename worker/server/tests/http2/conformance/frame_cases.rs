//! RFC 9113 §4 and §6: frames, one by one.

use super::{
    super::frames::*,
    Case,
    Expect::{Connection, Holds, Reply, Stream},
    case,
};

fn then_get(bytes: Vec<u8>) -> Vec<u8> {
    [bytes, get(1, "/")].concat()
}

pub fn all() -> Vec<Case> {
    [format(), data_frames(), headers_frames(), priority_and_reset(), settings_frames(), rest(), windows()]
        .into_iter()
        .flatten()
        .collect()
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

fn settings_frames() -> Vec<Case> {
    let with = |name, value| then_get(settings(&[(name, value)]));
    vec![
        case("9113 §6.5", "SETTINGS of a stream", frame(SETTINGS, 0, 1, b""), Connection(&[PROTOCOL_ERROR])),
        case(
            "9113 §6.5",
            "an acknowledgement with a payload",
            frame(SETTINGS, ACK, 0, &[0; 6]),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "9113 §6.5",
            "a length that is no multiple of six",
            frame(SETTINGS, 0, 0, &[0; 5]),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case("9113 §6.5.2", "ENABLE_PUSH 0", with(2, 0), Reply(200)),
        case("9113 §6.5.2", "ENABLE_PUSH 1", with(2, 1), Reply(200)),
        case("9113 §6.5.2", "ENABLE_PUSH 2", settings(&[(2, 2)]), Connection(&[PROTOCOL_ERROR])),
        case(
            "9113 §6.5.2",
            "INITIAL_WINDOW_SIZE beyond 2^31-1",
            settings(&[(4, 0x8000_0000)]),
            Connection(&[FLOW_CONTROL_ERROR]),
        ),
        case("9113 §6.5.2", "INITIAL_WINDOW_SIZE 2^31-1", with(4, 0x7fff_ffff), Reply(200)),
        case(
            "9113 §6.5.2",
            "MAX_FRAME_SIZE below 2^14",
            settings(&[(5, 16_383)]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.5.2",
            "MAX_FRAME_SIZE beyond 2^24-1",
            settings(&[(5, 16_777_216)]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case("9113 §6.5.2", "MAX_FRAME_SIZE 2^14", with(5, 16_384), Reply(200)),
        case("9113 §6.5.2", "MAX_FRAME_SIZE 2^24-1", with(5, 16_777_215), Reply(200)),
        case("9113 §6.5.2", "HEADER_TABLE_SIZE 0", with(1, 0), Reply(200)),
        case("9113 §6.5.2", "HEADER_TABLE_SIZE at its greatest", with(1, u32::MAX), Reply(200)),
        case("9113 §6.5.2", "MAX_CONCURRENT_STREAMS 0", with(3, 0), Reply(200)),
        case("9113 §6.5.2", "MAX_HEADER_LIST_SIZE", with(6, 1_000), Reply(200)),
        case("9113 §6.5.2", "an unknown setting", with(0x1234, 5), Reply(200)),
        case("8441 §3", "ENABLE_CONNECT_PROTOCOL 2", settings(&[(8, 2)]), Connection(&[PROTOCOL_ERROR])),
        case(
            "9113 §6.5.3",
            "each SETTINGS is acknowledged",
            then_get([settings(&[(3, 5)]), settings(&[])].concat()),
            Holds(|seen| {
                seen.frames
                    .iter()
                    .filter(|it| it.kind == SETTINGS && it.has(ACK) && it.payload.is_empty())
                    .count()
                    == 3
            }),
        ),
        case(
            "9113 §6.5.3",
            "values take effect in their order",
            then_get(settings(&[(4, 0), (4, 100)])),
            Reply(200),
        ),
        case("9113 §6.5", "many settings at once", then_get(settings(&[(0x1234, 5); 500])), Reply(200)),
    ]
}

fn rest() -> Vec<Case> {
    let promise = [&2_u32.to_be_bytes()[..], &block(&request("GET", "/"))].concat();
    let goaway = |code: u32| [0_u32.to_be_bytes(), code.to_be_bytes()].concat();
    vec![
        case(
            "9113 §6.6",
            "PUSH_PROMISE of a client",
            [post(1, "/"), frame(PUSH_PROMISE, END_HEADERS, 1, &promise)].concat(),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.7",
            "PING is answered with its payload",
            then_get(frame(PING, 0, 0, b"payload!")),
            Holds(|seen| {
                seen.frames.iter().any(|it| it.kind == PING && it.has(ACK) && it.payload == b"payload!")
            }),
        ),
        case(
            "9113 §6.7",
            "an answer is not answered",
            then_get(frame(PING, ACK, 0, b"payload!")),
            Holds(|seen| seen.count(PING) == 0),
        ),
        case("9113 §6.7", "PING of a stream", frame(PING, 0, 1, &[0; 8]), Connection(&[PROTOCOL_ERROR])),
        case("9113 §6.7", "PING too short", frame(PING, 0, 0, &[0; 7]), Connection(&[FRAME_SIZE_ERROR])),
        case("9113 §6.7", "PING too long", frame(PING, 0, 0, &[0; 9]), Connection(&[FRAME_SIZE_ERROR])),
        case(
            "9113 §6.8",
            "GOAWAY of a stream",
            frame(GOAWAY, 0, 1, &goaway(0)),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case("9113 §6.8", "GOAWAY too short", frame(GOAWAY, 0, 0, &[0; 7]), Connection(&[FRAME_SIZE_ERROR])),
    ]
}

fn windows() -> Vec<Case> {
    let too_much: Vec<u8> = (0..5).flat_map(|_| data(1, 0, &[b'x'; 16_000])).collect();
    let over_all: Vec<u8> =
        (0..3_u32).flat_map(|it| (0..4).flat_map(move |_| data(1 + 2 * it, 0, &[b'x'; 16_000]))).collect();
    vec![
        case(
            "9113 §6.9",
            "an increment of 0 for a stream",
            [post(1, "/"), window_update(1, 0)].concat(),
            Stream(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.9",
            "an increment of 0 for the connection",
            window_update(0, 0),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.9",
            "WINDOW_UPDATE too short",
            frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "9113 §6.9",
            "WINDOW_UPDATE too long",
            frame(WINDOW_UPDATE, 0, 0, &[0; 5]),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "9113 §6.9",
            "WINDOW_UPDATE of an idle stream",
            window_update(7, 1),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §6.9",
            "WINDOW_UPDATE of a stream that is done",
            [get(1, "/"), window_update(1, 1)].concat(),
            Reply(200),
        ),
        case(
            "9113 §6.9",
            "the reserved bit of an increment",
            then_get(window_update(0, 0x8000_0001)),
            Reply(200),
        ),
        case(
            "9113 §6.9.1",
            "a client beyond the window of a stream",
            [post(1, "/"), too_much].concat(),
            Stream(&[FLOW_CONTROL_ERROR]),
        ),
        case(
            "9113 §6.9.1",
            "the window of the connection overflows",
            [window_update(0, 0x7fff_ffff), window_update(0, 0x7fff_ffff)].concat(),
            Connection(&[FLOW_CONTROL_ERROR]),
        ),
        case(
            "9113 §6.9.1",
            "the window of a stream overflows",
            [post(1, "/"), window_update(1, 0x7fff_ffff), window_update(1, 0x7fff_ffff)].concat(),
            Stream(&[FLOW_CONTROL_ERROR]),
        ),
        case(
            "9113 §6.9.1",
            "a client beyond the window of the connection",
            [post(1, "/"), post(3, "/"), post(5, "/"), over_all].concat(),
            Connection(&[FLOW_CONTROL_ERROR]),
        ),
        case(
            "9113 §6.9.2",
            "a window that grows from nothing",
            [settings(&[(4, 0)]), get(1, "/"), settings(&[(4, 1_000)])].concat(),
            Reply(200),
        ),
        case(
            "9113 §6.9.2",
            "a window below nothing",
            [settings(&[(4, 5)]), get(1, "/"), settings(&[(4, 0)]), window_update(1, 2_000)].concat(),
            Reply(200),
        ),
        case(
            "9113 §6.9.2",
            "a setting that makes a window overflow",
            [post(1, "/"), window_update(1, 0x7000_0000), settings(&[(4, 0x7fff_ffff)])].concat(),
            Connection(&[FLOW_CONTROL_ERROR]),
        ),
    ]
}
