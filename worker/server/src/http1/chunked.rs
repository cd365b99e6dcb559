//! The chunked transfer coding (RFC 9112 §7.1), decoding side: a byte machine that tells framing from data. Extensions and
//! trailers are checked, bounded and dropped.

use super::{head::is_token_byte, refusal::Refusal};
use crate::limits::{CHUNK_EXTENSION_BYTES, TRAILER_BYTES};

/// Trailer fields that would change what was already decided about the message (RFC 9110 §6.5.1).
const FORBIDDEN_TRAILERS: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];
/// Length of the longest of [`FORBIDDEN_TRAILERS`]; a longer name is none of them.
const TRAILER_NAME_BYTES: usize = 17;
/// Hexadecimal digits of the largest 64-bit chunk size.
const SIZE_DIGITS: u8 = 16;

/// What the next bytes are: first framing, then data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Advance {
    /// Bytes of framing, to be dropped.
    pub(crate) framing: usize,
    /// Bytes of the body that follow them.
    pub(crate) data: usize,
    /// Whether the body ends here.
    pub(crate) end: BodyEnd,
}

/// Whether a body is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// More must come.
    Open,
    /// It is complete.
    Reached,
}

/// Decodes one body.
#[derive(Debug, Clone)]
pub(crate) struct ChunkedDecoder {
    state: State,
    /// While the size is read: its value so far. In the data: bytes that are still to come.
    size: u64,
    digits: u8,
    extension_bytes: u32,
    trailer_bytes: u32,
    trailer_name: [u8; TRAILER_NAME_BYTES],
    trailer_name_length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At a hexadecimal digit, or behind the last.
    Size,
    /// Behind `;`: the first byte of an extension's name.
    ExtensionName,
    /// In an extension's name.
    ExtensionNameRest,
    /// Behind `=`: the first byte of an extension's value.
    ExtensionValue,
    /// In a value that is a token.
    ExtensionToken,
    /// In a quoted value.
    ExtensionQuoted,
    /// Behind a backslash in a quoted value.
    ExtensionEscaped,
    /// Behind the closing quote.
    ExtensionEnd,
    /// Behind the CR of a size line.
    SizeLineFeed,
    /// In the data.
    Data,
    /// Behind the data.
    DataReturn,
    /// Behind the data's CR.
    DataLineFeed,
    /// At the start of a trailer line.
    Trailer,
    /// In a trailer's name.
    TrailerName,
    /// In a trailer's value.
    TrailerValue,
    /// Behind the CR of a trailer line.
    TrailerLineFeed,
    /// Behind the CR of the empty line that ends the body.
    LastLineFeed,
    /// Behind the body.
    Ended,
}

