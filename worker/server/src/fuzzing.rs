//! Doors for the fuzz targets into the pure parsers, which are nobody else's business. Built with `--cfg fuzzing` only.

use std::{rc::Rc, time::Duration};

use crate::{
    BodyLength, ConnectionInfo, ForwardedField, Forwarding, HalfClose, Header, Limits, Offers, Peer,
    RequestHead, Scheme, TrustedPeer, Version,
    http1::{
        chunked::{BodyEnd, ChunkedDecoder},
        head::{self, Decoded},
        refusal::Refusal,
        target,
    },
    proxy_protocol::{self, Parsed, Versions},
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

/// Reads a PROXY header as a connection does: never more than the parser asks for, and the verdict is the same however many bytes
/// follow.
///
/// # Panics
/// If it waits for nothing, or asks for more than a header may have.
pub fn proxy_header(bytes: &[u8]) {
    for versions in [Versions::One, Versions::Two, Versions::Both] {
        let mut taken = 0;
        while let Parsed::Incomplete(missing) = proxy_protocol::parse(&bytes[..taken], versions) {
            assert!(missing > 0, "it waits for nothing");
            if taken + missing > bytes.len() {
                break;
            }
            taken += missing;
            assert!(taken <= 16 + 4096, "a header of {taken} bytes");
        }
    }
}

/// Reads the bytes as each field of a proxy: whatever stands there, the application sees a head with every field that came.
///
/// # Panics
/// If a field is lost, or a prefix or Host is made that no path or authority may be.
pub fn forwarded(bytes: &[u8]) {
    let connection = Rc::new(ConnectionInfo {
        peer: Peer::Unix(None),
        local: Peer::Unix(None),
        scheme: Scheme::Http,
        tls: None,
    });
    let names: [&[u8]; 6] = [
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"forwarded",
    ];
    let host = Header { name: b"host", value: b"inside:8000" };
    let headers: Vec<_> =
        std::iter::once(host).chain(names.map(|name| Header { name, value: bytes })).collect();
    let head = RequestHead {
        method: b"GET",
        path: b"/",
        query: b"",
        version: Version::Http11,
        headers: &headers,
        body: BodyLength::None,
        offers: Offers::default(),
        client: &connection.peer,
        scheme: connection.scheme,
        prefix: b"",
        connection: &connection,
    };
    let lists = [
        ForwardedField::For,
        ForwardedField::Proto,
        ForwardedField::Host,
        ForwardedField::Port,
        ForwardedField::Prefix,
    ];
    for fields in [lists.to_vec(), vec![ForwardedField::Rfc7239]] {
        let forwarding = Forwarding { fields, from: std::iter::once(TrustedPeer::Everyone).collect() };
        forwarding.apply(&head, |seen| {
            assert_eq!(seen.headers.len(), headers.len());
            assert!(target::is_authority(seen.headers[0].value), "{}", seen.headers[0].value.escape_ascii());
            assert!(seen.prefix.is_empty() || seen.prefix.starts_with(b"/"));
        });
    }
}
