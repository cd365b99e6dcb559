//! The law of supervision, as a pure function: [`Fleet::step`] takes what happened and returns what to do;
//! [`Fleet::next_deadline`] says when to call again if nothing happens.
//!
//! Absent on purpose: clock, processes, signals, files, environment, threads, randomness. Time comes in with each event,
//! the seed of the jitter with the settings. Its `[dependencies]` is empty and stays so.

mod action;
mod event;

pub use action::{Action, BootFailure, ExitReason, Notice, Origin, Outcome};
pub use event::{Event, EventKind, Exit, FailurePhase, Urgency};

/// Milliseconds of a monotonic clock since an origin of the shell's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// One process that is or was a worker. Minted by the fleet, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u64);

/// Worker number for people, from 1; stable over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// Version of code and settings, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GenerationId(pub u32);

/// One application and its workers. The command line describes a single one, number 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub u32);

/// What a pool is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSettings {
    /// Workers wanted, at least 1.
    pub workers: u32,
    /// Workers of the new generation that may exist beyond `workers` during a reload, at least 1.
    pub max_surge: u32,
    /// From the spawn order to ready.
    pub boot_timeout_ms: u64,
    /// Longest silence of a ready worker's loop.
    pub heartbeat_timeout_ms: u64,
    /// From the drain order to the kill.
    pub graceful_timeout_ms: u64,
    /// As `graceful_timeout_ms`, for a quick stop.
    pub quick_timeout_ms: u64,
    /// From the stack dump to SIGABRT, and from SIGABRT to SIGKILL, for a worker that does not answer.
    pub abort_grace_ms: u64,
}
