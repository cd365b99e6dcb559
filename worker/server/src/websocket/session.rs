//! An open WebSocket as its two sides share it: the app's calls change it and wake the connection, the connection moves bytes in and
//! out. Never touches I/O; knows neither how the handshake was answered nor the time.
//!
//! No borrow is held while foreign code runs that could come back here: wakers, and drops of chunks.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Waker,
};

use super::{
    close::{Close, INTERNAL_ERROR, NO_CODE, SERVICE_RESTART, Violation},
    deflate::{Deflater, Inflater},
    deflate_offer::DeflateAgreement,
    frame::{self, Opcode, Packing},
    receiver::{Event, MessageKind, Receiver},
};
use crate::{
    Room, Service, WebSocketLimits,
    limits::{COPIED_CHUNK_BYTES, DEFLATE_FROM_BYTES, OUTPUT_HIGH_WATER_BYTES},
    output::Output,
    turns::Turns,
};

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionPhase {
    /// The handshake is not answered.
    Opening,
    /// Messages flow.
    Open,
    /// Our close frame is sent; the client's is awaited.
    Closing,
    /// Nothing more is read or sent: what waits is written, and the connection closed.
    Done,
    /// There is no connection any more.
    Gone,
}

/// Whether the bytes of a client have come to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    Ended,
}

/// Why a message or a close was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The handshake is not accepted yet.
    NotOpen,
    /// The app itself has closed.
    Closed,
    /// The client has closed or is gone; nothing was sent.
    Disconnected,
    /// A code that must not be sent, or a reason of more than 123 bytes.
    InvalidClose,
}

/// What [`crate::WebSocket::receive`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received<R> {
    /// A message, as the callback made it.
    Message(R),
    /// Nothing yet: register a waker with [`crate::WebSocket::wake_on_receive`].
    Pending,
    /// It is over, for this reason; said again however often it is asked.
    Disconnected(Close),
}

/// The shared cell.
pub(crate) struct Session<C> {
    pub(crate) service: Rc<Service>,
    pub(crate) limits: WebSocketLimits,
    pub(crate) turns: Turns,
    phase: Cell<SessionPhase>,
    input: Cell<Input>,
    /// What the app is told at the end.
    end: RefCell<Option<Close>>,
    /// The app closed by itself, rather than the client, the engine or a loss.
    closed_by_app: Cell<bool>,
    /// The worker drains: the app is told as soon as it has received what came before.
    is_leaving: Cell<bool>,
    receive_waker: Cell<Option<Waker>>,
    room_waker: Cell<Option<Waker>>,
    pub(crate) receiver: RefCell<Receiver>,
    pub(crate) output: RefCell<Output<C>>,
    deflater: RefCell<Option<Deflater>>,
    sent_bytes: Cell<u64>,
}

impl<C> Session<C> {
    /// A session whose handshake is not answered.
    pub(crate) fn new(service: Rc<Service>, limits: WebSocketLimits) -> Self {
        let receiver = Receiver::new(limits.message_bytes);
        Self {
            service,
            limits,
            turns: Turns::new(),
            phase: Cell::new(SessionPhase::Opening),
            input: Cell::new(Input::Open),
            end: RefCell::default(),
            closed_by_app: Cell::new(false),
            is_leaving: Cell::new(false),
            receive_waker: Cell::new(None),
            room_waker: Cell::new(None),
            receiver: RefCell::new(receiver),
            output: RefCell::default(),
            deflater: RefCell::default(),
            sent_bytes: Cell::new(0),
        }
    }

    pub(crate) fn phase(&self) -> SessionPhase {
        self.phase.get()
    }

    // The connection's side.

    /// Goes on through what the client sent: answers pings, and stops at a message that the app has to take, or where answers pile up
    /// that the client does not read.
    pub(crate) fn decode(&self) {
        while matches!(self.phase.get(), SessionPhase::Open | SessionPhase::Closing) {
            if self.output.borrow().waiting() >= OUTPUT_HIGH_WATER_BYTES {
                return;
            }
            let advanced = self.receiver.borrow_mut().advance();
            match advanced {
                Ok(Event::Message) if self.phase.get() == SessionPhase::Closing => {
                    self.receiver.borrow_mut().taken();
                }
                Ok(Event::Message) => return self.wake_receiver(),
                Ok(Event::Ping(payload)) => self.control(Opcode::Pong, payload.as_slice()),
                Ok(Event::Pong) => {}
                Ok(Event::Close(close)) => return self.closed_by_client(close),
                Ok(Event::NeedsBytes) if self.input.get() == Input::Ended => return self.lose(),
                Ok(Event::NeedsBytes) => return,
                Err(violation) => return self.fail(violation),
            }
        }
    }