impl ChunkedDecoder {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Size,
            size: 0,
            digits: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
            trailer_name: [0; TRAILER_NAME_BYTES],
            trailer_name_length: 0,
        }
    }

    /// Takes in framing up to the next data, the end of the body or the end of `raw`, and then the data that is there.
    pub(crate) fn advance(&mut self, raw: &[u8]) -> Result<Advance, Refusal> {
        let mut framing = 0;
        while self.state != State::Data && self.state != State::Ended {
            let Some(&byte) = raw.get(framing) else { break };
            framing += 1;
            self.state = self.next(byte)?;
        }
        let mut data = 0;
        if self.state == State::Data {
            let available = (raw.len() - framing) as u64;
            let taken = self.size.min(available);
            self.size -= taken;
            data = taken as usize;
            if self.size == 0 {
                self.state = State::DataReturn;
            }
        }
        let end = if self.state == State::Ended { BodyEnd::Reached } else { BodyEnd::Open };
        Ok(Advance { framing, data, end })
    }

    fn next(&mut self, byte: u8) -> Result<State, Refusal> {
        match self.state {
            State::Size => self.size_byte(byte),
            State::ExtensionName
            | State::ExtensionNameRest
            | State::ExtensionValue
            | State::ExtensionToken
            | State::ExtensionQuoted
            | State::ExtensionEscaped
            | State::ExtensionEnd => self.extension_byte(byte),
            State::SizeLineFeed => {
                expect(byte, b'\n', if self.size == 0 { State::Trailer } else { State::Data }, Refusal::Chunk)
            }
            State::DataReturn => expect(byte, b'\r', State::DataLineFeed, Refusal::Chunk),
            State::DataLineFeed => {
                self.digits = 0;
                expect(byte, b'\n', State::Size, Refusal::Chunk)
            }
            State::Trailer
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLineFeed
            | State::LastLineFeed => self.trailer_byte(byte),
            State::Data | State::Ended => Err(Refusal::Chunk),
        }
    }

    fn size_byte(&mut self, byte: u8) -> Result<State, Refusal> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => return Ok(State::SizeLineFeed),
            b';' if self.digits > 0 => return Ok(State::ExtensionName),
            _ => return Err(Refusal::Chunk),
        };
        if self.digits == SIZE_DIGITS {
            return Err(Refusal::Chunk);
        }
        self.size = self.size << 4 | u64::from(digit);
        self.digits += 1;
        Ok(State::Size)
    }

    /// `;name`, `;name=token` or `;name="quoted"`, without the white space that RFC 9112 §7.1.1 tells senders to leave out.
    fn extension_byte(&mut self, byte: u8) -> Result<State, Refusal> {
        self.extension_bytes += 1;
        if self.extension_bytes > CHUNK_EXTENSION_BYTES {
            return Err(Refusal::Chunk);
        }
        match (self.state, byte) {
            (State::ExtensionName | State::ExtensionNameRest, byte) if is_token_byte(byte) => {
                Ok(State::ExtensionNameRest)
            }
            (State::ExtensionNameRest, b'=') => Ok(State::ExtensionValue),
            (State::ExtensionValue | State::ExtensionToken, byte) if is_token_byte(byte) => {
                Ok(State::ExtensionToken)
            }
            (State::ExtensionValue, b'"') => Ok(State::ExtensionQuoted),
            (State::ExtensionQuoted, b'"') => Ok(State::ExtensionEnd),
            (State::ExtensionQuoted, b'\\') => Ok(State::ExtensionEscaped),
            (State::ExtensionQuoted | State::ExtensionEscaped, byte) if is_value_byte(byte) => {
                Ok(State::ExtensionQuoted)
            }
            (State::ExtensionNameRest | State::ExtensionToken | State::ExtensionEnd, b';') => {
                Ok(State::ExtensionName)
            }
            (State::ExtensionNameRest | State::ExtensionToken | State::ExtensionEnd, b'\r') => {
                Ok(State::SizeLineFeed)
            }
            _ => Err(Refusal::Chunk),
        }
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<State, Refusal> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES {
            return Err(Refusal::Trailer);
        }
        match (self.state, byte) {
            (State::Trailer, b'\r') => Ok(State::LastLineFeed),
            (State::Trailer | State::TrailerName, byte) if is_token_byte(byte) => {
                if self.state == State::Trailer {
                    self.trailer_name_length = 0;
                }
                if let Some(place) = self.trailer_name.get_mut(self.trailer_name_length) {
                    *place = byte.to_ascii_lowercase();
                }
                self.trailer_name_length += 1;
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') if !self.is_forbidden_trailer() => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLineFeed),
            (State::TrailerValue, byte) if is_value_byte(byte) => Ok(State::TrailerValue),
            (State::TrailerLineFeed, b'\n') => Ok(State::Trailer),
            (State::LastLineFeed, b'\n') => Ok(State::Ended),
            _ => Err(Refusal::Trailer),
        }
    }

    fn is_forbidden_trailer(&self) -> bool {
        let name = self.trailer_name.get(..self.trailer_name_length);
        name.is_some_and(|name| FORBIDDEN_TRAILERS.contains(&name))
    }
}

fn expect(byte: u8, expected: u8, then: State, otherwise: Refusal) -> Result<State, Refusal> {
    if byte == expected { Ok(then) } else { Err(otherwise) }
}

