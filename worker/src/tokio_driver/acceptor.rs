//! Accepts connections and hands each to the engine: one task a listening socket, all obeying the same policy of fairness.

use std::{io, rc::Rc};

use nix::sys::socket::{setsockopt, sockopt::TcpNoDelay};
use tokio::{
    io::unix::AsyncFd,
    net::{TcpStream, UnixStream},
    sync::watch,
    task::{JoinHandle, spawn_local},
    time::{Instant, sleep, sleep_until},
};
use worker_server::{App, Connection, ConnectionInfo, Peer, Scheme, Service};

use crate::{
    accept_pause::{AcceptPause, Pause},
    accepted::{AcceptFailure, classify, tcp_peer, unix_peer},
    error::{StartError, StartErrorKind},
    fair_accept::{AcceptTurn, FairAccept},
    inherited_sockets::{Accepted, Inherited, Listener},
    tls::{ListenerSecurity, Security},
    tokio_driver::stream::{KernelSocket, Stream},
};

/// Connections accepted in a row before the loop serves those that it has.
const ACCEPTS_PER_TURN: usize = 32;
/// Bounds the last pass over the accept queue: the longest queue that Linux keeps by default (net.core.somaxconn).
const LAST_ACCEPTS: usize = 4096;

/// The accepting tasks of a worker.
#[derive(Debug)]
pub(super) struct Acceptors {
    stop: watch::Sender<()>,
    tasks: Vec<JoinHandle<()>>,
}

impl Acceptors {
    /// Accepts on every inherited socket from now on.
    pub(super) fn start<A: App>(
        inherited: &Inherited,
        security: &ListenerSecurity,
        app: &Rc<A>,
        service: &Rc<Service>,
    ) -> Result<Self, StartError> {
        let (stop, stopped) = watch::channel(());
        let mut tasks = Vec::new();
        let securities = security.of_all(&inherited.listeners);
        let pause = AcceptPause::new(&inherited.settings.http, inherited.scoreboard);
        for (listener, security) in inherited.listeners.iter().zip(securities) {
            let fairness = FairAccept::new(inherited.scoreboard);
            let policy = (fairness, pause.clone());
            let acceptor = Acceptor::new(listener, security, policy, app, service).map_err(|error| {
                StartError::new(StartErrorKind::Os, format!("cannot watch a listening socket: {error}"))
            })?;
            tasks.push(spawn_local(acceptor.run(stopped.clone())));
        }
        Ok(Self { stop, tasks })
    }

    /// Accepts what was already established, then no more: whoever got through to the queue is answered.
    pub(super) async fn stop(self) {
        drop(self.stop);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "an accepting task broke");
            }
        }
    }
}

struct Acceptor<A: App> {
    listener: AsyncFd<Listener>,
    security: Security,
    fairness: FairAccept,
    app: Rc<A>,
    service: Rc<Service>,
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

impl<A: App> Acceptor<A> {
    fn new(
        listener: &Listener,
        security: Security,
        (fairness, pause): (FairAccept, AcceptPause),
        app: &Rc<A>,
        service: &Rc<Service>,
    ) -> io::Result<Self> {
        if let Listener::Tcp(socket) = listener {
            // Connections inherit it (tcp(7)), which saves a system call for each.
            setsockopt(socket, TcpNoDelay, &true)?;
        }
        let listener = listener.watched()?;
        let (app, service) = (Rc::clone(app), Rc::clone(service));
        Ok(Self { listener, security, fairness, app, service, pause })
    }

    async fn run(mut self, mut stopped: watch::Receiver<()>) {
        self.fairness.start();
        let mut retry_at = None;
        loop {
            tokio::select! {
                biased;
                _sender_is_gone = stopped.changed() => break,
                () = readable(&self.listener) => {}
                () = reached(retry_at) => self.fairness.deferral_over(),
            }
            retry_at = match self.accept_some() {
                Pass::Empty => None,
                Pass::LeftToSibling => Some(Instant::now() + self.fairness.deferral()),
                Pass::Full => Some(Instant::now()),
                Pass::Paused(pause) => {
                    let over = pause.over(self.service.drain().clone(), sleep);
                    tokio::select! {
                        _sender_is_gone = stopped.changed() => break,
                        () = self.rest(over) => Some(Instant::now()),
                    }
                }
            };
        }
        self.fairness.stop();
        self.accept_last();
    }

    fn accept_some(&mut self) -> Pass {
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.pause.has_room(self.service.drain().connections()) {
                return Pass::Paused(self.pause.full());
            }
            if self.fairness.turn() == AcceptTurn::Theirs {
                return Pass::LeftToSibling;
            }
            match self.listener.get_ref().accept() {
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
            match self.listener.get_ref().accept() {
                Ok(connection) => self.serve(connection),
                Err(error) => match classify(&error) {
                    AcceptFailure::OneConnection => {}
                    AcceptFailure::QueueEmpty | AcceptFailure::System => return,
                },
            }
        }
    }

    /// Waits until there is room for connections again, while the siblings know that this worker accepts nothing.
    async fn rest(&mut self, until: impl Future<Output = ()>) {
        self.fairness.stop();
        until.await;
        self.fairness.start();
    }

    fn serve(&self, connection: Accepted) {
        match connection {
            Accepted::Tcp(stream, peer) => {
                let local = stream.local_addr().map_or_else(|_error| Peer::Unix(None), tcp_peer);
                match TcpStream::from_std(stream) {
                    Ok(stream) => self.spawn(stream, tcp_peer(peer), local),
                    Err(error) => tracing::warn!(%error, "cannot watch a connection"),
                }
            }
            Accepted::Unix(stream, peer) => {
                let local = stream.local_addr().map_or(Peer::Unix(None), |address| unix_peer(&address));
                match UnixStream::from_std(stream) {
                    Ok(stream) => self.spawn(stream, unix_peer(&peer), local),
                    Err(error) => tracing::warn!(%error, "cannot watch a connection"),
                }
            }
        }
    }

    fn spawn(&self, stream: impl KernelSocket + 'static, peer: Peer, local: Peer) {
        let info = |scheme| Rc::new(ConnectionInfo { peer, local, scheme, tls: None });
        let (io, app, service) = (Stream::new(stream), Rc::clone(&self.app), Rc::clone(&self.service));
        match &self.security {
            Security::Plain => spawn_local(Connection::new(io, info(Scheme::Http), app, service)),
            Security::Tls(tls) => {
                spawn_local(Connection::over_tls(io, info(Scheme::Https), app, service, tls))
            }
            Security::Redirect(redirect) => {
                spawn_local(Connection::new(io, info(Scheme::Http), Rc::new(*redirect), service))
            }
        };
    }
}

/// Returns when a connection arrived since the last time. The readiness is taken back at once: the accepts that follow
/// either empty the queue or come back by themselves.
async fn readable(listener: &AsyncFd<Listener>) {
    match listener.readable().await {
        Ok(mut readiness) => readiness.clear_ready(),
        // The runtime is going down.
        Err(_error) => std::future::pending().await,
    }
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
