//! HTTP/2 by raw frames: what RFC 9113 and RFC 7541 ask of a server, and what the engine promises beyond.

#![allow(clippy::unwrap_used, reason = "a test that breaks its own rules may panic")]
#![allow(unreachable_pub, reason = "modules of one test binary")]

#[path = "../support/mod.rs"]
mod support;

mod attacks;
#[allow(clippy::allow_attributes, dead_code, reason = "a vocabulary")]
mod client;
#[allow(clippy::allow_attributes, clippy::too_many_lines, reason = "tables are long")]
mod conformance;
mod exchanges;
#[allow(clippy::allow_attributes, dead_code, reason = "a vocabulary")]
mod frames;
#[allow(clippy::allow_attributes, dead_code, reason = "a vocabulary")]
mod huffman;
mod limits;
#[allow(clippy::allow_attributes, dead_code, reason = "a vocabulary")]
#[path = "../websocket/client.rs"]
mod sockets;
mod websocket;