    /// The client will send no more bytes.
    pub(crate) fn end_input(&self) {
        self.input.set(Input::Ended);
    }

    /// Whether reading has a use.
    pub(crate) fn wants_bytes(&self) -> bool {
        matches!(self.phase.get(), SessionPhase::Open | SessionPhase::Closing)
            && self.input.get() == Input::Open
            && self.receiver.borrow().has_room()
    }

    /// Appends a ping.
    pub(crate) fn ping(&self, payload: &[u8]) {
        self.control(Opcode::Ping, payload);
    }

    /// The engine ends the session: tells the client, and the app. Nothing is awaited of the client but its close frame.
    pub(crate) fn shut(&self, code: u16, reason: &str) {
        if self.phase.get() == SessionPhase::Open {
            self.begin_closing(Close::new(code, reason));
        }
    }

    /// The client is silent: it is told, and not waited for.
    pub(crate) fn give_up(&self, code: u16, reason: &str) {
        self.shut(code, reason);
        self.phase.set(SessionPhase::Done);
    }

    /// The worker drains: the app hears of it first, and may say its own last words.
    pub(crate) fn announce_leaving(&self) {
        if !self.is_leaving.replace(true) {
            self.wake_receiver();
        }
    }

    /// The connection is lost, or over.
    pub(crate) fn lose(&self) {
        self.end_with(Close::lost());
        self.set_phase(SessionPhase::Gone);
    }

    /// Whether both sides said goodbye, or the engine did for good reason: else the session was broken off.
    pub(crate) fn is_clean(&self) -> bool {
        self.end.borrow().as_ref().is_some_and(|end| end.code != super::close::LOST)
    }

    /// Payload bytes of the messages that the app sent.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.get()
    }

    /// Wakes an app that waits for room.
    pub(crate) fn wake_sender(&self) {
        if let Some(waker) = self.room_waker.take() {
            waker.wake();
        }
    }

    fn wake_receiver(&self) {
        if let Some(waker) = self.receive_waker.take() {
            waker.wake();
        }
    }

    fn closed_by_client(&self, close: Close) {
        if self.phase.get() == SessionPhase::Open {
            // The code comes back as it was sent (RFC 6455 §5.5.1), the reason need not.
            self.control(Opcode::Close, &Close::new(close.code, "").encode());
        }
        self.end_with(close);
        self.set_phase(SessionPhase::Done);
    }

    fn fail(&self, violation: Violation) {
        if self.phase.get() == SessionPhase::Open {
            self.begin_closing(Close::new(violation.code(), violation.reason()));
        }
        self.set_phase(SessionPhase::Done);
    }

    fn begin_closing(&self, close: Close) {
        self.control(Opcode::Close, &close.encode());
        self.end_with(close);
        self.set_phase(SessionPhase::Closing);
    }

    /// Only the first end counts.
    fn end_with(&self, close: Close) {
        self.end.borrow_mut().get_or_insert(close);
    }

    /// The app may wait for what will not come any more.
    fn set_phase(&self, phase: SessionPhase) {
        self.phase.set(phase);
        self.wake_receiver();
        self.wake_sender();
    }

    fn control(&self, opcode: Opcode, payload: &[u8]) {
        let mut output = self.output.borrow_mut();
        let out = output.bytes();
        self.service.prepare(out);
        frame::encode(out, opcode, Packing::Plain, payload.len());
        out.extend_from_slice(payload);
        output.seal();
    }

    // The app's side.

    /// The handshake is accepted.
    pub(crate) fn open(&self, deflate: Option<&DeflateAgreement>) {
        if let Some(agreement) = deflate {
            let inflater = Inflater::new(agreement.inflate_window_bits(), agreement.client_takeover);
            self.receiver.borrow_mut().set_inflater(inflater);
            let states = Rc::clone(&self.service.deflate_states);
            let deflater = Deflater::new(states, agreement.server_window_bits, agreement.server_takeover);
            self.deflater.replace(Some(deflater));
        }
        self.phase.set(SessionPhase::Open);
    }

    pub(crate) fn receive<R>(&self, copy: impl FnOnce(MessageKind, &[u8]) -> R) -> Received<R> {
        let had_room = self.receiver.borrow().has_room();
        if self.receiver.borrow().ready().is_none() {
            let waiting = self.output.borrow().waiting();
            self.decode();
            if self.output.borrow().waiting() != waiting {
                self.turns.notify();
            }
        }
        let mut receiver = self.receiver.borrow_mut();
        let copied = match receiver.ready() {
            Some((kind, message)) if self.phase.get() == SessionPhase::Open => copy(kind, message),
            Some(_) | None => {
                drop(receiver);
                return self.end_or_pending();
            }
        };
        receiver.taken();
        let has_more = receiver.has_raw_bytes();
        drop(receiver);
        // What follows may be a ping or a close, which cannot wait until the app receives again.
        if has_more || !had_room || self.input.get() == Input::Ended {
            self.turns.notify();
        }
        Received::Message(copied)
    }

    fn end_or_pending<R>(&self) -> Received<R> {
        if let Some(end) = &*self.end.borrow() {
            return Received::Disconnected(end.clone());
        }
        if self.is_leaving.get() {
            return Received::Disconnected(Close::new(SERVICE_RESTART, ""));
        }
        Received::Pending
    }

    pub(crate) fn wake_on_receive(&self, waker: Waker) {
        let is_pending =
            self.end.borrow().is_none() && !self.is_leaving.get() && self.receiver.borrow().ready().is_none();
        if is_pending {
            drop(self.receive_waker.replace(Some(waker)));
        } else {
            waker.wake();
        }
    }

    pub(crate) fn room(&self) -> Room {
        let is_full = self.phase.get() == SessionPhase::Open
            && self.output.borrow().waiting() >= OUTPUT_HIGH_WATER_BYTES;
        if is_full { Room::Full } else { Room::Free }
    }

    pub(crate) fn wake_on_room(&self, waker: Waker) {
        match self.room() {
            Room::Full => drop(self.room_waker.replace(Some(waker))),
            Room::Free => waker.wake(),
        }
    }

    pub(crate) fn close(&self, code: u16, reason: &str) -> Result<(), SendError> {
        self.check_open()?;
        self.closed_by_app.set(true);
        self.begin_closing(Close::new(code, reason));
        self.turns.notify();
        Ok(())
    }

    /// The app is done without a close of its own.
    pub(crate) fn leave(&self, code: u16) {
        let code = if self.is_leaving.get() { SERVICE_RESTART } else { code };
        // An end that came before is as good.
        let _over = self.close(code, "");
    }

    /// The last handle is gone.
    pub(crate) fn abandon(&self) {
        self.leave(INTERNAL_ERROR);
    }

    fn check_open(&self) -> Result<(), SendError> {
        match self.phase.get() {
            SessionPhase::Open => Ok(()),
            SessionPhase::Opening => Err(SendError::NotOpen),
            SessionPhase::Closing | SessionPhase::Done | SessionPhase::Gone if self.closed_by_app.get() => {
                Err(SendError::Closed)
            }
            SessionPhase::Closing | SessionPhase::Done | SessionPhase::Gone => Err(SendError::Disconnected),
        }
    }
}

