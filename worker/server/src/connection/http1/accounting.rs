//! What the meter is told, and that it is told once: whichever way a request or the connection ends.

use super::{Http1, Phase, closing::Linger};
use crate::{App, LINE_BYTES, RequestOutcome, access_log::RequestFacts, mailbox::ReplyPhase};

impl<Io, A: App> Http1<Io, A> {
    /// The connection is beyond use: whatever was in flight is broken off.
    pub(super) fn abandon(&mut self) {
        self.leave_idle();
        self.leave_queue();
        self.phase = Phase::Closed;
        let reply = self.mailbox.reply();
        if self.outcome.is_none() && self.in_flight.is_some() {
            let is_begun = matches!(
                reply.phase,
                ReplyPhase::Streaming(_) | ReplyPhase::Complete | ReplyPhase::Switched | ReplyPhase::Broken
            );
            self.outcome = Some(self.outcome_of(if is_begun { reply.status } else { 0 }));
        }
        if let Some(outcome) = &mut self.outcome {
            outcome.aborted = true;
        }
        self.report();
        if let Some(session) = self.websocket.take() {
            session.lose();
        }
        if reply.phase != ReplyPhase::Over {
            self.mailbox.finish();
        }
    }

    /// Tells the meter of a finished request.
    pub(super) fn report(&mut self) {
        if let Some(outcome) = self.outcome.take()
            && let Some(in_flight) = self.in_flight.take()
        {
            self.service.meter.request_finished(in_flight.number, outcome);
            self.service.finish_log_entry(self.mailbox.take_log_entry(), &outcome);
        }
    }

    pub(super) fn outcome_of(&self, status: u16) -> RequestOutcome {
        let started = self.in_flight.map_or(self.turn.now, |in_flight| in_flight.started);
        RequestOutcome {
            status,
            duration: self.service.clock.now().saturating_duration_since(started),
            request_bytes: self.mailbox.inbound.borrow().received(),
            reply_bytes: self.mailbox.reply().body_bytes,
            aborted: false,
        }
    }

    /// Writes the line of a request that was refused before an app saw it, in the access log.
    pub(super) fn log_refused(&self, outcome: &RequestOutcome) {
        if self.service.access_log().is_none() {
            return;
        }
        let inbound = self.mailbox.inbound.borrow();
        let line = inbound.refused().split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let line = &line[..line.len().min(LINE_BYTES)];
        self.mailbox.begin_log_entry(&RequestFacts { line, head: None, connection: &self.info });
        drop(inbound);
        self.service.finish_log_entry(self.mailbox.take_log_entry(), outcome);
    }

    /// What waits is written, and then the connection closed.
    pub(super) fn begin_closing(&mut self, linger: Linger) {
        self.leave_idle();
        self.phase = Phase::Closing(linger);
    }

    /// Tells the meter that the connection no longer waits for a request.
    pub(super) fn leave_idle(&self) {
        match self.phase {
            Phase::Idle { .. } | Phase::Head { .. } => self.service.meter.connection_busy(),
            Phase::Queued { .. }
            | Phase::Exchange { .. }
            | Phase::Discard { .. }
            | Phase::Closing(_)
            | Phase::Lingering { .. }
            | Phase::Handed(_)
            | Phase::Closed => {}
        }
    }
}
