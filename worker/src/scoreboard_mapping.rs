//! Maps the memory that a worker shares with its supervisor: the scoreboard, and the table of requests in flight at the head
//! of the evidence memfd. Private memory of the same shape stands in when the worker runs alone. Knows layout and memory;
//! what the numbers mean is written elsewhere.

#![expect(unsafe_code, reason = "memory that other processes map becomes references to atomics")]

use std::{
    num::NonZeroUsize,
    os::fd::OwnedFd,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use nix::sys::{
    mman::{MapFlags, ProtFlags, mmap, mmap_anonymous},
    stat::fstat,
};
use protocol::{
    evidence::{self, REQUEST_SLOT_BYTES, REQUEST_SLOTS},
    scoreboard::{self, Header, LAYOUT_VERSION, MAGIC, MAX_RECORDS, Record},
};

use crate::error::StartError;

/// Words of one entry of the request table. Whole words, because each is stored without tearing.
pub(crate) const ENTRY_WORDS: usize = REQUEST_SLOT_BYTES / size_of::<u64>();

/// The scoreboard as one worker sees it. Lives as long as the process; copies are the same memory.
#[derive(Debug, Clone, Copy)]
pub struct Scoreboard {
    header: &'static Header,
    records: &'static [Record],
    own: &'static Record,
}

impl Scoreboard {
    /// Maps the supervisor's memfd; `own` is the index of this worker's record.
    ///
    /// # Errors
    /// [`StartError`] when the memory is no scoreboard of this version or has no such record.
    pub fn map(memory: &OwnedFd, own: usize) -> Result<Self, StartError> {
        let base = map_shared(memory, scoreboard::SIZE_BYTES, "scoreboard")?;
        let header = Self::header_at(base);
        let (magic, version) = (header.magic.load(Relaxed), header.layout_version.load(Relaxed));
        if magic != MAGIC || version != LAYOUT_VERSION {
            return Err(StartError::boot(format!(
                "the scoreboard has layout {version} (mark {magic:#x}); this worker knows layout {LAYOUT_VERSION}: \
                 install `supervise` and `worker` of the same version"
            )));
        }
        let records = Self::records_at(base);
        let Some(own) = records.get(own) else {
            return Err(StartError::boot(format!(
                "the scoreboard has no record {own}; the last is {}",
                MAX_RECORDS - 1
            )));
        };
        Ok(Self { header, records, own })
    }

    /// Memory of the same shape that nobody else sees.
    ///
    /// # Errors
    /// [`StartError`] when the system has no memory.
    pub fn private() -> Result<Self, StartError> {
        let base = map_anonymous(scoreboard::SIZE_BYTES)?;
        let records = Self::records_at(base);
        Ok(Self { header: Self::header_at(base), records, own: &records[0] })
    }

    /// This worker's record.
    #[must_use]
    pub fn own(&self) -> &'static Record {
        self.own
    }

    /// The same scoreboard as the worker with another record sees it.
    #[cfg(test)]
    pub(crate) fn with_own(self, own: usize) -> Self {
        Self { own: &self.records[own], ..self }
    }

    /// Every record, this worker's and those that nobody leases included.
    #[must_use]
    pub fn records(&self) -> &'static [Record] {
        self.records
    }

    /// What stands before the records.
    #[must_use]
    pub(crate) fn header(&self) -> &'static Header {
        self.header
    }

    fn header_at(base: NonNull<u8>) -> &'static Header {
        // SAFETY: the mapping is at least SIZE_BYTES long (checked against the file), page-aligned, never unmapped, and
        // everything in a Header and a Record is atomic, so that other processes may write at the same time.
        unsafe { base.cast().as_ref() }
    }

    fn records_at(base: NonNull<u8>) -> &'static [Record] {
        // SAFETY: as above; record_offset(0) + MAX_RECORDS records is exactly SIZE_BYTES, and offset 0 of the records is a
        // multiple of their alignment because the header has the same alignment.
        unsafe {
            let first = base.add(scoreboard::record_offset(0)).cast::<Record>();
            NonNull::slice_from_raw_parts(first, MAX_RECORDS).as_ref()
        }
    }
}

/// The table of requests in flight. Lives as long as the process; copies are the same memory.
#[derive(Debug, Clone, Copy)]
pub struct EvidenceTable {
    entries: &'static [[AtomicU64; ENTRY_WORDS]; REQUEST_SLOTS],
}

impl EvidenceTable {
    /// Maps the supervisor's memfd.
    ///
    /// # Errors
    /// [`StartError`] when the memory is too small.
    pub fn map(memory: &OwnedFd) -> Result<Self, StartError> {
        Ok(Self::at(map_shared(memory, evidence::SIZE_BYTES, "evidence")?))
    }

    /// Memory of the same shape that nobody else sees.
    ///
    /// # Errors
    /// [`StartError`] when the system has no memory.
    pub fn private() -> Result<Self, StartError> {
        Ok(Self::at(map_anonymous(evidence::SIZE_BYTES)?))
    }

    pub(crate) fn entries(&self) -> &'static [[AtomicU64; ENTRY_WORDS]; REQUEST_SLOTS] {
        self.entries
    }

    fn at(base: NonNull<u8>) -> Self {
        // SAFETY: the mapping is longer than the table, page-aligned and never unmapped; other processes read and write it,
        // which atomics allow.
        Self { entries: unsafe { base.cast().as_ref() } }
    }
}

fn map_shared(memory: &OwnedFd, size_bytes: usize, what: &str) -> Result<NonNull<u8>, StartError> {
    let failed = |cause: &dyn std::fmt::Display| {
        StartError::boot(format!("the inherited {what} memory is unusable: {cause}"))
    };
    let actual = fstat(memory).map_err(|error| failed(&error))?.st_size;
    // A shorter file would turn the first access into SIGBUS.
    if usize::try_from(actual).unwrap_or(0) < size_bytes {
        return Err(failed(&format_args!("it has {actual} bytes instead of {size_bytes}")));
    }
    let length = NonZeroUsize::new(size_bytes).expect("sizes are constants above zero");
    // SAFETY: a new shared mapping at an address that the kernel chooses overlaps nothing of ours.
    unsafe {
        mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, memory, 0)
    }
    .map(NonNull::cast)
    .map_err(|error| failed(&error))
}

fn map_anonymous(size_bytes: usize) -> Result<NonNull<u8>, StartError> {
    let length = NonZeroUsize::new(size_bytes).expect("sizes are constants above zero");
    // SAFETY: a new private mapping at an address that the kernel chooses overlaps nothing of ours. It is zeroed, and all-zero
    // is a valid value of every type that is laid over it.
    unsafe {
        mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE)
    }
    .map(NonNull::cast)
    .map_err(|error| StartError::boot(format!("no memory for the counters: {error}")))
}
