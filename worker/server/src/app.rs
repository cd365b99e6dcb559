//! The contract between engine and application: what an app is given and what it must do. Speaks byte slices and chunks, and
//! no protocol's own types, so that HTTP/1, HTTP/2 and WebSocket can all be on the other side.

use std::{net::SocketAddr, path::PathBuf, rc::Rc, time::Duration};

use crate::{Exchange, HandshakeEnd, TlsInfo, WebSocket};

/// An application: called once for each request.
pub trait App: 'static {
    /// A piece of a reply's body as the app hands it over. The engine keeps it alive until it is written and never copies a
    /// large one.
    type Chunk: AsRef<[u8]> + 'static;

    /// Begins one request. Must not block; what is not finished on return goes on through `exchange`, which the app keeps.
    ///
    /// The engine holds no borrow of its own state during the call: the app may receive and reply at once (an app that replies
    /// in full before it returns costs no wake-up), and dropping every clone of `exchange` without a complete reply is an answer
    /// too: 500 if no head was sent, else the connection is broken off.
    fn call(&self, head: &RequestHead<'_>, exchange: Exchange<Self::Chunk>);

    /// Begins one WebSocket, whose handshake is in order: the app accepts it or denies it through `socket`, now or later. Called only if
    /// [`crate::Limits::websocket`] is set; otherwise [`App::call`] gets the handshake as a plain request.
    ///
    /// The same holds as for [`App::call`]: it must not block, and may do everything at once.
    fn websocket(&self, head: &RequestHead<'_>, socket: WebSocket<Self::Chunk>) {
        // An app that overlooks them answers 500, as to a request that it overlooks.
        let _ = (head, socket);
    }
}

/// A request's head. Borrowed from the read buffer for the time of [`App::call`]: copy what must live longer.
#[derive(Debug)]
pub struct RequestHead<'a> {
    /// As received; a valid token (RFC 9110 §9.1), case kept.
    pub method: &'a [u8],
    /// Path as received, percent-encoded, without query; "*" for `OPTIONS *`. An absolute-form target is already cut down
    /// (its authority then replaces the Host header).
    pub path: &'a [u8],
    /// What follows the first `?`; empty if there is none.
    pub query: &'a [u8],
    /// Protocol version of the request.
    pub version: Version,
    /// In the order of the wire, duplicates kept. Names are lower-cased already.
    pub headers: &'a [Header<'a>],
    /// What follows the head.
    pub body: BodyLength,
    /// What the reply may use.
    pub offers: Offers,
    /// Who sent it: the other end of the connection, or whom a trusted proxy named.
    pub client: &'a Peer,
    /// How the client reached us: as the connection does, or as a trusted proxy told.
    pub scheme: Scheme,
    /// Where a trusted proxy says that the application is mounted, without a last slash; empty if it says nothing.
    pub prefix: &'a [u8],
    /// Whether the path still has it.
    pub prefix_place: PrefixPlace,
    /// The connection that the request came on.
    pub connection: &'a Rc<ConnectionInfo>,
}

impl RequestHead<'_> {
    /// The connection as the client sees it: with the client and scheme that a trusted proxy told, where one did. Otherwise the
    /// connection's own, shared as ever.
    #[must_use]
    pub fn seen_connection(&self) -> Rc<ConnectionInfo> {
        let is_direct = std::ptr::eq(self.client, &raw const self.connection.peer);
        if is_direct && self.scheme == self.connection.scheme {
            return Rc::clone(self.connection);
        }
        let mut seen = ConnectionInfo::clone(self.connection);
        seen.peer = self.client.clone();
        seen.scheme = self.scheme;
        Rc::new(seen)
    }

    /// How many bytes at the start of [`Self::path`] are the prefix.
    #[must_use]
    pub fn prefix_in_path(&self) -> usize {
        match self.prefix_place {
            PrefixPlace::TakenOff => 0,
            PrefixPlace::InPath => self.prefix.len(),
        }
    }
}

/// Where the prefix of a [`RequestHead`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrefixPlace {
    /// The proxy took it off the path.
    #[default]
    TakenOff,
    /// The path begins with it.
    InPath,
}

/// What a reply may use beyond a head and a body, because client and protocol take it. Hints and trailers that are sent all the
/// same are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offers {
    /// `103 Early Hints` before the head ([`Exchange::early_hint`]).
    pub early_hints: bool,
    /// Trailer fields after the body ([`Exchange::trailers`]).
    pub trailers: bool,
    /// Ranges of files as parts of the body ([`Exchange::send_file`]).
    pub files: bool,
}

