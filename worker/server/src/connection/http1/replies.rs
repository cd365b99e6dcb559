//! From the app's reply, or its absence, to the next request or the end.

use super::{Flush, Http1, NextStage, Phase, Progress, Served, closing::Linger};
use crate::{
    App, RequestOutcome, Transport,
    http1::{
        chunked::BodyEnd,
        head::Persistence,
        refusal::Refusal,
        reply::{self, ReplyFacts},
    },
    limits::DISCARD_BYTES,
    mailbox::{Closes, ReplyBody, ReplyPhase},
};

impl<Io: Transport, A: App> Http1<Io, A> {
    /// Hands body bytes to the app and looks how far its reply is.
    pub(super) fn attend_exchange(&mut self) -> Progress {
        if let Err(refusal) = self.decode_body() {
            self.refuse(refusal);
            return Progress::Made;
        }
        let reply = self.mailbox.reply();
        match reply.phase {
            ReplyPhase::Awaited | ReplyPhase::Heading | ReplyPhase::Held | ReplyPhase::Streaming(_) => {
                Progress::None
            }
            ReplyPhase::Switched => {
                // The next stage begins on a transport in good order.
                if self.mailbox.output.borrow().waiting() > 0 || self.flush == Flush::Due {
                    return Progress::None;
                }
                self.phase = Phase::Handed(NextStage::WebSocket);
                Progress::Made
            }
            ReplyPhase::Complete => {
                self.complete(self.outcome_of(reply.status), reply.closes);
                Progress::Made
            }
            ReplyPhase::Failed => {
                self.answer_for_failed_app();
                Progress::Made
            }
            ReplyPhase::Broken | ReplyPhase::Over => {
                let outcome = RequestOutcome { aborted: true, ..self.outcome_of(reply.status) };
                self.finish(outcome, Linger::Not);
                Progress::Made
            }
        }
    }

    fn decode_body(&mut self) -> Result<(), Refusal> {
        let mut inbound = self.mailbox.inbound.borrow_mut();
        if inbound.body_end() == BodyEnd::Reached {
            return Ok(());
        }
        let (end, received) = (inbound.body_end(), inbound.received());
        inbound.decode()?;
        self.check_body_size(inbound.received())?;
        let is_news = end != inbound.body_end() || received != inbound.received();
        drop(inbound);
        if is_news {
            self.mailbox.wake_receiver();
        }
        Ok(())
    }

    /// The reply is on its way in whole.
    fn complete(&mut self, outcome: RequestOutcome, closes: Closes) {
        if closes == Closes::Yes {
            let inbound = self.mailbox.inbound.borrow();
            let is_all_read = inbound.body_end() == BodyEnd::Reached && inbound.raw_length() == 0;
            drop(inbound);
            let asked = self.mailbox.request().persistence == Persistence::Close;
            self.finish(outcome, if asked && is_all_read { Linger::Not } else { Linger::ForReply });
            return;
        }
        self.outcome = Some(outcome);
        self.mailbox.finish();
        let mut inbound = self.mailbox.inbound.borrow_mut();
        let start = inbound.received();
        inbound.drop_body();
        drop(inbound);
        self.phase = Phase::Discard { since: self.turn.now, start };
    }

    /// The exchange and the connection end here.
    fn finish(&mut self, outcome: RequestOutcome, linger: Linger) {
        self.outcome = Some(outcome);
        self.mailbox.finish();
        self.begin_closing(linger);
    }

    /// Throws the rest of a body away that the app left unread, as long as that is cheaper than a new connection.
    pub(super) fn discard_body(&mut self) -> Progress {
        let Phase::Discard { start, .. } = self.phase else { return Progress::None };
        let mut inbound = self.mailbox.inbound.borrow_mut();
        let is_sound = inbound.decode().is_ok();
        inbound.drop_body();
        let (end, received) = (inbound.body_end(), inbound.received());
        drop(inbound);
        match end {
            BodyEnd::Reached => {
                self.service.meter.connection_idle();
                self.phase = Phase::Idle { since: self.turn.now, served: Served::Requests };
                Progress::Made
            }
            BodyEnd::Open if !is_sound || received - start > DISCARD_BYTES => {
                self.begin_closing(Linger::ForReply);
                Progress::Made
            }
            BodyEnd::Open => Progress::None,
        }
    }

    /// The app gave up before anything was on its way.
    fn answer_for_failed_app(&mut self) {
        const STATUS: u16 = 500;
        const TEXT: &str = "Internal Server Error";
        let outcome = self.outcome_of(STATUS);
        let reply_body = self.mailbox.request().reply_body;
        self.mailbox.finish();
        let reply_bytes = self.write_plain_reply(STATUS, TEXT, b"", reply_body);
        self.finish(RequestOutcome { reply_bytes, ..outcome }, Linger::ForReply);
    }

    /// Answers for the app what it shall not see, or not see the end of, and closes.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.leave_idle();
        self.leave_queue();
        let reply = self.mailbox.reply();
        match reply.phase {
            ReplyPhase::Streaming(_) | ReplyPhase::Broken => {
                // Its head is on its way: all that can be said now is that it did not end well.
                let outcome = RequestOutcome { aborted: true, ..self.outcome_of(reply.status) };
                return self.finish(outcome, Linger::Not);
            }
            ReplyPhase::Complete | ReplyPhase::Switched => {
                return self.finish(self.outcome_of(reply.status), Linger::ForReply);
            }
            ReplyPhase::Awaited
            | ReplyPhase::Heading
            | ReplyPhase::Held
            | ReplyPhase::Failed
            | ReplyPhase::Over => {}
        }
        let status = refusal.status();
        let is_in_exchange = matches!(self.phase, Phase::Exchange { .. });
        let outcome = is_in_exchange.then(|| self.outcome_of(status));
        self.mailbox.finish();
        if !is_in_exchange {
            self.report();
            self.service.meter.request_refused(status);
        }
        let text = format!("{}: {}\n", reply::reason(status), refusal.explanation());
        let reply_bytes = self.write_plain_reply(status, &text, &refusal.lines(), ReplyBody::Sent);
        if !is_in_exchange {
            self.log_refused(&RequestOutcome { request_bytes: 0, reply_bytes, ..self.outcome_of(status) });
        }
        self.outcome = outcome.map(|outcome| RequestOutcome { reply_bytes, ..outcome });
        self.phase = Phase::Closing(Linger::ForReply);
    }

    /// Writes a whole reply of our own; gives the bytes of its body.
    fn write_plain_reply(&self, status: u16, text: &str, fields: &[u8], body: ReplyBody) -> u64 {
        let mut output = self.mailbox.output.borrow_mut();
        let out = output.bytes();
        self.service.prepare(out);
        reply::write_status_line(out, status);
        out.extend_from_slice(b"content-type: text/plain; charset=utf-8\r\n");
        reply::write_length(out, text.len() as u64);
        out.extend_from_slice(b"connection: close\r\n");
        out.extend_from_slice(fields);
        self.service.stamp(out, &ReplyFacts::default());
        out.extend_from_slice(b"\r\n");
        let sent = match body {
            ReplyBody::Sent => text,
            ReplyBody::Withheld => "",
        };
        out.extend_from_slice(sent.as_bytes());
        output.seal();
        sent.len() as u64
    }
}
