//! RFC 9113 §6: frames that are about the connection, and windows.

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
    [settings_frames(), rest(), windows()].into_iter().flatten().collect()
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
