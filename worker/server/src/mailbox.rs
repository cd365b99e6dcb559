//! What the app's side ([`crate::Exchange`]) and the connection share: one cell for all requests of a connection. The app's
//! calls change it and wake the connection; the connection moves bytes in and out. Never touches I/O.
//!
//! No borrow is held while foreign code runs that could come back here: `App::call`, wakers, drops of chunks, and the iterator of
//! a reply's fields.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Waker,
};

use crate::{
    Last, ReplyError, Room, Service, Taken, Version,
    http1::{
        chunked::BodyEnd,
        head::{Expectation, Persistence},
        reply::{self, ReplyFacts, StatusBody},
    },
    inbound::Inbound,
    limits::{COPIED_CHUNK_BYTES, DISCARD_BYTES, OUTPUT_HIGH_WATER_BYTES},
    output::Output,
};

/// The shared cell.
pub(crate) struct Mailbox<C> {
    pub(crate) service: Rc<Service>,
    /// Number of the current request; a handle of an earlier one is powerless.
    epoch: Cell<u32>,
    /// Clones of the current request's handle.
    handles: Cell<u32>,
    turn: Cell<Turn>,
    connection: RefCell<Option<Waker>>,
    receive_waker: Cell<Option<Waker>>,
    room_waker: Cell<Option<Waker>>,
    request: Cell<RequestTraits>,
    reply: Cell<Reply>,
    delivery: Cell<Delivery>,
    pub(crate) inbound: RefCell<Inbound>,
    pub(crate) output: RefCell<Output<C>>,
}

/// Where the connection is in its own turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It sleeps: a change must wake it.
    Asleep,
    /// It sleeps and was woken.
    Woken,
    /// It runs and has seen every change.
    Running,
    /// It runs and must look again before it sleeps.
    Changed,
}

/// What of a request the reply depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestTraits {
    pub(crate) version: Version,
    pub(crate) persistence: Persistence,
    pub(crate) expectation: Expectation,
    pub(crate) reply_body: ReplyBody,
}

/// Whether the method lets the reply have a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyBody {
    /// It does.
    Sent,
    /// HEAD: the reply ends with its head.
    Withheld,
}

/// How far the app has received the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// The app has not been told of its end.
    Open,
    /// The same, and the connection stopped reading because the app does not receive.
    Paused,
    /// The app was told of its end.
    Done,
}

