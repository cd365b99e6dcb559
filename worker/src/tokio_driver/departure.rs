//! Why and how a native worker leaves: what tells it to, and the drain that follows. Knows connections only as a number that
//! must become zero.

use std::{pin::pin, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use worker_server::Drain;

use crate::{
    error::{StartError, StartErrorKind},
    supervision::ORPHAN_GRACE,
};

/// Why a worker leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    /// It was told to.
    Drain {
        /// Time for what is in flight.
        grace: Duration,
    },
    /// Its supervisor died.
    Orphaned,
    /// It was told again: what is in flight is broken off.
    AtOnce,
}

/// After a cut, connections need a turn of the loop to close.
const CUT_GRACE: Duration = Duration::from_millis(200);

/// What an orphan keeps of its grace for leaving in good order, before it is killed at the end of it.
const ORPHAN_RESERVE: Duration = Duration::from_millis(100);

impl Departure {
    fn grace(self) -> Duration {
        match self {
            Self::Drain { grace } => grace,
            Self::Orphaned => ORPHAN_GRACE - ORPHAN_RESERVE,
            Self::AtOnce => Duration::ZERO,
        }
    }

    /// Lets all connections finish, and breaks off what is left when the grace is over. A later notice may shorten the grace.
    pub(super) async fn drain(self, connections: &Drain, linger: Duration, notices: &mut Notices) {
        let started = Instant::now();
        let mut deadline = started + self.grace();
        // Idle connections must be gone well before the end of the grace.
        connections.begin(linger.min(self.grace() / 2));
        let mut gone = pin!(connections.gone());
        loop {
            tokio::select! {
                biased;
                () = &mut gone => return,
                () = sleep_until(deadline) => break,
                again = notices.next() => deadline = deadline.min(Instant::now() + again.grace()),
            }
        }
        connections.cut();
        if timeout(CUT_GRACE, gone).await.is_err() {
            tracing::warn!(connections = connections.connections(), "leaving with connections still open");
        }
    }
}

/// All that can tell a worker to leave.
#[derive(Debug)]
pub(super) struct Notices {
    orders: mpsc::UnboundedReceiver<Departure>,
    sender: mpsc::UnboundedSender<Departure>,
    terminate: Signal,
    interrupt: Signal,
    /// Taken and left alone: a supervisor's reload and a closed terminal are no business of a worker.
    _hang_up: Option<Signal>,
    graceful_timeout: Duration,
    is_supervised: bool,
    asked: bool,
}

impl Notices {
    /// Takes over the signals. Under a supervisor TERM drains, and INT and HUP (which a terminal sends to everybody) are ignored;
    /// a worker alone drains on TERM and INT, and leaves at once on the second.
    pub(super) fn listen(graceful_timeout_ms: u64, is_supervised: bool) -> Result<Self, StartError> {
        let take = |kind| {
            signal(kind)
                .map_err(|error| StartError::new(StartErrorKind::Os, format!("cannot take signals: {error}")))
        };
        let (sender, orders) = mpsc::unbounded_channel();
        Ok(Self {
            orders,
            sender,
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            _hang_up: is_supervised.then(|| take(SignalKind::hangup())).transpose()?,
            graceful_timeout: Duration::from_millis(graceful_timeout_ms),
            is_supervised,
            asked: false,
        })
    }

    /// Where orders from the supervisor are put in.
    pub(super) fn sender(&self) -> mpsc::UnboundedSender<Departure> {
        self.sender.clone()
    }

    /// The next reason to leave.
    pub(super) async fn next(&mut self) -> Departure {
        loop {
            tokio::select! {
                Some(order) = self.orders.recv() => return order,
                Some(()) = self.terminate.recv() => return self.signalled(),
                Some(()) = self.interrupt.recv() => {
                    if !self.is_supervised {
                        return self.signalled();
                    }
                }
            }
        }
    }

    fn signalled(&mut self) -> Departure {
        let is_second = std::mem::replace(&mut self.asked, true);
        if is_second && !self.is_supervised {
            Departure::AtOnce
        } else {
            Departure::Drain { grace: self.graceful_timeout }
        }
    }
}
