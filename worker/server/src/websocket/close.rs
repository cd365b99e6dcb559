//! How a WebSocket ends: close codes (RFC 6455 §7.4), the close frame's payload, and what a client can do wrong, each by name.

use std::str;

use super::frame::CONTROL_PAYLOAD_BYTES;

/// The purpose is fulfilled.
pub(crate) const NORMAL: u16 = 1000;
/// The peer broke the protocol.
pub(crate) const PROTOCOL_ERROR: u16 = 1002;
/// Never on the wire: the close frame had no code.
pub(crate) const NO_CODE: u16 = 1005;
/// Never on the wire: the connection was lost without a close frame.
pub(crate) const LOST: u16 = 1006;
/// The payload does not fit its type: text that is no UTF-8.
pub(crate) const INVALID_PAYLOAD: u16 = 1007;
/// The message is larger than the server takes.
pub(crate) const TOO_BIG: u16 = 1009;
/// The server failed.
pub(crate) const INTERNAL_ERROR: u16 = 1011;
/// The service restarts: connect again (IANA registry of close codes).
pub(crate) const SERVICE_RESTART: u16 = 1012;

/// Most bytes of a reason: what a control frame holds beside the code.
pub(crate) const REASON_BYTES: usize = CONTROL_PAYLOAD_BYTES - 2;

/// What a client did that RFC 6455 or RFC 7692 forbids: the connection is failed (§7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A reserved bit without an extension that gives it a meaning (§5.2).
    ReservedBits,
    /// An opcode that is not defined (§5.2).
    UnknownOpcode,
    /// A client's frame without a mask (§5.1).
    Unmasked,
    /// A control frame that is not whole (§5.5).
    FragmentedControl,
    /// A control frame of more than 125 bytes (§5.5).
    LongControl,
    /// A length that is not written in as few bytes as it fits, or has its highest bit set (§5.2).
    Length,
    /// A continuation of nothing (§5.4).
    UnexpectedContinuation,
    /// A new message before the end of the last one (§5.4).
    ExpectedContinuation,
    /// A close frame of one byte, or a code that must not be sent (§5.5.1, §7.4).
    CloseCode,
    /// A reason that is no UTF-8 (§5.5.1).
    CloseReason,
    /// Text that is no UTF-8 (§8.1).
    Text,
    /// Deflated bytes that are no deflate (RFC 7692 §7.2.2).
    Deflate,
    /// A message larger than the limit, inflated.
    TooBig,
}

impl Violation {
    /// The code that the client is told.
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::ReservedBits
            | Self::UnknownOpcode
            | Self::Unmasked
            | Self::FragmentedControl
            | Self::LongControl
            | Self::Length
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::CloseCode => PROTOCOL_ERROR,
            Self::CloseReason | Self::Text | Self::Deflate => INVALID_PAYLOAD,
            Self::TooBig => TOO_BIG,
        }
    }

    /// What is wrong, in words for the one who wrote the client.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bits",
            Self::UnknownOpcode => "unknown opcode",
            Self::Unmasked => "unmasked frame",
            Self::FragmentedControl => "fragmented control frame",
            Self::LongControl => "control frame too long",
            Self::Length => "invalid frame length",
            Self::UnexpectedContinuation => "continuation of nothing",
            Self::ExpectedContinuation => "message not finished",
            Self::CloseCode => "invalid close code",
            Self::CloseReason => "close reason is not UTF-8",
            Self::Text => "text is not UTF-8",
            Self::Deflate => "malformed deflate data",
            Self::TooBig => "message too big",
        }
    }
}

/// The end of a WebSocket as one side told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// 1000 to 1015 or 3000 to 4999 (RFC 6455 §7.4); 1005 if the peer named none, 1006 if the connection was lost.
    pub code: u16,
    /// What the side that closed had to say; at most 123 bytes.
    pub reason: Box<str>,
}

impl Close {
    /// An end with words for a log.
    pub(crate) fn new(code: u16, reason: &str) -> Self {
        Self { code, reason: reason.into() }
    }

    /// The connection was lost.
    pub(crate) fn lost() -> Self {
        Self::new(LOST, "")
    }

    /// Reads the payload of a close frame.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Violation> {
        match payload {
            [] => Ok(Self::new(NO_CODE, "")),
            &[high, low, ref reason @ ..] => {
                let code = u16::from_be_bytes([high, low]);
                if !may_be_sent(code) {
                    return Err(Violation::CloseCode);
                }
                match str::from_utf8(reason) {
                    Ok(reason) => Ok(Self::new(code, reason)),
                    Err(_) => Err(Violation::CloseReason),
                }
            }
            [_] => Err(Violation::CloseCode),
        }
    }

    /// The payload of the close frame that says this.
    pub(crate) fn encode(&self) -> Vec<u8> {
        if self.code == NO_CODE {
            return Vec::new();
        }
        [&self.code.to_be_bytes(), self.reason.as_bytes()].concat()
    }
}

/// Whether a close frame may carry the code: registered ones that are not reserved for the API, and those of libraries and
/// applications (RFC 6455 §7.4.2).
pub(crate) fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_is_read_to_the_letter() {
        assert_eq!(Close::decode(b""), Ok(Close::new(1005, "")));
        assert_eq!(Close::decode(b"\x03"), Err(Violation::CloseCode));
        assert_eq!(Close::decode(b"\x03\xe8"), Ok(Close::new(1000, "")));
        assert_eq!(Close::decode(b"\x0b\xb9bye"), Ok(Close::new(3001, "bye")));
        assert_eq!(Close::decode(b"\x03\xe8\xff"), Err(Violation::CloseReason));
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            assert_eq!(Close::decode(&code.to_be_bytes()), Err(Violation::CloseCode), "{code}");
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for close in [Close::new(1005, ""), Close::new(1000, ""), Close::new(4999, "over")] {
            assert_eq!(Close::decode(&close.encode()), Ok(close));
        }
    }
}
