//! One worker as the fleet knows it: a state that owns its data and its deadline.
//! Must not know what is wanted of the fleet; that is for the rooms beside it.

use crate::{ExitReason, GenerationId, Moment, PoolSettings, RecycleCause, Slot, WorkerId};

/// One worker whose process may be alive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) slot: Slot,
    pub(crate) generation: GenerationId,
    /// Its generation's settings: its deadlines follow them, whatever is wanted by now.
    pub(crate) settings: PoolSettings,
    pub(crate) state: State,
}

/// What a worker does, with what only that needs. Each state has a deadline, so no wait is without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// Spawned, not ready yet.
    Starting { ready_by: Moment },
    /// Accepts connections.
    Ready { since: Moment, heartbeat_by: Moment, term: Term, wish: Wish },
    /// Asked to leave, or leaves by itself.
    Draining { kill_at: Moment, reason: ExitReason },
    /// Does not answer: was told to write its stacks.
    Dumping { abort_at: Moment, reason: ExitReason },
    /// Was sent SIGABRT.
    Aborting { kill_at: Moment, reason: ExitReason },
    /// Was sent SIGKILL this many times.
    Killed { reap_by: Moment, kills: u32, reason: ExitReason },
}

/// How long a ready worker may serve: its share of chance is in it already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Term {
    pub(crate) requests: Option<u64>,
    pub(crate) until: Option<Moment>,
}

/// What is to become of a ready worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wish {
    /// It serves on.
    Stay,
    /// It gets a successor.
    Leave(RecycleCause),
}

/// Whether a worker counts towards what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    /// On its way to be ready.
    Coming,
    /// Ready.
    Serving,
    /// On its way out.
    Leaving,
}

impl Worker {
    pub(crate) fn standing(&self) -> Standing {
        match self.state {
            State::Starting { .. } => Standing::Coming,
            State::Ready { .. } => Standing::Serving,
            State::Draining { .. }
            | State::Dumping { .. }
            | State::Aborting { .. }
            | State::Killed { .. } => Standing::Leaving,
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.standing() != Standing::Leaving
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.standing() == Standing::Serving
    }

    /// Of this generation and content with its life: what a slot wants in the end.
    pub(crate) fn fits(&self, generation: GenerationId) -> bool {
        let content = match self.state {
            State::Starting { .. } | State::Ready { wish: Wish::Stay, .. } => true,
            State::Ready { wish: Wish::Leave(_), .. }
            | State::Draining { .. }
            | State::Dumping { .. }
            | State::Aborting { .. }
            | State::Killed { .. } => false,
        };
        content && self.generation == generation
    }

    /// Why it leaves now that its successor is ready.
    pub(crate) fn reason_to_leave(&self) -> ExitReason {
        match self.state {
            State::Ready { wish: Wish::Leave(cause), .. } => cause.reason(),
            State::Starting { .. } | State::Ready { wish: Wish::Stay, .. } => ExitReason::Requested,
            State::Draining { reason, .. }
            | State::Dumping { reason, .. }
            | State::Aborting { reason, .. }
            | State::Killed { reason, .. } => reason,
        }
    }

    pub(crate) fn deadline(&self) -> Moment {
        match self.state {
            State::Starting { ready_by } => ready_by,
            State::Ready {
                heartbeat_by, term: Term { until: Some(until), .. }, wish: Wish::Stay, ..
            } => heartbeat_by.min(until),
            State::Ready { heartbeat_by, .. } => heartbeat_by,
            State::Draining { kill_at, .. } | State::Aborting { kill_at, .. } => kill_at,
            State::Dumping { abort_at, .. } => abort_at,
            State::Killed { reap_by, .. } => reap_by,
        }
    }

    /// Moves the deadline: the time that the supervisor itself lost is not held against a worker.
    pub(crate) fn postpone(&mut self, now: Moment, lost_ms: u64) {
        match &mut self.state {
            // The heartbeats of the lost time may lie unread: the silence begins anew.
            State::Ready { heartbeat_by, term, .. } => {
                *heartbeat_by = now.after(self.settings.heartbeat_timeout_ms);
                // The end of its term is no fault of it either, and due at once.
                term.until = term.until.map(|until| until.max(now));
            }
            State::Starting { ready_by: deadline }
            | State::Draining { kill_at: deadline, .. }
            | State::Dumping { abort_at: deadline, .. }
            | State::Aborting { kill_at: deadline, .. }
            | State::Killed { reap_by: deadline, .. } => *deadline = deadline.after(lost_ms),
        }
    }

    pub(crate) fn view(&self, id: WorkerId) -> WorkerView {
        let state = match self.state {
            State::Starting { .. } => StateName::Starting,
            State::Ready { .. } => StateName::Ready,
            State::Draining { .. } => StateName::Draining,
            State::Dumping { .. } | State::Aborting { .. } => StateName::Aborting,
            State::Killed { .. } => StateName::Killed,
        };
        WorkerView { id, slot: self.slot, generation: self.generation, state }
    }
}

/// What the fleet knows about one worker, for metrics and status.
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

/// What a worker does, as metrics and status name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateName {
    /// Spawned, not ready yet.
    Starting,
    /// Accepts connections.
    Ready,
    /// Finishes what it has, then leaves.
    Draining,
    /// Does not answer: writes its last words before it is killed.
    Aborting,
    /// Was sent SIGKILL; not reaped yet.
    Killed,
}

impl StateName {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 5] = [Self::Starting, Self::Ready, Self::Draining, Self::Aborting, Self::Killed];

    /// The label of metrics and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Aborting => "aborting",
            Self::Killed => "killed",
        }
    }
}
