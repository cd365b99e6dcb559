//! A request that waits for its turn, because as many as may are with the app. Its head stays in the read buffer, where it is decoded
//! again when its turn has come: waiting costs a connection no memory beyond what it has read.

use std::task::Context;

use super::{Http1, Phase, Progress};
use crate::{
    App, Transport,
    gate::{Entry, Ticket},
    http1::refusal::Refusal,
};

impl<Io: Transport, A: App> Http1<Io, A> {
    /// Whether the request whose head was found may begin now. If not, it waits, or was refused.
    pub(super) fn is_admitted(&mut self, context: &Context<'_>) -> bool {
        let Some(gate) = &self.service.gate else { return true };
        if self.mailbox.is_admitted() {
            return true;
        }
        match gate.enter() {
            Entry::Admitted(permit) => {
                self.mailbox.hold(permit);
                true
            }
            Entry::Queued(ticket) => {
                ticket.set_waker(context.waker());
                self.leave_idle();
                self.ticket = Some(ticket);
                self.phase = Phase::Queued { since: self.turn.now };
                false
            }
            Entry::Full => {
                self.service.meter.queue_was_full();
                self.refuse(Refusal::QueueFull);
                false
            }
        }
    }

    /// Begins the request if its turn has come.
    pub(super) fn await_turn(&mut self, context: &mut Context<'_>) -> Progress {
        if let Some(ticket) = &mut self.ticket {
            let Some(permit) = ticket.take() else {
                ticket.set_waker(context.waker());
                return Progress::None;
            };
            self.mailbox.hold(permit);
            self.ticket = None;
        }
        self.next_request(context)
    }
}

impl<Io, A: App> Http1<Io, A> {
    /// Gives up the place in the queue, or with the app, of a request that will not begin.
    pub(super) fn leave_queue(&mut self) {
        let ticket: Option<Ticket> = self.ticket.take();
        drop(ticket);
        self.mailbox.give_way();
    }
}
