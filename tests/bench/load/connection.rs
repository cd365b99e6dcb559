//! One client connection: sends whole requests, gathers one reply at a time. Non-blocking; whoever owns it watches it.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Instant,
};

use super::{
    Expected, Failure,
    reply::{self, Afterwards, Reply},
};

/// Holds any reply of the small routes; grows for larger ones.
const FIRST_BUFFER_BYTES: usize = 4096;

/// One connection and what is due on it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
    filled: usize,
    unsent: usize,
    due_since: Option<Instant>,
}

/// How much of the request is with the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Whole,
    /// Call [`Connection::send_rest`] when the socket is writable.
    Part,
}

/// A right and complete answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// The moment given to [`Connection::send`].
    pub(crate) due_since: Instant,
    pub(crate) afterwards: Afterwards,
}

impl Connection {
    /// `stream` must be non-blocking.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Connection { stream, received: vec![0; FIRST_BUFFER_BYTES], filled: 0, unsent: 0, due_since: None }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.due_since.is_some()
    }

    /// Begins a request; its answer is due from `since` on.
    pub(crate) fn send(&mut self, request: &[u8], since: Instant) -> Result<Sent, Failure> {
        debug_assert!(self.due_since.is_none(), "one request at a time");
        self.due_since = Some(since);
        self.unsent = request.len();
        self.send_rest(request)
    }

    /// Goes on with the request that `send` began.
    pub(crate) fn send_rest(&mut self, request: &[u8]) -> Result<Sent, Failure> {
        while self.unsent > 0 {
            match self.stream.write(&request[request.len() - self.unsent..]) {
                Ok(written) => self.unsent -= written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Sent::Part),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Sent::Whole)
    }

    /// Reads once. `None` while the answer is incomplete.
    pub(crate) fn receive(&mut self, expected: &Expected) -> Result<Option<Answer>, Failure> {
        if self.filled == self.received.len() {
            self.received.resize(self.filled * 2, 0);
        }
        let count = match self.stream.read(&mut self.received[self.filled..]) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if count == 0 {
            return Err(if self.filled == 0 { Failure::EndBeforeReply } else { Failure::EndInReply });
        }
        self.filled += count;
        let Some(due_since) = self.due_since else { return Err(Failure::Unasked) };
        let received = &self.received[..self.filled];
        let reply = match expected {
            Expected::Body(body) => reply::parse(received, body)?,
            Expected::Bytes(bytes) => frame(received, bytes)?,
        };
        let Some(reply) = reply else {
            return Ok(None);
        };
        if reply.length != self.filled {
            return Err(Failure::Unasked);
        }
        self.filled = 0;
        self.due_since = None;
        Ok(Some(Answer { due_since, afterwards: reply.afterwards }))
    }
}

/// `None` while it is incomplete.
fn frame(received: &[u8], expected: &[u8]) -> Result<Option<Reply>, Failure> {
    if received.len() < expected.len() {
        return Ok(None);
    }
    if !received.starts_with(expected) {
        return Err(Failure::WrongBody);
    }
    Ok(Some(Reply { length: expected.len(), afterwards: Afterwards::KeepAlive }))
}