/// One header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// A valid token in lower case.
    pub name: &'a [u8],
    /// Without surrounding white space; any bytes but control characters (obs-text is allowed).
    pub value: &'a [u8],
}

/// Protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

/// What follows a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// No body.
    None,
    /// This many bytes; may be 0.
    Known(u64),
    /// Ends when it ends.
    Chunked,
}

/// What does not change while a connection lives. One allocation a connection, shared by its requests: an app may use the
/// pointer's identity to cache what it derives from it.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Who is on the other end.
    pub peer: Peer,
    /// Which of our addresses it reached.
    pub local: Peer,
    /// http or https.
    pub scheme: Scheme,
    /// What the handshake agreed on; none without TLS of our own.
    pub tls: Option<TlsInfo>,
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket, with its path where it has one.
    Unix(Option<PathBuf>),
}

impl std::fmt::Display for Peer {
    /// For people: an address with its port, or `unix:` and the path.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "{address}"),
            Self::Unix(Some(path)) => write!(formatter, "unix:{}", path.display()),
            Self::Unix(None) => formatter.write_str("unix:"),
        }
    }
}

/// What the connection is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Nothing.
    Http,
    /// TLS.
    Https,
}

/// Counts what happens. Called on the request path: an implementation stores to memory and does nothing else.
pub trait Meter: 'static {
    /// A connection was accepted.
    fn connection_opened(&self) {}
    /// It is gone.
    fn connection_closed(&self) {}
    /// An open connection now waits for a request: after it was opened, and after each reply.
    fn connection_idle(&self) {}
    /// The wait that `connection_idle` began is over: a request begins, or the connection closes.
    fn connection_busy(&self) {}
    /// A request begins; `line` is its request line as received, without the line end. The returned number comes back in
    /// [`Meter::request_finished`].
    fn request_started(&self, line: &[u8]) -> usize {
        let _ = line;
        0
    }
    /// The request that `request_started` numbered is answered (or broken off).
    fn request_finished(&self, request: usize, outcome: RequestOutcome) {
        let _ = (request, outcome);
    }
    /// A request was refused by the engine before any app saw it.
    fn request_refused(&self, status: u16) {
        let _ = status;
    }
    /// A request was refused because too many wait already.
    fn queue_was_full(&self) {}
    /// So many requests wait for their turn now.
    fn queue_length_changed(&self, waiting: usize) {
        let _ = waiting;
    }
    /// The request that `request_started` numbered is not answered in time and cut off, at this age.
    fn request_overdue(&self, request: usize, age: Duration) {
        let _ = (request, age);
    }
    /// A connection began with a PROXY header that is none, and was closed.
    fn proxy_header_refused(&self) {}
    /// A connection was closed for a flood of frames: resets, or frames that carry nothing.
    fn connection_flooded(&self) {}
    /// The request that `request_started` numbered became a WebSocket. It stays in flight, with status 101, until the WebSocket has
    /// ended, however long that is: an age says nothing any more. The returned number takes the old one's place.
    fn websocket_opened(&self, request: usize) -> usize {
        request
    }
    /// A time limit cut a request or connection off.
    fn timed_out(&self, limit: TimeLimit) {
        let _ = limit;
    }
    /// A TLS handshake with `peer` is over.
    fn tls_handshake_ended(&self, peer: &Peer, end: HandshakeEnd<'_>) {
        let _ = (peer, end);
    }
}

/// A time limit of which [`Meter::timed_out`] tells. That an idle connection is closed is no such thing: so connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLimit {
    /// The first byte of a connection, its PROXY header, or the rest of a head did not come.
    HeaderRead,
    /// A body made no progress.
    BodyRead,
    /// A body came too slowly.
    BodyRate,
    /// A client took nothing of what waits for it.
    Write,
    /// A request waited too long for its turn.
    Queue,
    /// Nothing was heard of the client of a WebSocket after a ping.
    Ping,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestOutcome {
    /// Status sent; 0 if none was.
    pub status: u16,
    /// From the head's last byte to the reply's last.
    pub duration: Duration,
    /// Body bytes received.
    pub request_bytes: u64,
    /// Body bytes sent.
    pub reply_bytes: u64,
    /// The reply was broken off before its end.
    pub aborted: bool,
}
