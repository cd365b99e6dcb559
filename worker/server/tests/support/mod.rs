//! A connection in a glass box: in-memory bytes on one side, a scripted app on the other, and a clock that stands still until
//! a test moves it.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of the box")]
#![allow(clippy::allow_attributes, reason = "which parts are used differs from binary to binary")]

pub mod apps;
pub mod time;
pub mod wire;

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use worker_server::{
    App, Connection, ConnectionInfo, Drain, HalfClose, HandshakeEnd, Http2Limits, Limits, Meter, Peer,
    Policy, RequestOutcome, Scheme, Service, TimeLimit, Tls,
};

use self::{
    time::FakeTime,
    wire::{Io, Wire},
};

/// Limits of the tests: short, and each another number.
pub fn limits() -> Limits {
    Limits {
        keep_alive_timeout: Duration::from_secs(75),
        header_read_timeout: Duration::from_secs(10),
        body_read_timeout: Duration::from_secs(30),
        body_bytes_per_second: None,
        write_timeout: Duration::from_secs(60),
        request_timeout: None,
        admission: None,
        request_line_bytes: 8 * 1024,
        head_bytes: 64 * 1024,
        header_count: 128,
        body_bytes: None,
        half_close: HalfClose::Leaves,
        websocket: None,
        http2: Some(http2_limits()),
    }
}

/// The same for HTTP/2.
pub fn http2_limits() -> Http2Limits {
    Http2Limits {
        concurrent_streams: 20,
        header_list_bytes: 16 * 1024,
        stream_window_bytes: 64 * 1024,
        connection_window_bytes: 128 * 1024,
        frame_bytes: 16 * 1024,
        send_buffer_bytes: 32 * 1024,
        pending_resets: 10,
        local_resets: 30,
        idle_frames: 100,
        ping_interval: None,
        ping_timeout: None,
    }
}

/// What the meter was told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metered {
    Opened,
    Closed,
    Idle,
    Busy,
    Started(Line),
    Finished { status: u16, request_bytes: u64, reply_bytes: u64, aborted: bool },
    Refused(u16),
    Flooded,
    QueueFull,
    Overdue(Duration),
    TimedOut(TimeLimit),
    Handshake(&'static str),
    ProxyHeaderRefused,
}

/// The start of a request line, kept without an allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Line([u8; 32]);

impl Line {
    pub fn new(line: &[u8]) -> Self {
        let mut kept = [b' '; 32];
        let length = line.len().min(kept.len());
        kept[..length].copy_from_slice(&line[..length]);
        Self(kept)
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0.escape_ascii())
    }
}

/// A meter that remembers.
#[derive(Debug)]
pub struct Ledger {
    pub entries: RefCell<Vec<Metered>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { entries: RefCell::new(Vec::with_capacity(10_000)) }
    }
}

impl Ledger {
    fn note(&self, entry: Metered) {
        self.entries.borrow_mut().push(entry);
    }

    /// How many time limits were over.
    pub fn timeouts(&self) -> usize {
        self.entries.borrow().iter().filter(|it| matches!(it, Metered::TimedOut(_))).count()
    }

    /// How often something was noted.
    pub fn count(&self, entry: &Metered) -> usize {
        self.entries.borrow().iter().filter(|it| *it == entry).count()
    }
}

impl Meter for Ledger {
    fn connection_opened(&self) {
        self.note(Metered::Opened);
    }
    fn connection_closed(&self) {
        self.note(Metered::Closed);
    }
    fn connection_idle(&self) {
        self.note(Metered::Idle);
    }
    fn connection_busy(&self) {
        self.note(Metered::Busy);
    }
    fn request_started(&self, line: &[u8]) -> usize {
        self.note(Metered::Started(Line::new(line)));
        self.entries.borrow().len()
    }
    fn request_finished(&self, _: usize, outcome: RequestOutcome) {
        let RequestOutcome { status, request_bytes, reply_bytes, aborted, .. } = outcome;
        self.note(Metered::Finished { status, request_bytes, reply_bytes, aborted });
    }
    fn request_refused(&self, status: u16) {
        self.note(Metered::Refused(status));
    }
    fn connection_flooded(&self) {
        self.note(Metered::Flooded);
    }
    fn queue_was_full(&self) {
        self.note(Metered::QueueFull);
    }
    fn request_overdue(&self, _: usize, age: Duration) {
        self.note(Metered::Overdue(age));
    }
    fn timed_out(&self, limit: TimeLimit) {
        self.note(Metered::TimedOut(limit));
    }
    fn tls_handshake_ended(&self, _: &Peer, end: HandshakeEnd<'_>) {
        self.note(Metered::Handshake(match end {
            HandshakeEnd::Done => "done",
            HandshakeEnd::Failed(_) => "failed",
            HandshakeEnd::TimedOut => "timed out",
            HandshakeEnd::PlainHttp => "plain HTTP",
        }));
    }
    fn proxy_header_refused(&self) {
        self.note(Metered::ProxyHeaderRefused);
    }
}

