//! The opening handshake (RFC 6455 §4.2): what the client must have sent, and what the answer says. Knows no protocol's framing:
//! HTTP/1 answers 101, HTTP/2 answers 200 (RFC 8441), with the same fields but the key's.

use sha1::{Digest, Sha1};

use super::deflate_offer::DeflateAgreement;
use crate::{
    Header,
    http1::head::list_members,
    limits::{Compression, WebSocketLimits},
};

/// What RFC 6455 §1.3 appends to the key.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A key is 16 bytes in base64 (§4.1).
const KEY_BYTES: usize = 24;
/// An answer is a SHA-1 of 20 bytes in base64.
pub(crate) const ACCEPT_BYTES: usize = 28;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Why a handshake is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadHandshake {
    /// `Sec-WebSocket-Key` is missing, repeated, or not 16 bytes in base64.
    Key,
    /// `Sec-WebSocket-Version` is missing or not 13.
    Version,
}

/// Whether the client sends a key: in HTTP/1 it must, in HTTP/2 there is none (RFC 8441 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// `Sec-WebSocket-Key` is checked and answered.
    Required,
    /// It is not looked at.
    None,
}

/// A handshake that may be accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    /// The value of `Sec-WebSocket-Accept`; none in HTTP/2.
    pub(crate) accept: Option<[u8; ACCEPT_BYTES]>,
    /// What the client offers, in its order.
    pub(crate) subprotocols: Vec<Box<[u8]>>,
    /// What permessage-deflate comes to; `None` if it is not used.
    pub(crate) deflate: Option<DeflateAgreement>,
}

impl Handshake {
    /// Checks the fields of a request that asks for a WebSocket.
    pub(crate) fn check<'h>(
        headers: impl Iterator<Item = Header<'h>> + Clone,
        key: KeyUse,
        limits: &WebSocketLimits,
    ) -> Result<Self, BadHandshake> {
        let mut versions = named(headers.clone(), b"sec-websocket-version");
        if (versions.next(), versions.next()) != (Some(b"13"), None) {
            return Err(BadHandshake::Version);
        }
        let accept = match key {
            KeyUse::None => None,
            KeyUse::Required => {
                let mut keys = named(headers.clone(), b"sec-websocket-key");
                match (keys.next(), keys.next()) {
                    (Some(key), None) if is_key(key) => Some(accept_value(key)),
                    (Some(_) | None, _) => return Err(BadHandshake::Key),
                }
            }
        };
        let deflate = match limits.compression {
            Compression::Deflate => {
                DeflateAgreement::negotiate(named(headers.clone(), b"sec-websocket-extensions"))
            }
            Compression::None => None,
        };
        let subprotocols = named(headers, b"sec-websocket-protocol")
            .flat_map(list_members)
            .filter(|member| !member.is_empty())
            .map(Box::from)
            .collect();
        Ok(Self { accept, subprotocols, deflate })
    }
}

/// The values of all fields of this name, which is in lower case.
fn named<'h>(
    headers: impl Iterator<Item = Header<'h>>,
    name: &'static [u8],
) -> impl Iterator<Item = &'h [u8]> {
    headers.filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// 22 digits, of which the last holds 2 bits, and two of padding.
fn is_key(key: &[u8]) -> bool {
    key.len() == KEY_BYTES
        && key.ends_with(b"==")
        && key[..KEY_BYTES - 2].iter().all(|byte| BASE64.contains(byte))
        && b"AQgw".contains(&key[KEY_BYTES - 3])
}

fn accept_value(key: &[u8]) -> [u8; ACCEPT_BYTES] {
    let digest: [u8; 20] = Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize().into();
    let mut value = [b'='; ACCEPT_BYTES];
    for (group, digits) in digest.chunks(3).zip(value.chunks_mut(4)) {
        let bits = group
            .iter()
            .enumerate()
            .fold(0, |bits, (place, &byte)| bits | u32::from(byte) << (16 - 8 * place));
        for (place, digit) in digits.iter_mut().enumerate().take(group.len() + 1) {
            *digit = BASE64[(bits >> (18 - 6 * place) & 63) as usize];
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: WebSocketLimits = WebSocketLimits {
        message_bytes: 1024,
        ping_interval: None,
        ping_timeout: None,
        compression: Compression::Deflate,
    };
    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const VERSION: (&str, &str) = ("sec-websocket-version", "13");

    fn check(fields: &[(&str, &str)], limits: &WebSocketLimits) -> Result<Handshake, BadHandshake> {
        let headers =
            fields.iter().map(|(name, value)| Header { name: name.as_bytes(), value: value.as_bytes() });
        Handshake::check(headers, KeyUse::Required, limits)
    }

    #[test]
    fn the_key_of_the_standard_has_the_answer_of_the_standard() {
        let handshake = check(&[KEY, VERSION], &LIMITS).unwrap();
        assert_eq!(
            handshake.accept.as_ref().map(<[u8; 28]>::as_slice),
            Some(&b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="[..])
        );
        assert_eq!(handshake.subprotocols, []);
        assert_eq!(handshake.deflate, None);
    }

    #[test]
    fn a_bad_key_or_version_is_refused() {
        let key = |key| [("sec-websocket-key", key), VERSION];
        for fields in [
            &[VERSION][..],
            &key(""),
            &key("dGhlIHNhbXBsZSBub25jZQ="),
            &key("dGhlIHNhbXBsZSBub25jZR=="),
            &key("dGhlIHNhbXBsZSBub25j!Q=="),
            &key("dGhlIHNhbXBsZSBub25jZWFiYw=="),
            &[KEY, KEY, VERSION],
        ] {
            assert_eq!(check(fields, &LIMITS), Err(BadHandshake::Key), "{fields:?}");
        }
        for version in ["12", "", "13, 8", "013"] {
            let fields = [KEY, ("sec-websocket-version", version)];
            assert_eq!(check(&fields, &LIMITS), Err(BadHandshake::Version), "{version}");
        }
        assert_eq!(check(&[KEY], &LIMITS), Err(BadHandshake::Version));
    }

    #[test]
    fn offers_come_from_all_lines_in_order() {
        let fields = [
            KEY,
            VERSION,
            ("sec-websocket-protocol", "chat, superchat"),
            ("sec-websocket-extensions", "foo"),
            ("sec-websocket-protocol", " v2,"),
            ("sec-websocket-extensions", "permessage-deflate"),
        ];
        let handshake = check(&fields, &LIMITS).unwrap();
        let subprotocols: Vec<&[u8]> = handshake.subprotocols.iter().map(AsRef::as_ref).collect();
        assert_eq!(subprotocols, [&b"chat"[..], b"superchat", b"v2"]);
        assert!(handshake.deflate.is_some());
        let off = WebSocketLimits { compression: Compression::None, ..LIMITS };
        assert_eq!(check(&fields, &off).unwrap().deflate, None);
    }
}
