//! The bounds and time limits of the engine, as numbers that the driver gives. No defaults: whoever reads the
//! configuration owns them. Bounds that nobody should have to set are constants here, each with its reason.

use std::time::Duration;

/// Bounds and time limits of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// An idle keep-alive connection is closed after this time.
    pub keep_alive_timeout: Duration,
    /// A head must be complete this long after its first byte (408), and the first byte of a new connection must come this
    /// long after the accept (closed without a word).
    pub header_read_timeout: Duration,
    /// A body must make progress this often (408) while the engine is willing to read it.
    pub body_read_timeout: Duration,
    /// Bytes of a body that must come a second on average, counted while the engine is willing to read it and after the first five
    /// seconds of that (408); `None` for no such bound.
    pub body_bytes_per_second: Option<u32>,
    /// A client must take some of a reply this often, else it is cut off.
    pub write_timeout: Duration,
    /// A request must be answered in full this long after its head's end (503, or broken off), WebSockets excepted; `None` for no
    /// bound.
    pub request_timeout: Option<Duration>,
    /// How many requests are with the app at once, on all connections of the service; `None` for no bound.
    pub admission: Option<AdmissionLimits>,
    /// Longest request line in bytes, without its line end (414).
    pub request_line_bytes: usize,
    /// Longest head in bytes, request line and line ends included (431).
    pub head_bytes: usize,
    /// Most header fields in one head (431).
    pub header_count: usize,
    /// Largest request body in bytes (413); `None` for no bound.
    pub body_bytes: Option<u64>,
    /// What a client that closes its sending side means by it.
    pub half_close: HalfClose,
    /// Bounds of WebSockets; `None` if the app speaks none: then a handshake is served as the plain request that it also is.
    pub websocket: Option<WebSocketLimits>,
    /// Bounds of HTTP/2; `None` if it is not spoken.
    pub http2: Option<Http2Limits>,
}

/// How many requests are with the app at once, and what becomes of the others. A request counts until its reply is complete, a
/// WebSocket until its handshake is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Requests with the app at once.
    pub concurrent_requests: usize,
    /// Requests that may wait for their turn (503).
    pub queued_requests: usize,
    /// How long each may wait (503).
    pub queue_timeout: Duration,
}

/// Bounds and time limits of a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketLimits {
    /// Largest message in bytes, inflated (1009).
    pub message_bytes: usize,
    /// A ping is sent this often; `None` for never.
    pub ping_interval: Option<Duration>,
    /// Something must be heard of the client this long after a ping (1011); `None` for no bound.
    pub ping_timeout: Option<Duration>,
    /// Whether messages may be deflated.
    pub compression: Compression,
}

/// Whether permessage-deflate (RFC 7692) is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// It is declined.
    None,
    /// It is accepted where a client offers it.
    Deflate,
}

/// Bounds of one connection of HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Limits {
    /// Streams that a client may have open at once (SETTINGS_MAX_CONCURRENT_STREAMS).
    pub concurrent_streams: u32,
    /// Largest list of header fields in bytes, counted as RFC 9113 §6.5.2 says (431).
    pub header_list_bytes: u32,
    /// Body bytes that a client may send on one stream before the app receives (SETTINGS_INITIAL_WINDOW_SIZE); at most 2³¹ − 1.
    pub stream_window_bytes: u32,
    /// The same for all streams of a connection; at least 65,535 and at most 2³¹ − 1.
    pub connection_window_bytes: u32,
    /// Largest frame that a client may send (SETTINGS_MAX_FRAME_SIZE); 16,384 to 16,777,215.
    pub frame_bytes: u32,
    /// Reply bytes that wait in HTTP/2 for one stream's window, beyond what the app's own bound lets wait.
    pub send_buffer_bytes: u32,
    /// Streams that the client has reset before they were looked at; beyond it the connection is closed (CVE-2023-44487).
    pub pending_resets: usize,
    /// Streams that were reset for a client's errors; beyond it the connection is closed.
    pub local_resets: usize,
    /// Frames in ten seconds that cost work and carry nothing: SETTINGS, PING, RST_STREAM, PRIORITY, empty and unknown ones. Beyond it
    /// the connection is closed.
    pub idle_frames: u32,
    /// A client of which nothing was heard for so long is asked by PING whether it is there; `None` for never.
    pub ping_interval: Option<Duration>,
    /// Something must be heard of it this long after that, else the connection is closed; `None` for no bound.
    pub ping_timeout: Option<Duration>,
}

