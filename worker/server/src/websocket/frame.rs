//! Frames as RFC 6455 §5 lays them out: their heads read and written, payloads unmasked. Pure; knows no message and no connection.

use super::close::Violation;

/// Most payload bytes of a control frame (RFC 6455 §5.5).
pub(crate) const CONTROL_PAYLOAD_BYTES: usize = 125;
/// Longest head that a server writes: two bytes and a length of eight.
const LONGEST_HEAD_BYTES: usize = 10;

const FIN: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
/// The length stands in the next two bytes.
const LENGTH_16: u8 = 126;
/// The length stands in the next eight bytes.
const LENGTH_64: u8 = 127;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xa => Some(Self::Pong),
            _ => None,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// Whether the frame is a control frame (RFC 6455 §5.5).
    pub(crate) fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }
}

/// Whether a frame is its message's last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fin {
    /// More fragments follow.
    No,
    /// It is.
    Yes,
}

/// Whether the message's payload is deflated (RFC 7692 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As it is.
    Plain,
    /// Deflated.
    Deflated,
}

/// The four bytes that a client masks its payload with.
pub(crate) type Mask = [u8; 4];

/// The head of a client's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) fin: Fin,
    pub(crate) packing: Packing,
    pub(crate) opcode: Opcode,
    pub(crate) mask: Mask,
    /// Bytes of the payload.
    pub(crate) length: u64,
    /// Bytes of the head itself.
    pub(crate) head_bytes: usize,
}

/// Reads the head of a client's frame; `None` until all of it is there. What is wrong with the first two bytes is told at once.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<FrameHead>, Violation> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    if first & RESERVED != 0 {
        return Err(Violation::ReservedBits);
    }
    let opcode = Opcode::of(first & OPCODE).ok_or(Violation::UnknownOpcode)?;
    let fin = if first & FIN == 0 { Fin::No } else { Fin::Yes };
    let packing = if first & COMPRESSED == 0 { Packing::Plain } else { Packing::Deflated };
    if second & MASKED == 0 {
        return Err(Violation::Unmasked);
    }
    let short = second & LENGTH;
    if opcode.is_control() {
        if fin == Fin::No {
            return Err(Violation::FragmentedControl);
        }
        if usize::from(short) > CONTROL_PAYLOAD_BYTES {
            return Err(Violation::LongControl);
        }
    }
    let Some((length, rest)) = payload_length(short, rest)? else { return Ok(None) };
    let Some((&mask, _)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let head_bytes = bytes.len() - rest.len() + mask.len();
    Ok(Some(FrameHead { fin, packing, opcode, mask, length, head_bytes }))
}

/// The length and what follows it. It must be written in as few bytes as it fits (RFC 6455 §5.2).
fn payload_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (length, least, rest) = match short {
        LENGTH_16 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), u64::from(LENGTH_16), rest),
            None => return Ok(None),
        },
        LENGTH_64 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (u64::from_be_bytes(*length), u64::from(u16::MAX) + 1, rest),
            None => return Ok(None),
        },
        short => (u64::from(short), 0, rest),
    };
    if length < least || length > i64::MAX.unsigned_abs() {
        return Err(Violation::Length);
    }
    Ok(Some((length, rest)))
}

/// Appends the head of a server's frame, which is never masked (RFC 6455 §5.1) and never a fragment.
pub(crate) fn encode(out: &mut Vec<u8>, opcode: Opcode, packing: Packing, length: usize) {
    let packed = match packing {
        Packing::Plain => 0,
        Packing::Deflated => COMPRESSED,
    };
    let mut head = [0; LONGEST_HEAD_BYTES];
    head[0] = FIN | packed | opcode.bits();
    let used = match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < LENGTH_16 => {
            head[1] = short;
            2
        }
        (_, Ok(medium)) => {
            head[1] = LENGTH_16;
            head[2..4].copy_from_slice(&medium.to_be_bytes());
            4
        }
        (_, Err(_)) => {
            head[1] = LENGTH_64;
            head[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        }
    };
    out.extend_from_slice(&head[..used]);
}

/// Masks or unmasks, eight bytes at a time: compilers make vectors of it. Returns the mask for the byte that follows.
pub(crate) fn unmask(payload: &mut [u8], mask: Mask) -> Mask {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
    let mut next = mask;
    next.rotate_left(rest.len() % 4);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, second: u8, rest: &[u8]) -> Vec<u8> {
        [&[first, second | MASKED], rest].concat()
    }

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let bytes = masked(0x81, 5, &[1, 2, 3, 4, b'x']);
        for length in 0..6 {
            assert_eq!(decode(&bytes[..length]), Ok(None), "{length} bytes");
        }
        let head = FrameHead {
            fin: Fin::Yes,
            packing: Packing::Plain,
            opcode: Opcode::Text,
            mask: [1, 2, 3, 4],
            length: 5,
            head_bytes: 6,
        };
        assert_eq!(decode(&bytes), Ok(Some(head)));
        let long = masked(0x02, LENGTH_64, &[0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]);
        let head = decode(&long).unwrap().unwrap();
        assert_eq!((head.fin, head.length, head.head_bytes), (Fin::No, 65_536, 14));
    }

    #[test]
    fn what_the_standard_forbids_is_a_violation() {
        for (bytes, violation) in [
            (masked(0x91, 0, &[]), Violation::ReservedBits),
            (masked(0xa1, 0, &[]), Violation::ReservedBits),
            (masked(0x83, 0, &[]), Violation::UnknownOpcode),
            (masked(0x8b, 0, &[]), Violation::UnknownOpcode),
            (vec![0x81, 0], Violation::Unmasked),
            (masked(0x09, 0, &[]), Violation::FragmentedControl),
            (masked(0x89, LENGTH_16, &[]), Violation::LongControl),
            (masked(0x81, LENGTH_16, &[0, 125]), Violation::Length),
            (masked(0x81, LENGTH_64, &[0, 0, 0, 0, 0, 0, 255, 255]), Violation::Length),
            (masked(0x81, LENGTH_64, &[128, 0, 0, 0, 0, 0, 0, 0]), Violation::Length),
        ] {
            assert_eq!(decode(&bytes), Err(violation), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_written_head_is_as_short_as_it_can_be() {
        for (length, expected) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_535, vec![0x82, 126, 255, 255]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            encode(&mut out, Opcode::Binary, Packing::Plain, length);
            assert_eq!(out, expected);
        }
        let mut out = Vec::new();
        encode(&mut out, Opcode::Text, Packing::Deflated, 1);
        assert_eq!(out, [0xc1, 1]);
    }

    #[test]
    fn a_payload_in_pieces_is_unmasked_as_in_one() {
        let key = [0x12, 0x34, 0x56, 0x78];
        let plain: Vec<u8> = (0..100).collect();
        let masked: Vec<u8> = plain.iter().enumerate().map(|(index, byte)| byte ^ key[index % 4]).collect();
        for step in 1..=100 {
            let mut bytes = masked.clone();
            let mut mask = key;
            for piece in bytes.chunks_mut(step) {
                mask = unmask(piece, mask);
            }
            assert_eq!(bytes, plain, "step {step}");
        }
    }
}
