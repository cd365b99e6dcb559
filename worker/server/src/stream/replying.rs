//! The reply's side of a stream: the order of its parts, and what the engine adds to its head.

use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};

use super::{Framing, Part, Phase, Purpose, Stream};
use crate::{
    Last, ReplyError, Room,
    http1::{
        head::Trailers,
        reply::{self, InvalidField, ReplyFacts, StatusBody},
    },
    http2::reply::{add_field, late_fields},
    limits::{OUTPUT_HIGH_WATER_BYTES, OUTPUT_LOW_WATER_BYTES},
    mailbox::ReplyBody,
    output::FileRange,
};

/// Room for the fields of most replies, the engine's own included.
const FIELDS: usize = 8;

impl<C> Stream<C> {
    pub(crate) fn head<'h>(
        &self,
        status: u16,
        fields: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<(), ReplyError> {
        if !self.is_live() {
            return Err(ReplyError::Disconnected);
        }
        if self.phase.get() != Phase::Awaited {
            return Err(ReplyError::OutOfOrder);
        }
        let opens_websocket = self.purpose == Purpose::WebSocket && (200..=299).contains(&status);
        if opens_websocket || !(200..=999).contains(&status) {
            return Err(ReplyError::InvalidStatus);
        }
        self.copy_fields(status, reply::status_body(status), fields)?;
        self.phase.set(Phase::Held);
        Ok(())
    }

    /// Keeps the head of a reply whose phase is `Awaited`; leaves it in the phase `Heading`.
    pub(super) fn copy_fields<'h>(
        &self,
        status: u16,
        body: StatusBody,
        fields: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<(), ReplyError> {
        self.phase.set(Phase::Heading);
        let mut map = HeaderMap::with_capacity(FIELDS);
        let mut facts = ReplyFacts::default();
        let mut result = Ok(());
        for (name, value) in fields {
            result = add_field(&mut map, &mut facts, body, name, value);
            if result.is_err() {
                break;
            }
        }
        // The app's iterator may have ended the exchange meanwhile.
        if self.phase.get() != Phase::Heading {
            return Err(ReplyError::Disconnected);
        }
        if result.is_err() {
            self.phase.set(Phase::Awaited);
            return Err(ReplyError::InvalidHeader);
        }
        self.log_reply_fields(&map);
        *self.fields.borrow_mut() = map;
        self.status.set(status);
        self.facts.set(facts);
        Ok(())
    }

    /// Shows the access log the head that is about to leave.
    fn log_reply_fields(&self, map: &HeaderMap) {
        let Some(log) = self.shared.service.access_log().filter(|log| log.wants_reply_fields()) else {
            return;
        };
        if let Some(mut entry) = self.log_entry.take() {
            let fields = map.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
            log.reply_fields(&mut entry, fields);
            self.log_entry.set(Some(entry));
        }
    }

    /// How the body will be delimited, decided with its first part at hand.
    fn framing(&self, length: usize, last: Last) -> Framing {
        if self.reply_body == ReplyBody::Withheld
            || reply::status_body(self.status.get()) != StatusBody::Allowed
        {
            return Framing::None;
        }
        match (self.facts.get().length, last) {
            (Some(announced), _) => Framing::Length(announced),
            (None, Last::Yes) => Framing::Length(length as u64),
            (None, Last::No) => Framing::Open,
        }
    }

    /// Adds what the engine has to say to the held head.
    fn finish_head(&self, framing: Framing, length: usize, last: Last) {
        let facts = self.facts.get();
        let mut fields = self.fields.borrow_mut();
        let says_length = facts.length.is_some();
        let length = match (framing, reply::status_body(self.status.get())) {
            (Framing::None, StatusBody::Empty) => Some(0),
            // HEAD answered in one piece tells the length that GET would have; 204 and 304 have none of their own.
            (Framing::None, StatusBody::Allowed) if last == Last::Yes && !says_length => Some(length),
            (Framing::Length(_), _) if !says_length => Some(length),
            (Framing::None | Framing::Length(_) | Framing::Open, _) => None,
        };
        if let Some(length) = length {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        self.shared.service.stamp_fields(&mut fields, &facts);
    }

    /// Bytes were written, or will not be. Called by hyper under its locks: wakes nobody but the stream's own task.
    pub(super) fn written(&self, count: usize) {
        let waiting = self.waiting.get() - count;
        self.waiting.set(waiting);
        self.stalled_since.set((waiting > 0).then(|| self.shared.service.clock.now()));
        if waiting <= OUTPUT_LOW_WATER_BYTES && waiting + count > OUTPUT_LOW_WATER_BYTES {
            self.task.wake_by_ref();
        }
    }

    /// Wakes an app that waits for room if there is some again.
    pub(super) fn attend_sender(&self) {
        if self.waiting.get() <= OUTPUT_LOW_WATER_BYTES || !self.is_live() {
            self.wake_sender();
        }
    }

    /// Whether the client takes nothing of what waits for it.
    pub(super) fn is_reply_overdue(&self, now: std::time::Instant) -> bool {
        let Some(since) = self.stalled_since.get() else { return false };
        let timeout = self.shared.service.limits.write_timeout;
        if since.checked_add(timeout).is_some_and(|limit| now >= limit) {
            return true;
        }
        self.shared.limit(since, timeout);
        false
    }
}

impl<C: AsRef<[u8]>> Stream<C> {
    pub(crate) fn body(&self, chunk: C, last: Last) -> Result<Room, ReplyError> {
        let length = chunk.as_ref().len();
        self.part(Some(Part::Chunk(chunk)), length, last)
    }
}

impl<C> Stream<C> {
    /// A range of a file as a part of the body. It is read, piece by piece, when hyper asks for it.
    pub(crate) fn send_file(&self, range: FileRange, count: u64, last: Last) -> Result<Room, ReplyError> {
        // Beyond the kernel's range there is no file.
        let end = range.offset.checked_add(count).and_then(|end| i64::try_from(end).ok());
        let (Some(_), Ok(length)) = (end, isize::try_from(count)) else { return Err(ReplyError::TooLong) };
        let length = length.unsigned_abs();
        if self.waiting.get() > isize::MAX.unsigned_abs() - length {
            return Err(ReplyError::TooLong);
        }
        self.part(Some(Part::File(range, length)), length, last)
    }

