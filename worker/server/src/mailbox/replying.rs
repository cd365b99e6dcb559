//! The reply's side of the mailbox: the order of its parts, their framing, and their way into the output.

use super::{Mailbox, ReplyBody};
use crate::{
    Last, ReplyError, Room, Version,
    http1::{
        chunked::BodyEnd,
        head::{Expectation, Persistence, Trailers},
        late_fields,
        reply::{self, InvalidField, ReplyFacts, StatusBody},
    },
    limits::{COPIED_CHUNK_BYTES, DISCARD_BYTES, OUTPUT_HIGH_WATER_BYTES},
    output::{FileRange, Output},
};

/// The reply so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply {
    pub(crate) phase: ReplyPhase,
    pub(crate) status: u16,
    /// The connection will be closed after this reply, and the reply says so.
    pub(crate) closes: Closes,
    /// Body bytes accepted from the app.
    pub(crate) body_bytes: u64,
    pub(super) facts: ReplyFacts,
}

/// Whether a reply is the connection's last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closes {
    /// More may follow.
    No,
    /// It is the last.
    Yes,
}

/// How far the reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyPhase {
    /// No head yet.
    Awaited,
    /// The app's fields are being copied.
    Heading,
    /// There is a head, held back until the first part of the body.
    Held,
    /// The head is on its way.
    Streaming(Framing),
    /// All of it is on its way.
    Complete,
    /// All of it is on its way, and after it the connection speaks another protocol.
    Switched,
    /// The app gave up before anything was on its way.
    Failed,
    /// The app gave up in the middle.
    Broken,
    /// There is no exchange: none has begun, or the connection is done with it.
    Over,
}

/// How the reply's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none; what the app sends is dropped.
    None,
    /// By length, of which so much is still to come.
    Length(u64),
    /// By chunks.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

impl<C> Mailbox<C> {
    pub(crate) fn head<'h>(
        &self,
        epoch: u32,
        status: u16,
        fields: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<(), ReplyError> {
        if !self.is_live(epoch) {
            return Err(ReplyError::Disconnected);
        }
        if self.reply.get().phase != ReplyPhase::Awaited {
            return Err(ReplyError::OutOfOrder);
        }
        if !(200..=999).contains(&status) {
            return Err(ReplyError::InvalidStatus);
        }
        self.set_phase(ReplyPhase::Heading);
        let mut facts = ReplyFacts::default();
        let mut result = Ok(());
        {
            let mut lent = Lent::new(self);
            self.service.prepare(&mut lent.bytes);
            reply::write_status_line(&mut lent.bytes, status);
            let body = reply::status_body(status);
            for (name, value) in fields {
                result = reply::write_field(&mut lent.bytes, &mut facts, body, name, value);
                if result.is_err() {
                    break;
                }
            }
        }
        // The app's iterator may have ended the exchange meanwhile.
        if self.epoch.get() != epoch || self.reply.get().phase != ReplyPhase::Heading {
            self.output.borrow_mut().discard_held();
            return Err(ReplyError::Disconnected);
        }
        if result.is_err() {
            self.output.borrow_mut().discard_held();
            self.set_phase(ReplyPhase::Awaited);
            return Err(ReplyError::InvalidHeader);
        }
        self.reply.set(Reply { status, facts, ..Reply::new(ReplyPhase::Held) });
        Ok(())
    }

    pub(crate) fn early_hint<'f>(
        &self,
        epoch: u32,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Result<Room, ReplyError> {
        let mut hint = b"HTTP/1.1 103 Early Hints\r\n".to_vec();
        late_fields::write(&mut hint, fields).map_err(|InvalidField| ReplyError::InvalidHeader)?;
        hint.extend_from_slice(b"\r\n");
        if !self.is_live(epoch) {
            return Err(ReplyError::Disconnected);
        }
        if !matches!(self.reply.get().phase, ReplyPhase::Awaited | ReplyPhase::Held) {
            return Err(ReplyError::OutOfOrder);
        }
        // HTTP/1.0 knows no interim replies (RFC 9110 §15.2).
        if self.request.get().version != Version::Http10 {
            self.send_interim(&hint);
        }
        Ok(self.room())
    }
}

impl<C: AsRef<[u8]>> Mailbox<C> {
    pub(crate) fn body(&self, epoch: u32, chunk: C, last: Last) -> Result<Room, ReplyError> {
        let length = chunk.as_ref().len();
        self.part(epoch, Part::Chunk(chunk), length, last)
    }

