//! HTTP/1 on one connection: reads requests, calls the app and writes replies until the connection is closed. Knows when to
//! read, write and give up; what a request or reply is, is the business of `requests` and `replies`.

mod accounting;
mod closing;
mod queueing;
mod replies;
mod requests;
mod time_limits;
mod writing;

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use hyper::rt::ReadBuf;

use self::closing::Linger;
use super::{
    handover::{Handover, NextStage, StageEnd},
    websocket::{MeteredHandshake, WebSocketStage},
};
use crate::{
    App, ConnectionInfo, HalfClose, RequestOutcome, Service, Transport,
    body_pace::BodyPace,
    deadline::{Deadline, Expiry},
    drain::{DrainPhase, Registration},
    gate::Ticket,
    http1::chunked::BodyEnd,
    inbound::BUFFER_BYTES,
    limits::{FILE_BYTES_PER_TURN, OUTPUT_HIGH_WATER_BYTES, READS_PER_TURN, REQUESTS_PER_TURN},
    mailbox::{Mailbox, ReplyPhase, SWITCHING_PROTOCOLS},
    websocket::session::Session,
};

/// The state of HTTP/1 on one connection.
///
/// A client that closes its sending side while a request is in flight counts as gone unless [`HalfClose::Waits`]. It is noticed at
/// once unless the engine has stopped reading, because the app does not receive or 16 KiB of pipelined requests wait already.
pub(super) struct Http1<Io, A: App> {
    io: Io,
    info: Rc<ConnectionInfo>,
    app: Rc<A>,
    service: Rc<Service>,
    mailbox: Rc<Mailbox<A::Chunk>>,
    registration: Registration,
    first_bytes: FirstBytes,
    phase: Phase,
    /// What the request in flight becomes if the app accepts it.
    websocket: Option<Rc<Session<A::Chunk>>>,
    /// The place in the queue of a request that waits for its turn.
    ticket: Option<Ticket>,
    /// How long the body was waited for.
    pace: BodyPace,
    /// The request that the meter knows of and that is not reported as finished.
    in_flight: Option<InFlight>,
    /// The reply in flight is complete; it is reported when it is written.
    outcome: Option<RequestOutcome>,
    deadline: Deadline,
    input: Input,
    /// When the drain began, as this connection saw it.
    draining_since: Option<Instant>,
    /// When the client last took some of what waits for it; `None` while nothing waits.
    write_stalled_since: Option<Instant>,
    flush: Flush,
    turn: TurnState,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first byte of a request.
    Idle {
        since: Instant,
        served: Served,
    },
    /// The rest of a head. `seen` bytes of it were decoded in vain.
    Head {
        since: Instant,
        seen: usize,
    },
    /// Its turn, for a request whose head is there and stays in the read buffer.
    Queued {
        since: Instant,
    },
    /// The app, or the rest of the body.
    Exchange {
        /// When the body last made progress; `None` while it is not being read.
        progress: Option<Instant>,
    },
    /// The rest of a body that the app left unread.
    Discard {
        since: Instant,
        start: u64,
    },
    /// The last reply to be written, and then the end.
    Closing(Linger),
    /// The client to close its side.
    Lingering {
        until: Instant,
        discarded: u64,
    },
    /// Nothing: another protocol takes over.
    Handed(NextStage),
    Closed,
}

/// Whether the input may still turn out to be HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstBytes {
    /// Nothing was seen that cannot begin its connection preface.
    MayBePreface,
    /// It is HTTP/1.
    Seen,
}

/// Whether a connection has had a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    Nothing,
    Requests,
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    number: usize,
    started: Instant,
    /// When it must be answered.
    limit: Option<Instant>,
}

/// Whether more can come from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// It has closed its sending side and waits for its replies.
    Ended,
}

