//! What can be chosen about HTTP/1.

use serde::{Deserialize, Serialize};

/// Choices about HTTP/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http1Settings {
    /// What a client that closes its sending side means by it.
    pub half_close: HalfClose,
}

/// What a client that closes its sending side before its reply is complete means by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HalfClose {
    /// That it has left: the application is told, and nothing more is sent.
    Leaves,
    /// That it has said all: it still reads, and gets its replies (RFC 9112 §9.6).
    Waits,
}