/// The reply so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply {
    pub(crate) phase: ReplyPhase,
    pub(crate) status: u16,
    /// The connection will be closed after this reply, and the reply says so.
    pub(crate) closes: Closes,
    /// Body bytes accepted from the app.
    pub(crate) body_bytes: u64,
    facts: ReplyFacts,
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
    pub(crate) fn new(service: Rc<Service>) -> Self {
        Self {
            service,
            epoch: Cell::new(0),
            handles: Cell::new(0),
            turn: Cell::new(Turn::Asleep),
            connection: RefCell::new(None),
            receive_waker: Cell::new(None),
            room_waker: Cell::new(None),
            request: Cell::new(RequestTraits {
                version: Version::Http11,
                persistence: Persistence::Close,
                expectation: Expectation::None,
                reply_body: ReplyBody::Sent,
            }),
            reply: Cell::new(Reply::new(ReplyPhase::Over)),
            delivery: Cell::new(Delivery::Open),
            inbound: RefCell::default(),
            output: RefCell::default(),
        }
    }

    // The connection's side.

    /// The connection's turn begins. Returns whether its waker is another than before.
    pub(crate) fn begin_turn(&self, waker: &Waker) -> bool {
        self.turn.set(Turn::Running);
        let mut connection = self.connection.borrow_mut();
        if connection.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return false;
        }
        let replaced = connection.replace(waker.clone());
        drop(connection);
        drop(replaced);
        true
    }

    /// Whether the app changed something since this was last asked.
    pub(crate) fn take_changed(&self) -> bool {
        self.turn.replace(Turn::Running) == Turn::Changed
    }

    /// The connection's turn is over.
    pub(crate) fn end_turn(&self) {
        self.turn.set(Turn::Asleep);
    }

    /// Begins an exchange and returns its number.
    pub(crate) fn begin(&self, request: RequestTraits) -> u32 {
        let epoch = self.epoch.get().wrapping_add(1);
        self.epoch.set(epoch);
        self.handles.set(1);
        self.request.set(request);
        self.reply.set(Reply::new(ReplyPhase::Awaited));
        self.delivery.set(Delivery::Open);
        epoch
    }

    /// The reply so far.
    pub(crate) fn reply(&self) -> Reply {
        self.reply.get()
    }

    /// The current request.
    pub(crate) fn request(&self) -> RequestTraits {
        self.request.get()
    }

    /// Ends the exchange: from now on the app hears that it is over.
    pub(crate) fn finish(&self) {
        self.set_phase(ReplyPhase::Over);
        self.output.borrow_mut().discard_held();
        self.wake_receiver();
        self.wake_sender();
    }

    /// The connection stops reading until the app receives.
    pub(crate) fn pause(&self) {
        if self.delivery.get() == Delivery::Open {
            self.delivery.set(Delivery::Paused);
        }
    }

    /// Whether the connection waits for the app to receive.
    pub(crate) fn is_paused(&self) -> bool {
        self.delivery.get() == Delivery::Paused
    }

    /// Wakes an app that waits to receive.
    pub(crate) fn wake_receiver(&self) {
        if let Some(waker) = self.receive_waker.take() {
            waker.wake();
        }
    }

    /// Wakes an app that waits for room.
    pub(crate) fn wake_sender(&self) {
        if let Some(waker) = self.room_waker.take() {
            waker.wake();
        }
    }

    // The app's side.

    /// Whether `epoch` is the current request's and it is not over.
    pub(crate) fn is_live(&self, epoch: u32) -> bool {
        self.epoch.get() == epoch
            && match self.reply.get().phase {
                ReplyPhase::Awaited | ReplyPhase::Heading | ReplyPhase::Held | ReplyPhase::Streaming(_) => {
                    true
                }
                ReplyPhase::Complete | ReplyPhase::Failed | ReplyPhase::Broken | ReplyPhase::Over => false,
            }
    }

    /// A handle was cloned.
    pub(crate) fn add_handle(&self, epoch: u32) {
        if self.epoch.get() == epoch {
            self.handles.set(self.handles.get() + 1);
        }
    }

    /// A handle was dropped; the last one of an unfinished reply gives it up.
    pub(crate) fn drop_handle(&self, epoch: u32) {
        if self.epoch.get() == epoch {
            self.handles.set(self.handles.get() - 1);
            if self.handles.get() == 0 {
                self.fail(epoch);
            }
        }
    }

    pub(crate) fn fail(&self, epoch: u32) {
        if !self.is_live(epoch) {
            return;
        }
        let is_begun = matches!(self.reply.get().phase, ReplyPhase::Streaming(_));
        self.set_phase(if is_begun { ReplyPhase::Broken } else { ReplyPhase::Failed });
        self.notify();
    }

    pub(crate) fn is_started(&self, epoch: u32) -> bool {
        self.epoch.get() != epoch || self.reply.get().phase != ReplyPhase::Awaited
    }

    pub(crate) fn receive<R>(&self, epoch: u32, copy: impl FnOnce(&[u8]) -> R) -> (Taken, Option<R>) {
        if !self.is_live(epoch) {
            return (Taken::Disconnected, None);
        }
        if self.delivery.get() == Delivery::Done {
            return (Taken::Pending, None);
        }
        let inbound = self.inbound.borrow();
        let taken = inbound.take_body();
        let end = inbound.body_end();
        if taken.is_empty() && end == BodyEnd::Open {
            drop(inbound);
            self.invite_body();
            return (Taken::Pending, None);
        }
        // Noted before the bytes are copied: the copy may come back here.
        let was_paused = self.is_paused();
        self.delivery.set(match end {
            BodyEnd::Reached => Delivery::Done,
            BodyEnd::Open => Delivery::Open,
        });
        let copied = copy(inbound.slice(taken));
        drop(inbound);
        if was_paused {
            self.notify();
        }
        (Taken::Body { more: end == BodyEnd::Open }, Some(copied))
    }

    /// Sends `100 Continue` to a client that waits for it, unless a reply was begun.
    fn invite_body(&self) {
        let mut request = self.request.get();
        if request.expectation == Expectation::Continue && self.reply.get().phase == ReplyPhase::Awaited {
            request.expectation = Expectation::None;
            self.request.set(request);
            let mut output = self.output.borrow_mut();
            self.service.prepare(output.bytes());
            output.bytes().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            output.seal();
            drop(output);
            self.notify();
        }
    }

    pub(crate) fn wake_on_receive(&self, epoch: u32, waker: Waker) {
        let is_pending = self.is_live(epoch) && {
            let inbound = self.inbound.borrow();
            self.delivery.get() == Delivery::Done
                || (inbound.body_length() == 0 && inbound.body_end() == BodyEnd::Open)
        };
        if is_pending {
            drop(self.receive_waker.replace(Some(waker)));
        } else {
            waker.wake();
        }
    }

    pub(crate) fn wake_on_room(&self, epoch: u32, waker: Waker) {
        if self.is_live(epoch) && self.room() == Room::Full {
            drop(self.room_waker.replace(Some(waker)));
        } else {
            waker.wake();
        }
    }

    pub(crate) fn room(&self) -> Room {
        if self.output.borrow().waiting() < OUTPUT_HIGH_WATER_BYTES { Room::Free } else { Room::Full }
    }

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

    fn set_phase(&self, phase: ReplyPhase) {
        self.reply.set(Reply { phase, ..self.reply.get() });
    }

    /// Makes the connection look at what changed.
    fn notify(&self) {
        match self.turn.get() {
            Turn::Asleep => {
                self.turn.set(Turn::Woken);
                let waker = self.connection.borrow().clone();
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Turn::Running => self.turn.set(Turn::Changed),
            Turn::Woken | Turn::Changed => {}
        }
    }
}