    pub(crate) fn send_file(
        &self,
        epoch: u32,
        range: FileRange,
        count: u64,
        last: Last,
    ) -> Result<Room, ReplyError> {
        // Beyond the kernel's range there is no file.
        let end = range.offset.checked_add(count).and_then(|end| i64::try_from(end).ok());
        let (Some(_), Ok(length)) = (end, isize::try_from(count)) else { return Err(ReplyError::TooLong) };
        let length = length.unsigned_abs();
        if self.output.borrow().waiting() > isize::MAX.unsigned_abs() - length {
            return Err(ReplyError::TooLong);
        }
        self.part(epoch, Part::File(range), length, last)
    }

    /// Takes the next part of the body, `length` bytes long.
    fn part(&self, epoch: u32, part: Part<C>, length: usize, last: Last) -> Result<Room, ReplyError> {
        if !self.is_live(epoch) {
            return Err(ReplyError::Disconnected);
        }
        let mut reply = self.reply.get();
        let mut framing = match reply.phase {
            ReplyPhase::Held => self.framing(&reply, length, last),
            ReplyPhase::Streaming(framing) => framing,
            ReplyPhase::Awaited
            | ReplyPhase::Heading
            | ReplyPhase::Complete
            | ReplyPhase::Switched
            | ReplyPhase::Failed
            | ReplyPhase::Broken
            | ReplyPhase::Over => return Err(ReplyError::OutOfOrder),
        };
        if let Framing::Length(remaining) = &mut framing {
            *remaining = remaining.checked_sub(length as u64).ok_or(ReplyError::TooLong)?;
            if last == Last::Yes && *remaining > 0 {
                self.fail(epoch);
                return Err(ReplyError::TooShort);
            }
        }
        let mut output = self.output.borrow_mut();
        if reply.phase == ReplyPhase::Held {
            reply.closes = self.finish_head(output.bytes(), &reply, framing, length, last);
            self.log_reply_fields(output.held());
        } else {
            self.service.prepare(output.bytes());
        }
        if framing != Framing::None {
            reply.body_bytes = reply.body_bytes.saturating_add(length as u64);
        }
        let left = append(&mut output, part, length, framing, last);
        output.seal();
        let room = if output.waiting() < OUTPUT_HIGH_WATER_BYTES { Room::Free } else { Room::Full };
        drop(output);
        reply.phase = match last {
            Last::Yes => ReplyPhase::Complete,
            Last::No => ReplyPhase::Streaming(framing),
        };
        self.reply.set(reply);
        self.notify();
        // The chunk's drop may run code of the app, so it comes when all is in order.
        drop(left);
        Ok(room)
    }

    pub(crate) fn trailers<'f>(
        &self,
        epoch: u32,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Result<(), ReplyError> {
        let mut lines = Vec::new();
        late_fields::write(&mut lines, fields).map_err(|InvalidField| ReplyError::InvalidHeader)?;
        if self.is_live(epoch) && self.reply.get().phase == ReplyPhase::Held {
            self.part(epoch, Part::Nothing, 0, Last::No)?;
        }
        if !self.is_live(epoch) {
            return Err(ReplyError::Disconnected);
        }
        let reply = self.reply.get();
        let ReplyPhase::Streaming(framing) = reply.phase else { return Err(ReplyError::OutOfOrder) };
        match framing {
            Framing::Length(remaining) if remaining > 0 => {
                self.fail(epoch);
                return Err(ReplyError::TooShort);
            }
            Framing::Chunked => {
                let mut output = self.output.borrow_mut();
                let out = output.bytes();
                self.service.prepare(out);
                out.extend_from_slice(b"0\r\n");
                if self.request.get().trailers == Trailers::Wanted {
                    out.extend_from_slice(&lines);
                }
                out.extend_from_slice(b"\r\n");
                output.seal();
            }
            // There is no place for them.
            Framing::Length(_) | Framing::None | Framing::UntilClose => {}
        }
        self.set_phase(ReplyPhase::Complete);
        self.notify();
        Ok(())
    }

    /// How the body will be delimited, decided with its first part at hand.
    fn framing(&self, reply: &Reply, length: usize, last: Last) -> Framing {
        let request = self.request.get();
        if request.reply_body == ReplyBody::Withheld
            || reply::status_body(reply.status) != StatusBody::Allowed
        {
            return Framing::None;
        }
        match (reply.facts.length, last, request.version) {
            (Some(announced), _, _) => Framing::Length(announced),
            (None, Last::Yes, _) => Framing::Length(length as u64),
            (None, Last::No, Version::Http10) => Framing::UntilClose,
            (None, Last::No, Version::Http11 | Version::Http2) => Framing::Chunked,
        }
    }

