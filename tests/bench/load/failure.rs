//! The ways in which an answer can fail to come, and their count.

use std::{collections::BTreeMap, fmt, io};

/// One way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Failure {
    /// Nobody listens.
    Refused,
    /// No connection for another reason.
    ConnectFailed,
    /// Reset by the server.
    Reset,
    /// The server closed with an answer due, and not one byte of it was sent.
    EndBeforeReply,
    /// The server closed in the middle of an answer.
    EndInReply,
    /// Nothing came.
    TimedOut,
    /// A complete answer, but not a 200.
    WrongStatus,
    /// A 200 with another body than the one expected.
    WrongBody,
    /// No HTTP/1 answer with a length.
    Malformed,
    /// Bytes when no answer was due.
    Unasked,
    /// A system call failed in another way.
    Other,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Failure::Reset,
            io::ErrorKind::TimedOut => Failure::TimedOut,
            _other_kind => Failure::Other,
        }
    }
}

/// How often each kind was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Failures(BTreeMap<Failure, u64>);

impl Failures {
    pub(crate) fn count(&mut self, failure: Failure) {
        *self.0.entry(failure).or_default() += 1;
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (failure, count)) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(formatter, "{separator}{count} × {failure:?}")?;
        }
        Ok(())
    }
}
