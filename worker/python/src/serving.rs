//! From ready to gone: binds the engine to the reactor, accepts, waits for the order to leave, and drains.

use std::{
    future::Future,
    io,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use protocol::settings::{HttpSettings, WebSocketSettings};
use worker::{
    accept_pause::AcceptPause,
    inherited_sockets::Listener,
    limits::{limits, websocket_limits},
    meter::WorkerMeter,
    scoreboard_mapping::Scoreboard,
    supervision::Reporter,
    tls::ListenerSecurity,
};
use worker_server::{AccessLog, App, Clock, Drain, Limits, Policy, Service};

use crate::{
    accept::{Acceptors, Serving},
    departure::{Leaving, Orders},
    reactor::{Handle, Reactor},
    service_thread,
};

/// What a worker that runs alone gets beyond its grace before it counts as hung.
const ALONE_SLACK: Duration = Duration::from_secs(1);

/// An application as it is served, whatever it speaks.
pub(crate) trait Served: Clone + 'static {
    /// What the engine calls.
    type App: App;
    /// The application as one connection calls it.
    fn of_connection(&self) -> Rc<Self::App>;
    /// Ready when nothing of any request runs: an application may go on after its reply.
    fn poll_idle(&self, context: &Context<'_>) -> Poll<()>;
    /// The grace is over: what still runs is broken off, as far as that can be done.
    fn cut(&self);
}

/// All that serving needs.
pub(crate) struct Site<S> {
    pub(crate) reactor: &'static Reactor,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) security: ListenerSecurity,
    pub(crate) scoreboard: Scoreboard,
    pub(crate) meter: WorkerMeter,
    pub(crate) http: HttpSettings,
    /// None for an application that speaks no WebSocket.
    pub(crate) websocket: Option<WebSocketSettings>,
    pub(crate) policy: Policy,
    pub(crate) application: S,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) reporter: Reporter,
    pub(crate) orders: Orders,
}

impl<S: Served> Site<S> {
    fn limits(&self) -> Limits {
        let limits = limits(&self.http);
        match &self.websocket {
            Some(websocket) => Limits { websocket: websocket_limits(websocket), ..limits },
            None => limits,
        }
    }

    /// Serves from now on, in the reactor. When an order to leave has come and everything is drained, `left` is told the moment by
    /// which the rest must be over.
    ///
    /// # Errors
    /// When a listening socket cannot be watched.
    pub(crate) fn open(self, left: impl FnOnce(Instant) + 'static) -> io::Result<()> {
        let drain = Drain::new();
        let service = Service::new(
            self.limits(),
            self.policy,
            Rc::new(self.meter),
            ReactorClock(self.reactor),
            Handle,
            drain.clone(),
        );
        if let Some(access_log) = self.access_log {
            service.log_access(access_log);
        }
        let serving = Serving { reactor: self.reactor, application: self.application.clone(), service };
        let pause = AcceptPause::new(&self.http, self.scoreboard);
        let acceptors = Acceptors::start(self.listeners, &self.security, self.scoreboard, &pause, &serving)?;
        self.reporter.ready();
        let Self { reactor, application, reporter, orders, http, .. } = self;
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
            let ended = || all_gone(&drain, &application);
            left(leaving.run(departure, ended, || application.cut()).await);
        });
        Ok(())
    }
}

/// Resolves when no connection is open and nothing of a request runs any more.
async fn all_gone(drain: &Drain, application: &impl Served) {
    let mut connections = pin!(drain.gone());
    std::future::poll_fn(|context| {
        if connections.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        application.poll_idle(context)
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
