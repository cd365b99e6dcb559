//! One request and its reply on a stream of HTTP/2: what the app's side ([`crate::Exchange`]) and hyper's task of the stream share.
//! Never touches the transport: the reply's parts are fetched by hyper as flow control lets it, the body is taken from hyper as
//! the app receives.
//!
//! No borrow is held while foreign code runs that could come back here: `App::call`, wakers, drops of chunks, and the iterator of
//! a reply's fields. hyper's locks are held when it looks at or drops a [`outgoing::Piece`]: nothing of the app's runs there.

mod outgoing;
mod queued;
mod receiving;
mod replying;
mod shared;
mod switching;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    task::Waker,
    time::Instant,
};

use hyper::{HeaderMap, body::Incoming};

use self::receiving::Ahead;
pub(crate) use self::{
    outgoing::{Outgoing, Overdue, Reply},
    queued::Turn,
    shared::{Idle, StreamsShared},
    switching::Switched,
};
use crate::{
    RequestOutcome, Room,
    access_log::Entry,
    body_pace::BodyPace,
    gate::Permit,
    http1::{head::Trailers, reply::ReplyFacts},
    limits::OUTPUT_HIGH_WATER_BYTES,
    mailbox::ReplyBody,
    output::FileRange,
};

/// The shared cell of one stream.
pub(crate) struct Stream<C> {
    /// What the streams of a connection share.
    shared: Rc<StreamsShared<C>>,
    /// Wakes hyper's task of this stream.
    task: Waker,
    /// Clones of the app's handle.
    handles: Cell<u32>,
    reply_body: ReplyBody,
    phase: Cell<Phase>,
    status: Cell<u16>,
    facts: Cell<ReplyFacts>,
    /// The reply's fields, until hyper fetches them.
    fields: RefCell<HeaderMap>,
    /// Parts of the body that hyper has not fetched.
    parts: RefCell<Parts<Part<C>>>,
    /// What follows the body, if the client asked for it.
    trailers: Cell<Option<Box<HeaderMap>>>,
    /// Whether the client takes trailers.
    wants_trailers: Trailers,
    /// What the request asks for.
    purpose: Purpose,
    /// Bytes of parts that hyper has not written.
    waiting: Cell<usize>,
    /// When the client last took some of what waits; `None` while nothing waits.
    stalled_since: Cell<Option<Instant>>,
    /// `None` when the rest of the body is of no interest.
    incoming: RefCell<Option<Incoming>>,
    ahead: RefCell<Ahead>,
    delivery: Cell<Delivery>,
    /// Since when the app waits for more of the body.
    receiving_since: Cell<Option<Instant>>,
    /// How long the app has waited for the body.
    pace: Cell<BodyPace>,
    /// When the request must be answered.
    request_limit: Cell<Option<Instant>>,
    /// The request's place with the app, where places are counted.
    permit: Cell<Option<Permit>>,
    receive_waker: Cell<Option<Waker>>,
    room_waker: Cell<Option<Waker>>,
    over_waker: Cell<Option<Waker>>,
    request_bytes: Cell<u64>,
    reply_bytes: Cell<u64>,
    in_flight: Cell<Option<InFlight>>,
    /// The same, of a request that became a WebSocket, until that takes it.
    switched: Cell<Option<InFlight>>,
    /// The WebSocket has taken it, and the stream is open for as long.
    is_websocket: Cell<bool>,
    /// The request's line in the access log.
    log_entry: Cell<Option<Box<Entry>>>,
}

/// What of a request the reply depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestTraits {
    pub(crate) reply_body: ReplyBody,
    pub(crate) trailers: Trailers,
    pub(crate) purpose: Purpose,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A reply.
    Reply,
    /// A WebSocket in the stream (RFC 8441): any 2xx would open it.
    WebSocket,
}

/// How far the reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No head yet.
    Awaited,
    /// The app's fields are being copied.
    Heading,
    /// There is a head, held back until the first part of the body.
    Held,
    /// The head and parts of the body are there to be fetched.
    Streaming(Framing),
    /// All of the reply is there.
    Complete,
    /// There will be no reply of the app; the engine answers with this status.
    Failed(u16),
    /// The reply breaks off in the middle.
    Broken,
    /// The exchange is over.
    Over,
}

/// What is known of the body's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// There is no body; what the app sends is dropped.
    None,
    /// So much is still to come.
    Length(u64),
    /// It ends when it ends.
    Open,
}

/// How far the app has received the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// The app has not been told of its end.
    Open,
    /// The app was told of its end.
    Done,
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    number: usize,
    started: Instant,
}

/// A part of the reply's body.
enum Part<C> {
    Chunk(C),
    /// So many bytes of a file; they are read as they are fetched.
    File(FileRange, usize),
}

/// Parts in their order; most replies have one, which needs no queue.
struct Parts<P> {
    first: Option<P>,
    rest: VecDeque<P>,
}

impl<P> Parts<P> {
    fn push(&mut self, part: P) {
        if self.first.is_none() && self.rest.is_empty() {
            self.first = Some(part);
        } else {
            self.rest.push_back(part);
        }
    }

    fn push_back_first(&mut self, part: P) {
        if let Some(second) = self.first.replace(part) {
            self.rest.push_front(second);
        }
    }

    fn pop(&mut self) -> Option<P> {
        self.first.take().or_else(|| self.rest.pop_front())
    }

    fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_empty()
    }
}