    pub(crate) fn trailers<'f>(
        &self,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Result<(), ReplyError> {
        let fields = late_fields(fields).map_err(|InvalidField| ReplyError::InvalidHeader)?;
        if self.is_live() && self.phase.get() == Phase::Held {
            self.part(None, 0, Last::No)?;
        }
        if !self.is_live() {
            return Err(ReplyError::Disconnected);
        }
        let Phase::Streaming(framing) = self.phase.get() else { return Err(ReplyError::OutOfOrder) };
        match framing {
            Framing::Length(remaining) if remaining > 0 => {
                self.fail();
                return Err(ReplyError::TooShort);
            }
            Framing::Length(_) | Framing::Open
                if self.wants_trailers == Trailers::Wanted && !fields.is_empty() =>
            {
                self.trailers.set(Some(Box::new(fields)));
            }
            Framing::Length(_) | Framing::Open | Framing::None => {}
        }
        self.phase.set(Phase::Complete);
        self.task.wake_by_ref();
        Ok(())
    }

    /// hyper has no interim replies: a hint is checked, and dropped.
    pub(crate) fn early_hint<'f>(
        &self,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Result<Room, ReplyError> {
        late_fields(fields).map_err(|InvalidField| ReplyError::InvalidHeader)?;
        if !self.is_live() {
            return Err(ReplyError::Disconnected);
        }
        match self.phase.get() {
            Phase::Awaited | Phase::Held => Ok(self.room()),
            Phase::Heading
            | Phase::Streaming(_)
            | Phase::Complete
            | Phase::Failed(_)
            | Phase::Broken
            | Phase::Over => Err(ReplyError::OutOfOrder),
        }
    }

    /// Takes the next part of the body, `length` bytes long; none where only the head is to be sent.
    fn part(&self, part: Option<Part<C>>, length: usize, last: Last) -> Result<Room, ReplyError> {
        if !self.is_live() {
            return Err(ReplyError::Disconnected);
        }
        let phase = self.phase.get();
        let mut framing = match phase {
            Phase::Held => self.framing(length, last),
            Phase::Streaming(framing) => framing,
            Phase::Awaited
            | Phase::Heading
            | Phase::Complete
            | Phase::Failed(_)
            | Phase::Broken
            | Phase::Over => return Err(ReplyError::OutOfOrder),
        };
        if let Framing::Length(remaining) = &mut framing {
            *remaining = remaining.checked_sub(length as u64).ok_or(ReplyError::TooLong)?;
            if last == Last::Yes && *remaining > 0 {
                self.fail();
                return Err(ReplyError::TooShort);
            }
        }
        if phase == Phase::Held {
            self.finish_head(framing, length, last);
        }
        let unused = match part {
            Some(part) if framing != Framing::None && length > 0 => {
                self.enqueue(part, length);
                None
            }
            unused => unused,
        };
        self.phase.set(match last {
            Last::Yes => Phase::Complete,
            Last::No => Phase::Streaming(framing),
        });
        self.task.wake_by_ref();
        let room = if self.waiting.get() < OUTPUT_HIGH_WATER_BYTES { Room::Free } else { Room::Full };
        // The chunk's drop may run code of the app, so it comes when all is in order.
        drop(unused);
        Ok(room)
    }

    fn enqueue(&self, part: Part<C>, length: usize) {
        self.reply_bytes.set(self.reply_bytes.get().saturating_add(length as u64));
        if self.waiting.get() == 0 {
            let now = self.shared.service.clock.now();
            self.stalled_since.set(Some(now));
            self.shared.limit(now, self.shared.service.limits.write_timeout);
        }
        self.waiting.set(self.waiting.get() + length);
        self.parts.borrow_mut().push(part);
    }
}
