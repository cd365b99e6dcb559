//! Every door of the fuzz targets, opened with some thousand inputs that a seed makes out of good ones: what a change of a parser breaks
//! at once is found at once, without a fuzzer.

use super::{chunked, forwarded, head, proxy_header, websocket_deflate, websocket_frames};

/// Inputs made of each good one.
const ROUNDS: u64 = 3_000;
/// Any number; the same inputs every time.
const SEED: u64 = 0x5eed_c0de;

/// A door: the name of its fuzz target, the entry, and good inputs to begin with. Every new fuzz target has its line here.
type Door = (&'static str, fn(&[u8]), &'static [&'static [u8]]);

const DOORS: &[Door] = &[
    (
        "head",
        head,
        &[
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST http://a:80/b?c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            b"PUT /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\n",
            b"\r\nOPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close, x\r\nUpgrade: websocket\r\n\r\n",
        ],
    ),
    (
        "chunked",
        chunked,
        &[
            b"5\r\nhello\r\n0\r\n\r\n",
            b"a;x=y;z=\"q\\\"\"\r\n0123456789\r\n00\r\nX-Trailer: y\r\n\r\nGET /",
            b"1\r\na\r\nFf\r\n",
        ],
    ),
    (
        "proxy_header",
        proxy_header,
        &[
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET / HTTP/1.1\r\n",
            b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n",
            b"PROXY UNKNOWN anything\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\x01\xbbGET",
            b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        ],
    ),
    (
        "forwarded",
        forwarded,
        &[
            b"192.0.2.1, 10.0.0.1",
            b"for=\"[2001:db8::1]:4711\";proto=https;host=a.example, for=unknown",
            b"https",
            b"a.example:8443",
            b"/mounted/here/",
        ],
    ),
    (
        "websocket_frames",
        websocket_frames,
        &[
            b"\x03\0\x81\x85\0\0\0\0hello\x89\x81\x01\x02\x03\x04a",
            b"\x01\x0f\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\0",
            b"\x02\0\x01\x82\0\0\0\0ab\x80\x81\0\0\0\0c\x88\x82\0\0\0\0\x03\xe8",
            b"\x05\0\x82\xfe\0\x7e\0\0\0\0binary",
        ],
    ),
    (
        "websocket_deflate",
        websocket_deflate,
        &[
            b"\x02\x0f\xf2\x48\xcd\xc9\xc9\x07\0",
            b"\x07\x09permessage-deflate; client_max_window_bits=10; server_no_context_takeover",
            b"\x01\x0c\0\x05\0\xfa\xffhello",
        ],
    ),
];

/// A small generator of chance (xorshift64): the test needs no better one.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }

    /// A byte that parsers care about, or any.
    fn byte(&mut self) -> u8 {
        const TELLING: &[u8] = b"\r\n\0 \t:;,=\"\\/?#*%0159afAF\x0b\x7f\x80\xff";
        match self.roll(4) {
            0 => self.roll(256) as u8,
            _ => TELLING[self.roll(TELLING.len())],
        }
    }

    /// `bytes` with a few changes.
    fn mutate(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut mutated = bytes.to_vec();
        for _ in 0..=self.roll(4) {
            let at = self.roll(mutated.len() + 1);
            let end = (at + self.roll(8)).min(mutated.len());
            match self.roll(5) {
                0 => mutated.insert(at, self.byte()),
                1 => drop(mutated.drain(at..end)),
                2 => mutated.truncate(at),
                3 => {
                    let copied = mutated[at..end].to_vec();
                    mutated.splice(at..at, copied);
                }
                _ => match mutated.get_mut(at) {
                    Some(place) => *place = self.byte(),
                    None => mutated.extend_from_slice(&other[self.roll(other.len())..]),
                },
            }
        }
        mutated
    }
}

#[test]
fn every_door_withstands_mutated_inputs() {
    for (name, door, good) in DOORS {
        let mut dice = Dice(SEED);
        for bytes in *good {
            door(bytes);
            for _ in 0..ROUNDS {
                let other = good[dice.roll(good.len())];
                let mutated = dice.mutate(bytes, other);
                let outcome = std::panic::catch_unwind(|| door(&mutated));
                assert!(outcome.is_ok(), "{name} fails on b\"{}\"", mutated.escape_ascii());
            }
        }
    }
}

#[test]
fn every_fuzz_target_of_this_crate_has_a_door() {
    // The targets of other crates' parsers, and the one that plays whole connections, are smoked where their rigs are.
    let manifest = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let targets = manifest.join("../../tests/fuzz/fuzz_targets");
    for target in std::fs::read_dir(targets).expect("the fuzz targets") {
        let path = target.expect("a target").path();
        let text = std::fs::read_to_string(&path).expect("a target's text");
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        if text.contains("worker_server::fuzzing::") {
            assert!(DOORS.iter().any(|(door, ..)| *door == name), "{name} is not smoked");
        }
    }
}
