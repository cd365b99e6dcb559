//! What can happen to a fleet: one closed list. Signals, timers, pipe messages, exits and commands all become one of these.

use crate::{Moment, WorkerId};

/// Something that happened, and when the shell saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Monotonic time of the observation; never smaller than that of the event before.
    pub at: Moment,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The program starts: the first workers are wanted. The first event of every run, and only the first.
    Start,
    /// Time passed: the shell's one sleep, set to [`crate::Fleet::next_deadline`], ended.
    Tick,
    /// A process could not be made (fork, exec or pipe failed). No exit will follow.
    SpawnFailed {
        /// The worker of the spawn order.
        worker: WorkerId,
    },
    /// The worker's first message came.
    Hello {
        /// Who.
        worker: WorkerId,
    },
    /// The worker imported its application.
    Loaded {
        /// Who.
        worker: WorkerId,
    },
    /// The worker accepts connections.
    Ready {
        /// Who.
        worker: WorkerId,
    },
    /// The worker's loop answered.
    Heartbeat {
        /// Who.
        worker: WorkerId,
        /// Requests that it has answered in its life.
        requests: u64,
    },
    /// Somebody looked how much memory the worker holds.
    MemoryMeasured {
        /// Who.
        worker: WorkerId,
        /// Its private pages and its share of those that it shares, in bytes.
        bytes: u64,
    },
    /// The worker stopped accepting.
    Draining {
        /// Who.
        worker: WorkerId,
    },
    /// The worker says that it cannot go on; its exit will follow.
    Failed {
        /// Who.
        worker: WorkerId,
        /// How far it came.
        phase: FailurePhase,
    },
    /// The worker asks to be replaced.
    ReplaceMe {
        /// Who.
        worker: WorkerId,
    },
    /// The worker wrote what is no message, or closed its pipe while it lives: it cannot be supervised any more.
    ChannelBroken {
        /// Who.
        worker: WorkerId,
    },
    /// The process was reaped. The last event of every worker that was spawned.
    Exited {
        /// Who.
        worker: WorkerId,
        /// How.
        exit: Exit,
    },
    /// The operator wants new code and settings, and the settings are proven good. While the program runs, the answer to each
    /// holds exactly one `ReloadStarted`, whose generation is the one that the settings belong to.
    Reload {
        /// What the new generation is to be.
        settings: crate::PoolSettings,
    },
    /// The operator wants this many workers more (or fewer).
    Scale {
        /// Never below one worker in the end.
        by: i32,
    },
    /// The operator wants the program to end.
    Stop {
        /// How fast.
        urgency: Urgency,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Exit {
    /// `exit(code)`.
    Code(i32),
    /// Killed by a signal of this number.
    Signal(i32),
    /// Killed by the kernel for want of memory.
    OutOfMemory,
}

/// How far a worker came before it failed (as `protocol::Phase`, which this crate does not know).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailurePhase {
    /// Import of the application.
    Load,
    /// Start-up of the worker or of the application.
    Startup,
    /// While serving.
    Serve,
}

/// How fast to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Urgency {
    /// TERM: drain within the graceful timeout. A second one means [`Urgency::Now`].
    Graceful,
    /// INT, QUIT: drain, but only for a moment. A second one means [`Urgency::Now`].
    Quick,
    /// Kill.
    Now,
}
