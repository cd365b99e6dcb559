//! A keep-alive request allocates nothing in the engine once the connection has warmed up.

mod support;

use allocation_counter::measure;
use support::Rig;
use worker_server::{AccessLog, AccessOutput, App, Exchange, Format, Last, LocalTime, RequestHead, Taken};

/// Replies with static bytes: what allocates is not the app.
struct Fixed;

impl App for Fixed {
    type Chunk = &'static [u8];

    fn call(&self, _: &RequestHead<'_>, exchange: Exchange<&'static [u8]>) {
        while let (Taken::Body { more: true }, _) = exchange.receive(<[u8]>::len) {}
        let fields: [(&[u8], &[u8]); 1] = [(b"content-type", b"text/plain")];
        assert_eq!(exchange.head(200, fields.into_iter()), Ok(()));
        assert!(exchange.body(b"Hello, world", Last::Yes).is_ok());
    }
}

/// Takes a line and keeps nothing.
struct Nowhere;

impl AccessOutput for Nowhere {
    fn now(&self) -> LocalTime {
        LocalTime { unix_ms: 0, utc_offset_seconds: 0 }
    }

    fn write(&self, line: &[u8]) {
        assert!(line.ends_with(b"\n"));
    }
}

/// Whether requests are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logging {
    Off,
    On,
}

/// Allocations of a request in the steady state, those of the in-memory socket not counted.
fn allocations_of(request: &'static [u8], logging: Logging) -> u64 {
    let mut rig = Rig::new(Fixed);
    if logging == Logging::On {
        rig.log_access(AccessLog::new(Format::json(1), Nowhere));
    }
    for _ in 0..3 {
        rig.send(request);
        assert!(rig.received().starts_with("HTTP/1.1 200 OK\r\n"));
    }
    rig.wire.reserve_output();
    // Another clock operation or buffer now and then would show in a hundred requests.
    let mut allocations = 0;
    for _ in 0..100 {
        rig.wire.send(request);
        allocations += measure(|| _ = rig.run()).count_total;
    }
    assert_eq!(rig.received().matches("Hello, world").count(), 100);
    allocations
}

#[test]
fn a_request_on_a_warm_connection_allocates_nothing() {
    let counted = measure(|| drop(std::hint::black_box(Box::new([0_u8; 64]))));
    assert_eq!(counted.count_total, 1, "the counter does not count");
    let requests: [&[u8]; 3] = [
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"GET /a/path?query HTTP/1.1\r\nHost: example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\nAccept-Language: en\r\nAccept-Encoding: gzip, br\r\nCookie: a=b\r\nReferer: http://example.org/\r\nDNT: 1\r\nSec-Fetch-Mode: navigate\r\nPriority: u=0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\nhello",
    ];
    for request in requests {
        for logging in [Logging::Off, Logging::On] {
            assert_eq!(allocations_of(request, logging), 0, "{}, log {logging:?}", request.escape_ascii());
        }
    }
}
