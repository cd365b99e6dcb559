//! What a request costs in the engine alone: bytes in memory, an app that replies at once, a clock that stands still.
//! `cargo bench -p worker-server --bench request` prints nanoseconds of processor time per request, the best of several rounds.

use std::{
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use hyper::rt::{Read, ReadBufCursor, Sleep, Timer, Write};
use worker_server::{
    App, Clock, Connection, ConnectionInfo, Drain, Exchange, HalfClose, Last, Limits, Meter, Peer,
    RequestHead, Scheme, Service, Taken, Transport,
};

const ROUNDS: usize = 15;
const REQUESTS: usize = 100_000;

/// Gives the same request again and again, one a poll, and swallows the replies.
struct Treadmill {
    request: &'static [u8],
    is_due: bool,
    written: usize,
}

impl Read for Treadmill {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_due = !self.is_due;
        if !self.is_due {
            return Poll::Pending;
        }
        buffer.put_slice(self.request);
        Poll::Ready(Ok(()))
    }
}

impl Write for Treadmill {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Transport for Treadmill {}

struct Still(Instant);

impl Clock for Still {
    fn now(&self) -> Instant {
        self.0
    }
    fn unix_seconds(&self) -> u64 {
        784_111_777
    }
}

struct Never;

impl Future for Never {
    type Output = ();
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Sleep for Never {}

impl Timer for Never {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Never)
    }
    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Never)
    }
}

struct Silent;

impl Meter for Silent {}

struct Fixed;

impl App for Fixed {
    type Chunk = &'static [u8];

    fn call(&self, _: &RequestHead<'_>, exchange: Exchange<&'static [u8]>) {
        while let (Taken::Body { more: true }, _) = exchange.receive(<[u8]>::len) {}
        let fields: [(&[u8], &[u8]); 1] = [(b"content-type", b"text/plain")];
        let sent =
            exchange.head(200, fields.into_iter()).and_then(|()| exchange.body(b"Hello, world", Last::Yes));
        assert!(sent.is_ok());
    }
}

/// What this thread has run for: the wall clock would count the machine's other work.
fn processor_nanoseconds() -> f64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    statistics
        .split(' ')
        .next()
        .and_then(|field| field.parse().ok())
        .expect("Linux tells a thread's run time")
}

fn nanoseconds_per_request(request: &'static [u8]) -> f64 {
    let hour = Duration::from_secs(3600);
    let limits = Limits {
        keep_alive_timeout: hour,
        header_read_timeout: hour,
        body_read_timeout: hour,
        body_bytes_per_second: None,
        write_timeout: hour,
        request_timeout: None,
        admission: None,
        request_line_bytes: 8192,
        head_bytes: 65_536,
        header_count: 128,
        body_bytes: None,
        half_close: HalfClose::Leaves,
        websocket: None,
        http2: None,
    };
    let service = Service::new(
        limits,
        worker_server::Policy::trusting_nobody(),
        Rc::new(Silent),
        Still(Instant::now()),
        Never,
        Drain::new(),
    );
    let info = Rc::new(ConnectionInfo {
        peer: Peer::Unix(None),
        local: Peer::Unix(None),
        scheme: Scheme::Http,
        tls: None,
    });
    let io = Treadmill { request, is_due: false, written: 0 };
    let mut connection = Connection::new(io, info, Rc::new(Fixed), service);
    let mut context = Context::from_waker(Waker::noop());
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = processor_nanoseconds();
        for _ in 0..REQUESTS {
            assert!(Pin::new(&mut connection).poll(&mut context).is_pending());
        }
        best = best.min((processor_nanoseconds() - start) / REQUESTS as f64);
    }
    best
}

fn main() {
    let requests: [(&str, &'static [u8]); 3] = [
        ("GET, 1 field", b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n"),
        (
            "GET, 14 browser fields",
            b"GET /a/path?query=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nReferer: https://example.org/\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-User: ?1\r\nPriority: u=0, i\r\n\r\n",
        ),
        ("POST, 13 bytes", b"POST /items HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"name\":\"it\"}"),
    ];
    for (name, request) in requests {
        println!("{name:<24} {:6.0} ns", nanoseconds_per_request(request));
    }
}
