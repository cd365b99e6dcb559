//! The load client of the tests. It is there to catch a server at losing requests: every request carries an id of its own that the
//! reply must hold, every way to fail is counted under its own name, and nothing is ever sent again but what an HTTP/2 server has
//! declared untouched.

mod client;
mod http2;
mod report;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub use report::{Failure, FailureKind, Report};

use crate::{TlsClient, http::Reply, patience::try_wait_for, patient, wait_until};

/// What the reply to request number `id` must look like: the tags that it carries, or what is wrong with it.
pub type Check = fn(id: u64, reply: &Reply) -> Result<Tags, String>;
/// The bytes of request number `id`.
pub type MakeRequest = fn(id: u64, connections: Connections) -> Vec<u8>;

/// What a reply says about who made it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// Version of the code.
    pub version: String,
    /// Process id of the worker; 0 when the reply does not say.
    pub pid: u32,
}

/// How connections are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// Each carries one request after the other until the server closes it.
    KeptAlive,
    /// A new one for every request, which asks for its close.
    NewEachTime,
    /// HTTP/2, by prior knowledge or over TLS: each carries so many requests at once until the server says that it leaves.
    Http2 {
        /// Streams of a connection that are open at once.
        streams: usize,
    },
}

/// What to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// To whom.
    pub target: SocketAddr,
    /// Requests in flight at once.
    pub concurrency: usize,
    /// How connections are used.
    pub connections: Connections,
    /// Addresses to connect from, in turn, so that the ports of one do not run out.
    pub sources: Vec<IpAddr>,
    /// Longest time for one connect or one reply.
    pub timeout: Duration,
    /// Pause between a reply and the next request of the same connection.
    pub think_time: Duration,
    /// Requests to send in all; none for no bound but [`Running::stop`].
    pub limit: Option<u64>,
    /// Makes a request of HTTP/1. Over HTTP/2 it is always [`echo_request`]'s.
    pub make_request: MakeRequest,
    /// Checks its reply.
    pub check: Check,
    /// HTTP/2 goes over TLS, to a server whose name is `localhost`.
    pub tls: Option<TlsClient>,
}

impl Load {
    /// 64 kept connections, the id in a header, and the reply of the plain guest application: its id, version and process.
    #[must_use]
    pub fn new(target: SocketAddr) -> Self {
        Self {
            target,
            concurrency: 64,
            connections: Connections::KeptAlive,
            sources: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            timeout: Duration::from_secs(10),
            think_time: Duration::ZERO,
            limit: None,
            make_request: echo_request,
            check: check_echo,
            tls: None,
        }
    }

    /// A new connection for each request, from 127.0.0.2 to 127.0.0.9 in turn.
    #[must_use]
    pub fn with_new_connections(mut self) -> Self {
        self.connections = Connections::NewEachTime;
        self.sources = (2..=9).map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))).collect();
        self
    }

    /// HTTP/2, with so many streams at once on each of so many connections.
    #[must_use]
    pub fn over_http2(mut self, connections: usize, streams: usize) -> Self {
        self.connections = Connections::Http2 { streams };
        self.concurrency = connections * streams;
        self
    }

    /// Over TLS, for [`Self::over_http2`].
    #[must_use]
    pub fn over_tls(mut self, client: TlsClient) -> Self {
        self.tls = Some(client);
        self
    }

    /// Begins to send, in a thread of its own.
    ///
    /// # Panics
    /// When the thread cannot be made.
    #[must_use]
    pub fn start(mut self) -> Running {
        self.timeout = patient(self.timeout);
        let shared = Arc::new(Shared::default());
        let for_client = Arc::clone(&shared);
        let thread = std::thread::spawn(move || match self.connections {
            Connections::KeptAlive | Connections::NewEachTime => client::run(&self, &for_client),
            Connections::Http2 { streams } => http2::run(&self, &for_client, streams),
        });
        Running { shared, thread: Some(thread) }
    }
}

