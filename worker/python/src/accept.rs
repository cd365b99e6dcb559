//! Accepts connections in the reactor and hands each to the engine, by the same policy of fairness as every other worker.

use std::{cell::RefCell, future::poll_fn, io, pin::Pin, rc::Rc, task::Poll, time::Instant};

use hyper::rt::{Sleep, Timer};
use nix::sys::socket::{setsockopt, sockopt::TcpNoDelay};
use worker::{
    accept_pause::{AcceptPause, Pause},
    accepted::{AcceptFailure, classify, tcp_peer, unix_peer},
    fair_accept::{AcceptTurn, FairAccept},
    inherited_sockets::{Accepted, Listener},
    scoreboard_mapping::Scoreboard,
    tls::{ListenerSecurity, Security},
};
use worker_server::{Connection, ConnectionInfo, Peer, Scheme, Service};

use crate::{
    reactor::{Handle, Reactor, Socket, TaskKey, Watched},
    serving::Served,
};

/// Connections accepted in a row before the loop serves those that it has.
const ACCEPTS_PER_TURN: usize = 8;
/// Bounds the last pass over the accept queue: the longest queue that Linux keeps by default (net.core.somaxconn).
const LAST_ACCEPTS: usize = 4096;

/// What a connection is served with.
#[derive(Clone)]
pub(crate) struct Serving<S> {
    pub(crate) reactor: &'static Reactor,
    pub(crate) application: S,
    pub(crate) service: Rc<Service>,
}

/// The accepting tasks of a worker.
pub(crate) struct Acceptors<S> {
    reactor: &'static Reactor,
    running: Vec<(TaskKey, Rc<RefCell<Acceptor<S>>>)>,
}

impl<S: Served> Acceptors<S> {
    /// Accepts on every socket from now on.
    pub(crate) fn start(
        listeners: Vec<Listener>,
        security: &ListenerSecurity,
        scoreboard: Scoreboard,
        pause: &AcceptPause,
        serving: &Serving<S>,
    ) -> io::Result<Self> {
        let mut running = Vec::new();
        let securities = security.of_all(&listeners);
        for (listener, security) in listeners.into_iter().zip(securities) {
            let fairness = FairAccept::new(scoreboard);
            let acceptor = Acceptor::new(listener, security, (fairness, pause.clone()), serving.clone())?;
            let acceptor = Rc::new(RefCell::new(acceptor));
            running.push((serving.reactor.spawn(run(Rc::clone(&acceptor))), acceptor));
        }
        Ok(Self { reactor: serving.reactor, running })
    }

    /// Accepts what was already established, then no more: whoever got through to the queue is answered.
    pub(crate) fn stop(self) {
        for (task, acceptor) in self.running {
            self.reactor.cancel(task);
            let acceptor = acceptor.borrow();
            acceptor.fairness.stop();
            acceptor.accept_last();
        }
    }
}

struct Acceptor<S> {
    listener: Watched<Listener>,
    /// The address of the socket where it is the same for all of its connections; none on 0.0.0.0 and [::].
    local: Option<Peer>,
    security: Security,
    fairness: FairAccept,
    serving: Serving<S>,
    pause: AcceptPause,
}

/// What one pass over the accept queue ended with.
enum Pass {
    /// The queue is empty.
    Empty,
    /// A sibling should take the next one.
    LeftToSibling,
    /// Enough for one turn.
    Full,
    /// Nothing is accepted for a while.
    Paused(Pause),
}

/// What a waiting acceptor woke up for.
enum Woken {
    Arrival,
    Deadline,
}

async fn run<S: Served>(acceptor: Rc<RefCell<Acceptor<S>>>) {
    acceptor.borrow_mut().fairness.start();
    loop {
        let pass = acceptor.borrow_mut().accept_some();
        match pass {
            Pass::Empty => {
                woken(&acceptor, None).await;
            }
            Pass::LeftToSibling => {
                let deferral = acceptor.borrow().fairness.deferral();
                if let Woken::Deadline = woken(&acceptor, Some(Handle.now() + deferral)).await {
                    acceptor.borrow_mut().fairness.deferral_over();
                }
            }
            Pass::Full => yield_once().await,
            Pass::Paused(pause) => {
                let drain = acceptor.borrow().serving.service.drain().clone();
                rest(&acceptor, pause.over(drain, |time| Handle.sleep(time))).await;
            }
        }
    }
}

