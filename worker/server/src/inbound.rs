//! The read side's buffer: bytes as they came from the client, of which the body's are decoded in place. Knows framing, not I/O.
//!
//! One allocation holds, in this order: a head (while the app is being called), body bytes that wait for the app, and raw bytes
//! that nobody has looked at. Decoding only ever moves bytes towards the front.

use std::{cell::Cell, ops::Range};

use crate::{
    BodyLength,
    http1::{
        chunked::{BodyEnd, ChunkedDecoder},
        refusal::Refusal,
    },
    limits::{INBOUND_HIGH_WATER_BYTES, READ_AHEAD_BYTES},
};

/// Size of a fresh buffer, and what is kept of pipelined requests while one is in flight.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;
/// Less free space than this is not worth a read.
const LEAST_READ_BYTES: usize = 4 * 1024;

/// The buffer and the decoder of the current body.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// Zeroed once, so that reads need no initialisation; empty when nothing is kept.
    bytes: Vec<u8>,
    /// Where the head begins that must stay in place for a call of the app.
    pinned_head: Option<usize>,
    /// Moved by the app's receive, which holds a shared borrow only.
    body_start: Cell<usize>,
    body_end: usize,
    raw_start: usize,
    raw_end: usize,
    framing: BodyFraming,
    /// Body bytes decoded so far.
    received: u64,
    /// Body bytes that may wait for the app.
    high_water: usize,
}

#[derive(Debug)]
enum BodyFraming {
    /// No more body bytes will come.
    Ended,
    /// So many are still to come.
    Length(u64),
    Chunked(ChunkedDecoder),
}

impl Default for Inbound {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            pinned_head: None,
            body_start: Cell::new(0),
            body_end: 0,
            raw_start: 0,
            raw_end: 0,
            framing: BodyFraming::Ended,
            received: 0,
            high_water: INBOUND_HIGH_WATER_BYTES,
        }
    }
}

impl Inbound {
    /// Begins with bytes that another stage of the connection has read.
    pub(crate) fn take_over(&mut self, unread: &[u8]) {
        self.space(unread.len())[..unread.len()].copy_from_slice(unread);
        self.filled(unread.len());
    }

    /// Bytes that nobody has looked at.
    pub(crate) fn raw(&mut self) -> &mut [u8] {
        &mut self.bytes[self.raw_start..self.raw_end]
    }

    /// Number of bytes that nobody has looked at.
    pub(crate) fn raw_length(&self) -> usize {
        self.raw_end - self.raw_start
    }

    /// Drops raw bytes.
    pub(crate) fn skip(&mut self, count: usize) {
        self.raw_start += count;
    }

    /// Drops everything but the decoder's state.
    pub(crate) fn clear(&mut self) {
        self.raw_start = self.raw_end;
        self.body_start.set(self.body_end);
    }

    /// Begins a request whose head has `head_length` bytes; the head stays in place until [`Inbound::unpin_head`].
    pub(crate) fn begin_body(&mut self, head_length: usize, body: BodyLength) {
        self.pinned_head = Some(self.raw_start);
        self.raw_start += head_length;
        self.body_start.set(self.raw_start);
        self.body_end = self.raw_start;
        self.received = 0;
        self.high_water = INBOUND_HIGH_WATER_BYTES;
        self.framing = match body {
            BodyLength::None | BodyLength::Known(0) => BodyFraming::Ended,
            BodyLength::Known(length) => {
                if length <= READ_AHEAD_BYTES {
                    self.high_water = self.high_water.max(length as usize);
                }
                BodyFraming::Length(length)
            }
            BodyLength::Chunked => BodyFraming::Chunked(ChunkedDecoder::new()),
        };
    }

    /// The pinned head.
    pub(crate) fn head(&self) -> &[u8] {
        &self.bytes[self.pinned_head.unwrap_or(self.raw_start)..]
    }

    /// What begins with the head of a request that no app will see.
    pub(crate) fn refused(&self) -> &[u8] {
        &self.bytes[self.pinned_head.unwrap_or(self.raw_start)..self.raw_end]
    }

    /// The call of the app is over.
    pub(crate) fn unpin_head(&mut self) {
        self.pinned_head = None;
    }

    /// Whether the body was received in whole.
    pub(crate) fn body_end(&self) -> BodyEnd {
        match self.framing {
            BodyFraming::Ended => BodyEnd::Reached,
            BodyFraming::Length(_) | BodyFraming::Chunked(_) => BodyEnd::Open,
        }
    }

