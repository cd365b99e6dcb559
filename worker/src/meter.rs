//! Counts what the engine does, into the memory that the supervisor reads: the scoreboard record for charts, and the table of
//! requests in flight for whoever must explain a hang. On the request path: stores to memory, and nothing else.

use std::{
    cell::Cell,
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};
use protocol::{
    evidence::{REQUEST_LINE_BYTES, REQUEST_SLOT_BYTES, REQUEST_SLOTS, requests_in_flight, write_request},
    scoreboard::{Counter, Record},
};
use worker_server::{HandshakeEnd, Meter, Peer, RequestOutcome, TimeLimit};

use crate::scoreboard_mapping::{EvidenceTable, Scoreboard};

/// The number of a request that found the table full.
const UNNAMED: usize = REQUEST_SLOTS;

/// The worker's meter. Clones count into the same memory; all of them must stay on one thread.
#[derive(Debug, Clone)]
pub struct WorkerMeter {
    record: &'static Record,
    table: EvidenceTable,
    /// One bit for each free entry of the table: finding one is one instruction.
    free: Rc<Cell<u64>>,
}

const _: () = assert!(REQUEST_SLOTS == u64::BITS as usize, "the free list has one bit an entry");

/// What a heartbeat says about the requests in flight. Reads shared memory only, so that any thread may ask while the worker's
/// own is stuck.
#[derive(Debug, Clone, Copy)]
pub struct LoadGauge {
    record: &'static Record,
    table: EvidenceTable,
}

/// The requests in flight at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Requests begun and not yet answered in full.
    pub in_flight: u32,
    /// Age of the oldest one; zero if there is none. At most [`REQUEST_SLOTS`] are watched.
    pub oldest_request: Duration,
}

impl WorkerMeter {
    /// A meter that writes this worker's record and request table.
    #[must_use]
    pub fn new(scoreboard: Scoreboard, table: EvidenceTable) -> Self {
        Self { record: scoreboard.own(), table, free: Rc::new(Cell::new(u64::MAX)) }
    }

    /// The view that heartbeats use.
    #[must_use]
    pub fn load_gauge(&self) -> LoadGauge {
        LoadGauge { record: self.record, table: self.table }
    }

    /// An exception (a panic, an error) escaped from the application.
    pub fn application_failed(&self) {
        self.record.add(Counter::AppExceptions, 1);
    }

    fn name_request(&self, line: &[u8]) -> usize {
        let free = self.free.get();
        if free == 0 {
            return UNNAMED;
        }
        let slot = free.trailing_zeros() as usize;
        self.free.set(free & (free - 1));
        let mut bytes = [0; REQUEST_SLOT_BYTES];
        write_request(&mut bytes, now_ms(), line);
        let (words, _) = bytes.as_chunks::<8>();
        let used = (REQUEST_SLOT_BYTES - REQUEST_LINE_BYTES + line.len().min(REQUEST_LINE_BYTES)).div_ceil(8);
        let entry = &self.table.entries()[slot];
        // The text first: a reader that sees the start sees the line that belongs to it, or at worst a mended one.
        for word in (0..used).rev() {
            entry[word].store(u64::from_ne_bytes(words[word]), Relaxed);
        }
        slot
    }

    /// The line of a request in flight, for people.
    fn request_line(&self, slot: usize) -> String {
        let Some(entry) = self.table.entries().get(slot) else {
            return format!("a request beyond the {REQUEST_SLOTS} whose lines are known");
        };
        let bytes: Vec<u8> = entry.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
        let requests = requests_in_flight(&bytes);
        requests.into_iter().next().map_or_else(String::new, |request| request.line)
    }

    fn forget_request(&self, slot: usize) {
        if slot < REQUEST_SLOTS {
            self.table.entries()[slot][0].store(0, Relaxed);
            self.free.set(self.free.get() | 1 << slot);
        }
    }
}

impl Meter for WorkerMeter {
    fn connection_opened(&self) {
        self.record.add(Counter::ConnectionsAccepted, 1);
        adjust(&self.record.connections, 1);
    }

    fn connection_closed(&self) {
        adjust(&self.record.connections, -1);
    }

    fn connection_idle(&self) {
        adjust(&self.record.connections_idle, 1);
    }

    fn connection_busy(&self) {
        adjust(&self.record.connections_idle, -1);
    }

    fn request_started(&self, line: &[u8]) -> usize {
        adjust(&self.record.in_flight, 1);
        self.name_request(line)
    }

    fn request_finished(&self, request: usize, outcome: RequestOutcome) {
        self.forget_request(request);
        adjust(&self.record.in_flight, -1);
        let record = self.record;
        if let Some(class) = status_class(outcome.status) {
            record.add(class, 1);
        }
        if outcome.aborted {
            record.add(Counter::ResponsesAborted, 1);
        }
        record.add(Counter::RequestBodyBytes, outcome.request_bytes);
        record.add(Counter::ResponseBodyBytes, outcome.reply_bytes);
        record.observe_duration_us(u64::try_from(outcome.duration.as_micros()).unwrap_or(u64::MAX));
    }

