//! A WebSocket on its transport: reads and writes for a session, pings, and ends it in time. Works over any `hyper::rt` I/O, so that
//! HTTP/1 can hand its connection over and HTTP/2 a stream; what the bytes mean is the business of the session.

mod time_limits;

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use hyper::rt::{Read, ReadBuf, Write};

use self::time_limits::Keepalive;
use crate::{
    RequestOutcome, Service, WebSocketLimits,
    access_log::Entry,
    deadline::{Deadline, Expiry},
    drain::{DrainPhase, Registration},
    limits::{DISCARD_BYTES, LINGERING_CLOSE_TIMEOUT, OUTPUT_LOW_WATER_BYTES, READS_PER_TURN},
    websocket::session::{Session, SessionPhase},
};

/// The request that became the WebSocket, as the meter knows it: it is in flight until the WebSocket ends.
#[derive(Debug)]
pub(crate) struct MeteredHandshake {
    /// What [`crate::Meter::request_started`] returned.
    pub(crate) number: usize,
    /// How the handshake was answered: 101, or 200 in HTTP/2.
    pub(crate) status: u16,
    /// When its head was complete.
    pub(crate) started: Instant,
    /// Its line in the access log, which is written at the end.
    pub(crate) log_entry: Option<Box<Entry>>,
}

/// The connection's side of a WebSocket. Ready when it is over and everything about it was counted.
pub(crate) struct WebSocketStage<Io, C> {
    io: Io,
    service: Rc<Service>,
    limits: WebSocketLimits,
    session: Rc<Session<C>>,
    registration: Registration,
    handshake: Option<MeteredHandshake>,
    phase: Phase,
    keepalive: Keepalive,
    deadline: Deadline,
    /// When the drain began, as this connection saw it.
    draining_since: Option<Instant>,
    /// When our close frame was sent.
    closing_since: Option<Instant>,
    /// When the client last took some of what waits for it; `None` while nothing waits.
    write_stalled_since: Option<Instant>,
    flush: Flush,
    received_bytes: u64,
    turn: TurnState,
}

/// How far the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The session has it.
    Talking,
    /// Our sending side is closed; the client's last bytes are thrown away, because a close with unread bytes is a reset that may
    /// destroy the close frame on its way.
    Lingering {
        until: Instant,
        discarded: u64,
    },
    Closed,
}

/// What is known for the length of one turn.
#[derive(Debug, Clone, Copy)]
struct TurnState {
    now: Instant,
    reads_left: u32,
    reads: Readiness,
    writes: Readiness,
}

/// Whether it is worth asking the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readiness {
    Unknown,
    /// It said no and will wake the task.
    Blocked,
}

/// Whether the transport may hold written bytes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flush {
    Done,
    Due,
}

/// Whether a step changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    None,
    Made,
}

impl<Io, C> std::fmt::Debug for WebSocketStage<Io, C> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("WebSocketStage")
            .field("phase", &self.phase)
            .field("session", &self.session.phase())
            .finish_non_exhaustive()
    }
}