impl<C: AsRef<[u8]>> Session<C> {
    pub(crate) fn send(&self, kind: MessageKind, chunk: C) -> Result<Room, SendError> {
        self.check_open()?;
        let opcode = match kind {
            MessageKind::Text => Opcode::Text,
            MessageKind::Binary => Opcode::Binary,
        };
        let length = chunk.as_ref().len();
        self.sent_bytes.set(self.sent_bytes.get() + length as u64);
        let mut output = self.output.borrow_mut();
        self.service.prepare(output.bytes());
        let copied = match &mut *self.deflater.borrow_mut() {
            Some(deflater) if length >= DEFLATE_FROM_BYTES => {
                let mut deflated = Vec::new();
                deflater.deflate(chunk.as_ref(), &mut deflated);
                frame::encode(output.bytes(), opcode, Packing::Deflated, deflated.len());
                output.bytes().extend_from_slice(&deflated);
                Some(chunk)
            }
            Some(_) | None => {
                frame::encode(output.bytes(), opcode, Packing::Plain, length);
                if length <= COPIED_CHUNK_BYTES {
                    output.bytes().extend_from_slice(chunk.as_ref());
                    Some(chunk)
                } else {
                    output.push_chunk(chunk);
                    None
                }
            }
        };
        output.seal();
        let room = if output.waiting() < OUTPUT_HIGH_WATER_BYTES { Room::Free } else { Room::Full };
        drop(output);
        self.turns.notify();
        // The chunk's drop may run code of the app, so it comes when all is in order.
        drop(copied);
        Ok(room)
    }
}

/// Whether the app may close with this.
pub(crate) fn is_valid_close(code: u16, reason: &str) -> bool {
    (super::close::may_be_sent(code) || code == NO_CODE && reason.is_empty())
        && reason.len() <= super::close::REASON_BYTES
}
