//! The end of a worker's connections: one handle that tells all of them to finish, counts them, and cuts them off at the end
//! of the grace. Knows no clock: each connection measures its own linger from the turn in which it learns of the drain.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use slab::Slab;

/// How far a drain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DrainPhase {
    /// Nobody asked for a drain.
    Serving,
    /// Requests in flight finish; a connection that waits for a request stays open for the linger.
    Draining {
        /// Time that a waiting connection is kept for one last request.
        linger: Duration,
    },
    /// What is left is broken off.
    Cut,
}

/// A shared handle to all connections of one worker; a clone is the same handle.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    phase: Cell<DrainPhase>,
    connections: RefCell<Slab<Option<Waker>>>,
    when_fewer: RefCell<Vec<Waker>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            phase: Cell::new(DrainPhase::Serving),
            connections: RefCell::default(),
            when_fewer: RefCell::default(),
        }
    }
}

impl Drain {
    /// A handle without connections, not draining.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the drain. What is in flight finishes with `Connection: close`; a fresh or idle connection stays open for
    /// `linger`, has its next request answered with `Connection: close`, and is closed. Connections that are opened later
    /// follow the same rules.
    pub fn begin(&self, linger: Duration) {
        if self.shared.phase.get() == DrainPhase::Serving {
            self.shared.phase.set(DrainPhase::Draining { linger });
            self.wake_connections();
        }
    }

    /// Breaks off every connection that is left.
    pub fn cut(&self) {
        self.shared.phase.set(DrainPhase::Cut);
        self.wake_connections();
    }

    /// Whether [`Drain::begin`] or [`Drain::cut`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.phase.get() != DrainPhase::Serving
    }

    /// Connections that are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.borrow().len()
    }

    /// Resolves when no connection is left.
    #[must_use]
    pub fn gone(&self) -> Fewer {
        self.fewer_than(1)
    }

    /// Resolves when fewer than `count` connections are open.
    #[must_use]
    pub fn fewer_than(&self, count: usize) -> Fewer {
        Fewer { drain: self.clone(), count }
    }

    pub(crate) fn phase(&self) -> DrainPhase {
        self.shared.phase.get()
    }

    pub(crate) fn register(&self) -> Registration {
        Registration { drain: self.clone(), key: self.shared.connections.borrow_mut().insert(None) }
    }

    fn wake_connections(&self) {
        // Collected first: a waker may run code that opens or closes connections.
        let wakers: Vec<Waker> =
            self.shared.connections.borrow().iter().filter_map(|(_, waker)| waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Future of [`Drain::gone`] and [`Drain::fewer_than`].
#[derive(Debug)]
pub struct Fewer {
    drain: Drain,
    count: usize,
}

impl Future for Fewer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.drain.connections() < self.count {
            return Poll::Ready(());
        }
        let mut when_fewer = self.drain.shared.when_fewer.borrow_mut();
        if !when_fewer.iter().any(|waker| waker.will_wake(context.waker())) {
            when_fewer.push(context.waker().clone());
        }
        Poll::Pending
    }
}

/// A connection's place in the count; given back when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    drain: Drain,
    key: usize,
}

impl Registration {
    /// Notes whom to wake when the drain begins.
    pub(crate) fn set_waker(&self, waker: Waker) {
        let replaced = self.drain.shared.connections.borrow_mut()[self.key].replace(waker);
        drop(replaced);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut connections = self.drain.shared.connections.borrow_mut();
        let waker = connections.remove(self.key);
        drop(connections);
        drop(waker);
        // Empty for as long as nobody waits, which is nearly always.
        let wakers = std::mem::take(&mut *self.drain.shared.when_fewer.borrow_mut());
        wakers.into_iter().for_each(Waker::wake);
    }
}
