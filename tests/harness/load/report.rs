//! What a load counted.

use std::{collections::BTreeMap, fmt, time::Instant};

use super::Tags;

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// Nobody listened.
    Refused,
    /// The connection could not be made for another reason.
    NotConnected,
    /// Reset before a byte of the reply, on a connection that had carried no request before.
    ResetOnFresh,
    /// Reset before a byte of the reply, on a connection that had carried requests before.
    ResetOnReused,
    /// The stream ended after the request was sent and before a byte of the reply.
    ClosedUnanswered,
    /// The stream ended, or was reset, between the first and the last byte of the reply.
    Truncated,
    /// No whole reply in time.
    TimedOut,
    /// A status outside 200–299.
    BadStatus,
    /// No HTTP, another request's reply, or bytes that nobody asked for.
    WrongBody,
}

/// One failed request.
#[derive(Debug, Clone)]
pub struct Failure {
    /// How.
    pub kind: FailureKind,
    /// When it was noticed.
    pub at: Instant,
    /// When its connection was made; none when it was not.
    pub connected_at: Option<Instant>,
    /// The worker that answered earlier on this connection; 0 when none did.
    pub pid: u32,
    /// In plain words.
    pub detail: String,
}

/// Failures that are kept one by one; more are only counted.
const KEPT_FAILURES: usize = 10_000;

/// What a load counted.
#[derive(Debug, Clone)]
pub struct Report {
    /// Requests sent (or tried).
    pub sent: u64,
    /// Requests answered as they should be.
    pub answered: u64,
    /// Failed requests by kind.
    pub failed: BTreeMap<FailureKind, u64>,
    /// The failed requests.
    pub failures: Vec<Failure>,
    /// Connections that the server closed, unannounced, between two requests. No request was lost by it.
    pub clean_closes: u64,
    /// Replies that announced the connection's close, and connections of HTTP/2 that ended with GOAWAY.
    pub announced_closes: u64,
    /// Requests sent again because the server had said that it never looked at them (HTTP/2).
    pub sent_again: u64,
    /// Connections made.
    pub connections: u64,
    /// Answers by version of the code.
    pub versions: BTreeMap<String, u64>,
    /// Answers by worker.
    pub workers: BTreeMap<u32, u64>,
    /// When it began.
    pub started: Instant,
    /// When it ended.
    pub ended: Option<Instant>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            sent: 0,
            answered: 0,
            failed: BTreeMap::new(),
            failures: Vec::new(),
            clean_closes: 0,
            announced_closes: 0,
            sent_again: 0,
            connections: 0,
            versions: BTreeMap::new(),
            workers: BTreeMap::new(),
            started: Instant::now(),
            ended: None,
        }
    }
}

impl Report {
    /// All failures.
    #[must_use]
    pub fn failed_in_all(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Failures of one kind.
    #[must_use]
    pub fn failed_by(&self, kind: FailureKind) -> u64 {
        self.failed.get(&kind).copied().unwrap_or(0)
    }

    pub(super) fn note_answer(&mut self, tags: Tags) {
        self.answered += 1;
        // No allocation for a version that is known already.
        match self.versions.get_mut(&tags.version) {
            Some(count) => *count += 1,
            None => {
                self.versions.insert(tags.version, 1);
            }
        }
        *self.workers.entry(tags.pid).or_default() += 1;
    }

    pub(super) fn note(&mut self, failure: Failure) {
        *self.failed.entry(failure.kind).or_default() += 1;
        if self.failures.len() < KEPT_FAILURES {
            self.failures.push(failure);
        }
    }

    /// Nothing was lost: no failure at all, clean closes under 1 in 10,000, and enough requests for that to mean something.
    ///
    /// # Panics
    /// When it does not hold; the message holds the whole report.
    pub fn assert_nothing_lost(&self, at_least_answered: u64) {
        assert!(self.failed_in_all() == 0, "requests were lost: {self}");
        assert!(self.answered >= at_least_answered, "too few requests ({at_least_answered} wanted): {self}");
        assert!(self.clean_closes * 10_000 <= self.answered, "too many unannounced closes: {self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.ended.unwrap_or_else(Instant::now).duration_since(self.started).as_secs_f64();
        writeln!(
            f,
            "{} sent, {} answered in {seconds:.1} s ({:.0}/s) over {} connections; closes: {} clean, {} announced; {} sent again",
            self.sent,
            self.answered,
            self.answered as f64 / seconds,
            self.connections,
            self.clean_closes,
            self.announced_closes,
            self.sent_again
        )?;
        writeln!(f, "versions: {:?}; workers: {}", self.versions, self.workers.len())?;
        writeln!(f, "failed: {:?}", self.failed)?;
        for failure in self.failures.iter().take(20) {
            let at = failure.at.duration_since(self.started).as_secs_f64();
            let connected = failure.connected_at.map(|made| failure.at.duration_since(made).as_secs_f64());
            writeln!(
                f,
                "  at {at:.3} s {:?} on a connection {connected:.3?} s old of worker {}: {}",
                failure.kind, failure.pid, failure.detail
            )?;
        }
        Ok(())
    }
}