/// Whether the task was woken since this was last asked.
#[derive(Debug, Default)]
pub struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Bell {
    pub fn rang(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    pub fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

/// The box.
pub struct Rig<A: App> {
    pub wire: Wire,
    pub time: FakeTime,
    pub ledger: Rc<Ledger>,
    pub drain: Drain,
    pub bell: Arc<Bell>,
    waker: Waker,
    service: Rc<Service>,
    connection: Option<Connection<Io, A>>,
}

impl<A: App> Rig<A> {
    pub fn new(app: A) -> Self {
        Self::with_limits(app, limits())
    }

    pub fn with_limits(app: A, limits: Limits) -> Self {
        Self::made(app, limits, Policy::trusting_nobody(), Peer::Unix(None), None)
    }

    /// A box whose connection begins with a handshake.
    pub fn over_tls(app: A, tls: &Tls) -> Self {
        Self::made(app, limits(), Policy::trusting_nobody(), Peer::Unix(None), Some(tls))
    }

    /// A box whose connection comes from `peer`.
    pub fn with_policy(app: A, policy: Policy, peer: Peer) -> Self {
        Self::made(app, limits(), policy, peer, None)
    }

    fn made(app: A, limits: Limits, policy: Policy, peer: Peer, tls: Option<&Tls>) -> Self {
        let time = FakeTime::new();
        let ledger = Rc::new(Ledger::default());
        let drain = Drain::new();
        let service = Service::new(
            limits,
            policy,
            Rc::clone(&ledger) as Rc<dyn Meter>,
            time.clone(),
            time.clone(),
            drain.clone(),
        );
        Self::on(app, tls, service, time, ledger, drain, peer)
    }

    /// A box on a service that others share.
    fn on(
        app: A,
        tls: Option<&Tls>,
        service: Rc<Service>,
        time: FakeTime,
        ledger: Rc<Ledger>,
        drain: Drain,
        peer: Peer,
    ) -> Self {
        let wire = Wire::new();
        let info = Rc::new(ConnectionInfo { peer, local: Peer::Unix(None), scheme: Scheme::Http, tls: None });
        let (io, app, shared) = (wire.io(), Rc::new(app), Rc::clone(&service));
        let connection = match tls {
            Some(tls) => Connection::over_tls(io, info, app, shared, tls),
            None => Connection::new(io, info, app, shared),
        };
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        waker.wake_by_ref();
        Self { wire, time, ledger, drain, bell, waker, service, connection: Some(connection) }
    }

    /// Logs the requests of all connections on the service, from now on.
    pub fn log_access(&self, log: worker_server::AccessLog) {
        self.service.log_access(log);
    }

    /// Another connection on the same service.
    pub fn sibling<B: App>(&self, app: B, ledger: Rc<Ledger>) -> Rig<B> {
        let service = Rc::clone(&self.service);
        Rig::on(app, None, service, self.time.clone(), ledger, self.drain.clone(), Peer::Unix(None))
    }

    /// A bell for the app's wakers.
    pub fn bell_of_app(&self) -> Arc<Bell> {
        Arc::default()
    }

    /// Polls once.
    pub fn turn(&mut self) {
        self.bell.rang();
        if let Some(connection) = &mut self.connection
            && let Poll::Ready(()) = Pin::new(connection).poll(&mut Context::from_waker(&self.waker))
        {
            self.connection = None;
            self.wire.drop_io();
        }
    }

    /// Polls while the connection asks for it. Panics if it never stops asking.
    pub fn run(&mut self) -> &mut Self {
        for _ in 0..100_000 {
            if self.is_closed() || !self.bell.rang() {
                return self;
            }
            self.turn();
        }
        panic!("the connection never comes to rest");
    }

    /// The client sends; the connection runs.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.wire.send(bytes.as_ref());
        self.run()
    }

    /// Time passes; the connection runs.
    pub fn pass(&mut self, duration: Duration) -> &mut Self {
        self.time.pass(duration);
        self.run()
    }

    pub fn is_closed(&self) -> bool {
        self.connection.is_none()
    }

    /// What the client has read since this was last asked, with the Date cut out.
    pub fn received(&mut self) -> String {
        undated(&self.wire.take_output())
    }

    /// Drops the connection as a driver would that is out of patience.
    pub fn drop_connection(&mut self) {
        self.connection = None;
    }
}

/// How long the body of a reply is that was received in text.
pub fn body_bytes(reply: &str) -> u64 {
    reply.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len() as u64)
}

/// Bytes as text, with the Date field cut out.
pub fn undated(bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    text.replace("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "")
}
