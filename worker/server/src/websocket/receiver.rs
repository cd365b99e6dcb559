//! The read side: bytes of a client in, whole messages and control frames out. Pure; unmasks, joins and checks in place, so that a
//! message is copied once, by whoever takes it.
//!
//! One allocation holds, in this order: the message that is being put together (or that waits for the app), and raw bytes that
//! nobody has looked at. Decoding only ever moves bytes towards the front.

use std::ops::Range;

use super::{
    close::{Close, Violation},
    deflate::Inflater,
    frame::{self, CONTROL_PAYLOAD_BYTES, Fin, FrameHead, Mask, Opcode, Packing},
    text::TextCheck,
};

/// Size of a fresh buffer: a message of 16 KiB, or a few hundred small ones, in one read.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;
/// Less free space than this is not worth a read.
const LEAST_READ_BYTES: usize = 4 * 1024;
/// Raw bytes that may wait behind a message that the app has not taken, or a ping whose answer finds no room.
const HIGH_WATER_BYTES: usize = 64 * 1024;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// UTF-8, checked.
    Text,
    /// Any bytes.
    Binary,
}

/// What [`Receiver::advance`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing more without more bytes.
    NeedsBytes,
    /// A message is whole: nothing more before it is taken.
    Message,
    /// To be answered with a pong.
    Ping(ControlPayload),
    /// An answer to a ping, or none.
    Pong,
    /// The client's last frame.
    Close(Close),
}

/// The payload of a ping.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ControlPayload {
    bytes: [u8; CONTROL_PAYLOAD_BYTES],
    length: usize,
}

impl ControlPayload {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl std::fmt::Debug for ControlPayload {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.as_slice().escape_ascii())
    }
}

/// A data frame whose payload is coming.
#[derive(Debug, Clone, Copy)]
struct OpenFrame {
    fin: Fin,
    /// Bytes still to come.
    remaining: u64,
    /// For the next byte.
    mask: Mask,
}

/// A message of which at least one frame has begun.
#[derive(Debug, Clone, Copy)]
struct OpenMessage {
    kind: MessageKind,
    packing: Packing,
    check: TextCheck,
}

/// See the module.
pub(crate) struct Receiver {
    /// Initialised in all its length; empty when nothing is kept.
    bytes: Vec<u8>,
    message: Range<usize>,
    raw: Range<usize>,
    frame: Option<OpenFrame>,
    open: Option<OpenMessage>,
    ready: Option<OpenMessage>,
    inflater: Option<Inflater>,
    inflated: Vec<u8>,
    /// Most bytes of a message.
    limit: usize,
}