    fn websocket_opened(&self, request: usize) -> usize {
        self.forget_request(request);
        UNNAMED
    }

    fn request_refused(&self, status: u16) {
        let reason = match status {
            // Counted where it is known which time limit, or which end of the queue, it was.
            408 | 503 => return,
            413 => Counter::RejectedBodyTooLarge,
            414 => Counter::RejectedRequestLineTooLong,
            431 => Counter::RejectedHeaderTooLarge,
            _ => Counter::RejectedBadRequest,
        };
        self.record.add(reason, 1);
    }

    fn queue_was_full(&self) {
        self.record.add(Counter::RejectedQueueFull, 1);
    }

    fn queue_length_changed(&self, waiting: usize) {
        self.record.queued.store(u32::try_from(waiting).unwrap_or(u32::MAX), Relaxed);
    }

    fn request_overdue(&self, request: usize, age: Duration) {
        self.record.add(Counter::RejectedRequestTimeout, 1);
        let line = self.request_line(request);
        tracing::warn!("cut off after {:.3} s (--request-timeout): {line}", age.as_secs_f64());
    }

    fn proxy_header_refused(&self) {
        self.record.add(Counter::RejectedProxyHeader, 1);
    }

    fn connection_flooded(&self) {
        self.record.add(Counter::RejectedFlood, 1);
    }

    fn timed_out(&self, limit: TimeLimit) {
        let reason = match limit {
            TimeLimit::HeaderRead => Counter::RejectedHeaderTimeout,
            TimeLimit::BodyRead => Counter::RejectedBodyTimeout,
            TimeLimit::BodyRate => Counter::RejectedBodyTooSlow,
            TimeLimit::Write => Counter::RejectedWriteTimeout,
            TimeLimit::Queue => Counter::RejectedQueueTimeout,
            TimeLimit::Ping => Counter::RejectedPingTimeout,
        };
        self.record.add(reason, 1);
    }

    fn tls_handshake_ended(&self, peer: &Peer, end: HandshakeEnd<'_>) {
        let counter = match end {
            HandshakeEnd::Done => Counter::TlsHandshakesDone,
            HandshakeEnd::Failed(why) => {
                // Scanners and old clients fail all the time: no news, but what a puzzled operator looks for.
                tracing::debug!("a TLS handshake with {peer} failed: {why}");
                Counter::TlsHandshakesFailed
            }
            HandshakeEnd::TimedOut => Counter::TlsHandshakesTimedOut,
            HandshakeEnd::PlainHttp => Counter::TlsPlainHttp,
        };
        self.record.add(counter, 1);
    }
}

impl LoadGauge {
    /// What is in flight now.
    #[must_use]
    pub fn load(&self) -> Load {
        let starts = self.table.entries().iter().map(|entry| u64::from_le(entry[0].load(Relaxed)));
        let oldest_ms = starts.filter(|&started_ms| started_ms != 0).min();
        Load {
            in_flight: self.record.in_flight.load(Relaxed),
            oldest_request: oldest_ms.map_or(Duration::ZERO, |started_ms| {
                Duration::from_millis(now_ms().saturating_sub(started_ms))
            }),
        }
    }
}

/// Moves a gauge. This worker is its only writer, so a load and a store are enough.
fn adjust(gauge: &AtomicU32, by: i32) {
    gauge.store(gauge.load(Relaxed).saturating_add_signed(by), Relaxed);
}

fn status_class(status: u16) -> Option<Counter> {
    match status / 100 {
        1 => Some(Counter::Responses1xx),
        2 => Some(Counter::Responses2xx),
        3 => Some(Counter::Responses3xx),
        4 => Some(Counter::Responses4xx),
        5..=9 => Some(Counter::Responses5xx),
        _ => None,
    }
}

