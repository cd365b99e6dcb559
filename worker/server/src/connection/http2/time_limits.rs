//! How long the connection waits, for what, and what happens then.

use std::time::{Duration, Instant};

use super::{Http2, Phase};
use crate::{
    App, TimeLimit, Transport,
    http2::frame_guard,
    stream::{Idle, Overdue},
};

/// How long a client whose connection was idle for too long has to answer the GOAWAY, before the connection is closed anyway.
const GOAWAY_LINGER: Duration = Duration::from_secs(1);

impl<Io: Transport, A: App> Http2<Io, A> {
    /// The earliest time limit that applies now. One beyond the clock's range is none.
    pub(super) fn limit(&self) -> Option<Instant> {
        let of_phase = match self.phase {
            Phase::Serving => earliest(self.idle_limit(), self.streams.earliest_limit()),
            Phase::Leaving { since, linger } => {
                earliest(self.linger_limit(since, linger), self.streams.earliest_limit())
            }
            Phase::Lingering { until, .. } => Some(until),
            Phase::Closing | Phase::Closed => None,
        };
        earliest(of_phase, earliest(self.write_limit(), self.ping_limit()))
    }

    /// When a connection without streams is told to go.
    fn idle_limit(&self) -> Option<Instant> {
        let limits = &self.service.limits;
        match self.streams.idle() {
            Idle::Fresh(since) => since.checked_add(limits.header_read_timeout),
            Idle::Since(since) => since.checked_add(limits.keep_alive_timeout),
            Idle::No | Idle::Closed => None,
        }
    }

    /// When a connection that was told to go and has no streams is closed.
    fn linger_limit(&self, leaving_since: Instant, linger: Duration) -> Option<Instant> {
        match self.streams.idle() {
            Idle::Fresh(since) | Idle::Since(since) => since.max(leaving_since).checked_add(linger),
            Idle::No | Idle::Closed => None,
        }
    }

    /// When a client that says nothing is asked whether it is there, or given up because it did not answer. That is no traffic: it
    /// does not keep an idle connection alive.
    fn ping_limit(&self) -> Option<Instant> {
        let limits = self.service.limits.http2?;
        let is_served = match self.phase {
            Phase::Serving | Phase::Leaving { .. } => true,
            Phase::Closing | Phase::Lingering { .. } | Phase::Closed => false,
        };
        // A question behind what waits would tell nothing: the write timeout watches over that.
        if !is_served || self.link.stalled_since().is_some() {
            return None;
        }
        match self.link.asked_at() {
            Some(asked_at) => asked_at.checked_add(limits.ping_timeout?),
            None => self.link.heard_at().checked_add(limits.ping_interval?),
        }
    }

    /// When a client that takes nothing is cut off.
    fn write_limit(&self) -> Option<Instant> {
        self.link.stalled_since().and_then(|since| since.checked_add(self.service.limits.write_timeout))
    }

    /// The limit of [`Http2::limit`] is over.
    pub(super) fn expire(&mut self, limit: Instant) {
        // The timer may run ahead of a clock that is read once a turn.
        let now = self.service.clock.now().max(limit);
        self.now = now;
        let is_over = |limit: Option<Instant>| limit.is_some_and(|limit| now >= limit);
        if is_over(self.write_limit()) {
            self.service.meter.timed_out(TimeLimit::Write);
            self.break_off();
            return;
        }
        if is_over(self.ping_limit()) {
            if self.link.asked_at().is_some() {
                self.service.meter.timed_out(TimeLimit::Ping);
                self.break_off();
                return;
            }
            self.link.ask(&frame_guard::ping(), now);
        }
        if is_over(self.streams.earliest_limit()) {
            self.check_streams(now);
        }
        match self.phase {
            Phase::Serving if is_over(self.idle_limit()) => {
                if let Idle::Fresh(_) = self.streams.idle() {
                    self.service.meter.timed_out(TimeLimit::HeaderRead);
                }
                self.leave(GOAWAY_LINGER);
            }
            Phase::Leaving { since, linger } if is_over(self.linger_limit(since, linger)) => {
                self.end_hyper();
                self.phase = Phase::Closing;
            }
            Phase::Lingering { .. } => self.break_off(),
            Phase::Serving | Phase::Leaving { .. } | Phase::Closing | Phase::Closed => {}
        }
    }

    /// Looks at the time limits of all streams.
    fn check_streams(&mut self, now: Instant) {
        self.streams.forget_limits(now);
        self.tasks.wake_queued();
        for (slot, stream) in self.tasks.streams() {
            match stream.check_limits(now) {
                Overdue::Nothing => {}
                Overdue::Request(limit) => self.service.meter.timed_out(limit),
                Overdue::Exchange => self.tasks.abort(slot),
                Overdue::Reply => {
                    self.service.meter.timed_out(TimeLimit::Write);
                    self.tasks.abort(slot);
                }
            }
        }
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
