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
    /// The whole request, head and body.
    pub(crate) request: Vec<u8>,
    /// The exact body of the answer; its status must be 200.
    pub(crate) expected_body: Vec<u8>,
    /// A run fails when nothing at all arrives for this long while answers are due.
    pub(crate) patience: Duration,
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
