//! Layout of the scoreboard: numbers for people, shared by a memfd that the supervisor makes, seals and passes to every
//! worker. One record per living process; only its worker writes it, and a scrape reads it without asking anybody.
//! The mapping itself is made elsewhere: this file knows types, not memory.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Version of this layout; stands in the header and must match.
pub const LAYOUT_VERSION: u32 = 4;
/// Marks a scoreboard: "supv" in ASCII.
pub const MAGIC: u32 = 0x7375_7076;
/// Records in one scoreboard. Bounds the workers alive at once, old and new of a reload together.
pub const MAX_RECORDS: usize = 1024;

/// First thing in the memfd.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Header {
    /// [`MAGIC`].
    pub magic: AtomicU32,
    /// [`LAYOUT_VERSION`].
    pub layout_version: AtomicU32,
    /// Number of records that follow.
    pub records: AtomicU32,
    /// Grows each time that a worker begins to accept: then the others look for their siblings anew.
    pub acceptors_changed: AtomicU32,
}

/// Makes the enum of counters and the list of all of them from one text.
macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident,)*) => {
        /// Every counter of a worker: it only grows while the process lives; the supervisor adds it to the totals of
        /// all the dead and zeroes it after the reap.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter {
            $($(#[$meta])* $name,)*
        }

        impl Counter {
            /// Every counter, in the order of the layout.
            pub const ALL: [Self; COUNTERS] = [$(Self::$name),*];
        }

        /// Number of counters in a record.
        pub const COUNTERS: usize = [$(Counter::$name),*].len();
    };
}

counters! {
    /// Requests answered with 1xx.
    Responses1xx,
    /// Requests answered with 2xx.
    Responses2xx,
    /// Requests answered with 3xx.
    Responses3xx,
    /// Requests answered with 4xx.
    Responses4xx,
    /// Requests answered with 5xx.
    Responses5xx,
    /// Connections accepted.
    ConnectionsAccepted,
    /// Requests refused: the head was malformed, or asks for what is not spoken here (400, 417, 426, 501, 505).
    RejectedBadRequest,
    /// Requests refused: request line too long (414).
    RejectedRequestLineTooLong,
    /// Requests refused: header fields too large, or too many (431).
    RejectedHeaderTooLarge,
    /// Requests refused: body too large (413).
    RejectedBodyTooLarge,
    /// Connections cut off: no whole head, or PROXY header, in time (408, or closed without a word).
    RejectedHeaderTimeout,
    /// Requests cut off: the body made no progress (408).
    RejectedBodyTimeout,
    /// Requests cut off: the body came too slowly (408).
    RejectedBodyTooSlow,
    /// Connections cut off: the client took nothing of what it had asked for.
    RejectedWriteTimeout,
    /// Requests cut off: not answered in full in time (503, or broken off).
    RejectedRequestTimeout,
    /// Requests refused: too many waited already (503).
    RejectedQueueFull,
    /// Requests refused: their turn did not come in time (503).
    RejectedQueueTimeout,
    /// WebSockets cut off: nothing was heard of the client after a ping.
    RejectedPingTimeout,
    /// Connections closed for a flood of HTTP/2 frames: resets, or frames that carry nothing.
    RejectedFlood,
    /// Times that a worker stopped accepting because it had as many connections as it may have.
    AcceptPauses,
    /// Exceptions that escaped from the application.
    AppExceptions,
    /// Request body bytes received.
    RequestBodyBytes,
    /// Response body bytes sent.
    ResponseBodyBytes,
    /// Responses that were broken off: the application failed, or the client left before the end.
    ResponsesAborted,
    /// TLS handshakes that secured their connection.
    TlsHandshakesDone,
    /// TLS handshakes that failed: no version or cipher in common, a wrong client certificate, a client that left.
    TlsHandshakesFailed,
    /// TLS handshakes that took too long.
    TlsHandshakesTimedOut,
    /// Clients that spoke plain HTTP where TLS is spoken.
    TlsPlainHttp,
    /// Connections closed because they did not begin with the PROXY header that was due.
    RejectedProxyHeader,
    /// Lines of the access log that were lost: nobody took them in time, or they could not be written.
    AccessLogLinesDropped,
}