/// What a client that closes its sending side before its reply is complete means by it. One whose request is incomplete then has
/// always left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HalfClose {
    /// That it has left.
    Leaves,
    /// That it has said all and waits for its replies. That it leaves after all is noticed when writing fails.
    Waits,
}

/// A body that comes slowly is not measured before the app or the engine has waited this long for it: slow starts are no attack.
pub(crate) const BODY_RATE_GRACE: Duration = Duration::from_secs(5);

/// Requests that one connection may start in one turn, so that a client who pipelines cannot starve the others.
pub(crate) const REQUESTS_PER_TURN: u32 = 16;

/// Rounds of reading, running streams and writing that a connection of HTTP/2 may do in one turn.
pub(crate) const HTTP2_ROUNDS_PER_TURN: u32 = 64;

/// A list of header fields that is so many times as large as it may be is still decoded and answered with a status (431): who is a
/// little beyond the bound shall know why. Beyond it the connection is in danger.
pub(crate) const HEADER_LIST_GRACE: u32 = 2;

/// Reads of one connection in one turn, so that an upload as fast as its app cannot starve the others either.
pub(crate) const READS_PER_TURN: u32 = 16;

/// Bytes of files that one connection may send in one turn, so that a client as fast as the page cache cannot starve the others.
pub(crate) const FILE_BYTES_PER_TURN: usize = 1024 * 1024;

/// Reply bytes that wait for the client before the app is told [`crate::Room::Full`].
pub(crate) const OUTPUT_HIGH_WATER_BYTES: usize = 64 * 1024;

/// The app is woken when no more than this waits, so that it refills in strides rather than per segment.
pub(crate) const OUTPUT_LOW_WATER_BYTES: usize = 32 * 1024;

/// A body part up to this size is copied behind the head, which costs less than a second entry in a `writev`.
pub(crate) const COPIED_CHUNK_BYTES: usize = 16 * 1024;

/// Body bytes that wait for the app before the engine stops reading.
pub(crate) const INBOUND_HIGH_WATER_BYTES: usize = 64 * 1024;

/// A body of known length up to this size is read in whole before the app starts, if the socket has it already: an app that
/// finds its whole body waiting never suspends.
pub(crate) const READ_AHEAD_BYTES: u64 = 256 * 1024;

/// What the engine reads and throws away of a body that the app left unread, or of a connection that it closes. Beyond it a
/// new connection is cheaper for both sides.
pub(crate) const DISCARD_BYTES: u64 = 256 * 1024;

/// How long a closed connection is read on, so that the reset caused by unread bytes does not destroy the reply on its way.
pub(crate) const LINGERING_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The same for an idle connection that a drain closes: no reply is on its way, only a request that crosses the close.
pub(crate) const IDLE_CLOSE_TIMEOUT: Duration = Duration::from_millis(300);

/// After our close frame, a client has this long to send its own; as `websockets` does it.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The same in a drain: no client delays an exit that it was told of.
pub(crate) const DRAINING_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A message shorter than this is never deflated: it would hardly gain what the attempt costs.
pub(crate) const DEFLATE_FROM_BYTES: usize = 64;

/// Bytes of chunk extensions in one body. Nobody uses them in earnest; AWS signatures stay far below.
pub(crate) const CHUNK_EXTENSION_BYTES: u32 = 16 * 1024;

/// Bytes of trailer fields in one body; they are dropped.
pub(crate) const TRAILER_BYTES: u32 = 8 * 1024;