    /// Bytes of the body that are known to be still on their way; `None` if the client has not said.
    pub(crate) fn body_remaining(&self) -> Option<u64> {
        match self.framing {
            BodyFraming::Ended => Some(0),
            BodyFraming::Length(remaining) => Some(remaining),
            BodyFraming::Chunked(_) => None,
        }
    }

    /// Body bytes decoded so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Body bytes that wait for the app.
    pub(crate) fn body_length(&self) -> usize {
        self.body_end - self.body_start.get()
    }

    /// Takes all body bytes that wait.
    pub(crate) fn take_body(&self) -> Range<usize> {
        self.body_start.replace(self.body_end)..self.body_end
    }

    /// Drops the body bytes that wait.
    pub(crate) fn drop_body(&mut self) {
        self.body_start.set(self.body_end);
    }

    /// Bytes by a range of [`Inbound::take_body`].
    pub(crate) fn slice(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Whether more body may be read before the app has taken what waits.
    pub(crate) fn has_room(&self) -> bool {
        self.body_length() < self.high_water
    }

    /// Turns raw bytes into body bytes, up to the high-water mark.
    pub(crate) fn decode(&mut self) -> Result<(), Refusal> {
        while self.raw_start < self.raw_end && self.has_room() {
            if self.body_length() == 0 {
                self.body_start.set(self.raw_start);
                self.body_end = self.raw_start;
            }
            match &mut self.framing {
                BodyFraming::Ended => return Ok(()),
                BodyFraming::Length(remaining) => {
                    let available = self.raw_end - self.raw_start;
                    let count = usize::try_from(*remaining).map_or(available, |it| it.min(available));
                    *remaining -= count as u64;
                    if *remaining == 0 {
                        self.framing = BodyFraming::Ended;
                    }
                    self.keep(count);
                }
                BodyFraming::Chunked(decoder) => {
                    let advance = decoder.advance(&self.bytes[self.raw_start..self.raw_end])?;
                    if advance.end == BodyEnd::Reached {
                        self.framing = BodyFraming::Ended;
                    }
                    self.raw_start += advance.framing;
                    self.keep(advance.data);
                }
            }
        }
        Ok(())
    }

    /// Makes the next `count` raw bytes body bytes.
    fn keep(&mut self, count: usize) {
        if self.body_end != self.raw_start {
            self.bytes.copy_within(self.raw_start..self.raw_start + count, self.body_end);
        }
        self.body_end += count;
        self.raw_start += count;
        self.received += count as u64;
    }

    /// Whether a buffer must be lent before the next read.
    pub(crate) fn needs_buffer(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes a buffer, whose whole length is free space.
    pub(crate) fn lend_buffer(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// Gives the buffer up if nothing is kept in it.
    pub(crate) fn release(&mut self) -> Option<Vec<u8>> {
        if self.bytes.is_empty() || self.kept_from() != self.raw_end {
            return None;
        }
        self.body_start.set(0);
        (self.body_end, self.raw_start, self.raw_end) = (0, 0, 0);
        Some(std::mem::take(&mut self.bytes))
    }

    /// Free space to read into, at least [`LEAST_READ_BYTES`]. `wanted` bytes are known to come.
    pub(crate) fn space(&mut self, wanted: usize) -> &mut [u8] {
        if self.kept_from() == self.raw_end {
            self.body_start.set(0);
            (self.body_end, self.raw_start, self.raw_end) = (0, 0, 0);
        }
        let wanted = wanted.max(LEAST_READ_BYTES);
        if self.bytes.len() - self.raw_end < wanted {
            self.compact();
        }
        if self.bytes.len() - self.raw_end < wanted {
            let length = (self.raw_end + wanted).max(2 * self.bytes.len()).next_multiple_of(BUFFER_BYTES);
            self.bytes.resize(length, 0);
        }
        &mut self.bytes[self.raw_end..]
    }

    /// Notes that `count` bytes were read into [`Inbound::space`].
    pub(crate) fn filled(&mut self, count: usize) {
        self.raw_end += count;
    }

    fn kept_from(&self) -> usize {
        match self.pinned_head {
            Some(start) => start,
            None if self.body_length() > 0 => self.body_start.get(),
            None => self.raw_start,
        }
    }

    fn compact(&mut self) {
        let shift = self.kept_from();
        if shift == 0 {
            return;
        }
        self.bytes.copy_within(shift..self.raw_end, 0);
        if self.body_length() == 0 {
            // An empty body region may lie before what is kept.
            self.body_start.set(self.raw_start);
            self.body_end = self.raw_start;
        }
        self.pinned_head = self.pinned_head.map(|start| start - shift);
        self.body_start.set(self.body_start.get() - shift);
        self.body_end -= shift;
        self.raw_start -= shift;
        self.raw_end -= shift;
    }
}