/// Upper bounds of the duration histogram in microseconds; one more bucket holds the rest.
pub const DURATION_BUCKETS_US: [u64; 16] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000,
];

/// One worker's numbers. A cache line multiple, so that neighbours never share a line.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Record {
    counters: [AtomicU64; COUNTERS],
    duration_buckets: [AtomicU64; DURATION_BUCKETS_US.len() + 1],
    duration_sum_us: AtomicU64,
    /// Open connections now.
    pub connections: AtomicU32,
    /// Connections that wait for their next request now.
    pub connections_idle: AtomicU32,
    /// Requests begun and not yet answered in full now.
    pub in_flight: AtomicU32,
    /// Since when the worker's loop has been running without a pause: microseconds of CLOCK_MONOTONIC, the low 32 bits with
    /// the lowest set; 0 while it waits for something to do. Siblings look at it before they accept.
    pub busy: AtomicU32,
    /// Non-zero while the worker accepts connections: from ready to the beginning of its drain.
    pub accepting: AtomicU32,
    /// Breaks ties between workers with equally many connections: grows with every accept, wraps around, and starts at the
    /// siblings' highest, so that a new worker has nothing to catch up on.
    pub accept_turn: AtomicU32,
    /// Requests that wait for their turn now.
    pub queued: AtomicU32,
}

impl Record {
    /// Adds to a counter. The worker is the only writer, so a load and a store are enough and no bus lock is paid.
    pub fn add(&self, counter: Counter, amount: u64) {
        let cell = &self.counters[counter as usize];
        cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// Adds to a counter that several threads of the worker count in.
    pub fn add_from_any_thread(&self, counter: Counter, amount: u64) {
        self.counters[counter as usize].fetch_add(amount, Relaxed);
    }

    /// A counter's value.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Relaxed)
    }

    /// Notes that a request took so many microseconds.
    pub fn observe_duration_us(&self, duration_us: u64) {
        let bucket = DURATION_BUCKETS_US.partition_point(|&bound| bound < duration_us);
        let cell = &self.duration_buckets[bucket];
        cell.store(cell.load(Relaxed) + 1, Relaxed);
        let sum = &self.duration_sum_us;
        sum.store(sum.load(Relaxed).wrapping_add(duration_us), Relaxed);
    }

    /// The histogram: requests per bucket (not cumulative) and the sum of their durations in microseconds.
    #[must_use]
    pub fn durations(&self) -> ([u64; DURATION_BUCKETS_US.len() + 1], u64) {
        (
            std::array::from_fn(|bucket| self.duration_buckets[bucket].load(Relaxed)),
            self.duration_sum_us.load(Relaxed),
        )
    }

    /// All zero: before a new worker leases the record.
    pub fn clear(&self) {
        for cell in self.counters.iter().chain(&self.duration_buckets) {
            cell.store(0, Relaxed);
        }
        self.duration_sum_us.store(0, Relaxed);
        let connections = [&self.connections, &self.connections_idle, &self.in_flight];
        let others = [&self.busy, &self.accepting, &self.accept_turn, &self.queued];
        for gauge in connections.into_iter().chain(others) {
            gauge.store(0, Relaxed);
        }
    }
}

/// Size of the memfd: the header and [`MAX_RECORDS`] records.
pub const SIZE_BYTES: usize = size_of::<Header>() + MAX_RECORDS * size_of::<Record>();

