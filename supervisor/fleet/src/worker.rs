//! One worker as the fleet knows it: a state that owns its data and its deadline.

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
