//! What the streams of one connection share: the service, how many are open and since when none is, the time limits, and chunks
//! that wait to be dropped where no lock of hyper's is held.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use crate::Service;

/// The streams of one connection.
pub(crate) struct StreamsShared<C> {
    pub(crate) service: Rc<Service>,
    open: Cell<usize>,
    idle: Cell<Idle>,
    /// When the limits of the streams were looked at last.
    looked_at: Cell<Instant>,
    /// No limit of any stream ends before this moment.
    earliest_limit: Cell<Option<Instant>>,
    /// Chunks that were written, or will not be.
    spent: RefCell<Vec<C>>,
    /// For short-lived text, such as a request line.
    pub(super) scratch: Cell<Vec<u8>>,
}

/// Whether and since when the connection waits for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    /// It was opened and has had no request yet.
    Fresh(Instant),
    /// It had requests.
    Since(Instant),
    /// Streams are open.
    No,
    /// The connection is closed; the meter was told.
    Closed,
}

impl<C> StreamsShared<C> {
    /// For a connection that the meter counts as idle.
    pub(crate) fn new(service: Rc<Service>) -> Rc<Self> {
        let now = service.clock.now();
        Rc::new(Self {
            service,
            open: Cell::new(0),
            idle: Cell::new(Idle::Fresh(now)),
            looked_at: Cell::new(now),
            earliest_limit: Cell::new(None),
            spent: RefCell::default(),
            scratch: Cell::default(),
        })
    }

    pub(crate) fn idle(&self) -> Idle {
        self.idle.get()
    }

    /// A request begins. Returns its number with the meter.
    pub(crate) fn stream_began(&self, write_line: impl FnOnce(&mut Vec<u8>)) -> usize {
        self.leave_idle(Idle::No);
        self.open.set(self.open.get() + 1);
        let mut line = self.scratch.take();
        line.clear();
        write_line(&mut line);
        let number = self.service.meter.request_started(&line);
        self.scratch.set(line);
        number
    }

    /// A request waits for its turn: the connection is not idle, and will have one stream fewer when the wait is over.
    pub(super) fn stream_waits(&self) {
        self.leave_idle(Idle::No);
        self.open.set(self.open.get() + 1);
    }

    pub(super) fn stream_ended(&self) {
        self.open.set(self.open.get() - 1);
        if self.open.get() == 0 && self.idle.get() == Idle::No {
            self.idle.set(Idle::Since(self.service.clock.now()));
            self.service.meter.connection_idle();
        }
    }

    /// The connection is closed.
    pub(crate) fn close(&self) {
        self.leave_idle(Idle::Closed);
    }

    fn leave_idle(&self, next: Idle) {
        match self.idle.replace(next) {
            Idle::Fresh(_) | Idle::Since(_) => self.service.meter.connection_busy(),
            Idle::No => {}
            Idle::Closed => self.idle.set(Idle::Closed),
        }
    }

    /// A stream begins to wait for something that must come within `timeout`.
    pub(super) fn limit(&self, since: Instant, timeout: Duration) {
        if let Some(limit) = since.checked_add(timeout)
            && self.earliest_limit.get().is_none_or(|earliest| limit < earliest)
        {
            self.earliest_limit.set(Some(limit));
        }
    }

    /// When the limits of the streams must be looked at.
    pub(crate) fn earliest_limit(&self) -> Option<Instant> {
        self.earliest_limit.get()
    }

    /// The limits are about to be looked at, one by one.
    pub(crate) fn forget_limits(&self, now: Instant) {
        self.looked_at.set(now);
        self.earliest_limit.set(None);
    }

    /// The time; not before the limits were looked at last, since the timer may run ahead of a clock that is read once a turn.
    pub(super) fn now(&self) -> Instant {
        self.service.clock.now().max(self.looked_at.get())
    }

    /// Keeps a chunk that cannot be dropped here: its drop may run code of the app.
    pub(super) fn spend(&self, chunk: C) {
        self.spent.borrow_mut().push(chunk);
    }

    /// Drops what was spent, where no lock or borrow is held.
    pub(crate) fn drop_spent(&self) {
        loop {
            let chunk = self.spent.borrow_mut().pop();
            if chunk.is_none() {
                break;
            }
        }
    }
}
