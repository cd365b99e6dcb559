//! How long a WebSocket waits, for what, and what happens then: pings, the client's close frame, writes that stall, the drain.

use std::time::Instant;

use super::{Phase, WebSocketStage};
use crate::{
    TimeLimit, WebSocketLimits,
    drain::DrainPhase,
    limits::{CLOSE_TIMEOUT, DRAINING_CLOSE_TIMEOUT},
    websocket::{
        close::{INTERNAL_ERROR, SERVICE_RESTART},
        session::SessionPhase,
    },
};

/// Whether the client is alive, as far as pings tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keepalive {
    /// When the next ping is due; `None` for never.
    next: Option<Instant>,
    /// When the last ping was sent, if nothing was heard since.
    unanswered_since: Option<Instant>,
    /// Pings sent; the payload of the next one.
    count: u32,
}

impl Keepalive {
    pub(super) fn new(now: Instant, limits: &WebSocketLimits) -> Self {
        let next = limits.ping_interval.and_then(|interval| now.checked_add(interval));
        Self { next, unanswered_since: None, count: 0 }
    }

    /// The client has sent something, which says as much as a pong.
    pub(super) fn heard(&mut self) {
        self.unanswered_since = None;
    }
}

impl<Io, C> WebSocketStage<Io, C> {
    /// The earliest time limit that applies now. One beyond the clock's range is none.
    pub(super) fn limit(&self) -> Option<Instant> {
        let of_phase = match (self.phase, self.session.phase()) {
            (Phase::Lingering { until, .. }, _) => Some(until),
            (Phase::Talking, SessionPhase::Open) => {
                earliest([self.keepalive.next, self.pong_limit(), self.drain_limit()])
            }
            (Phase::Talking, SessionPhase::Closing) => self.close_limit(),
            (Phase::Talking, SessionPhase::Opening | SessionPhase::Done | SessionPhase::Gone)
            | (Phase::Closed, _) => None,
        };
        earliest([of_phase, self.write_limit(), None])
    }

    fn pong_limit(&self) -> Option<Instant> {
        self.keepalive.unanswered_since?.checked_add(self.limits.ping_timeout?)
    }

    /// When a client that takes nothing is cut off.
    fn write_limit(&self) -> Option<Instant> {
        self.write_stalled_since?.checked_add(self.service.limits.write_timeout)
    }

    /// When an app that was told of the drain has had its chance.
    fn drain_limit(&self) -> Option<Instant> {
        let DrainPhase::Draining { linger } = self.service.drain.phase() else { return None };
        self.draining_since?.checked_add(linger)
    }

    fn close_limit(&self) -> Option<Instant> {
        let timeout = match self.draining_since {
            Some(_) => DRAINING_CLOSE_TIMEOUT,
            None => CLOSE_TIMEOUT,
        };
        // Whichever came later: a drain shortens a wait that has begun, but not to nothing.
        self.closing_since.max(self.draining_since)?.checked_add(timeout)
    }

    /// The limit of [`Self::limit`] is over.
    pub(super) fn expire(&mut self, limit: Instant) {
        // The timer may run ahead of a clock that is read once a turn.
        let now = self.service.clock.now().max(limit);
        self.turn.now = now;
        let is_over = |limit: Option<Instant>| limit.is_some_and(|limit| now >= limit);
        if is_over(self.write_limit()) {
            self.service.meter.timed_out(TimeLimit::Write);
            self.abandon();
            return;
        }
        match (self.phase, self.session.phase()) {
            (Phase::Lingering { .. }, _) | (Phase::Talking, SessionPhase::Closing) => self.finish(),
            (Phase::Talking, SessionPhase::Open) if is_over(self.drain_limit()) => {
                self.session.shut(SERVICE_RESTART, "");
            }
            (Phase::Talking, SessionPhase::Open) if is_over(self.pong_limit()) => {
                self.service.meter.timed_out(TimeLimit::Ping);
                self.session.give_up(INTERNAL_ERROR, "keepalive ping timeout");
            }
            (Phase::Talking, SessionPhase::Open) => self.ping(now),
            (Phase::Talking, SessionPhase::Opening | SessionPhase::Done | SessionPhase::Gone)
            | (Phase::Closed, _) => {}
        }
    }

    fn ping(&mut self, now: Instant) {
        let Keepalive { next, unanswered_since, count } = &mut self.keepalive;
        *next = self.limits.ping_interval.and_then(|interval| now.checked_add(interval));
        // What waits to be written says nothing of the client: the write timeout watches over that.
        if unanswered_since.is_none() && self.write_stalled_since.is_none() {
            *unanswered_since = Some(now);
            *count = count.wrapping_add(1);
            self.session.ping(&count.to_be_bytes());
        }
    }
}

fn earliest(limits: [Option<Instant>; 3]) -> Option<Instant> {
    limits.into_iter().flatten().min()
}
