//! The load client: raw bytes on one epoll instance, one thread, no allocation per request. It retries nothing and counts
//! every failure by kind. Knows HTTP/1.1 replies and nothing of the servers that it loads.
//!
//! A client is connected once and run several times (warm-up, measurement). Each run returns only when no answer is due any
//! more, so that a server is idle before and after it and the answers counted are exactly the requests served in between.

mod connection;
mod failure;
mod keep_alive;
mod new_connections;
mod reply;
#[cfg(test)]
mod self_test;
mod waiting;
pub(crate) mod websocket;

use std::{net::SocketAddr, time::Duration};

pub(crate) use failure::{Failure, Failures};
pub(crate) use keep_alive::Client;
pub(crate) use new_connections::run as run_new_connections;
pub(crate) use reply::body as reply_body;
pub(crate) use waiting::Waiting;

/// What is asked, and what must come back.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    /// Sent once on each connection before the first request, and answered by a 101.
    pub(crate) opening: Option<Vec<u8>>,
    /// The whole request, head and body, or the frame.
    pub(crate) request: Vec<u8>,
    pub(crate) expected: Expected,
    /// A run fails when nothing at all arrives for this long while answers are due.
    pub(crate) patience: Duration,
}

/// What comes back.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    /// An HTTP answer with status 200 and exactly this body.
    Body(Vec<u8>),
    /// Exactly these bytes.
    Bytes(Vec<u8>),
}

/// When the next request of a keep-alive connection is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// At once when the answer is complete: the server is saturated.
    Closed,
    /// By the clock, on whichever connection is free; latency counts from the moment that the clock gave, sent late or not.
    Open {
        /// Requests a second, over all connections.
        rate: u32,
    },
}

/// What one run saw.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Right answers.
    pub(crate) completed: u64,
    /// All else.
    pub(crate) failures: Failures,
    /// Of each right answer, in nanoseconds.
    pub(crate) latencies_ns: Vec<u64>,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Connections opened anew because the server had announced `Connection: close` in an answer.
    pub(crate) announced_closes: u64,
}