impl Receiver {
    /// For messages up to `limit` bytes, none of them deflated.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            message: 0..0,
            raw: 0..0,
            frame: None,
            open: None,
            ready: None,
            inflater: None,
            inflated: Vec::new(),
            limit,
        }
    }

    /// Sets what the handshake agreed on.
    pub(crate) fn set_inflater(&mut self, inflater: Inflater) {
        self.inflater = Some(inflater);
    }

    /// Goes on through the raw bytes up to the next thing that somebody must know.
    pub(crate) fn advance(&mut self) -> Result<Event, Violation> {
        loop {
            if self.ready.is_some() {
                return Ok(Event::Message);
            }
            if let Some(frame) = self.frame {
                if !self.take_payload(frame)? {
                    return Ok(Event::NeedsBytes);
                }
                continue;
            }
            let Some(head) = frame::decode(&self.bytes[self.raw.clone()])? else {
                return Ok(Event::NeedsBytes);
            };
            if head.opcode.is_control() {
                return self.control(&head);
            }
            self.begin_frame(&head)?;
        }
    }

    /// What waits to be taken.
    pub(crate) fn ready(&self) -> Option<(MessageKind, &[u8])> {
        let ready = self.ready?;
        let message = match ready.packing {
            Packing::Plain => &self.bytes[self.message.clone()],
            Packing::Deflated => &self.inflated,
        };
        Some((ready.kind, message))
    }

    /// The message that was ready is taken.
    pub(crate) fn taken(&mut self) {
        self.ready = None;
        self.inflated = Vec::new();
        self.message = self.raw.start..self.raw.start;
        if self.raw.len() <= BUFFER_BYTES && self.bytes.len() > 4 * BUFFER_BYTES {
            // A large message has gone: what follows it needs no large buffer.
            let mut smaller = vec![0; BUFFER_BYTES];
            smaller[..self.raw.len()].copy_from_slice(&self.bytes[self.raw.clone()]);
            self.raw = 0..self.raw.len();
            self.message = 0..0;
            self.bytes = smaller;
        }
    }

    /// A control frame, once it is whole. It may stand between the fragments of a message.
    fn control(&mut self, head: &FrameHead) -> Result<Event, Violation> {
        if head.packing == Packing::Deflated {
            return Err(Violation::ReservedBits);
        }
        // At most 125: `decode` has checked it.
        let length = usize::try_from(head.length).unwrap_or(CONTROL_PAYLOAD_BYTES);
        let end = head.head_bytes + length;
        if self.raw.len() < end {
            return Ok(Event::NeedsBytes);
        }
        let mut payload = ControlPayload { bytes: [0; CONTROL_PAYLOAD_BYTES], length };
        let start = self.raw.start;
        payload.bytes[..length].copy_from_slice(&self.bytes[start + head.head_bytes..start + end]);
        frame::unmask(&mut payload.bytes[..length], head.mask);
        self.raw.start += end;
        Ok(match head.opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong,
            Opcode::Close | Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                Event::Close(Close::decode(payload.as_slice())?)
            }
        })
    }

    fn begin_frame(&mut self, head: &FrameHead) -> Result<(), Violation> {
        let kind = match (head.opcode, &self.open) {
            (Opcode::Continuation, None) => return Err(Violation::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::ExpectedContinuation),
            (Opcode::Continuation, Some(open)) => {
                if head.packing == Packing::Deflated {
                    return Err(Violation::ReservedBits);
                }
                open.kind
            }
            (Opcode::Text, None) => MessageKind::Text,
            (Opcode::Binary | Opcode::Close | Opcode::Ping | Opcode::Pong, None)
            | (Opcode::Close | Opcode::Ping | Opcode::Pong, Some(_)) => MessageKind::Binary,
        };
        if head.packing == Packing::Deflated && self.inflater.is_none() {
            return Err(Violation::ReservedBits);
        }
        self.raw.start += head.head_bytes;
        if self.open.is_none() {
            self.message = self.raw.start..self.raw.start;
        }
        let open = *self.open.get_or_insert(OpenMessage {
            kind,
            packing: head.packing,
            check: TextCheck::default(),
        });
        let room = match open.packing {
            Packing::Plain => self.limit - self.message.len(),
            // What it inflates to is bounded as it comes.
            Packing::Deflated => usize::MAX,
        };
        if head.length > room as u64 {
            return Err(Violation::TooBig);
        }
        self.frame = Some(OpenFrame { fin: head.fin, remaining: head.length, mask: head.mask });
        Ok(())
    }

    /// Takes what there is of a frame's payload. Whether the frame is complete.
    fn take_payload(&mut self, mut frame: OpenFrame) -> Result<bool, Violation> {
        let Some(mut open) = self.open else { return Ok(true) };
        let length = self.raw.len().min(usize::try_from(frame.remaining).unwrap_or(usize::MAX));
        let piece = self.raw.start..self.raw.start + length;
        frame.mask = frame::unmask(&mut self.bytes[piece.clone()], frame.mask);
        frame.remaining -= length as u64;
        self.raw.start += length;
        let is_whole = frame.remaining == 0 && frame.fin == Fin::Yes;
        match (open.packing, &mut self.inflater) {
            (Packing::Deflated, Some(inflater)) => {
                let piece = &self.bytes[piece];
                if !piece.is_empty() {
                    inflater.inflate(piece, &mut self.inflated, self.limit)?;
                }
                if is_whole {
                    inflater.finish(&mut self.inflated, self.limit)?;
                }
                // Nothing of it must stay.
                self.message = self.raw.start..self.raw.start;
            }
            (Packing::Plain, _) | (Packing::Deflated, None) => {
                if piece.start != self.message.end {
                    self.bytes.copy_within(piece, self.message.end);
                }
                self.message.end += length;
            }
        }
        if open.kind == MessageKind::Text {
            let message = match open.packing {
                Packing::Plain => &self.bytes[self.message.clone()],
                Packing::Deflated => &self.inflated,
            };
            if is_whole {
                open.check.whole(message)?;
            } else {
                open.check.grown(message)?;
            }
        }
        if is_whole {
            (self.ready, self.open) = (Some(open), None);
        } else {
            self.open = Some(open);
        }
        let is_complete = frame.remaining == 0;
        self.frame = (!is_complete).then_some(frame);
        Ok(is_complete)
    }
}

