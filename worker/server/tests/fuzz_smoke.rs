//! The fuzz target of whole connections, played with some hundred inputs that a seed makes: however the bytes of a client are cut, the
//! connection comes to rest and says the same. The parsers' own targets are smoked in src/fuzzing/smoke.rs.

mod corpus;
mod support;

use std::path::Path;

use support::{Rig, apps};

/// Comes only if the body had not come yet.
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// What the client reads.
fn play<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let mut rig = Rig::new(apps::describing());
    for piece in pieces {
        rig.send(piece);
    }
    rig.received().replace(CONTINUE, "")
}

#[test]
fn a_connection_says_the_same_however_a_damaged_request_is_cut() {
    let corpus = corpus::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"));
    let small = corpus.iter().filter(|case| case.sent.len() < 500);
    for (number, case) in small.enumerate() {
        // Each case with one byte replaced, at another place each, and its neighbour's byte after it.
        for turn in 0..6 {
            let mut damaged = case.sent.clone();
            let at = (number * 31 + turn * 7) % damaged.len();
            damaged[at] = b"\r\n\0 :x"[turn];
            let whole = play(std::iter::once(damaged.as_slice()));
            let cut = play(damaged.chunks(turn + 1));
            assert_eq!(whole, cut, "{} damaged: {}", case.name, damaged.escape_ascii());
        }
    }
}

/// Found by the fuzzer: the last byte has no line end, and what came before it had not been decoded yet.
#[test]
fn what_begins_like_http2_and_is_not_is_refused_at_once() {
    let mut rig = Rig::new(apps::describing());
    for byte in b"PRI * HTTP/2.0\r\n\r\n!" {
        rig.send(std::slice::from_ref(byte));
    }
    let received = rig.received();
    assert!(received.starts_with("HTTP/1.1 505 "), "{received}");
}
