//! Agreeing on permessage-deflate in the handshake (RFC 7692 §7.1): the client's offers read, the first that can be met accepted.

use crate::http1::head::list_members;

const NAME: &[u8] = b"permessage-deflate";
/// Smallest window that zlib can deflate with: of 8 bits it makes 9 without a word, which a client of 8 bits could not inflate.
const LEAST_SERVER_WINDOW_BITS: u8 = 9;
/// Window that is asked for where the client leaves the choice: 4 KiB find most of what messages repeat, at an eighth of the memory
/// that 15 bits would hold for each connection.
const WINDOW_BITS: u8 = 12;
const LARGEST_WINDOW_BITS: u8 = 15;

/// Whether a direction keeps its window from one message to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// Each message starts afresh.
    No,
    /// A message may refer to earlier ones.
    Yes,
}

/// What both sides will keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeflateAgreement {
    pub(crate) server_takeover: Takeover,
    pub(crate) client_takeover: Takeover,
    /// 9 to 15.
    pub(crate) server_window_bits: u8,
    /// 8 to 15; told to the client if it asked.
    pub(crate) client_window_bits: Option<u8>,
}

impl DeflateAgreement {
    /// Accepts the first offer that can be met, of all `Sec-WebSocket-Extensions` fields in their order.
    pub(crate) fn negotiate<'h>(fields: impl Iterator<Item = &'h [u8]>) -> Option<Self> {
        fields.flat_map(list_members).find_map(Self::meet)
    }

    /// The client's window; the largest if nothing was agreed.
    pub(crate) fn inflate_window_bits(&self) -> u8 {
        self.client_window_bits.unwrap_or(LARGEST_WINDOW_BITS)
    }

    /// The value of the answer's `Sec-WebSocket-Extensions`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME);
        if self.server_takeover == Takeover::No {
            out.extend_from_slice(b"; server_no_context_takeover");
        }
        if self.client_takeover == Takeover::No {
            out.extend_from_slice(b"; client_no_context_takeover");
        }
        write_bits(out, b"; server_max_window_bits=", self.server_window_bits);
        if let Some(bits) = self.client_window_bits {
            write_bits(out, b"; client_max_window_bits=", bits);
        }
    }

    /// One offer; `None` if it is another extension, is malformed (§7.1: decline it), or cannot be met.
    fn meet(offer: &[u8]) -> Option<Self> {
        let mut parts = offer.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        if !parts.next()?.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut asked = Asked::default();
        for part in parts {
            asked.note(part)?;
        }
        let server_window_bits = asked.server_window_bits.unwrap_or(LARGEST_WINDOW_BITS).min(WINDOW_BITS);
        (server_window_bits >= LEAST_SERVER_WINDOW_BITS).then(|| Self {
            server_takeover: takeover(asked.server_no_context_takeover),
            client_takeover: takeover(asked.client_no_context_takeover),
            server_window_bits,
            client_window_bits: asked.client_window_bits.map(|bits| bits.min(WINDOW_BITS)),
        })
    }
}

/// The parameters of one offer; each may come once.
#[derive(Default)]
struct Asked {
    server_no_context_takeover: Option<()>,
    client_no_context_takeover: Option<()>,
    server_window_bits: Option<u8>,
    client_window_bits: Option<u8>,
}

impl Asked {
    /// `None` if the parameter is unknown, malformed or repeated.
    fn note(&mut self, parameter: &[u8]) -> Option<()> {
        let (name, value) = match memchr::memchr(b'=', parameter) {
            Some(at) => (parameter[..at].trim_ascii(), Some(unquoted(parameter[at + 1..].trim_ascii()))),
            None => (parameter, None),
        };
        match (name, value) {
            (b"server_no_context_takeover", None) => once(&mut self.server_no_context_takeover, ()),
            (b"client_no_context_takeover", None) => once(&mut self.client_no_context_takeover, ()),
            (b"server_max_window_bits", Some(value)) => {
                once(&mut self.server_window_bits, window_bits(value)?)
            }
            (b"client_max_window_bits", Some(value)) => {
                once(&mut self.client_window_bits, window_bits(value)?)
            }
            (b"client_max_window_bits", None) => once(&mut self.client_window_bits, LARGEST_WINDOW_BITS),
            _ => None,
        }
    }
}

fn once<V>(place: &mut Option<V>, value: V) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

fn takeover(refused: Option<()>) -> Takeover {
    if refused.is_some() { Takeover::No } else { Takeover::Yes }
}

/// 8 to 15, without leading zeros (§7.1.2.1).
fn window_bits(value: &[u8]) -> Option<u8> {
    match *value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        value => value,
    }
}

fn write_bits(out: &mut Vec<u8>, name: &[u8], bits: u8) {
    out.extend_from_slice(name);
    out.extend_from_slice(itoa::Buffer::new().format(bits).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(fields: &[&str]) -> Option<String> {
        let agreement = DeflateAgreement::negotiate(fields.iter().map(|field| field.as_bytes()))?;
        let mut out = Vec::new();
        agreement.write(&mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_first_offer_that_can_be_met_is_accepted() {
        for (offer, expected) in [
            ("permessage-deflate", "; server_max_window_bits=12"),
            (
                "permessage-deflate; client_max_window_bits",
                "; server_max_window_bits=12; client_max_window_bits=12",
            ),
            (
                "Permessage-Deflate;server_max_window_bits=9 ; client_max_window_bits=\"10\"",
                "; server_max_window_bits=9; client_max_window_bits=10",
            ),
            (
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=8",
                "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=8",
            ),
            (
                "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=15",
                "; server_max_window_bits=12",
            ),
        ] {
            assert_eq!(answer(&[offer]), Some(format!("permessage-deflate{expected}")), "{offer}");
        }
        assert!(answer(&["foo", "permessage-deflate"]).is_some());
    }

    #[test]
    fn what_is_malformed_or_cannot_be_met_is_declined() {
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate; unknown",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; ",
        ] {
            assert_eq!(answer(&[offer]), None, "{offer}");
        }
    }
}
