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
            Phase::Exchange { progress } => progress.and_then(|it| it.checked_add(limits.body_read_timeout)),
            Phase::Discard { since, .. } => since.checked_add(limits.body_read_timeout),
            Phase::Lingering { until, .. } => Some(until),
            Phase::Closing(_) | Phase::Handed(_) | Phase::Closed => None,
        };
        earliest(of_phase, self.write_limit())
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
            Phase::Exchange { .. } => {
                self.service.meter.timed_out(TimeLimit::BodyRead);
                self.refuse(Refusal::Timeout);
            }
            Phase::Discard { .. } => self.begin_closing(Linger::ForReply),
            Phase::Lingering { .. } => self.phase = Phase::Closed,
            Phase::Closing(_) | Phase::Handed(_) | Phase::Closed => {}
        }
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
