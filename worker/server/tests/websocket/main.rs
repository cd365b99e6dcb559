//! WebSockets in a glass box: the handshake, the protocol to the letter (by the groups of the Autobahn suite), deflate with every
//! window, back-pressure both ways, time limits and the drain.

#![allow(clippy::unwrap_used, reason = "a test that breaks its own rules may panic")]

#[path = "../support/mod.rs"]
mod support;

mod client;
mod deflated;
mod endings;
mod handshake;
mod messages;
mod pressure;
