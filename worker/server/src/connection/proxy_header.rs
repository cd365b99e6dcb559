//! The first stage of a connection from a load balancer: reads the PROXY header, which tells whose connection it is, and not one byte
//! of what follows. Knows the parser's answers and the time; what they do to a connection is decided here.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use hyper::rt::{Read, ReadBuf};

use super::handover::{Handover, NextStage, StageEnd};
use crate::{
    ConnectionInfo, TimeLimit, Tls,
    deadline::{Deadline, Expiry},
    drain::DrainPhase,
    proxy_protocol::{self, Parsed, Source, Versions},
};

/// A connection whose PROXY header is being read.
pub(super) struct ProxyHeader<Io, A> {
    handover: Handover<Io, A>,
    /// The handshake that comes after the header, if one does.
    tls: Option<Tls>,
    versions: Versions,
    /// When the header must be complete.
    limit: Option<Instant>,
    deadline: Deadline,
    /// What was read of the header.
    bytes: Vec<u8>,
}

/// What one look at the bytes and the socket brought.
enum Step {
    Progress,
    Blocked,
    Complete(Source),
    Over,
}

impl<Io, A> ProxyHeader<Io, A> {
    /// Takes over a connection that was just opened.
    pub(super) fn new(handover: Handover<Io, A>, versions: Versions, tls: Option<Tls>) -> Self {
        let service = &handover.service;
        let limit = service.clock.now().checked_add(service.limits.header_read_timeout);
        Self { handover, tls, versions, limit, deadline: Deadline::default(), bytes: Vec::new() }
    }

    /// What the next stage needs.
    pub(super) fn into_parts(self) -> (Handover<Io, A>, Option<Tls>) {
        (self.handover, self.tls)
    }
}

impl<Io: Read + Unpin, A> ProxyHeader<Io, A> {
    /// Reads on.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<StageEnd> {
        self.handover.registration.set_waker(context.waker().clone());
        self.deadline.forget_waker();
        let now = self.handover.service.clock.now();
        match self.handover.service.drain.phase() {
            DrainPhase::Serving => {}
            // As a fresh connection: a header, or a request after it, that crosses the drain is still taken.
            DrainPhase::Draining { linger } => self.limit = self.limit.min(now.checked_add(linger)),
            DrainPhase::Cut => return Poll::Ready(StageEnd::Closed),
        }
        loop {
            match self.step(context) {
                Step::Progress => {}
                Step::Complete(source) => return Poll::Ready(self.hand_over(source)),
                Step::Over => return Poll::Ready(StageEnd::Closed),
                Step::Blocked => break,
            }
        }
        match self.deadline.watch(self.limit, now, &*self.handover.service.timer, context) {
            Expiry::Ahead => Poll::Pending,
            Expiry::Over => {
                self.handover.service.meter.timed_out(TimeLimit::HeaderRead);
                Poll::Ready(StageEnd::Closed)
            }
        }
    }

    fn step(&mut self, context: &mut Context<'_>) -> Step {
        let missing = match proxy_protocol::parse(&self.bytes, self.versions) {
            Parsed::Incomplete(missing) => missing,
            Parsed::Complete(source) => return Step::Complete(source),
            Parsed::Malformed => {
                self.handover.service.meter.proxy_header_refused();
                return Step::Over;
            }
        };
        let length = self.bytes.len();
        self.bytes.resize(length + missing, 0);
        let mut space = ReadBuf::new(&mut self.bytes[length..]);
        let result = Pin::new(&mut self.handover.io).poll_read(context, space.unfilled());
        let count = space.filled().len();
        self.bytes.truncate(length + count);
        match result {
            Poll::Ready(Ok(())) if count > 0 => Step::Progress,
            // A balancer that only looks whether somebody answers closes at once: nothing is wrong with that.
            Poll::Ready(Ok(()) | Err(_)) => Step::Over,
            Poll::Pending => Step::Blocked,
        }
    }

    /// From now on the connection is whose the header says.
    fn hand_over(&mut self, source: Source) -> StageEnd {
        match source {
            Source::Own => {}
            Source::Relayed { peer, local } => {
                let mut info = ConnectionInfo::clone(&self.handover.info);
                (info.peer, info.local) = (peer, local);
                self.handover.info = Rc::new(info);
            }
        }
        StageEnd::Next(NextStage::First)
    }
}