/// What is known for the length of one turn.
#[derive(Debug, Clone, Copy)]
struct TurnState {
    now: Instant,
    requests_left: u32,
    reads_left: u32,
    file_bytes_left: usize,
    reads: Readiness,
    writes: Readiness,
}

/// Whether it is worth asking the socket.
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

impl<Io, A: App> std::fmt::Debug for Http1<Io, A> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Http1")
            .field("info", &self.info)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl<Io: Transport, A: App> Http1<Io, A> {
    /// Takes over a connection that was just opened and counts as idle.
    pub(super) fn new(handover: Handover<Io, A>) -> Self {
        let Handover { io, unread, registration, info, app, service } = handover;
        let now = service.clock.now();
        let mailbox = Rc::new(Mailbox::new(Rc::clone(&service)));
        if !unread.is_empty() {
            mailbox.inbound.borrow_mut().take_over(&unread);
        }
        Self {
            io,
            info,
            app,
            mailbox,
            registration,
            first_bytes: if service.limits.http2.is_some() {
                FirstBytes::MayBePreface
            } else {
                FirstBytes::Seen
            },
            service,
            phase: Phase::Idle { since: now, served: Served::Nothing },
            websocket: None,
            ticket: None,
            pace: BodyPace::default(),
            in_flight: None,
            outcome: None,
            deadline: Deadline::default(),
            input: Input::Open,
            draining_since: None,
            write_stalled_since: None,
            flush: Flush::Done,
            turn: TurnState::begin(now),
        }
    }

    /// The connection as a WebSocket, after [`Http1::poll`] ended with one.
    pub(super) fn into_websocket(mut self) -> Option<WebSocketStage<Io, A::Chunk>> {
        let session = self.websocket.take()?;
        self.mailbox.finish();
        let handshake = self.in_flight.take().map(|it| MeteredHandshake {
            number: it.number,
            status: SWITCHING_PROTOCOLS,
            started: it.started,
            log_entry: self.mailbox.take_log_entry(),
        });
        let Handover { io, unread, registration, .. } = self.into_handover();
        Some(WebSocketStage::new(io, &unread, session, registration, handshake))
    }

    /// The connection for the next stage, after [`Http1::poll`] ended with one.
    pub(super) fn into_handover(self) -> Handover<Io, A> {
        let unread = self.mailbox.inbound.borrow_mut().raw().to_vec();
        self.mailbox.inbound.borrow_mut().clear();
        self.release_buffers();
        let Self { io, info, app, service, registration, .. } = self;
        Handover { io, unread, registration, info, app, service }
    }

    /// One turn. Ready when the connection is closed and everything about it was counted, or when another protocol takes it over.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<StageEnd> {
        if self.phase == Phase::Closed {
            return Poll::Ready(StageEnd::Closed);
        }
        self.turn = TurnState::begin(self.service.clock.now());
        if self.mailbox.begin_turn(context.waker()) {
            self.registration.set_waker(context.waker().clone());
            self.deadline.forget_waker();
        }
        match self.service.drain.phase() {
            DrainPhase::Serving => {}
            DrainPhase::Draining { .. } => {
                self.draining_since.get_or_insert(self.turn.now);
            }
            DrainPhase::Cut => {
                self.abandon();
                return Poll::Ready(StageEnd::Closed);
            }
        }
        let result = self.run(context);
        self.mailbox.end_turn();
        result
    }

    /// Does all that can be done now.
    fn run(&mut self, context: &mut Context<'_>) -> Poll<StageEnd> {
        loop {
            self.advance(context);
            if let Phase::Handed(next) = self.phase {
                return Poll::Ready(StageEnd::Next(next));
            }
            let wrote = self.write(context);
            if self.phase == Phase::Closed {
                return Poll::Ready(StageEnd::Closed);
            }
            let read = self.read(context);
            if self.phase == Phase::Closed {
                return Poll::Ready(StageEnd::Closed);
            }
            let changed = self.mailbox.take_changed();
            if wrote == Progress::Made || read == Progress::Made || changed {
                continue;
            }
            if self.turn.requests_left == 0 && self.is_between_requests() {
                // Others first: what is left of the pipeline, or of the socket, comes in the next turn.
                context.waker().wake_by_ref();
                break;
            }
            let limit = self.limit();
            let expiry = self.deadline.watch(limit, self.turn.now, &*self.service.timer, context);
            match (expiry, limit) {
                (Expiry::Over, Some(limit)) => self.expire(limit),
                (Expiry::Over, None) | (Expiry::Ahead, _) => break,
            }
        }
        self.release_buffers();
        Poll::Pending
    }

    /// Steps through the phases until one of them has to wait.
    fn advance(&mut self, context: &mut Context<'_>) {
        while self.phase_step(context) == Progress::Made {}
    }

    fn phase_step(&mut self, context: &mut Context<'_>) -> Progress {
        match self.phase {
            Phase::Idle { .. } | Phase::Head { .. } => self.next_request(context),
            Phase::Queued { .. } => self.await_turn(context),
            Phase::Exchange { .. } => self.attend_exchange(),
            Phase::Discard { .. } => self.discard_body(),
            Phase::Closing(_) | Phase::Lingering { .. } => self.say_farewell(context),
            Phase::Handed(_) | Phase::Closed => Progress::None,
        }
    }

    /// Reads once, if this phase has use for more bytes.
    fn read(&mut self, context: &mut Context<'_>) -> Progress {
        if !self.wants_bytes() {
            return Progress::None;
        }
        if self.input == Input::Ended {
            return self.meet_end_again();
        }
        match self.read_once(context, 0) {
            ReadResult::Bytes => {
                if let Phase::Exchange { progress } = &mut self.phase {
                    *progress = Some(self.turn.now);
                }
                Progress::Made
            }
            ReadResult::Blocked => Progress::None,
            ReadResult::End => {
                self.end_of_input();
                Progress::Made
            }
            ReadResult::Broken => {
                self.abandon();
                Progress::Made
            }
        }
    }

    fn wants_bytes(&mut self) -> bool {
        let inbound = self.mailbox.inbound.borrow();
        match &mut self.phase {
            // Nothing new is begun for a client that does not take what it has asked for.
            Phase::Idle { .. } | Phase::Head { .. } => {
                self.turn.requests_left > 0
                    && self.mailbox.output.borrow().waiting() < OUTPUT_HIGH_WATER_BYTES
            }
            Phase::Exchange { progress } if inbound.body_end() == BodyEnd::Open => {
                let has_room = inbound.has_room();
                // A client that waits to be asked for its body is not slow.
                if has_room && !self.mailbox.awaits_invitation() {
                    progress.get_or_insert(self.turn.now);
                    self.pace.wait(self.turn.now);
                } else {
                    *progress = None;
                    self.pace.rest(self.turn.now);
                }
                if !has_room {
                    self.mailbox.pause();
                }
                has_room
            }
            // Kept armed to notice that the client has gone.
            Phase::Exchange { progress } => {
                *progress = None;
                inbound.raw_length() < BUFFER_BYTES
            }
            Phase::Queued { .. } => inbound.raw_length() < BUFFER_BYTES,
            Phase::Discard { .. } | Phase::Lingering { .. } => true,
            Phase::Closing(_) | Phase::Handed(_) | Phase::Closed => false,
        }
    }

    /// Reads once into the inbound buffer; `wanted` bytes are known to come.
    fn read_once(&mut self, context: &mut Context<'_>, wanted: usize) -> ReadResult {
        if self.turn.reads == Readiness::Blocked {
            return ReadResult::Blocked;
        }
        if self.turn.reads_left == 0 {
            // Others first: the next turn reads on.
            self.turn.reads = Readiness::Blocked;
            context.waker().wake_by_ref();
            return ReadResult::Blocked;
        }
        self.turn.reads_left -= 1;
        let mut inbound = self.mailbox.inbound.borrow_mut();
        if inbound.needs_buffer() {
            inbound.lend_buffer(self.service.read_buffer());
        }
        let mut space = ReadBuf::new(inbound.space(wanted));
        let result = Pin::new(&mut self.io).poll_read(context, space.unfilled());
        let count = space.filled().len();
        inbound.filled(count);
        match result {
            Poll::Ready(Ok(())) if count > 0 => ReadResult::Bytes,
            Poll::Ready(Ok(())) => ReadResult::End,
            Poll::Ready(Err(_)) => ReadResult::Broken,
            Poll::Pending => {
                self.turn.reads = Readiness::Blocked;
                ReadResult::Blocked
            }
        }
    }

    fn is_between_requests(&self) -> bool {
        matches!(self.phase, Phase::Idle { .. } | Phase::Head { .. })
    }

    /// The client has closed its sending side some time ago, and what it said is used up: only its replies are left.
    fn meet_end_again(&mut self) -> Progress {
        match self.phase {
            Phase::Queued { .. } | Phase::Exchange { .. } | Phase::Handed(_) => Progress::None,
            Phase::Idle { .. }
            | Phase::Head { .. }
            | Phase::Discard { .. }
            | Phase::Closing(_)
            | Phase::Lingering { .. }
            | Phase::Closed => {
                self.end_of_input();
                Progress::Made
            }
        }
    }

    /// The client has closed its sending side.
    fn end_of_input(&mut self) {
        self.turn.reads = Readiness::Blocked;
        let has_said_all = self.mailbox.inbound.borrow().body_end() == BodyEnd::Reached;
        match self.phase {
            Phase::Exchange { .. } if has_said_all && self.service.limits.half_close == HalfClose::Waits => {
                self.input = Input::Ended;
            }
            Phase::Queued { .. } if self.service.limits.half_close == HalfClose::Waits => {
                self.input = Input::Ended;
            }
            // What is complete is still written.
            Phase::Idle { .. } | Phase::Head { .. } | Phase::Discard { .. } => {
                self.begin_closing(Linger::Not);
            }
            Phase::Exchange { .. }
                if matches!(self.mailbox.reply().phase, ReplyPhase::Complete | ReplyPhase::Switched) => {}
            Phase::Queued { .. } | Phase::Exchange { .. } | Phase::Lingering { .. } => self.abandon(),
            Phase::Closing(_) | Phase::Handed(_) | Phase::Closed => {}
        }
    }

    /// Idle connections hold no buffers.
    fn release_buffers(&self) {
        let read_buffer = self.mailbox.inbound.borrow_mut().release();
        if let Some(buffer) = read_buffer {
            self.service.spare_read_buffer(buffer);
        }
        let reply_buffer = self.mailbox.output.borrow_mut().release();
        if let Some(buffer) = reply_buffer {
            self.service.spare_reply_buffer(buffer);
        }
    }
}

impl<Io, A: App> Http1<Io, A> {
    /// The connection is dropped: whatever is in flight ends here.
    pub(super) fn break_off(&mut self) {
        self.abandon();
        // The chunks are dropped outside the borrow, because their drop may run code of the app.
        let output = std::mem::take(&mut *self.mailbox.output.borrow_mut());
        drop(output);
        let inbound = std::mem::take(&mut *self.mailbox.inbound.borrow_mut());
        drop(inbound);
    }
}

impl TurnState {
    fn begin(now: Instant) -> Self {
        Self {
            now,
            requests_left: REQUESTS_PER_TURN,
            reads_left: READS_PER_TURN,
            file_bytes_left: FILE_BYTES_PER_TURN,
            reads: Readiness::Unknown,
            writes: Readiness::Unknown,
        }
    }
}

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadResult {
    Bytes,
    Blocked,
    End,
    Broken,
}
