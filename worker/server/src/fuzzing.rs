//! Doors for the fuzz targets into the pure parsers, which are nobody else's business. Built with `--cfg fuzzing`, and for the smoke
//! test, which needs no nightly compiler.

#[cfg(test)]
mod smoke;

use std::{rc::Rc, time::Duration};

use crate::{
    BodyLength, ConnectionInfo, ForwardedField, ForwarderField, Forwarding, HalfClose, Header, Limits,
    Offers, Peer, PrefixPlace, RequestHead, Scheme, SecureSchemeField, TrustedPeer, Version,
    http1::{
        chunked::{BodyEnd, ChunkedDecoder},
        head::{self, Decoded},
        refusal::Refusal,
        target,
    },
    proxy_protocol::{self, Parsed, Versions},
    websocket::{
        close::{Close, Violation},
        deflate::{Deflater, Inflater},
        deflate_offer::{DeflateAgreement, Takeover},
        receiver::{Event, MessageKind, Receiver},
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
        body_bytes_per_second: None,
        write_timeout: Duration::MAX,
        request_timeout: None,
        admission: None,
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
        prefix_place: PrefixPlace::TakenOff,
        connection: &connection,
    };
    let lists = [
        ForwardedField::For,
        ForwardedField::Proto,
        ForwardedField::Host,
        ForwardedField::Port,
        ForwardedField::Prefix,
        ForwardedField::ScriptName,
    ];
    for fields in [lists.to_vec(), vec![ForwardedField::Rfc7239]] {
        let forwarding = Forwarding {
            fields,
            secure_scheme: vec![SecureSchemeField {
                name: b"x-forwarded-ssl".to_vec(),
                value: b"on".to_vec(),
            }],
            forwarder: [&b"script_name"[..], b"remote_user"].map(ForwarderField::named).to_vec(),
            from: std::iter::once(TrustedPeer::Everyone).collect(),
        };
        forwarding.apply(&head, |seen| {
            // Twins of a field that the proxy set are dropped.
            assert!(seen.headers.len() <= headers.len());
            assert!(seen.prefix_in_path() == 0 || seen.path.starts_with(seen.prefix));
            assert!(target::is_authority(seen.headers[0].value), "{}", seen.headers[0].value.escape_ascii());
            assert!(seen.prefix.is_empty() || seen.prefix.starts_with(b"/"));
        });
    }
}
/// Largest message of the WebSocket targets, in bytes.
const MESSAGE_BYTES: usize = 4096;

/// Reads a client's WebSocket frames in one piece and in smaller ones: the first byte says how many bytes each has, the second the window
/// of permessage-deflate, or 0 for none.
///
/// # Panics
/// If the two differ.
pub fn websocket_frames(bytes: &[u8]) {
    let &[step, window_bits, ref bytes @ ..] = bytes else { return };
    let in_pieces = receive(bytes, usize::from(step).max(1), window_bits);
    assert_eq!(receive(bytes, bytes.len().max(1), window_bits), in_pieces);
}

/// What a client's frames come to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Session {
    messages: Vec<(MessageKind, Vec<u8>)>,
    pings: Vec<Vec<u8>>,
    end: Option<Result<Close, Violation>>,
}

fn receive(bytes: &[u8], step: usize, window_bits: u8) -> Session {
    let mut receiver = Receiver::new(MESSAGE_BYTES);
    if window_bits > 0 {
        receiver.set_inflater(Inflater::new(window_bits.clamp(8, 15), Takeover::Yes));
    }
    let mut session = Session::default();
    for mut piece in bytes.chunks(step) {
        while !piece.is_empty() {
            if receiver.needs_buffer() {
                receiver.lend_buffer(vec![0; 64]);
            }
            let space = receiver.space();
            let count = piece.len().min(space.len());
            space[..count].copy_from_slice(&piece[..count]);
            receiver.filled(count);
            piece = &piece[count..];
            loop {
                match receiver.advance() {
                    Ok(Event::NeedsBytes) => break,
                    Ok(Event::Message) => {
                        let (kind, message) = receiver.ready().expect("it said so");
                        assert!(message.len() <= MESSAGE_BYTES);
                        assert!(kind == MessageKind::Binary || std::str::from_utf8(message).is_ok());
                        session.messages.push((kind, message.to_vec()));
                        receiver.taken();
                    }
                    Ok(Event::Ping(payload)) => session.pings.push(payload.as_slice().to_vec()),
                    Ok(Event::Pong) => {}
                    Ok(Event::Close(close)) => {
                        session.end = Some(Ok(close));
                        return session;
                    }
                    Err(violation) => {
                        session.end = Some(Err(named_alike(violation)));
                        return session;
                    }
                }
            }
        }
    }
    session
}

/// What is wrong with a message in more than one way is named by the first that is found, and that depends on the pieces.
fn named_alike(violation: Violation) -> Violation {
    match violation {
        Violation::Text | Violation::Deflate | Violation::TooBig => Violation::Text,
        protocol @ (Violation::ReservedBits
        | Violation::UnknownOpcode
        | Violation::Unmasked
        | Violation::FragmentedControl
        | Violation::LongControl
        | Violation::Length
        | Violation::UnexpectedContinuation
        | Violation::ExpectedContinuation
        | Violation::CloseCode
        | Violation::CloseReason) => protocol,
    }
}

/// Inflates bytes of a client in one piece and in smaller ones; deflates them and inflates the result; and reads them as an offer. The first
/// byte says how many bytes each piece has, the second the window.
///
/// # Panics
/// If the pieces matter, the way there and back changes anything, or more memory is taken than the limit allows.
pub fn websocket_deflate(bytes: &[u8]) {
    let &[step, window_bits, ref bytes @ ..] = bytes else { return };
    let step = usize::from(step);
    let _offer = DeflateAgreement::negotiate(std::iter::once(bytes));
    let window_bits = window_bits.clamp(9, 15);
    assert_eq!(inflate(bytes, bytes.len(), window_bits), inflate(bytes, step, window_bits));
    let mut deflated = Vec::new();
    Deflater::new(Rc::default(), window_bits, Takeover::Yes).deflate(bytes, &mut deflated);
    if bytes.len() <= MESSAGE_BYTES {
        assert_eq!(inflate(&deflated, step, window_bits).as_deref(), Ok(bytes));
    }
}

fn inflate(bytes: &[u8], step: usize, window_bits: u8) -> Result<Vec<u8>, Violation> {
    let mut inflater = Inflater::new(window_bits, Takeover::Yes);
    let mut message = Vec::new();
    for piece in bytes.chunks(step.max(1)) {
        let inflated = inflater.inflate(piece, &mut message, MESSAGE_BYTES);
        assert!(message.capacity() <= MESSAGE_BYTES + 1, "{} bytes", message.capacity());
        inflated?;
    }
    inflater.finish(&mut message, MESSAGE_BYTES).map(|()| message)
}