impl<Io: Read + Write + Unpin, C: AsRef<[u8]> + 'static> WebSocketStage<Io, C> {
    /// Takes a transport over on which the handshake was answered in full. `unread` is what the client has sent since.
    pub(crate) fn new(
        io: Io,
        unread: &[u8],
        session: Rc<Session<C>>,
        registration: Registration,
        handshake: Option<MeteredHandshake>,
    ) -> Self {
        let service = Rc::clone(&session.service);
        let limits = session.limits.clone();
        let now = service.clock.now();
        if !unread.is_empty() {
            session.receiver.borrow_mut().prepend(unread);
        }
        let handshake = handshake.map(|handshake| MeteredHandshake {
            number: service.meter.websocket_opened(handshake.number),
            ..handshake
        });
        Self {
            io,
            keepalive: Keepalive::new(now, &limits),
            limits,
            session,
            registration,
            handshake,
            phase: Phase::Talking,
            deadline: Deadline::default(),
            draining_since: None,
            closing_since: None,
            write_stalled_since: None,
            flush: Flush::Done,
            received_bytes: 0,
            turn: TurnState::begin(now),
            service,
        }
    }

    /// Does all that can be done now.
    fn run(&mut self, context: &mut Context<'_>) {
        loop {
            self.session.decode();
            let wrote = self.write(context);
            self.close_when_done(context);
            if self.phase == Phase::Closed {
                return;
            }
            let read = self.read(context);
            if self.phase == Phase::Closed {
                return;
            }
            if wrote == Progress::Made || read == Progress::Made || self.session.turns.take_changed() {
                continue;
            }
            let limit = self.limit();
            let expiry = self.deadline.watch(limit, self.turn.now, &*self.service.timer, context);
            match (expiry, limit) {
                (Expiry::Over, Some(limit)) => self.expire(limit),
                (Expiry::Over, None) | (Expiry::Ahead, _) => break,
            }
        }
        self.release_buffers();
    }

    /// Writes what waits, until it is gone or the transport is full.
    fn write(&mut self, context: &mut Context<'_>) -> Progress {
        let mut progress = Progress::None;
        while self.turn.writes == Readiness::Unknown {
            let mut output = self.session.output.borrow_mut();
            if output.waiting() == 0 {
                drop(output);
                self.flush(context);
                break;
            }
            let io = Pin::new(&mut self.io);
            let result = output.with_slices(|slices| match slices {
                [slice] => io.poll_write(context, slice),
                slices => io.poll_write_vectored(context, slices),
            });
            match result {
                Poll::Ready(Ok(count)) if count > 0 => output.advance(count),
                Poll::Ready(Ok(_) | Err(_)) => {
                    drop(output);
                    self.abandon();
                    return Progress::Made;
                }
                Poll::Pending => {
                    self.turn.writes = Readiness::Blocked;
                    self.write_stalled_since.get_or_insert(self.turn.now);
                    break;
                }
            }
            progress = Progress::Made;
            let is_empty = output.waiting() == 0;
            drop(output);
            self.write_stalled_since = (!is_empty).then_some(self.turn.now);
            self.flush = Flush::Due;
            self.drop_spent_chunks();
        }
        if progress == Progress::Made && self.session.output.borrow().waiting() <= OUTPUT_LOW_WATER_BYTES {
            self.session.wake_sender();
        }
        progress
    }

    fn flush(&mut self, context: &mut Context<'_>) {
        if self.flush == Flush::Done {
            return;
        }
        match Pin::new(&mut self.io).poll_flush(context) {
            Poll::Ready(Ok(())) => {
                self.flush = Flush::Done;
                self.write_stalled_since = None;
            }
            Poll::Ready(Err(_)) => self.abandon(),
            Poll::Pending => {
                self.turn.writes = Readiness::Blocked;
                self.write_stalled_since.get_or_insert(self.turn.now);
            }
        }
    }

    /// Drops chunks that were written, outside every borrow: their drop may run code of the app.
    fn drop_spent_chunks(&self) {
        loop {
            let spent = self.session.output.borrow_mut().pop_spent();
            if spent.is_none() {
                break;
            }
        }
    }

    /// Reads once, if there is a use for more bytes.
    fn read(&mut self, context: &mut Context<'_>) -> Progress {
        let wants_bytes = match self.phase {
            Phase::Talking => self.session.wants_bytes(),
            Phase::Lingering { .. } => true,
            Phase::Closed => false,
        };
        if !wants_bytes {
            // A client that is not read from cannot be heard.
            self.keepalive.heard();
            return Progress::None;
        }
        if self.turn.reads == Readiness::Blocked {
            return Progress::None;
        }
        if self.turn.reads_left == 0 {
            // Others first: the next turn reads on.
            self.turn.reads = Readiness::Blocked;
            context.waker().wake_by_ref();
            return Progress::None;
        }
        self.turn.reads_left -= 1;
        let mut receiver = self.session.receiver.borrow_mut();
        if receiver.needs_buffer() {
            receiver.lend_buffer(self.service.websocket_buffer());
        }
        let mut space = ReadBuf::new(receiver.space());
        let result = Pin::new(&mut self.io).poll_read(context, space.unfilled());
        let count = space.filled().len();
        receiver.filled(count);
        drop(receiver);
        match result {
            Poll::Ready(Ok(())) if count > 0 => self.note_bytes(count),
            Poll::Ready(Ok(())) => self.end_of_input(),
            Poll::Ready(Err(_)) => self.abandon(),
            Poll::Pending => {
                self.turn.reads = Readiness::Blocked;
                return Progress::None;
            }
        }
        Progress::Made
    }

    fn note_bytes(&mut self, count: usize) {
        self.keepalive.heard();
        match &mut self.phase {
            Phase::Talking => self.received_bytes += count as u64,
            Phase::Lingering { discarded, .. } => {
                *discarded += count as u64;
                let is_enough = *discarded > DISCARD_BYTES;
                self.session.receiver.borrow_mut().clear();
                if is_enough {
                    self.finish();
                }
            }
            Phase::Closed => {}
        }
    }

    /// The client has closed its sending side.
    fn end_of_input(&mut self) {
        self.turn.reads = Readiness::Blocked;
        match self.phase {
            Phase::Talking => self.session.end_input(),
            Phase::Lingering { .. } | Phase::Closed => self.finish(),
        }
    }

    /// Closes our side once both have said goodbye and everything is written (RFC 6455 §7.1.1: the server closes first).
    fn close_when_done(&mut self, context: &mut Context<'_>) {
        match (self.phase, self.session.phase()) {
            (Phase::Talking, SessionPhase::Gone) => self.finish(),
            (Phase::Talking, SessionPhase::Done)
                if self.session.output.borrow().waiting() == 0 && self.flush == Flush::Done =>
            {
                match Pin::new(&mut self.io).poll_shutdown(context) {
                    Poll::Pending => {
                        self.write_stalled_since.get_or_insert(self.turn.now);
                    }
                    Poll::Ready(Ok(())) => {
                        self.write_stalled_since = None;
                        let until = self.turn.now + LINGERING_CLOSE_TIMEOUT;
                        self.session.receiver.borrow_mut().clear();
                        self.phase = Phase::Lingering { until, discarded: 0 };
                    }
                    Poll::Ready(Err(_)) => self.finish(),
                }
            }
            (Phase::Talking, SessionPhase::Closing) => {
                self.closing_since.get_or_insert(self.turn.now);
            }
            (Phase::Talking, SessionPhase::Opening | SessionPhase::Open | SessionPhase::Done)
            | (Phase::Lingering { .. } | Phase::Closed, _) => {}
        }
    }

    /// An idle WebSocket holds no buffers.
    fn release_buffers(&self) {
        let buffer = self.session.receiver.borrow_mut().release();
        if let Some(buffer) = buffer {
            self.service.spare_websocket_buffer(buffer);
        }
        let buffer = self.session.output.borrow_mut().release();
        if let Some(buffer) = buffer {
            self.service.spare_reply_buffer(buffer);
        }
    }
}

