//! The end of a connection: the last reply is written, the sending side closed, and the client's last bytes read and thrown
//! away, because a close with unread bytes is a reset that may destroy the reply on its way (RFC 9112 §9.6).

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use super::{Http1, Phase, Progress};
use crate::{
    App, Transport,
    limits::{DISCARD_BYTES, IDLE_CLOSE_TIMEOUT, LINGERING_CLOSE_TIMEOUT},
};

/// Whether the client's bytes are read on after our side is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Linger {
    /// The client knows that this is the end, and nothing of it is unread.
    Not,
    /// The client may still be sending while the reply is on its way.
    ForReply,
    /// No reply is on its way, but a request may cross the close.
    ForCrossingRequest,
}

impl<Io: Transport, A: App> Http1<Io, A> {
    pub(super) fn say_farewell(&mut self, context: &mut Context<'_>) -> Progress {
        match self.phase {
            Phase::Closing(linger) => self.close(linger, context),
            Phase::Lingering { until, discarded } => {
                let mut inbound = self.mailbox.inbound.borrow_mut();
                let discarded = discarded + inbound.raw_length() as u64;
                inbound.clear();
                drop(inbound);
                self.phase = if discarded > DISCARD_BYTES {
                    Phase::Closed
                } else {
                    Phase::Lingering { until, discarded }
                };
                Progress::None
            }
            Phase::Idle { .. }
            | Phase::Head { .. }
            | Phase::Queued { .. }
            | Phase::Exchange { .. }
            | Phase::Discard { .. }
            | Phase::Handed(_)
            | Phase::Closed => Progress::None,
        }
    }

    /// Closes the sending side once everything is written.
    fn close(&mut self, linger: Linger, context: &mut Context<'_>) -> Progress {
        if self.mailbox.output.borrow().waiting() > 0 {
            return Progress::None;
        }
        match Pin::new(&mut self.io).poll_shutdown(context) {
            Poll::Pending => {
                self.write_stalled_since.get_or_insert(self.turn.now);
                return Progress::None;
            }
            Poll::Ready(result) => {
                self.write_stalled_since = None;
                self.report();
                let timeout = match (result, linger) {
                    (Ok(()), Linger::ForReply) => LINGERING_CLOSE_TIMEOUT,
                    (Ok(()), Linger::ForCrossingRequest) => IDLE_CLOSE_TIMEOUT,
                    (Ok(()), Linger::Not) | (Err(_), _) => {
                        self.phase = Phase::Closed;
                        return Progress::None;
                    }
                };
                self.phase = Phase::Lingering { until: self.turn.now + timeout, discarded: 0 };
            }
        }
        Progress::Made
    }
}