/// The buffer.
impl Receiver {
    /// Whether more may be read before the app has taken what waits.
    pub(crate) fn has_room(&self) -> bool {
        self.raw.len() < HIGH_WATER_BYTES
    }

    /// Whether there are bytes that nobody has looked at.
    pub(crate) fn has_raw_bytes(&self) -> bool {
        !self.raw.is_empty()
    }

    /// Whether a buffer must be lent before [`Receiver::space`].
    pub(crate) fn needs_buffer(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Gives it a buffer.
    pub(crate) fn lend_buffer(&mut self, buffer: Vec<u8>) {
        self.bytes = buffer;
    }

    /// Takes the buffer back if nothing is in it, so that an idle connection holds no memory.
    pub(crate) fn release(&mut self) -> Option<Vec<u8>> {
        if self.bytes.is_empty() || !self.message.is_empty() || !self.raw.is_empty() || self.ready.is_some() {
            return None;
        }
        (self.message, self.raw) = (0..0, 0..0);
        Some(std::mem::take(&mut self.bytes))
    }

    /// Throws away everything that is in it.
    pub(crate) fn clear(&mut self) {
        self.ready = None;
        (self.open, self.frame) = (None, None);
        self.inflated = Vec::new();
        (self.message, self.raw) = (0..0, 0..0);
    }

    /// Bytes that came before this side had the connection.
    pub(crate) fn prepend(&mut self, raw: &[u8]) {
        self.bytes = vec![0; raw.len().max(BUFFER_BYTES)];
        self.bytes[..raw.len()].copy_from_slice(raw);
        self.raw = 0..raw.len();
    }

    /// Where the next read goes. Grows with what has come of a large message, never by what a frame's head merely announces.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.message.is_empty() {
            self.message = self.raw.start..self.raw.start;
        }
        let used = self.raw.end - self.message.start;
        if used == 0 {
            (self.message, self.raw) = (0..0, 0..0);
        }
        let announced = self.frame.map_or(0, |frame| frame.remaining).saturating_sub(self.raw.len() as u64);
        let wanted = usize::try_from(announced).unwrap_or(usize::MAX).max(LEAST_READ_BYTES);
        if self.bytes.len() - self.raw.end < wanted.min(used.max(LEAST_READ_BYTES)) {
            self.compact();
            let free = self.bytes.len() - self.raw.end;
            let least = wanted.min(used.max(LEAST_READ_BYTES));
            if free < least {
                self.bytes.resize(self.raw.end + least, 0);
            }
        }
        let end = self.raw.end;
        &mut self.bytes[end..]
    }

    /// Notes that `count` bytes were read.
    pub(crate) fn filled(&mut self, count: usize) {
        self.raw.end += count;
    }

    /// Moves everything to the front, without the gap that heads have left between message and raw bytes.
    fn compact(&mut self) {
        let (message, raw) = (self.message.len(), self.raw.len());
        self.bytes.copy_within(self.message.clone(), 0);
        self.bytes.copy_within(self.raw.clone(), message);
        (self.message, self.raw) = (0..message, message..message + raw);
    }
}