impl<Io, C> WebSocketStage<Io, C> {
    /// The connection is beyond use.
    fn abandon(&mut self) {
        self.session.lose();
        self.finish();
    }

    /// The connection is over: tells the app and the meter.
    fn finish(&mut self) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        self.session.lose();
        if let Some(handshake) = self.handshake.take() {
            let outcome = RequestOutcome {
                status: handshake.status,
                duration: self.service.clock.now().saturating_duration_since(handshake.started),
                request_bytes: self.received_bytes,
                reply_bytes: self.session.sent_bytes(),
                aborted: !self.session.is_clean(),
            };
            self.service.meter.request_finished(handshake.number, outcome);
            self.service.finish_log_entry(handshake.log_entry, &outcome);
        }
    }
}

impl<Io: Read + Write + Unpin, C: AsRef<[u8]> + 'static> Future for WebSocketStage<Io, C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.phase == Phase::Closed {
            return Poll::Ready(());
        }
        this.turn = TurnState::begin(this.service.clock.now());
        if this.session.turns.begin(context.waker()) {
            this.registration.set_waker(context.waker().clone());
            this.deadline.forget_waker();
        }
        match this.service.drain.phase() {
            DrainPhase::Serving => {}
            DrainPhase::Draining { .. } => {
                this.draining_since.get_or_insert(this.turn.now);
                this.session.announce_leaving();
            }
            DrainPhase::Cut => this.abandon(),
        }
        if this.phase != Phase::Closed {
            this.run(context);
        }
        this.session.turns.end();
        if this.phase == Phase::Closed { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<Io, C> Unpin for WebSocketStage<Io, C> {}

impl<Io, C> Drop for WebSocketStage<Io, C> {
    fn drop(&mut self) {
        self.finish();
        // The chunks are dropped outside the borrow, because their drop may run code of the app.
        let output = std::mem::take(&mut *self.session.output.borrow_mut());
        drop(output);
        self.session.receiver.borrow_mut().clear();
    }
}

impl TurnState {
    fn begin(now: Instant) -> Self {
        Self { now, reads_left: READS_PER_TURN, reads: Readiness::Unknown, writes: Readiness::Unknown }
    }
}
