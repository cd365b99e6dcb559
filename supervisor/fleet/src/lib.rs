//! The law of supervision, as a pure function: [`Fleet::step`] takes what happened and returns what to do;
//! [`Fleet::next_deadline`] says when to call again if nothing happens.
//!
//! Absent on purpose: clock, processes, signals, files, environment, threads, randomness. Time comes in with each event,
//! the seed of the jitter with the settings. Its `[dependencies]` is empty and stays so.

mod action;
mod event;
mod worker;

pub use action::{Action, BootFailure, ExitReason, Notice, Origin, Outcome};
pub use event::{Event, EventKind, Exit, FailurePhase, Urgency};
pub use worker::StateName;

/// All workers of the program and what is wanted of them.
#[derive(Debug, Clone)]
pub struct Fleet {
    wanted: u32,
    generation: GenerationId,
}

impl Fleet {
    /// A fleet that has not started. `seed` feeds the jitter of the back-off.
    #[must_use]
    pub fn new(settings: PoolSettings, seed: u64) -> Self {
        let _ = seed;
        Self { wanted: settings.workers, generation: GenerationId(1) }
    }

    /// Takes what happened; returns what to do, in order.
    #[must_use]
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        let _ = event;
        Vec::new()
    }

    /// When a [`EventKind::Tick`] is due if nothing else happens; a moment that has passed means at once. The shell applies all
    /// that it can read without waiting before it sends a tick, so that no worker is blamed for a message that lay unread.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        None
    }

    /// Whether the fleet is what it must be; [`Fleet::step`] asks itself after each event and reports a breach as
    /// [`Notice::InvariantBroken`].
    ///
    /// # Errors
    /// The promise that does not hold, in words.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        Ok(())
    }

    /// Every worker whose process may be alive, by id.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> + '_ {
        std::iter::empty()
    }

    /// Workers wanted now: the setting and all hand-made scaling.
    #[must_use]
    pub fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Workers that are ready, of whatever generation.
    #[must_use]
    pub fn ready(&self) -> u32 {
        0
    }

    /// The generation that serves, or the one to fall back on while a reload is under way.
    #[must_use]
    pub fn generation(&self) -> GenerationId {
        self.generation
    }

    /// The generation of the reload that is under way.
    #[must_use]
    pub fn reloading(&self) -> Option<GenerationId> {
        None
    }

    /// Where the run is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::Running
    }

    /// Slots whose replacement waits for its back-off to end.
    #[must_use]
    pub fn slots_in_backoff(&self) -> u32 {
        0
    }
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Before [`EventKind::Start`].
    Idle,
    /// Workers are wanted.
    Running,
    /// Workers are on their way out; none is started any more.
    Stopping,
    /// [`Action::Finish`] was ordered.
    Finished,
}

/// What the fleet knows about one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerView {
    /// Who.
    pub id: WorkerId,
    /// Its number for people.
    pub slot: Slot,
    /// Its code and settings.
    pub generation: GenerationId,
    /// What it does.
    pub state: StateName,
}

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