/// field-vchar, space or tab (RFC 9110 §5.5).
pub(crate) fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..=0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `raw` given in pieces of `step` bytes.
    fn decode(raw: &[u8], step: usize) -> Decoded {
        let mut decoder = ChunkedDecoder::new();
        let (mut body, mut position) = (Vec::new(), 0);
        for end in (step..raw.len() + step).step_by(step) {
            let end = end.min(raw.len());
            loop {
                let advance = decoder.advance(&raw[position..end])?;
                position += advance.framing;
                body.extend_from_slice(&raw[position..position + advance.data]);
                position += advance.data;
                if advance.end == BodyEnd::Reached {
                    return Ok((body, Some(raw.len() - position)));
                }
                if advance.framing + advance.data == 0 {
                    break;
                }
            }
        }
        Ok((body, None))
    }

    /// The body, and the number of bytes behind its end if that was reached.
    type Decoded = Result<(Vec<u8>, Option<usize>), Refusal>;
    type Case = (&'static [u8], Result<(&'static [u8], Option<usize>), Refusal>);

    #[test]
    fn bodies_are_the_same_however_they_are_cut() {
        let cases: [Case; 32] = [
            (b"5\r\nhello\r\n0\r\n\r\n", Ok((b"hello", Some(0)))),
            (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET", Ok((b"hello world", Some(3)))),
            (b"0\r\n\r\n", Ok((b"", Some(0)))),
            (b"000\r\n\r\n", Ok((b"", Some(0)))),
            (b"A\r\n0123456789\r\n00\r\n\r\n", Ok((b"0123456789", Some(0)))),
            (b"a;x\r\n0123456789\r\n0;y=z;q=\"a\\\" b\"\r\n\r\n", Ok((b"0123456789", Some(0)))),
            (b"1\r\na\r\n0\r\nx: y\r\nempty:\r\n\r\n", Ok((b"a", Some(0)))),
            (b"5\r\nhel", Ok((b"hel", None))),
            (b"5\r\nhello\r", Ok((b"hello", None))),
            (b"\r\n", Err(Refusal::Chunk)),
            (b"5\nhello\r\n0\r\n\r\n", Err(Refusal::Chunk)),
            (b"5\r\nhello\n0\r\n\r\n", Err(Refusal::Chunk)),
            (b"5\r\nhelloXX0\r\n\r\n", Err(Refusal::Chunk)),
            (b"5\r\nhello0\r\n\r\n", Err(Refusal::Chunk)),
            (b"0x5\r\nhello\r\n0\r\n\r\n", Err(Refusal::Chunk)),
            (b"+5\r\nhello\r\n0\r\n\r\n", Err(Refusal::Chunk)),
            (b"-5\r\nhello\r\n0\r\n\r\n", Err(Refusal::Chunk)),
            (b"1_0\r\n", Err(Refusal::Chunk)),
            (b" 5\r\nhello\r\n", Err(Refusal::Chunk)),
            (b"5 \r\nhello\r\n", Err(Refusal::Chunk)),
            (b"5;\r\nhello\r\n", Err(Refusal::Chunk)),
            (b"5;a=\r\nhello\r\n", Err(Refusal::Chunk)),
            (b"5;a[\r\nhello\r\n", Err(Refusal::Chunk)),
            (b"5;a\nhello\r\n", Err(Refusal::Chunk)),
            (b"5;a=\"\x01\"\r\nhello\r\n", Err(Refusal::Chunk)),
            (b"10000000000000000\r\n", Err(Refusal::Chunk)),
            (b"0\r\n\n", Err(Refusal::Trailer)),
            (b"0\r\nx: y\n\r\n", Err(Refusal::Trailer)),
            (b"0\r\nx : y\r\n\r\n", Err(Refusal::Trailer)),
            (b"0\r\nContent-Length: 5\r\n\r\n", Err(Refusal::Trailer)),
            (b"0\r\ntransfer-encoding: chunked\r\n\r\n", Err(Refusal::Trailer)),
            (b"0\r\nHOST: a\r\n\r\n", Err(Refusal::Trailer)),
        ];
        for (raw, expected) in cases {
            let expected = expected.map(|(body, rest)| (body.to_vec(), rest));
            for step in 1..=raw.len() {
                assert_eq!(decode(raw, step), expected, "{} in steps of {step}", raw.escape_ascii());
            }
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let chunk = [b"1;".as_slice(), &[b'a'; 1000], b"\r\nx\r\n"].concat();
        assert_eq!(decode(&chunk.repeat(17), 100), Err(Refusal::Chunk));
        let trailers = [b"0\r\n".as_slice(), &b"x: y\r\n".repeat(1400)].concat();
        assert_eq!(decode(&trailers, 100), Err(Refusal::Trailer));
    }
}
