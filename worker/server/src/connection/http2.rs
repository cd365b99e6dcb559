//! HTTP/2 on one connection: drives hyper's connection and the tasks of its streams until the connection is closed. Knows when to
//! turn, leave and give up; frames are hyper's, a request and its reply the business of `calls` and [`crate::stream`].

mod calls;
mod link;
mod tasks;
mod time_limits;
mod websocket;

use std::{
    error::Error as _,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use hyper::server::conn::http2::{Builder, Connection};

use self::{calls::Calls, link::Link, tasks::Tasks};
use super::handover::{Handover, StageEnd};
use crate::{
    App, ConnectionInfo, Limits, Service, Transport,
    deadline::{Deadline, Expiry},
    drain::{DrainPhase, Registration},
    http2::frame_guard::{self, Breach},
    limits::{DISCARD_BYTES, HEADER_LIST_GRACE, HTTP2_ROUNDS_PER_TURN, Http2Limits, LINGERING_CLOSE_TIMEOUT},
    stream::StreamsShared,
};

type HyperConnection<Io, A> = Connection<Link<Io>, Calls<A>, Tasks<<A as App>::Chunk>>;

/// The state of HTTP/2 on one connection.
pub(super) struct Http2<Io, A: App> {
    /// `None` when it has ended.
    hyper: Option<HyperConnection<Io, A>>,
    link: Link<Io>,
    tasks: Tasks<A::Chunk>,
    streams: Rc<StreamsShared<A::Chunk>>,
    /// The waker of hyper's connection, and of the transport.
    waker: Waker,
    info: Rc<ConnectionInfo>,
    service: Rc<Service>,
    registration: Registration,
    phase: Phase,
    deadline: Deadline,
    now: Instant,
}

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It serves.
    Serving,
    /// The client was told to go (GOAWAY): open streams finish, and a connection without any is kept for the linger.
    Leaving {
        since: Instant,
        linger: Duration,
    },
    /// hyper has ended; what it has written last goes out, then the sending side is closed.
    Closing,
    /// The client to close its side.
    Lingering {
        until: Instant,
        discarded: u64,
    },
    Closed,
}

