//! RFC 9113 §5: streams and their states.

use super::{
    super::frames::*,
    Case,
    Expect::{Connection, Holds, Reply, Stream},
    case,
};

/// Codes with which a frame on a closed stream may be answered (RFC 9113 §5.1).
const CLOSED: &[u32] = &[STREAM_CLOSED, PROTOCOL_ERROR];

pub fn all() -> Vec<Case> {
    [idle(), half_closed_and_closed(), identifiers(), concurrency(), messages()]
        .into_iter()
        .flatten()
        .collect()
}

fn idle() -> Vec<Case> {
    vec![
        case("9113 §5.1", "DATA on an idle stream", data(1, 0, b"x"), Connection(&[PROTOCOL_ERROR])),
        case(
            "9113 §5.1",
            "RST_STREAM on an idle stream",
            rst_stream(1, CANCEL),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §5.1",
            "WINDOW_UPDATE on an idle stream",
            window_update(1, 100),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §5.1",
            "CONTINUATION on an idle stream",
            frame(CONTINUATION, END_HEADERS, 1, b""),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §5.1",
            "DATA on an idle stream of the server",
            data(2, 0, b"x"),
            Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §5.1",
            "WINDOW_UPDATE on an idle stream of the server",
            window_update(2, 100),
            Connection(&[PROTOCOL_ERROR]),
        ),
    ]
}

fn half_closed_and_closed() -> Vec<Case> {
    vec![
        case(
            "9113 §5.1",
            "DATA after the end of a body",
            [post(1, "/"), data(1, END_STREAM, b"x"), data(1, 0, b"y")].concat(),
            Connection(CLOSED),
        ),
        case(
            "9113 §5.1",
            "HEADERS after the end of a request",
            [get(1, "/"), get(1, "/")].concat(),
            Connection(CLOSED),
        ),
        case(
            "9113 §5.1",
            "CONTINUATION after the end of a request",
            [get(1, "/"), frame(CONTINUATION, END_HEADERS, 1, b"")].concat(),
            Connection(CLOSED),
        ),
        case(
            "9113 §5.1",
            "DATA after a request without a body",
            [get(1, "/"), data(1, 0, b"y")].concat(),
            Connection(CLOSED),
        ),
        case(
            "9113 §5.1",
            "PRIORITY after the end of a request",
            [get(1, "/"), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])].concat(),
            Reply(200),
        ),
        case(
            "9113 §5.1",
            "WINDOW_UPDATE after the end of a request",
            [get(1, "/"), window_update(1, 9)].concat(),
            Reply(200),
        ),
        case(
            "9113 §5.1",
            "DATA after RST_STREAM",
            [get(1, "/"), post(3, "/"), rst_stream(3, CANCEL), data(3, 0, b"x")].concat(),
            Holds(|seen| {
                seen.frames
                    .iter()
                    .any(|it| it.kind == RST_STREAM && it.stream == 3 && it.code() == STREAM_CLOSED)
            }),
        ),
        case(
            "9113 §5.1",
            "HEADERS after RST_STREAM",
            [get(1, "/"), post(3, "/"), rst_stream(3, CANCEL), get(3, "/")].concat(),
            Connection(CLOSED),
        ),
    ]
}

fn identifiers() -> Vec<Case> {
    vec![
        case("9113 §5.1.1", "a stream of even number", get(2, "/"), Connection(&[PROTOCOL_ERROR])),
        case(
            "9113 §5.1.1",
            "a number below an earlier one",
            [get(5, "/"), get(3, "/")].concat(),
            Connection(CLOSED),
        ),
        case("9113 §5.1.1", "numbers may be left out", [get(1, "/"), get(101, "/")].concat(), Reply(200)),
        case("9113 §5.1.1", "the reserved bit of a number", get(0x8000_0001, "/"), Reply(200)),
    ]
}

fn concurrency() -> Vec<Case> {
    let open: Vec<u8> = (0..20).flat_map(|it| post(3 + 2 * it, "/wait")).collect();
    vec![case(
        "9113 §5.1.2",
        "more streams than the server allows",
        [get(1, "/"), open, get(43, "/")].concat(),
        Holds(|seen| {
            // An app that replies at once leaves room.
            let refused = |it: &&Frame| it.kind == RST_STREAM && it.stream == 43;
            let reset = seen.frames.iter().find(refused).map(Frame::code);
            let is_answered = seen.frames.iter().any(|it| it.kind == HEADERS && it.stream == 43);
            matches!(reset, Some(REFUSED_STREAM | PROTOCOL_ERROR)) || is_answered
        }),
    )]
}

fn messages() -> Vec<Case> {
    let trailers = |fields: &[(&str, &str)], flags| headers(1, flags, fields);
    let length = |length: &str, flags| {
        let mut fields = request("POST", "/");
        fields.push(("content-length", length));
        headers(1, flags, &fields)
    };
    let malformed = Stream(&[PROTOCOL_ERROR]);
    vec![
        case(
            "9113 §8.1",
            // With pseudo fields, they would be malformed: but h2 drops those before anybody sees them, and to decode the code of trailers
            // a second time for that is not worth it. No app sees a trailer.
            "trailers are dropped",
            [post(1, "/"), data(1, 0, b"x"), trailers(&[("x-sum", "1")], END_STREAM)].concat(),
            Reply(200),
        ),
        case(
            "9113 §8.1",
            "trailers without a body",
            [post(1, "/"), trailers(&[("x-sum", "1")], END_STREAM)].concat(),
            Reply(200),
        ),
        case(
            "9113 §8.1",
            "trailers that do not end the stream",
            [post(1, "/"), data(1, 0, b"x"), trailers(&[("x-sum", "1")], 0)].concat(),
            Stream(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §8.1",
            "DATA after trailers",
            [post(1, "/"), data(1, 0, b"x"), trailers(&[("x-sum", "1")], END_STREAM), data(1, 0, b"y")]
                .concat(),
            Connection(CLOSED),
        ),
        case(
            "9113 §8.1.1",
            "a length that is the body's",
            [length("3", 0), data(1, END_STREAM, b"abc")].concat(),
            Reply(200),
        ),
        case(
            "9113 §8.1.1",
            "a length that is the body's in pieces",
            [length("3", 0), data(1, 0, b"a"), data(1, END_STREAM, b"bc")].concat(),
            Reply(200),
        ),
        case(
            "9113 §8.1.1",
            "a body shorter than its length",
            [length("3", 0), data(1, END_STREAM, b"ab")].concat(),
            Stream(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §8.1.1",
            "a body longer than its length",
            [length("3", 0), data(1, END_STREAM, b"abcd")].concat(),
            Stream(&[PROTOCOL_ERROR]),
        ),
        case(
            "9113 §8.1.1",
            "a body longer than its length in pieces",
            [length("3", 0), data(1, 0, b"ab"), data(1, 0, b"cd")].concat(),
            Stream(&[PROTOCOL_ERROR]),
        ),
        case("9113 §8.1.1", "a length and no body", length("3", END_STREAM), malformed),
        case("9113 §8.1.1", "a length of nothing and no body", length("0", END_STREAM), Reply(200)),
        case(
            "9113 §8.1.1",
            "a length before trailers that is not the body's",
            [length("3", 0), data(1, 0, b"ab"), trailers(&[("x", "1")], END_STREAM)].concat(),
            Stream(&[PROTOCOL_ERROR]),
        ),
    ]
}
