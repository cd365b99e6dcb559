//! Counts what the engine does, into the memory that the supervisor reads: the scoreboard record for charts, and the table of
//! requests in flight for whoever must explain a hang. On the request path: stores to memory, and nothing else.

use std::{cell::Cell, rc::Rc, sync::atomic::Ordering::Relaxed, time::Duration};

use nix::time::{ClockId, clock_gettime};
use protocol::{
    evidence::{REQUEST_LINE_BYTES, REQUEST_SLOT_BYTES, REQUEST_SLOTS, write_request},
    scoreboard::{Counter, Record},
};
use worker_server::{Meter, RequestOutcome};

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

    fn adjust(&self, connections: i32, requests: i32) {
        let record = self.record;
        let open = record.connections.load(Relaxed).saturating_add_signed(connections);
        let in_flight = record.in_flight.load(Relaxed).saturating_add_signed(requests);
        record.connections.store(open, Relaxed);
        record.in_flight.store(in_flight, Relaxed);
        // An HTTP/1 connection carries one request at a time, so what has none is idle.
        record.connections_idle.store(open.saturating_sub(in_flight), Relaxed);
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
        self.adjust(1, 0);
    }

    fn connection_closed(&self) {
        self.adjust(-1, 0);
    }

    fn request_started(&self, line: &[u8]) -> usize {
        self.adjust(0, 1);
        self.name_request(line)
    }

    fn request_finished(&self, request: usize, outcome: RequestOutcome) {
        self.forget_request(request);
        self.adjust(0, -1);
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

    fn request_refused(&self, status: u16) {
        let reason = match status {
            408 => Counter::RejectedTimeout,
            413 => Counter::RejectedBodyTooLarge,
            414 | 431 => Counter::RejectedHeadTooLarge,
            _ => Counter::RejectedBadRequest,
        };
        self.record.add(reason, 1);
    }

    fn timed_out(&self) {
        self.record.add(Counter::RejectedTimeout, 1);
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
