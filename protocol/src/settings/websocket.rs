//! What a worker is told about WebSockets.

use serde::{Deserialize, Serialize};

/// Bounds and time limits of WebSockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSocketSettings {
    /// Whether they are spoken.
    pub mode: WebSocketMode,
    /// Largest message, inflated (close code 1009).
    pub message_bytes: u64,
    /// A ping is sent this often; 0 for never.
    pub ping_interval_ms: u64,
    /// Something must be heard of the client this long after a ping (close code 1011); 0 for no bound.
    pub ping_timeout_ms: u64,
    /// Whether messages may be deflated (RFC 7692) where a client offers it.
    pub per_message_deflate: PerMessageDeflate,
}

/// Whether WebSockets are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebSocketMode {
    /// They are.
    Auto,
    /// A handshake is served as the plain request that it also is.
    None,
}

/// permessage-deflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PerMessageDeflate {
    /// Accepted.
    On,
    /// Declined.
    Off,
}