/// Waits until there is room for connections again, while the siblings know that this worker accepts nothing.
async fn rest<S>(acceptor: &RefCell<Acceptor<S>>, until: impl Future<Output = ()>) {
    acceptor.borrow().fairness.stop();
    until.await;
    acceptor.borrow_mut().fairness.start();
}

/// Waits for a new connection, or for the deadline.
async fn woken<S>(acceptor: &RefCell<Acceptor<S>>, deadline: Option<Instant>) -> Woken {
    let mut time: Option<Pin<Box<dyn Sleep>>> = deadline.map(|deadline| Handle.sleep_until(deadline));
    poll_fn(|context| {
        if acceptor.borrow().listener.poll_readable(context).is_ready() {
            return Poll::Ready(Woken::Arrival);
        }
        match &mut time {
            Some(time) => time.as_mut().poll(context).map(|()| Woken::Deadline),
            None => Poll::Pending,
        }
    })
    .await
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<S: Served> Acceptor<S> {
    fn new(
        listener: Listener,
        security: Security,
        (fairness, pause): (FairAccept, AcceptPause),
        serving: Serving<S>,
    ) -> io::Result<Self> {
        let local = match &listener {
            Listener::Tcp(socket) => {
                // Connections inherit it (tcp(7)), which saves a system call for each.
                setsockopt(socket, TcpNoDelay, &true)?;
                let address = socket.local_addr()?;
                (!address.ip().is_unspecified()).then_some(Peer::Tcp(address))
            }
            Listener::Unix(socket) => {
                Some(socket.local_addr().map_or(Peer::Unix(None), |address| unix_peer(&address)))
            }
        };
        let listener = Watched::new(serving.reactor, listener)?;
        Ok(Self { listener, local, security, fairness, serving, pause })
    }

    fn accept_some(&mut self) -> Pass {
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.pause.has_room(self.serving.service.drain().connections()) {
                return Pass::Paused(self.pause.full());
            }
            if self.fairness.turn() == AcceptTurn::Theirs {
                return Pass::LeftToSibling;
            }
            match self.listener.get().accept() {
                Ok(connection) => {
                    self.pause.accepted();
                    self.fairness.accepted();
                    self.serve(connection);
                }
                Err(error) => match classify(&error) {
                    AcceptFailure::QueueEmpty => {
                        self.fairness.queue_is_empty();
                        return Pass::Empty;
                    }
                    AcceptFailure::OneConnection => {}
                    AcceptFailure::System => return Pass::Paused(self.pause.exhausted(&error)),
                },
            }
        }
        Pass::Full
    }

    /// Whoever is in the queue when the worker stops got through, and is answered: once, so that the bound of connections, which is
    /// there for those that stay, does not hold here.
    fn accept_last(&self) {
        for _ in 0..LAST_ACCEPTS {
            match self.listener.get().accept() {
                Ok(connection) => self.serve(connection),
                Err(error) => match classify(&error) {
                    AcceptFailure::OneConnection => {}
                    AcceptFailure::QueueEmpty | AcceptFailure::System => return,
                },
            }
        }
    }

    fn serve(&self, connection: Accepted) {
        let (descriptor, peer, own_local) = match connection {
            Accepted::Tcp(stream, peer) => {
                let local = self.local.is_none().then(|| stream.local_addr().map(tcp_peer));
                (stream.into(), tcp_peer(peer), local)
            }
            Accepted::Unix(stream, peer) => (stream.into(), unix_peer(&peer), None),
        };
        let own_local = own_local.and_then(Result::ok);
        let local = own_local.or_else(|| self.local.clone()).unwrap_or(Peer::Unix(None));
        let Serving { reactor, application, service } = &self.serving;
        let socket = match Socket::new(reactor, descriptor) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "cannot watch a connection");
                return;
            }
        };
        let info = |scheme| Rc::new(ConnectionInfo { peer, local, scheme, tls: None });
        let (app, service) = (|| application.of_connection(), Rc::clone(service));
        match &self.security {
            Security::Plain => reactor.spawn(Connection::new(socket, info(Scheme::Http), app(), service)),
            Security::Tls(tls) => {
                reactor.spawn(Connection::over_tls(socket, info(Scheme::Https), app(), service, tls))
            }
            Security::Redirect(redirect) => {
                reactor.spawn(Connection::new(socket, info(Scheme::Http), Rc::new(*redirect), service))
            }
        };
    }
}
