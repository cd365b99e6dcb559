//! Doors for the fuzz targets into the pure parsers, which are nobody else's business. Built with `--cfg fuzzing` only.

use std::time::Duration;

use crate::{
    HalfClose, Limits,
    http1::{
        chunked::{BodyEnd, ChunkedDecoder},
        head::{self, Decoded},
        refusal::Refusal,
    },
};

/// Decodes a head from every beginning of `bytes`: once there is a verdict, more bytes must not change it.
///
/// # Panics
/// If they do.
pub fn head(bytes: &[u8]) {
    let limits = Limits {
        keep_alive_timeout: Duration::MAX,
        header_read_timeout: Duration::MAX,
        body_read_timeout: Duration::MAX,
        write_timeout: Duration::MAX,
        request_line_bytes: 64,
        head_bytes: 256,
        header_count: 6,
        body_bytes: None,
        half_close: HalfClose::Leaves,
        websocket: None,
        http2: None,
    };
    let mut fields = Vec::new();
    let whole = head::decode(&mut bytes.to_vec(), &limits, &mut fields);
    let mut earlier = Decoded::Incomplete;
    for length in 0..=bytes.len().min(300) {
        let decoded = head::decode(&mut bytes[..length].to_vec(), &limits, &mut fields);
        assert!(earlier == Decoded::Incomplete || earlier == decoded, "{earlier:?}, then {decoded:?}");
        earlier = decoded;
    }
    assert!(earlier == Decoded::Incomplete || earlier == whole, "{earlier:?}, in one {whole:?}");
}

/// Decodes a chunked body in one piece and byte by byte.
///
/// # Panics
/// If the two differ.
pub fn chunked(bytes: &[u8]) {
    assert_eq!(decode(bytes, bytes.len().max(1)), decode(bytes, 1));
}

fn decode(bytes: &[u8], step: usize) -> (Vec<u8>, Result<Option<usize>, Refusal>) {
    let mut decoder = ChunkedDecoder::new();
    let (mut body, mut position) = (Vec::new(), 0);
    for end in (step..bytes.len() + step).step_by(step) {
        let end = end.min(bytes.len());
        while position < end {
            let advance = match decoder.advance(&bytes[position..end]) {
                Ok(advance) => advance,
                Err(refusal) => return (body, Err(refusal)),
            };
            position += advance.framing;
            body.extend_from_slice(&bytes[position..position + advance.data]);
            position += advance.data;
            if advance.end == BodyEnd::Reached {
                return (body, Ok(Some(position)));
            }
        }
    }
    (body, Ok(None))
}