/// Milliseconds of CLOCK_MONOTONIC, at most one tick (4 ms) late: reading the coarse clock is four times cheaper.
fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::Ordering::Relaxed, time::Duration};

    use protocol::{
        evidence::{self, REQUEST_SLOTS},
        scoreboard::Counter,
    };
    use worker_server::{Meter as _, RequestOutcome, TimeLimit};

    use super::WorkerMeter;
    use crate::scoreboard_mapping::{EvidenceTable, Scoreboard};

    fn meter() -> (WorkerMeter, Scoreboard, EvidenceTable) {
        let (scoreboard, table) = (Scoreboard::private().unwrap(), EvidenceTable::private().unwrap());
        (WorkerMeter::new(scoreboard, table), scoreboard, table)
    }

    fn outcome(status: u16) -> RequestOutcome {
        let duration = Duration::from_micros(1_500);
        RequestOutcome { status, duration, request_bytes: 10, reply_bytes: 20, aborted: false }
    }

    /// The table as the supervisor reads it.
    fn lines(table: EvidenceTable) -> Vec<String> {
        let words = table.entries().iter().flatten();
        let memory: Vec<u8> = words.flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
        evidence::requests_in_flight(&memory).into_iter().map(|request| request.line).collect()
    }

    #[test]
    fn a_request_is_in_the_table_while_it_is_in_flight() {
        let (meter, scoreboard, table) = meter();
        let long = format!("GET /{} HTTP/1.1", "x".repeat(500));
        let (one, other) =
            (meter.request_started(b"GET /a HTTP/1.1"), meter.request_started(long.as_bytes()));
        assert_eq!(lines(table), ["GET /a HTTP/1.1", &long[..evidence::REQUEST_LINE_BYTES]]);
        assert_eq!(meter.load_gauge().load().in_flight, 2);
        meter.request_finished(one, outcome(200));
        // A shorter line in a place that a longer one had shows nothing of it.
        meter.request_finished(other, outcome(200));
        meter.request_started(b"GET /b HTTP/1.1");
        meter.request_started(b"GET /c HTTP/1.1");
        assert_eq!(lines(table), ["GET /b HTTP/1.1", "GET /c HTTP/1.1"]);
        assert_eq!(scoreboard.own().in_flight.load(Relaxed), 2);
    }

    #[test]
    fn requests_beyond_the_table_are_counted_and_not_named() {
        let (meter, scoreboard, table) = meter();
        let requests: Vec<usize> =
            (0..REQUEST_SLOTS + 5).map(|_| meter.request_started(b"GET / HTTP/1.1")).collect();
        assert_eq!(lines(table).len(), REQUEST_SLOTS);
        assert_eq!(meter.load_gauge().load().in_flight as usize, REQUEST_SLOTS + 5);
        for request in requests {
            meter.request_finished(request, outcome(204));
        }
        assert_eq!(lines(table).len(), 0);
        assert_eq!(scoreboard.own().get(Counter::Responses2xx), (REQUEST_SLOTS + 5) as u64);
        assert_eq!(meter.load_gauge().load(), super::Load::default());
    }

    #[test]
    fn an_outcome_is_counted_by_its_class() {
        let (meter, scoreboard, _table) = meter();
        for status in [101, 200, 302, 404, 500, 599, 0] {
            let request = meter.request_started(b"GET / HTTP/1.1");
            meter.request_finished(request, RequestOutcome { aborted: status == 0, ..outcome(status) });
        }
        let record = scoreboard.own();
        let counted = [
            Counter::Responses1xx,
            Counter::Responses2xx,
            Counter::Responses3xx,
            Counter::Responses4xx,
            Counter::Responses5xx,
            Counter::ResponsesAborted,
        ];
        assert_eq!(counted.map(|counter| record.get(counter)), [1, 1, 1, 1, 2, 1]);
        assert_eq!(
            (record.get(Counter::RequestBodyBytes), record.get(Counter::ResponseBodyBytes)),
            (70, 140)
        );
        assert_eq!(record.durations().1, 7 * 1_500);
    }

    #[test]
    fn a_refusal_is_counted_by_its_reason() {
        let (meter, scoreboard, _table) = meter();
        for status in [400, 501, 505, 413, 414, 431, 408, 503] {
            meter.request_refused(status);
        }
        meter.queue_was_full();
        let begun = meter.request_started(b"GET /slow HTTP/1.1");
        assert_eq!(meter.request_line(begun), "GET /slow HTTP/1.1");
        meter.request_overdue(begun, Duration::from_secs(1));
        for limit in [
            TimeLimit::HeaderRead,
            TimeLimit::BodyRead,
            TimeLimit::BodyRate,
            TimeLimit::Write,
            TimeLimit::Queue,
            TimeLimit::Ping,
        ] {
            meter.timed_out(limit);
        }
        let counted = [
            (Counter::RejectedBadRequest, 3),
            (Counter::RejectedBodyTooLarge, 1),
            (Counter::RejectedRequestLineTooLong, 1),
            (Counter::RejectedHeaderTooLarge, 1),
            (Counter::RejectedHeaderTimeout, 1),
            (Counter::RejectedBodyTimeout, 1),
            (Counter::RejectedBodyTooSlow, 1),
            (Counter::RejectedWriteTimeout, 1),
            (Counter::RejectedRequestTimeout, 1),
            (Counter::RejectedQueueFull, 1),
            (Counter::RejectedQueueTimeout, 1),
            (Counter::RejectedPingTimeout, 1),
        ];
        for (counter, count) in counted {
            assert_eq!(scoreboard.own().get(counter), count, "{counter:?}");
        }
    }

    #[test]
    fn gauges_follow_the_connections() {
        let (meter, scoreboard, _table) = meter();
        meter.connection_opened();
        meter.connection_idle();
        meter.connection_opened();
        let record = scoreboard.own();
        assert_eq!((record.connections.load(Relaxed), record.connections_idle.load(Relaxed)), (2, 1));
        meter.connection_busy();
        meter.connection_closed();
        assert_eq!((record.connections.load(Relaxed), record.connections_idle.load(Relaxed)), (1, 0));
        assert_eq!(record.get(Counter::ConnectionsAccepted), 2);
    }
}
