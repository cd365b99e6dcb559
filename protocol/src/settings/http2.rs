//! What a worker is told of HTTP/2.

use serde::{Deserialize, Serialize};

/// Bounds of one connection of HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http2Settings {
    /// Whether HTTP/2 is spoken at all.
    pub enabled: bool,
    /// Streams that a client may have open at once.
    pub concurrent_streams: u32,
    /// Largest list of header fields, counted as RFC 9113 §6.5.2 says (431).
    pub header_list_bytes: u32,
    /// Body bytes that a client may send on one stream before the application receives; at most 2³¹ − 1.
    pub stream_window_bytes: u32,
    /// The same for all streams of a connection; 65,535 to 2³¹ − 1.
    pub connection_window_bytes: u32,
    /// Largest frame that a client may send; 16,384 to 16,777,215.
    pub frame_bytes: u32,
    /// Reply bytes that wait for the window of one stream.
    pub send_buffer_bytes: u32,
    /// Streams that a client may have reset before they were looked at (CVE-2023-44487).
    pub pending_resets: u32,
    /// Streams that may have been reset for a client's errors.
    pub local_resets: u32,
    /// Frames in ten seconds that carry nothing (SETTINGS, PING, RST_STREAM, PRIORITY, empty and unknown ones).
    pub idle_frames: u32,
    /// A client of which nothing was heard for so long is asked by PING whether it is there; 0 for never.
    pub ping_interval_ms: u64,
    /// Something must be heard of it this long after that; 0 for no bound.
    pub ping_timeout_ms: u64,
}
