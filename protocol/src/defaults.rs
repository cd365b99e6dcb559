//! The defaults that two command lines share: `supervise`, and `worker` when it runs alone. Here, so that none is in two places.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::settings::{
    AsgiSettings, AutomaticField, ContextVariables, ForwardedHeader, ForwardingSettings, Http2Settings,
    HttpSettings, OnDisconnect, PerMessageDeflate, ProxyProtocol, ReplyFieldSettings, RootPathMode,
    SpecVersion, TrustedPeer, WebSocketMode, WebSocketSettings,
    http1::{HalfClose, Http1Settings},
};

/// Where an application listens when nobody says and PORT is not set: on loopback only.
pub const BIND: &str = "127.0.0.1:8000";
/// The address that PORT (the habit of platforms) stands for.
pub const BIND_HOST_WITH_PORT: &str = "0.0.0.0";
/// Time for a drain, in milliseconds; gunicorn's.
pub const GRACEFUL_TIMEOUT_MS: u64 = 30_000;
/// Least serious log line that is written.
pub const LOG_LEVEL: &str = "info";
/// Log lines for people.
pub const LOG_FORMAT: &str = "text";

/// A CGI program must end after this time, in milliseconds: enough for the clone of a large repository, and a program that hangs
/// does not hold its place for ever.
pub const CGI_TIMEOUT_MS: u64 = 300_000;
/// CGI programs that run at once in one worker: such programs wait more than they compute.
pub const CGI_PROCESSES: u32 = 32;
/// Threads of a worker that runs a WSGI application. Applications wait for databases more than they compute, and are written for
/// threads by now; more of them only queue up for the interpreter.
pub const WSGI_THREADS: u32 = 4;
/// Body bytes that are read before a WSGI application is called: forms and API calls fit, and a slow client holds no thread.
pub const WSGI_REQUEST_BUFFER_BYTES: u64 = 1024 * 1024;
/// Reply bytes that may wait for a slow client before a WSGI application does: pages fit.
pub const WSGI_REPLY_BUFFER_BYTES: u64 = 1024 * 1024;
/// Time for a TLS handshake, in milliseconds: two round trips of a phone on a bad network, and its thinking.
pub const TLS_HANDSHAKE_TIMEOUT_MS: u64 = 10_000;

/// Bounds and time limits of HTTP.
pub const HTTP: HttpSettings = HttpSettings {
    // Longer than the idle time of the usual load balancers (60 s), so that they, who know what they sent, close first.
    keep_alive_timeout_ms: 75_000,
    // A phone on a bad network manages; a slow-loris client does not hold a connection for long.
    header_read_timeout_ms: 15_000,
    body_read_timeout_ms: 30_000,
    // Kestrel's: a slow phone manages ten times as much, and who sends less holds a place for nothing.
    body_bytes_per_second: 240,
    write_timeout_ms: 30_000,
    // Only the application knows how long it may take: exports and long polls are no faults.
    request_timeout_ms: 0,
    // An idle connection costs a few hundred bytes and a descriptor: ten times gunicorn's, since slow clients and WebSockets stay. A
    // worker whose descriptors do not suffice takes fewer.
    connections: 10_000,
    // Only the application knows how much it can bear at once.
    concurrent_requests: 0,
    // Where there is a bound: enough for a burst, and the last in the queue is still answered in time.
    queued_requests: 100,
    // Whoever waits longer has left already, or tries again and makes it worse.
    queue_timeout_ms: 10_000,
    // Apache's and gunicorn's longest line.
    request_line_bytes: 8_190,
    head_bytes: 64 * 1024,
    header_count: 100,
    // The application knows what it accepts; frameworks bound it themselves.
    body_bytes: 0,
    // A client's round trip and its thinking; short enough that idle connections never delay an exit.
    drain_linger_ms: 1_000,
    // As most servers see it, and the only way to notice at once that a client has left.
    http1: Http1Settings { half_close: HalfClose::Leaves },
    http2: HTTP2,
};

/// Bounds of one connection of HTTP/2.
pub const HTTP2: Http2Settings = Http2Settings {
    enabled: true,
    // What browsers expect at least (RFC 9113 §6.5.2) and use at most.
    concurrent_streams: 100,
    // As much as a head may have in HTTP/1.
    header_list_bytes: 64 * 1024,
    // A fast upload over a long way fills it; all streams together take no more memory than the connection's window.
    stream_window_bytes: 256 * 1024,
    connection_window_bytes: 1024 * 1024,
    frame_bytes: 16 * 1024,
    send_buffer_bytes: 64 * 1024,
    // Requests are looked at as soon as they are read: only an attacker resets so many in one breath.
    pending_resets: 20,
    local_resets: 1_024,
    // A hundred a second: far beyond what a client that cancels a lot, or measures its round trip, sends.
    idle_frames: 1_000,
    // Routers forget a silent connection after minutes, and a reply may be silent for longer; hyper's and gRPC's time to answer.
    ping_interval_ms: 30_000,
    ping_timeout_ms: 20_000,
};

/// What is believed of proxies in front.
#[must_use]
pub fn forwarding() -> ForwardingSettings {
    // gunicorn's and uvicorn's, and whoever connects to a unix socket: its directory lets nobody else than the proxy in.
    let here = || {
        vec![
            TrustedPeer::Network { address: IpAddr::V4(Ipv4Addr::LOCALHOST), prefix_bits: 32 },
            TrustedPeer::Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix_bits: 128 },
            TrustedPeer::Unix,
        ]
    };
    ForwardingSettings {
        // uvicorn's. A proxy that does not know the others would pass on what a client wrote into them.
        forwarded_headers: vec![ForwardedHeader::XForwardedFor, ForwardedHeader::XForwardedProto],
        secure_scheme_headers: Vec::new(),
        // Not gunicorn's SCRIPT_NAME: a proxy that does not set it passes on what a client wrote.
        forwarder_headers: Vec::new(),
        forwarded_allow_ips: here(),
        proxy_protocol: ProxyProtocol::Off,
        proxy_allow_ips: here(),
    }
}

/// Bounds and time limits of WebSockets: uvicorn's.
pub const WEBSOCKET: WebSocketSettings = WebSocketSettings {
    mode: WebSocketMode::Auto,
    message_bytes: 16 * 1024 * 1024,
    ping_interval_ms: 20_000,
    ping_timeout_ms: 20_000,
    per_message_deflate: PerMessageDeflate::On,
};

/// Header fields that every reply has.
#[must_use]
pub fn reply_fields() -> ReplyFieldSettings {
    ReplyFieldSettings { automatic: vec![AutomaticField::Date, AutomaticField::Server], added: Vec::new() }
}

/// How an ASGI application is called: as uvicorn does.
#[must_use]
pub fn asgi() -> AsgiSettings {
    AsgiSettings {
        // Starlette trusts a server of 2.4 and later to raise when the client left, and no longer cancels an idle stream by itself.
        spec_version: SpecVersion::V2_3,
        root_path: String::new(),
        root_path_mode: RootPathMode::Prepend,
        on_disconnect: OnDisconnect::Inform,
        context_variables: ContextVariables::Inherited,
    }
}
