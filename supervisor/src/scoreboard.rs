//! The scoreboard, seen from the supervisor: made, sealed and mapped; one record leased to each living process, folded into the
//! totals of the dead and zeroed after the reap. So a scrape asks no worker, and no counter ever falls.
#![expect(unsafe_code, reason = "a shared mapping is reached through a pointer")]

use std::{
    fs::File,
    io,
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd},
    ptr::NonNull,
    sync::atomic::Ordering::Relaxed,
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use protocol::scoreboard::{
    COUNTERS, Counter, DURATION_BUCKETS_US, Header, LAYOUT_VERSION, MAGIC, MAX_RECORDS, Record, SIZE_BYTES,
    record_offset,
};

use crate::evidence::sealed_memory;

/// Buckets of the duration histogram, the last for what is longer than all bounds.
pub const BUCKETS: usize = DURATION_BUCKETS_US.len() + 1;

/// Sums over processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    counters: [u64; COUNTERS],
    /// Requests per bucket, not cumulative.
    pub buckets: [u64; BUCKETS],
    /// Sum of their durations in microseconds.
    pub duration_sum_us: u64,
}

impl Totals {
    const ZERO: Self = Self { counters: [0; COUNTERS], buckets: [0; BUCKETS], duration_sum_us: 0 };

    /// The sum of a counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    fn add(&mut self, record: &Record) {
        for counter in Counter::ALL {
            let sum = &mut self.counters[counter as usize];
            *sum = sum.wrapping_add(record.get(counter));
        }
        let (buckets, duration_sum_us) = record.durations();
        for (sum, count) in self.buckets.iter_mut().zip(buckets) {
            *sum = sum.wrapping_add(count);
        }
        self.duration_sum_us = self.duration_sum_us.wrapping_add(duration_sum_us);
    }
}

/// The right to one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease(usize);

impl Lease {
    /// The number that the worker is told.
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// What a worker does at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    /// Open connections.
    pub connections: u32,
    /// Those of them that wait for a request.
    pub connections_idle: u32,
    /// Requests begun and not answered in full.
    pub in_flight: u32,
    /// Requests that wait for their turn.
    pub queued: u32,
}

/// All records, and the totals of the dead.
#[derive(Debug)]
pub struct Scoreboard {
    memory: File,
    start: NonNull<u8>,
    leased: Vec<Lease>,
    dead: Totals,
}

impl Scoreboard {
    /// All records free and zero.
    ///
    /// # Errors
    /// No descriptors or no memory left.
    pub fn new() -> io::Result<Self> {
        let memory = sealed_memory(c"supervise-scoreboard", SIZE_BYTES)?;
        let length = NonZeroUsize::new(SIZE_BYTES).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new shared mapping at an address of the kernel's choice; the size is sealed, so it cannot shrink below it.
        let start = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, &memory, 0) }?.cast::<u8>();
        let board = Self { memory, start, leased: Vec::new(), dead: Totals::ZERO };
        // SAFETY: the header is the first thing in the mapping; a mapping begins at a page, which is aligned for it, and all
        // zero is a valid header because it consists of atomics alone.
        let header = unsafe { board.start.cast::<Header>().as_ref() };
        header.layout_version.store(LAYOUT_VERSION, Relaxed);
        header.records.store(u32::try_from(MAX_RECORDS).unwrap_or(u32::MAX), Relaxed);
        header.magic.store(MAGIC, Relaxed);
        Ok(board)
    }

    /// A free record, zeroed. `None` when as many processes live as there are records.
    pub fn lease(&mut self) -> Option<Lease> {
        // The lowest free one, so that few pages are touched.
        let free = (0..MAX_RECORDS).map(Lease).find(|lease| !self.leased.contains(lease))?;
        self.leased.push(free);
        self.record(free).clear();
        Some(free)
    }

    /// The process is reaped: its counts go to the totals of the dead, its record is free.
    pub fn fold(&mut self, lease: Lease) {
        self.leased.retain(|other| *other != lease);
        let mut dead = self.dead.clone();
        dead.add(self.record(lease));
        self.dead = dead;
        self.record(lease).clear();
    }

    /// The sums over the living and the dead.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.dead.clone();
        for lease in &self.leased {
            totals.add(self.record(*lease));
        }
        totals
    }

    /// What the process that holds this record does now.
    #[must_use]
    pub fn gauges(&self, lease: Lease) -> Gauges {
        let record = self.record(lease);
        Gauges {
            connections: record.connections.load(Relaxed),
            connections_idle: record.connections_idle.load(Relaxed),
            in_flight: record.in_flight.load(Relaxed),
            queued: record.queued.load(Relaxed),
        }
    }

    /// Requests that the process which holds this record has answered: WebSockets that it accepted are among them.
    #[must_use]
    pub fn requests_answered(&self, lease: Lease) -> u64 {
        const CLASSES: [Counter; 5] = [
            Counter::Responses1xx,
            Counter::Responses2xx,
            Counter::Responses3xx,
            Counter::Responses4xx,
            Counter::Responses5xx,
        ];
        let record = self.record(lease);
        CLASSES.into_iter().fold(0, |sum, class| sum.wrapping_add(record.get(class)))
    }

    fn record(&self, lease: Lease) -> &Record {
        debug_assert!(lease.0 < MAX_RECORDS, "leases come from lease()");
        // SAFETY: the offset of a record below MAX_RECORDS lies within the mapping and is aligned for it. A record consists of
        // atomics alone, so that other processes write it at the same time is no data race.
        unsafe { self.start.add(record_offset(lease.0)).cast::<Record>().as_ref() }
    }
}

impl AsFd for Scoreboard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl Drop for Scoreboard {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this size, and no reference into it outlives self.
        let _unmapped = unsafe { munmap(self.start.cast(), SIZE_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use protocol::scoreboard::Counter;

    use super::Scoreboard;

    #[test]
    fn counts_of_the_dead_stay_and_their_records_are_used_again() {
        let mut board = Scoreboard::new().expect("memory");
        let first = board.lease().expect("free");
        let second = board.lease().expect("free");
        board.record(first).add(Counter::Responses2xx, 3);
        board.record(second).add(Counter::Responses2xx, 4);
        board.record(first).observe_duration_us(2_000);
        assert_eq!(board.totals().get(Counter::Responses2xx), 7);
        board.fold(first);
        assert_eq!(board.totals().get(Counter::Responses2xx), 7);
        assert_eq!(board.lease(), Some(first));
        assert_eq!(board.record(first).get(Counter::Responses2xx), 0);
        let totals = board.totals();
        assert_eq!(
            (totals.get(Counter::Responses2xx), totals.buckets[1], totals.duration_sum_us),
            (7, 1, 2_000)
        );
    }
}