/// What the client thread and the test share.
#[derive(Debug, Default)]
struct Shared {
    report: Mutex<Report>,
    /// Of the answered requests, in microseconds. Beside the report, which is cloned at every look.
    latencies_us: Mutex<Vec<u32>>,
    stop: AtomicBool,
}

impl Shared {
    fn with_report<T>(&self, change: impl FnOnce(&mut Report) -> T) -> T {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether request number `id` is still to be sent; then it counts as sent.
    fn begins(&self, load: &Load, id: u64) -> bool {
        let is_over = self.stop.load(Ordering::Relaxed) || load.limit.is_some_and(|limit| id > limit);
        if !is_over {
            self.with_report(|report| report.sent += 1);
        }
        !is_over
    }

    fn latencies_us(&self) -> MutexGuard<'_, Vec<u32>> {
        self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A load that is being sent.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// What happened so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.with_report(|report| report.clone())
    }

    /// Times from the first byte of a request to the last of its reply, of all that were answered over HTTP/1 so
    /// far; they are forgotten here.
    #[must_use]
    pub fn take_latencies(&self) -> Vec<Duration> {
        let taken = std::mem::take(&mut *self.shared.latencies_us());
        taken.into_iter().map(|microseconds| Duration::from_micros(microseconds.into())).collect()
    }

    /// Waits until this many more requests were answered.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait_for_answers(&self, more: u64) {
        let wanted = self.report().answered + more;
        let enough =
            try_wait_for(Duration::from_secs(30), || (self.report().answered >= wanted).then_some(()));
        assert!(enough.is_some(), "too few answers ({wanted} wanted): {}", self.report());
    }

    /// Waits until a version was served at least once.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait_for_version(&self, version: &str) {
        let what = format!("an answer of version {version}");
        wait_until(&what, Duration::from_secs(15), || self.report().versions.contains_key(version));
    }

    /// Ends it: requests in flight are waited for, no new ones are sent.
    ///
    /// # Panics
    /// When the client itself failed.
    #[must_use]
    pub fn stop(mut self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join();
        self.report()
    }

    /// Waits until the limit is reached.
    ///
    /// # Panics
    /// When the client itself failed.
    #[must_use]
    pub fn finish(mut self) -> Report {
        self.join();
        self.report()
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the load client does not panic");
        }
        self.shared.with_report(|report| report.ended = Some(Instant::now()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A GET that carries its id in a header.
#[must_use]
pub fn echo_request(id: u64, connections: Connections) -> Vec<u8> {
    let last = match connections {
        Connections::KeptAlive | Connections::Http2 { .. } => "",
        Connections::NewEachTime => "Connection: close\r\n",
    };
    format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {id}\r\n{last}\r\n").into_bytes()
}

/// The reply of the plain guest application: "<id> <version> <pid>".
///
/// # Errors
/// What is wrong with it.
pub fn check_echo(id: u64, reply: &Reply) -> Result<Tags, String> {
    let text = reply.text();
    let mut words = text.split_whitespace();
    if words.next().and_then(|word| word.parse().ok()) != Some(id) {
        return Err(format!("request {id} was answered with {text:?}"));
    }
    let version = words.next().unwrap_or_default().to_owned();
    let pid =
        words.next().and_then(|word| word.parse().ok()).ok_or_else(|| format!("no process in {text:?}"))?;
    Ok(Tags { version, pid })
}

/// A GET of the welcome app's `/healthz`.
#[must_use]
pub fn health_request(_id: u64, connections: Connections) -> Vec<u8> {
    let last = match connections {
        Connections::KeptAlive | Connections::Http2 { .. } => "",
        Connections::NewEachTime => "Connection: close\r\n",
    };
    format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{last}\r\n").into_bytes()
}

/// Any reply with a body: for applications that echo nothing.
///
/// # Errors
/// When the body is empty.
pub fn check_not_empty(_id: u64, reply: &Reply) -> Result<Tags, String> {
    if reply.body.is_empty() { Err("an empty body".to_owned()) } else { Ok(Tags::default()) }
}
