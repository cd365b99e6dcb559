//! A request of HTTP/2 that waits for its turn, in the place of the reply that hyper polls for. Knows how long it may wait; what it is
//! and what becomes of it is in the hands of whoever let it wait.

use std::{rc::Rc, task::Poll, time::Instant};

use super::{Reply, StreamsShared};
use crate::gate::{Permit, Ticket};

/// How a wait ended.
pub(crate) enum Turn {
    /// The request has its place.
    Come(Permit),
    /// It took too long.
    Missed,
}

/// What comes after the wait.
pub(super) type GoOn<C> = Box<dyn FnOnce(Turn) -> Reply<C>>;

/// The wait. Given up when dropped: the client has left, or the connection is closed.
pub(crate) struct Queued<C> {
    shared: Rc<StreamsShared<C>>,
    ticket: Ticket,
    since: Instant,
    go_on: Option<GoOn<C>>,
}

impl<C> Queued<C> {
    pub(super) fn new(shared: Rc<StreamsShared<C>>, ticket: Ticket, go_on: GoOn<C>) -> Self {
        shared.stream_waits();
        let since = shared.service.clock.now();
        Self { shared, ticket, since, go_on: Some(go_on) }
    }

    /// Ready with what comes after the wait. hyper's task is woken when the turn has come, and when a time limit is over.
    pub(super) fn poll(&mut self) -> Poll<Reply<C>> {
        let turn = match self.ticket.take() {
            Some(permit) => Turn::Come(permit),
            None if self.is_overdue() => {
                self.shared.service.meter.timed_out(crate::TimeLimit::Queue);
                Turn::Missed
            }
            None => return Poll::Pending,
        };
        match self.go_on.take() {
            Some(go_on) => Poll::Ready(go_on(turn)),
            None => Poll::Pending,
        }
    }

    fn is_overdue(&self) -> bool {
        let Some(admission) = self.shared.service.limits.admission else { return false };
        let limit = self.since.checked_add(admission.queue_timeout);
        if limit.is_some_and(|limit| self.shared.now() >= limit) {
            return true;
        }
        self.shared.limit(self.since, admission.queue_timeout);
        false
    }
}

impl<C> Drop for Queued<C> {
    fn drop(&mut self) {
        // Counted by itself if it began.
        self.shared.stream_ended();
    }
}