    /// Appends what the engine has to say to the held head, and ends it.
    fn finish_head(
        &self,
        out: &mut Vec<u8>,
        reply: &Reply,
        framing: Framing,
        length: usize,
        last: Last,
    ) -> Closes {
        let request = self.request.get();
        let says_length = reply.facts.length.is_some();
        match (framing, reply::status_body(reply.status)) {
            (Framing::None, StatusBody::Empty) => reply::write_length(out, 0),
            // HEAD answered in one piece tells the length that GET would have; 204 and 304 have none of their own.
            (Framing::None, StatusBody::Allowed) if last == Last::Yes && !says_length => {
                reply::write_length(out, length as u64);
            }
            (Framing::Length(_), _) if !says_length => reply::write_length(out, length as u64),
            (Framing::Chunked, _) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            (Framing::None | Framing::Length(_) | Framing::UntilClose, _) => {}
        }
        let closes = if self.must_close(reply, framing) { Closes::Yes } else { Closes::No };
        match (closes, request.persistence) {
            (Closes::Yes, _) => out.extend_from_slice(b"connection: close\r\n"),
            (Closes::No, Persistence::KeepByConsent) => out.extend_from_slice(b"connection: keep-alive\r\n"),
            (Closes::No, Persistence::Keep | Persistence::Close) => {}
        }
        self.service.stamp(out, &reply.facts);
        out.extend_from_slice(b"\r\n");
        closes
    }

    fn must_close(&self, reply: &Reply, framing: Framing) -> bool {
        let request = self.request.get();
        let inbound = self.inbound.borrow();
        let body_is_open = inbound.body_end() == BodyEnd::Open;
        reply.facts.asks_close
            || request.persistence == Persistence::Close
            || framing == Framing::UntilClose
            || self.service.drain.is_draining()
            // The client waits for a `100 Continue` that will not come: whether it sends the body is anybody's guess.
            || (body_is_open && request.expectation == Expectation::Continue)
            || (body_is_open && inbound.body_remaining().is_some_and(|remaining| remaining > DISCARD_BYTES))
    }
}

impl<C> Mailbox<C> {
    /// Shows the access log the head that is about to leave.
    fn log_reply_fields(&self, head: &[u8]) {
        let Some(log) = self.service.access_log().filter(|log| log.wants_reply_fields()) else { return };
        let Some(mut entry) = self.log_entry.take() else { return };
        for line in head.split(|&byte| byte == b'\n').skip(1) {
            if let Some(colon) = memchr::memchr(b':', line) {
                log.reply_field(&mut entry, &line[..colon], line[colon + 1..].trim_ascii());
            }
        }
        self.log_entry.set(Some(entry));
    }
}

/// A part of a reply's body.
enum Part<C> {
    Chunk(C),
    File(FileRange),
    /// Only the head is to be sent.
    Nothing,
}

/// Appends a part of the body. Returns it if nothing of it has to be kept.
fn append<C: AsRef<[u8]>>(
    output: &mut Output<C>,
    part: Part<C>,
    length: usize,
    framing: Framing,
    last: Last,
) -> Option<Part<C>> {
    if framing == Framing::None {
        return Some(part);
    }
    let is_chunked = framing == Framing::Chunked;
    let mut left = None;
    if length > 0 {
        if is_chunked {
            reply::write_chunk_size(output.bytes(), length);
        }
        match part {
            Part::Chunk(chunk) if length <= COPIED_CHUNK_BYTES => {
                output.bytes().extend_from_slice(chunk.as_ref());
                left = Some(Part::Chunk(chunk));
            }
            Part::Chunk(chunk) => output.push_chunk(chunk),
            Part::File(range) => output.push_file(range, length),
            Part::Nothing => {}
        }
        if is_chunked {
            output.bytes().extend_from_slice(b"\r\n");
        }
    } else {
        left = Some(part);
    }
    if is_chunked && last == Last::Yes {
        output.bytes().extend_from_slice(b"0\r\n\r\n");
    }
    left
}

impl Reply {
    pub(super) fn new(phase: ReplyPhase) -> Self {
        Self { phase, status: 0, closes: Closes::No, body_bytes: 0, facts: ReplyFacts::default() }
    }
}

/// The output's buffer while the app's iterator runs; it goes back even if that panics.
pub(super) struct Lent<'a, C> {
    mailbox: &'a Mailbox<C>,
    pub(super) bytes: Vec<u8>,
}

impl<'a, C> Lent<'a, C> {
    pub(super) fn new(mailbox: &'a Mailbox<C>) -> Self {
        Self { mailbox, bytes: mailbox.output.borrow_mut().lend() }
    }
}

impl<C> Drop for Lent<'_, C> {
    fn drop(&mut self) {
        self.mailbox.output.borrow_mut().give_back(std::mem::take(&mut self.bytes));
    }
}
