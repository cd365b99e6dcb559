//! Why and how a Python worker leaves: orders come from any thread (control pipe, signals), the drain runs in the reactor.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use worker::supervision::ORPHAN_GRACE;
use worker_server::Drain;

use crate::reactor::Handle;

/// What is kept of a grace for the application's shutdown, after its connections: a fifth, but never more than this.
const LONGEST_SHUTDOWN_RESERVE: Duration = Duration::from_secs(2);
/// After a cut, connections and tasks need a few turns of the loop to end.
const CUT_GRACE: Duration = Duration::from_millis(200);

/// Why a worker leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It was told to.
    Drain {
        /// Time for all of it, the application's shutdown included.
        grace: Duration,
    },
    /// Its supervisor died.
    Orphaned,
    /// It was told again: what is in flight is broken off.
    AtOnce,
}

impl Departure {
    /// Time for all of it.
    pub(crate) fn grace(self) -> Duration {
        match self {
            Self::Drain { grace } => grace,
            Self::Orphaned => ORPHAN_GRACE,
            Self::AtOnce => Duration::ZERO,
        }
    }
}

/// Where orders to leave are put, from any thread, and waited for, in the reactor.
#[derive(Clone, Default)]
pub(crate) struct Orders {
    shared: Arc<Mutex<Pending>>,
}

#[derive(Default)]
struct Pending {
    orders: VecDeque<Departure>,
    waker: Option<Waker>,
    was_asked: bool,
}

impl Orders {
    /// Orders a departure.
    pub(crate) fn put(&self, departure: Departure) {
        let waker = {
            let mut pending = self.lock();
            pending.orders.push_back(departure);
            pending.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A signal of a worker that runs alone: the first one drains, the second one means now.
    pub(crate) fn put_signal(&self, grace: Duration) {
        let is_second = std::mem::replace(&mut self.lock().was_asked, true);
        self.put(if is_second { Departure::AtOnce } else { Departure::Drain { grace } });
    }

    fn poll_next(&self, context: &Context<'_>) -> Poll<Departure> {
        let mut pending = self.lock();
        match pending.orders.pop_front() {
            Some(departure) => Poll::Ready(departure),
            None => {
                pending.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The next order.
    pub(crate) async fn next(&self) -> Departure {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // A queue of small values is whole even when a thread died while it held the lock.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the worker's connections and the tasks of its requests.
pub(crate) struct Leaving<'a> {
    pub(crate) orders: &'a Orders,
    pub(crate) connections: &'a Drain,
    pub(crate) linger: Duration,
}

enum Next {
    Gone,
    TimeIsUp,
    Again(Departure),
}

impl Leaving<'_> {
    /// Lets everything finish; `ended` resolves when connections and tasks are gone. What is left when the time is up is broken
    /// off: connections here, tasks by `cancel`. Gives the moment by which the whole departure must be over.
    pub(crate) async fn run<E: Future<Output = ()>>(
        &self,
        departure: Departure,
        ended: impl Fn() -> E,
        cancel: impl FnOnce(),
    ) -> Instant {
        let started = Handle.now();
        let mut over_by = started + departure.grace();
        let mut time = Handle.sleep_until(started + time_for_connections(departure.grace()));
        self.connections.begin(self.linger.min(departure.grace() / 2));
        let mut gone = pin!(ended());
        loop {
            match self.next(gone.as_mut(), &mut time).await {
                Next::Gone => return over_by,
                Next::TimeIsUp => break,
                Next::Again(again) => {
                    over_by = over_by.min(Handle.now() + again.grace());
                    time = Handle.sleep_until(over_by - again.grace() / 5);
                }
            }
        }
        self.connections.cut();
        cancel();
        let mut time = Handle.sleep(CUT_GRACE);
        while let Next::Again(_) = self.next(gone.as_mut(), &mut time).await {}
        over_by
    }

    async fn next(
        &self,
        mut gone: Pin<&mut impl Future<Output = ()>>,
        time: &mut Pin<Box<dyn Sleep>>,
    ) -> Next {
        poll_fn(|context| {
            if gone.as_mut().poll(context).is_ready() {
                return Poll::Ready(Next::Gone);
            }
            if let Poll::Ready(again) = self.orders.poll_next(context) {
                return Poll::Ready(Next::Again(again));
            }
            time.as_mut().poll(context).map(|()| Next::TimeIsUp)
        })
        .await
    }
}

fn time_for_connections(grace: Duration) -> Duration {
    grace - (grace / 5).min(LONGEST_SHUTDOWN_RESERVE)
}