impl<C: AsRef<[u8]>> Mailbox<C> {
    pub(crate) fn body(&self, epoch: u32, chunk: C, last: Last) -> Result<Room, ReplyError> {
        if !self.is_live(epoch) {
            return Err(ReplyError::Disconnected);
        }
        let mut reply = self.reply.get();
        let length = chunk.as_ref().len();
        let mut framing = match reply.phase {
            ReplyPhase::Held => self.framing(&reply, length, last),
            ReplyPhase::Streaming(framing) => framing,
            ReplyPhase::Awaited
            | ReplyPhase::Heading
            | ReplyPhase::Complete
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
        } else {
            self.service.prepare(output.bytes());
        }
        if framing != Framing::None {
            reply.body_bytes += length as u64;
        }
        let copied = append(&mut output, chunk, framing, last);
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
        drop(copied);
        Ok(room)
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

/// Appends a part of the body. Returns the chunk if it was copied.
fn append<C: AsRef<[u8]>>(output: &mut Output<C>, chunk: C, framing: Framing, last: Last) -> Option<C> {
    let length = chunk.as_ref().len();
    if framing == Framing::None {
        return Some(chunk);
    }
    let is_chunked = framing == Framing::Chunked;
    let mut copied = None;
    if length > 0 {
        if is_chunked {
            reply::write_chunk_size(output.bytes(), length);
        }
        if length <= COPIED_CHUNK_BYTES {
            output.bytes().extend_from_slice(chunk.as_ref());
            copied = Some(chunk);
        } else {
            output.push_chunk(chunk);
        }
        if is_chunked {
            output.bytes().extend_from_slice(b"\r\n");
        }
    } else {
        copied = Some(chunk);
    }
    if is_chunked && last == Last::Yes {
        output.bytes().extend_from_slice(b"0\r\n\r\n");
    }
    copied
}

impl Reply {
    fn new(phase: ReplyPhase) -> Self {
        Self { phase, status: 0, closes: Closes::No, body_bytes: 0, facts: ReplyFacts::default() }
    }
}

/// The output's buffer while the app's iterator runs; it goes back even if that panics.
struct Lent<'a, C> {
    mailbox: &'a Mailbox<C>,
    bytes: Vec<u8>,
}

impl<'a, C> Lent<'a, C> {
    fn new(mailbox: &'a Mailbox<C>) -> Self {
        Self { mailbox, bytes: mailbox.output.borrow_mut().lend() }
    }
}

impl<C> Drop for Lent<'_, C> {
    fn drop(&mut self) {
        self.mailbox.output.borrow_mut().give_back(std::mem::take(&mut self.bytes));
    }
}