impl<C> Stream<C> {
    /// A stream whose request was just begun, with one handle of the app. `number` is the meter's.
    pub(crate) fn begin(
        shared: Rc<StreamsShared<C>>,
        task: Waker,
        request: RequestTraits,
        incoming: Incoming,
        number: usize,
    ) -> Rc<Self> {
        let started = shared.service.clock.now();
        let timeout = shared.service.limits.request_timeout;
        if let Some(timeout) = timeout {
            shared.limit(started, timeout);
        }
        Rc::new(Self {
            shared,
            task,
            handles: Cell::new(1),
            reply_body: request.reply_body,
            phase: Cell::new(Phase::Awaited),
            status: Cell::new(0),
            facts: Cell::default(),
            fields: RefCell::default(),
            parts: RefCell::new(Parts { first: None, rest: VecDeque::new() }),
            trailers: Cell::default(),
            wants_trailers: request.trailers,
            purpose: request.purpose,
            waiting: Cell::new(0),
            stalled_since: Cell::new(None),
            incoming: RefCell::new(Some(incoming)),
            ahead: RefCell::new(Ahead::Unknown),
            delivery: Cell::new(Delivery::Open),
            receiving_since: Cell::new(None),
            pace: Cell::default(),
            request_limit: Cell::new(timeout.and_then(|timeout| started.checked_add(timeout))),
            permit: Cell::new(None),
            receive_waker: Cell::new(None),
            room_waker: Cell::new(None),
            over_waker: Cell::new(None),
            request_bytes: Cell::new(0),
            reply_bytes: Cell::new(0),
            in_flight: Cell::new(Some(InFlight { number, started })),
            switched: Cell::new(None),
            is_websocket: Cell::new(false),
            log_entry: Cell::new(None),
        })
    }

    /// Begins the request's line in the access log.
    pub(crate) fn set_log_entry(&self, entry: Box<Entry>) {
        self.log_entry.set(Some(entry));
    }

    /// The request has a place with the app until its reply is complete.
    pub(crate) fn hold(&self, permit: Permit) {
        self.permit.set(Some(permit));
    }

    /// Whether something can still be sent or received.
    pub(crate) fn is_live(&self) -> bool {
        match self.phase.get() {
            Phase::Awaited | Phase::Heading | Phase::Held | Phase::Streaming(_) => true,
            Phase::Complete | Phase::Failed(_) | Phase::Broken | Phase::Over => false,
        }
    }

    pub(crate) fn is_started(&self) -> bool {
        self.phase.get() != Phase::Awaited
    }

    pub(crate) fn add_handle(&self) {
        self.handles.set(self.handles.get() + 1);
    }

    /// A handle was dropped; the last one of an unfinished reply gives it up.
    pub(crate) fn drop_handle(&self) {
        self.handles.set(self.handles.get() - 1);
        if self.handles.get() == 0 {
            self.fail();
        }
    }

    pub(crate) fn fail(&self) {
        self.fail_with(500);
    }

    /// There will be no more of a reply: `status` if none was begun, else the stream is broken off.
    fn fail_with(&self, status: u16) {
        if !self.is_live() {
            return;
        }
        let is_begun = matches!(self.phase.get(), Phase::Streaming(_));
        self.phase.set(if is_begun { Phase::Broken } else { Phase::Failed(status) });
        self.task.wake_by_ref();
    }

    pub(crate) fn room(&self) -> Room {
        if self.is_live() && self.waiting.get() >= OUTPUT_HIGH_WATER_BYTES { Room::Full } else { Room::Free }
    }

    pub(crate) fn wake_on_room(&self, waker: Waker) {
        if self.room() == Room::Full {
            drop(self.room_waker.replace(Some(waker)));
        } else {
            waker.wake();
        }
    }

    pub(crate) fn wake_when_over(&self, waker: Waker) {
        if self.is_live() {
            drop(self.over_waker.replace(Some(waker)));
        } else {
            waker.wake();
        }
    }

    fn wake_receiver(&self) {
        self.stop_waiting();
        if let Some(waker) = self.receive_waker.take() {
            waker.wake();
        }
    }

    fn wake_sender(&self) {
        if let Some(waker) = self.room_waker.take() {
            waker.wake();
        }
    }

    /// hyper is done with the stream, or has broken it off: the app hears that it is over, and the meter how it ended.
    fn end(&self) {
        let phase = self.phase.replace(Phase::Over);
        drop(self.permit.take());
        let is_whole = match phase {
            Phase::Complete => self.parts.borrow().is_empty(),
            Phase::Failed(_) => true,
            Phase::Awaited
            | Phase::Heading
            | Phase::Held
            | Phase::Streaming(_)
            | Phase::Broken
            | Phase::Over => false,
        };
        let incoming = self.incoming.borrow_mut().take();
        drop(incoming);
        while let Some(part) = self.pop_part() {
            drop(part);
        }
        if let Some(in_flight) = self.in_flight.take() {
            let service = &self.shared.service;
            let outcome = RequestOutcome {
                status: self.status.get(),
                duration: service.clock.now().saturating_duration_since(in_flight.started),
                request_bytes: self.request_bytes.get(),
                reply_bytes: self.reply_bytes.get(),
                aborted: !is_whole,
            };
            service.meter.request_finished(in_flight.number, outcome);
            service.finish_log_entry(self.log_entry.take(), &outcome);
            self.shared.stream_ended();
        }
        self.wake_receiver();
        self.wake_sender();
        if let Some(waker) = self.over_waker.take() {
            waker.wake();
        }
    }

    fn pop_part(&self) -> Option<Part<C>> {
        self.parts.borrow_mut().pop()
    }
}
