//! What a fleet may order: one closed list. The shell performs each and decides nothing.

use crate::{FailurePhase, GenerationId, PoolId, Slot, WorkerId, event::Exit};

/// An order to the shell. Orders are performed in sequence.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use]
pub enum Action {
    /// Make a process. A failure comes back as `SpawnFailed`.
    Spawn {
        /// The new worker.
        worker: WorkerId,
        /// Which application.
        pool: PoolId,
        /// Its number for people.
        slot: Slot,
        /// Which code and settings.
        generation: GenerationId,
        /// From where.
        origin: Origin,
    },
    /// Tell the worker to drain.
    Drain {
        /// Who.
        worker: WorkerId,
        /// Time for all of it, in milliseconds.
        grace_ms: u64,
    },
    /// Make the worker write its stacks to the evidence memfd, and log them with the requests in flight.
    DumpStack {
        /// Who.
        worker: WorkerId,
    },
    /// Send SIGABRT (and SIGCONT) to the worker's process group: last words.
    Abort {
        /// Who.
        worker: WorkerId,
    },
    /// Send SIGKILL to the worker's process group. Ordered again when no exit follows: then the shell also looks anew
    /// whether the process can be reaped.
    Kill {
        /// Who.
        worker: WorkerId,
    },
    /// The worker is reaped and its story over: log it, count it, fold its numbers, free its descriptors. Once for every
    /// worker that was spawned; never for one whose spawn failed.
    Retire {
        /// Who.
        worker: WorkerId,
        /// Why it left, for the exit counter.
        reason: ExitReason,
        /// How it left.
        exit: Exit,
    },
    /// Something an operator wants to know.
    Notice(Notice),
    /// All is over: leave with this code once the actions before are done.
    Finish {
        /// How the run ended.
        outcome: Outcome,
    },
}

/// From where a worker is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// fork and exec of the worker program.
    Exec,
    /// Fork of the generation's template.
    Template,
}

/// Why a worker left: the `reason` label of `supervise_worker_exits_total` and `supervise_worker_restarts_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExitReason {
    /// Replaced by a newer generation.
    Reload,
    /// One worker fewer was wanted.
    Scale,
    /// The program stops.
    Stop,
    /// It asked to be replaced.
    Requested,
    /// It has answered as many requests as a worker may.
    MaxRequests,
    /// It has served as long as a worker may.
    MaxLifetime,
    /// It holds more memory than a worker should: replaced in good order.
    MaxMemory,
    /// It holds more memory than a worker ever may: not waited for.
    MaxMemoryHard,
    /// Its loop did not answer in time.
    Heartbeat,
    /// It exited unasked, with whatever code.
    Crash,
    /// It was killed by a signal that was not ours.
    Signal,
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// It never became ready: exit, failure or time-out before.
    BootFailed,
    /// It broke the control channel.
    ChannelBroken,
}

/// Something an operator wants to know. The shell turns each into one log line and, where there is one, a counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Notice {
    /// A replacement was ordered: counts `supervise_worker_restarts_total{reason}`. Never for scaling, reload or a first start.
    Restarted {
        /// Whose replacement.
        slot: Slot,
        /// Why the one before left.
        reason: ExitReason,
        /// The new one.
        worker: WorkerId,
    },
    /// A replacement waits.
    BackedOff {
        /// For which slot.
        slot: Slot,
        /// How long, in milliseconds.
        delay_ms: u64,
        /// Deaths counted against it.
        deaths: u32,
    },
    /// All wanted workers are ready for the first time.
    AllReady,
    /// A worker's loop is silent for longer than the heartbeat timeout: it will be replaced.
    Unresponsive {
        /// Who.
        worker: WorkerId,
        /// How long it has been silent, in milliseconds.
        silent_ms: u64,
    },
    /// A worker is due for replacement; it serves on until its successor is ready.
    Recycling {
        /// Who.
        worker: WorkerId,
        /// Why.
        cause: RecycleCause,
    },
    /// A worker holds more memory than it ever may: it is aborted, and replaced at once.
    OverMemory {
        /// Who.
        worker: WorkerId,
        /// How much it holds, in bytes.
        bytes: u64,
        /// How much it may hold, in bytes.
        most_bytes: u64,
    },
    /// A worker was not ready in time.
    BootTimedOut {
        /// Who.
        worker: WorkerId,
        /// The timeout, in milliseconds.
        timeout_ms: u64,
    },
    /// A worker was not gone at the end of its grace and was killed.
    DrainTimedOut {
        /// Who.
        worker: WorkerId,
    },
    /// A reload began.
    ReloadStarted {
        /// The new generation.
        generation: GenerationId,
    },
    /// All workers are of the new generation.
    ReloadDone {
        /// The new generation.
        generation: GenerationId,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// The new generation cannot serve; the old one goes on.
    ReloadFailed {
        /// The generation that failed.
        generation: GenerationId,
        /// The worker that showed it.
        worker: WorkerId,
        /// How it failed.
        cause: BootFailure,
    },
    /// A newer reload took the place of one that was under way or waiting.
    ReloadSuperseded {
        /// The generation that is given up.
        generation: GenerationId,
    },
    /// The number of wanted workers changed.
    Scaled {
        /// Before.
        from: u32,
        /// After.
        to: u32,
    },
    /// A stop was asked for, and begins after this time: until then all serve as before.
    Leaving {
        /// In milliseconds.
        delay_ms: u64,
    },
    /// The program begins to stop.
    Stopping {
        /// Workers still alive.
        workers: u32,
    },
    /// SIGKILL was sent more than once and the process is still not reaped (it may hang in the kernel). A stop does not
    /// wait for it any longer.
    Unkillable {
        /// Who.
        worker: WorkerId,
    },
    /// The clock jumped or the supervisor stood still: deadlines were armed anew.
    Stalled {
        /// For how long, in milliseconds.
        stalled_ms: u64,
    },
    /// An invariant does not hold: a bug of ours. The fleet mends what it can and goes on.
    InvariantBroken {
        /// Which one.
        what: &'static str,
    },
}

/// Why a worker that serves well is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecycleCause {
    /// It asked for it.
    Requested,
    /// It has answered so many requests.
    Requests(u64),
    /// It has served so many milliseconds.
    Lifetime(u64),
    /// It holds so many bytes.
    Memory(u64),
}

impl RecycleCause {
    /// As it is counted.
    #[must_use]
    pub fn reason(self) -> ExitReason {
        match self {
            Self::Requested => ExitReason::Requested,
            Self::Requests(_) => ExitReason::MaxRequests,
            Self::Lifetime(_) => ExitReason::MaxLifetime,
            Self::Memory(_) => ExitReason::MaxMemory,
        }
    }
}

/// Why a worker never became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BootFailure {
    /// It said so.
    Failed(FailurePhase),
    /// It left without a word.
    Exited(Exit),
    /// It was not ready in time.
    TimedOut,
    /// It could not be spawned.
    NotSpawned,
    /// It broke the control channel.
    ChannelBroken,
    /// It held more memory than it ever may.
    OverMemory,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Stopped as asked: exit 0.
    Stopped,
    /// The first worker of the first generation could not boot: exit 3, or 4 when the application could not be loaded.
    FirstBootFailed {
        /// The worker that showed it.
        worker: WorkerId,
        /// How.
        cause: BootFailure,
    },
}