/// Byte offset of record `index` in the memfd.
#[must_use]
pub const fn record_offset(index: usize) -> usize {
    size_of::<Header>() + index * size_of::<Record>()
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    fn record() -> Record {
        Record {
            counters: std::array::from_fn(|_| AtomicU64::new(0)),
            duration_buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            duration_sum_us: AtomicU64::new(0),
            connections: AtomicU32::new(0),
            connections_idle: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            busy: AtomicU32::new(0),
            accepting: AtomicU32::new(0),
            accept_turn: AtomicU32::new(0),
            queued: AtomicU32::new(0),
        }
    }

    /// Supervisor and worker may be of two builds: whoever changes the layout changes [`LAYOUT_VERSION`] too.
    #[test]
    fn the_layout_is_the_golden_one() {
        let mut lines = vec![
            format!("layout version {LAYOUT_VERSION}, mark {MAGIC:#010x}"),
            format!("memory {SIZE_BYTES} bytes, {MAX_RECORDS} records"),
            format!("header {} bytes", size_of::<Header>()),
            format!("  magic {}", offset_of!(Header, magic)),
            format!("  layout_version {}", offset_of!(Header, layout_version)),
            format!("  records {}", offset_of!(Header, records)),
            format!("  acceptors_changed {}", offset_of!(Header, acceptors_changed)),
            format!(
                "record {} bytes, first at {}, second at {}",
                size_of::<Record>(),
                record_offset(0),
                record_offset(1)
            ),
        ];
        for counter in Counter::ALL {
            lines.push(format!("  {counter:?} {}", offset_of!(Record, counters) + 8 * counter as usize));
        }
        lines.push(format!("  duration_buckets {}", offset_of!(Record, duration_buckets)));
        lines.push(format!("  duration_sum_us {}", offset_of!(Record, duration_sum_us)));
        lines.push(format!("  connections {}", offset_of!(Record, connections)));
        lines.push(format!("  connections_idle {}", offset_of!(Record, connections_idle)));
        lines.push(format!("  in_flight {}", offset_of!(Record, in_flight)));
        lines.push(format!("  busy {}", offset_of!(Record, busy)));
        lines.push(format!("  accepting {}", offset_of!(Record, accepting)));
        lines.push(format!("  accept_turn {}", offset_of!(Record, accept_turn)));
        lines.push(format!("  queued {}", offset_of!(Record, queued)));
        assert_eq!(lines.join("\n") + "\n", include_str!("../tests/golden/scoreboard_layout.txt"));
    }

    #[test]
    fn records_do_not_share_a_cache_line() {
        assert_eq!((size_of::<Record>() % 64, align_of::<Record>(), record_offset(3) % 64), (0, 64, 0));
        assert_eq!(record_offset(MAX_RECORDS), SIZE_BYTES);
    }

    #[test]
    fn each_counter_counts_for_itself() {
        let record = record();
        for (number, counter) in Counter::ALL.into_iter().enumerate() {
            record.add(counter, 10 + number as u64);
            record.add(counter, 100);
        }
        for (number, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(record.get(counter), 110 + number as u64, "{counter:?}");
        }
    }

    #[test]
    fn a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        for (bucket, bound) in DURATION_BUCKETS_US.into_iter().enumerate() {
            let record = record();
            record.observe_duration_us(bound);
            record.observe_duration_us(bound + 1);
            let (buckets, sum_us) = record.durations();
            let mut expected = [0; DURATION_BUCKETS_US.len() + 1];
            expected[bucket] = 1;
            expected[bucket + 1] = 1;
            assert_eq!((buckets, sum_us), (expected, 2 * bound + 1));
        }
        let record = record();
        record.observe_duration_us(0);
        record.observe_duration_us(u64::MAX);
        let (buckets, _) = record.durations();
        assert_eq!((buckets[0], buckets[DURATION_BUCKETS_US.len()]), (1, 1), "the first and the last bucket");
        assert!(DURATION_BUCKETS_US.is_sorted());
    }

    #[test]
    fn a_cleared_record_is_all_zero() {
        let record = record();
        for counter in Counter::ALL {
            record.add(counter, 1);
        }
        record.observe_duration_us(5);
        let gauges = [
            &record.connections,
            &record.connections_idle,
            &record.in_flight,
            &record.busy,
            &record.accepting,
            &record.accept_turn,
            &record.queued,
        ];
        for gauge in gauges {
            gauge.store(7, Relaxed);
        }
        record.clear();
        assert!(Counter::ALL.into_iter().all(|counter| record.get(counter) == 0));
        assert_eq!(record.durations(), ([0; DURATION_BUCKETS_US.len() + 1], 0));
        assert_eq!(gauges.map(|gauge| gauge.load(Relaxed)), [0; 7]);
    }
}
