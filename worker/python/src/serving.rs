//! From ready to gone: binds the engine to the reactor, accepts, waits for the order to leave, and drains.

use std::{
    future::Future,
    io,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use protocol::settings::HttpSettings;
use pyo3::{Py, PyAny, Python};
use worker::{
    inherited_sockets::Listener, limits::limits, meter::WorkerMeter, scoreboard_mapping::Scoreboard,
    supervision::Reporter,
};
use worker_server::{Clock, Drain, Service};

use crate::{
    accept::{Acceptors, Serving},
    asgi::Shared,
    departure::{Leaving, Orders},
    reactor::{Handle, Reactor},
    service_thread,
};

/// What a worker that runs alone gets beyond its grace before it counts as hung.
const ALONE_SLACK: Duration = Duration::from_secs(1);

/// All that serving needs.
pub(crate) struct Site {
    pub(crate) reactor: &'static Reactor,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) scoreboard: Scoreboard,
    pub(crate) meter: WorkerMeter,
    pub(crate) http: HttpSettings,
    pub(crate) shared: Rc<Shared>,
    pub(crate) reporter: Reporter,
    pub(crate) orders: Orders,
    pub(crate) event_loop: Py<PyAny>,
}

impl Site {
    /// Serves from now on, in the reactor. When an order to leave has come and everything is drained, `left` gets the moment by
    /// which the rest must be over, and the loop is stopped.
    ///
    /// # Errors
    /// When a listening socket cannot be watched.
    pub(crate) fn open(self, left: Rc<std::cell::Cell<Option<Instant>>>) -> io::Result<()> {
        let drain = Drain::new();
        let service = Service::new(
            limits(&self.http),
            Rc::new(self.meter),
            ReactorClock(self.reactor),
            Handle,
            drain.clone(),
        );
        let serving = Serving { reactor: self.reactor, shared: Rc::clone(&self.shared), service };
        let acceptors = Acceptors::start(self.listeners, self.scoreboard, &serving)?;
        self.reporter.ready();
        let Self { reactor, shared, reporter, orders, event_loop, http, .. } = self;
        reactor.spawn(async move {
            let departure = orders.next().await;
            reporter.draining();
            if reporter.is_alone() {
                // Nobody else ends a worker that hangs in its drain.
                service_thread::leave_after(departure.grace() + ALONE_SLACK, 1);
            }
            acceptors.stop();
            let linger = Duration::from_millis(http.drain_linger_ms);
            let leaving = Leaving { orders: &orders, connections: &drain, linger };
            let ended = || all_gone(&drain, &shared);
            let cancel = || Python::attach(|py| shared.cancel_tasks(py));
            left.set(Some(leaving.run(departure, ended, cancel).await));
            Python::attach(|py| {
                if let Err(error) = event_loop.call_method0(py, "stop") {
                    error.write_unraisable(py, None);
                }
            });
        });
        Ok(())
    }
}

/// Resolves when no connection is open and no request's task runs any more: a task may go on after its reply.
async fn all_gone(drain: &Drain, shared: &Shared) {
    let mut connections = pin!(drain.gone());
    std::future::poll_fn(|context| {
        if connections.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        shared.poll_tasks_gone(context)
    })
    .await;
}

/// Time as the reactor tells it: read once a turn, and after each piece of application code.
struct ReactorClock(&'static Reactor);

impl Clock for ReactorClock {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn unix_seconds(&self) -> u64 {
        clock_gettime(ClockId::CLOCK_REALTIME_COARSE)
            .map_or(0, |now| u64::try_from(now.tv_sec()).unwrap_or(0))
    }
}
