//! How long the connection waits, for what, and what happens then.

use std::time::Instant;

use super::{Http1, Phase, Served, closing::Linger};
use crate::{App, TimeLimit, Transport, drain::DrainPhase, http1::refusal::Refusal};

impl<Io: Transport, A: App> Http1<Io, A> {
    /// The earliest time limit that applies now. One beyond the clock's range is none.
    pub(super) fn limit(&self) -> Option<Instant> {
        let limits = &self.service.limits;
        let of_phase = match self.phase {
            Phase::Idle { since, served } => {
                let timeout = match served {
                    Served::Nothing => limits.header_read_timeout,
                    Served::Requests => limits.keep_alive_timeout,
                };
                earliest(since.checked_add(timeout), self.drain_limit(since))
            }
            Phase::Head { since, .. } => since.checked_add(limits.header_read_timeout),
            Phase::Queued { since } => {
                limits.admission.and_then(|admission| since.checked_add(admission.queue_timeout))
            }
            Phase::Exchange { progress } => earliest(self.body_limit(progress), self.rate_limit()),
            Phase::Discard { since, .. } => since.checked_add(limits.body_read_timeout),
            Phase::Lingering { until, .. } => Some(until),
            Phase::Closing(_) | Phase::Handed(_) | Phase::Closed => None,
        };
        earliest(earliest(of_phase, self.write_limit()), self.request_limit())
    }

    /// When a body that makes no progress is given up.
    fn body_limit(&self, progress: Option<Instant>) -> Option<Instant> {
        progress.and_then(|it| it.checked_add(self.service.limits.body_read_timeout))
    }

    /// When a body that comes too slowly is given up.
    fn rate_limit(&self) -> Option<Instant> {
        let rate = self.service.limits.body_bytes_per_second?;
        self.pace.limit(self.mailbox.inbound.borrow().received(), Some(rate))
    }

    /// When the request in flight must be answered.
    fn request_limit(&self) -> Option<Instant> {
        self.in_flight?.limit
    }

    /// When a client that takes nothing is cut off.
    fn write_limit(&self) -> Option<Instant> {
        self.write_stalled_since.and_then(|since| since.checked_add(self.service.limits.write_timeout))
    }

    /// When an idle connection that drains is closed.
    fn drain_limit(&self, idle_since: Instant) -> Option<Instant> {
        let DrainPhase::Draining { linger } = self.service.drain.phase() else { return None };
        let since = self.draining_since.map_or(idle_since, |since| since.max(idle_since));
        since.checked_add(linger)
    }

    /// The limit of [`Http1::limit`] is over.
    pub(super) fn expire(&mut self, limit: Instant) {
        // The timer may run ahead of a clock that is read once a turn.
        let now = self.service.clock.now().max(limit);
        self.turn.now = now;
        if self.write_limit().is_some_and(|limit| now >= limit) {
            self.service.meter.timed_out(TimeLimit::Write);
            self.abandon();
            return;
        }
        if self.request_limit().is_some_and(|limit| now >= limit) {
            self.cut_request_off();
            return;
        }
        match self.phase {
            Phase::Idle { since, served } => {
                let is_draining = self.drain_limit(since).is_some();
                if served == Served::Nothing && !is_draining {
                    self.service.meter.timed_out(TimeLimit::HeaderRead);
                }
                self.begin_closing(Linger::ForCrossingRequest);
            }
            Phase::Head { .. } => {
                self.service.meter.timed_out(TimeLimit::HeaderRead);
                self.refuse(Refusal::Timeout);
            }
            Phase::Queued { .. } => {
                self.service.meter.timed_out(TimeLimit::Queue);
                self.refuse(Refusal::QueueTimeout);
            }
            Phase::Exchange { progress } => {
                let has_stalled = self.body_limit(progress).is_some_and(|limit| now >= limit);
                self.service.meter.timed_out(if has_stalled {
                    TimeLimit::BodyRead
                } else {
                    TimeLimit::BodyRate
                });
                self.refuse(Refusal::Timeout);
            }
            Phase::Discard { .. } => self.begin_closing(Linger::ForReply),
            Phase::Lingering { .. } => self.phase = Phase::Closed,
            Phase::Closing(_) | Phase::Handed(_) | Phase::Closed => {}
        }
    }

    /// The request in flight takes too long: 503 if nothing of a reply was sent, else it is broken off.
    fn cut_request_off(&mut self) {
        let Some(in_flight) = &mut self.in_flight else { return };
        in_flight.limit = None;
        let age = self.turn.now.saturating_duration_since(in_flight.started);
        self.service.meter.request_overdue(in_flight.number, age);
        match self.phase {
            Phase::Exchange { .. } => self.refuse(Refusal::RequestTimeout),
            // All of the reply is there, and its client takes too long for it.
            Phase::Idle { .. }
            | Phase::Head { .. }
            | Phase::Queued { .. }
            | Phase::Discard { .. }
            | Phase::Closing(_)
            | Phase::Lingering { .. }
            | Phase::Handed(_)
            | Phase::Closed => self.abandon(),
        }
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