impl<Io, A: App> std::fmt::Debug for Http2<Io, A> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Http2")
            .field("info", &self.info)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl<Io: Transport, A: App> Http2<Io, A> {
    /// Takes over a connection that counts as idle and whose next bytes are the client's connection preface.
    pub(super) fn new(handover: Handover<Io, A>) -> Self {
        let Handover { io, unread, registration, info, app, service } = handover;
        let now = service.clock.now();
        let link = Link::new(io, unread, Rc::clone(&service));
        let streams = StreamsShared::new(Rc::clone(&service));
        let tasks = Tasks::new();
        let calls = Calls {
            info: Rc::clone(&info),
            app,
            service: Rc::clone(&service),
            streams: Rc::clone(&streams),
            tasks: tasks.clone(),
        };
        let hyper = service.limits.http2.map(|limits| {
            builder(tasks.clone(), limits, &service.limits).serve_connection(link.clone(), calls)
        });
        Self {
            phase: if hyper.is_some() { Phase::Serving } else { Phase::Closing },
            hyper,
            link,
            waker: tasks.connection_waker(),
            tasks,
            streams,
            info,
            service,
            registration,
            deadline: Deadline::default(),
            now,
        }
    }

    /// One turn. Ready when the connection is closed and everything about it was counted.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<StageEnd> {
        if self.phase == Phase::Closed {
            return Poll::Ready(StageEnd::Closed);
        }
        self.now = self.service.clock.now();
        if self.tasks.begin_turn(context.waker()) {
            self.registration.set_waker(context.waker().clone());
            self.deadline.forget_waker();
        }
        self.link.begin_turn(self.now);
        match self.service.drain.phase() {
            DrainPhase::Serving => {}
            DrainPhase::Draining { linger } => self.leave(linger),
            DrainPhase::Cut => {
                self.break_off();
                return Poll::Ready(StageEnd::Closed);
            }
        }
        let result = self.run(context);
        self.tasks.end_turn();
        self.streams.drop_spent();
        self.link.release_buffers();
        if self.link.is_hungry() && result.is_pending() {
            self.waker.wake_by_ref();
        }
        result
    }

    /// Does all that can be done now.
    fn run(&mut self, context: &mut Context<'_>) -> Poll<StageEnd> {
        for _ in 0..HTTP2_ROUNDS_PER_TURN {
            self.serve();
            self.write();
            self.say_farewell();
            if self.phase == Phase::Closed {
                return Poll::Ready(StageEnd::Closed);
            }
            if !self.tasks.is_quiet() {
                continue;
            }
            let limit = self.limit();
            match (self.deadline.watch(limit, self.now, &*self.service.timer, context), limit) {
                (Expiry::Over, Some(limit)) => self.expire(limit),
                (Expiry::Over, None) | (Expiry::Ahead, _) => return Poll::Pending,
            }
        }
        // Others first.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Lets hyper read and decode, then runs the streams that have news, until neither has anything to do.
    fn serve(&mut self) {
        let mut end = Poll::Pending;
        if self.tasks.take_connection_rang()
            && let Some(hyper) = &mut self.hyper
        {
            end = Pin::new(hyper).poll(&mut Context::from_waker(&self.waker));
        }
        let ran = self.tasks.run();
        if ran {
            self.streams.drop_spent();
        }
        // A connection that has ended in good order has no streams; one that has not, has none to go on with.
        if let Poll::Ready(result) = end {
            self.end_hyper();
            self.note_end(result.err());
            self.phase = Phase::Closing;
        }
    }

    /// Tells the meter, and the client where hyper has not, why the connection ends before its time.
    fn note_end(&self, error: Option<hyper::Error>) {
        let reason = match self.link.breach() {
            Some(Breach::NoSettings | Breach::BrokenBlock) => Some(h2::Reason::PROTOCOL_ERROR),
            Some(Breach::FrameSize) => Some(h2::Reason::FRAME_SIZE_ERROR),
            Some(Breach::Window) => Some(h2::Reason::FLOW_CONTROL_ERROR),
            Some(Breach::Flood) => Some(h2::Reason::ENHANCE_YOUR_CALM),
            None => None,
        };
        // What hyper wrote before ends with a frame's end: the link takes all of a write.
        if let Some(reason) = reason {
            self.link.append(&frame_guard::goaway(reason.into()));
        }
        let error = error.as_ref().and_then(|error| error.source()?.downcast_ref::<h2::Error>());
        let found = error.filter(|error| error.is_library()).and_then(h2::Error::reason);
        match reason.or(found) {
            Some(h2::Reason::ENHANCE_YOUR_CALM) => self.service.meter.connection_flooded(),
            Some(_) => self.service.meter.request_refused(400),
            None => {}
        }
    }

    /// Writes what has gathered.
    fn write(&mut self) {
        if let Poll::Ready(Err(_)) = self.link.poll_flush_all(&mut Context::from_waker(&self.waker)) {
            self.break_off();
        }
    }

    /// Tells the client to go, once.
    fn leave(&mut self, linger: Duration) {
        if self.phase == Phase::Serving
            && let Some(hyper) = &mut self.hyper
        {
            self.phase = Phase::Leaving { since: self.now, linger };
            Pin::new(hyper).graceful_shutdown();
            self.waker.wake_by_ref();
        }
    }

    /// The end of the connection, as in HTTP/1: a close with unread bytes would be a reset that may destroy what was written last.
    fn say_farewell(&mut self) {
        let mut context = Context::from_waker(&self.waker);
        if self.phase == Phase::Closing
            && let Poll::Ready(Ok(())) = self.link.poll_flush_all(&mut context)
        {
            self.phase = match self.link.poll_shutdown(&mut context) {
                Poll::Pending => Phase::Closing,
                Poll::Ready(Ok(())) => {
                    Phase::Lingering { until: self.now + LINGERING_CLOSE_TIMEOUT, discarded: 0 }
                }
                Poll::Ready(Err(_)) => Phase::Closed,
            };
        }
        while let Phase::Lingering { until, discarded } = self.phase {
            self.phase = match self.link.poll_discard(&mut context) {
                Poll::Pending => return,
                Poll::Ready(Ok(count)) if count > 0 && discarded < DISCARD_BYTES => {
                    Phase::Lingering { until, discarded: discarded + count as u64 }
                }
                Poll::Ready(Ok(_) | Err(_)) => Phase::Closed,
            };
        }
        if self.phase == Phase::Closed {
            self.break_off();
        }
    }
}

impl<Io, A: App> Http2<Io, A> {
    /// hyper is done, or given up: the streams that are left end here.
    fn end_hyper(&mut self) {
        self.streams.close();
        // The tasks first: they tell the apps. Each holds the set that it is in.
        self.tasks.clear();
        self.hyper = None;
        self.streams.drop_spent();
    }

    /// The connection is beyond use, or dropped.
    pub(super) fn break_off(&mut self) {
        self.phase = Phase::Closed;
        self.end_hyper();
    }
}

fn builder<C>(tasks: Tasks<C>, limits: Http2Limits, all: &Limits) -> Builder<Tasks<C>> {
    let mut builder = Builder::new(tasks);
    builder
        .auto_date_header(false)
        .max_concurrent_streams(limits.concurrent_streams)
        .max_header_list_size(limits.header_list_bytes.saturating_mul(HEADER_LIST_GRACE))
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_frame_size(limits.frame_bytes)
        .max_send_buf_size(limits.send_buffer_bytes as usize)
        .max_pending_accept_reset_streams(limits.pending_resets)
        .max_local_error_reset_streams(limits.local_resets);
    // RFC 8441 §3: told only where an app speaks WebSocket.
    if all.websocket.is_some() {
        builder.enable_connect_protocol();
    }
    builder
}
