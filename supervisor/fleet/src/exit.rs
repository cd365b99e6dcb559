//! A worker is gone, or as good as gone: why, and what its slot needs now.

use crate::{
    Action, BootFailure, Exit, ExitReason, Fleet, Slot, WorkerId,
    backoff::SOUND_MS,
    worker::{State, Worker},
};

impl Fleet {
    /// The process was reaped.
    pub(crate) fn exited(&mut self, id: WorkerId, exit: Exit) {
        let Some(worker) = self.workers.remove(&id) else { return };
        match worker.state {
            State::Starting { .. } => {
                self.retire(id, ExitReason::BootFailed, exit);
                self.boot_failed(id, &worker, BootFailure::Exited(exit));
            }
            State::Ready { .. } => {
                let reason = unasked(exit);
                self.retire(id, reason, exit);
                self.lost_serving(id, &worker, reason, BootFailure::Exited(exit));
            }
            State::Draining { reason, .. }
            | State::Dumping { reason, .. }
            | State::Aborting { reason, .. }
            | State::Killed { reason, .. } => self.retire(id, reason, exit),
        }
    }

    fn retire(&mut self, worker: WorkerId, reason: ExitReason, exit: Exit) {
        self.actions.push(Action::Retire { worker, reason, exit });
    }

    /// A worker that served does so no more, and nobody had asked for it. `worker` is as it was before.
    /// `cause` is what a reload is told if the worker had only just arrived.
    pub(crate) fn lost_serving(
        &mut self,
        id: WorkerId,
        worker: &Worker,
        reason: ExitReason,
        cause: BootFailure,
    ) {
        if !self.is_running() {
            return;
        }
        let others = self.workers.iter().filter(|&(&other, _)| other != id);
        let covered =
            others.map(|(_, other)| other).any(|other| other.slot == worker.slot && other.is_serving());
        if !covered {
            self.slot_lost_worker(worker.slot, reason);
        }
        let served_ms = self.served_ms(worker);
        if self.reloading() == Some(worker.generation) && served_ms < SOUND_MS {
            // It crashed on arrival: that is the new generation's fault, and the old one takes its place without a wait.
            self.abort_reload(id, cause);
        } else {
            self.count_death(worker.slot, worker.generation, Some(served_ms));
        }
    }

    /// The next worker of this slot is a replacement.
    pub(crate) fn slot_lost_worker(&mut self, slot: Slot, reason: ExitReason) {
        if let Some(record) = self.wanted_slot(slot) {
            record.replaces = Some(reason);
        }
    }

    pub(crate) fn served_ms(&self, worker: &Worker) -> u64 {
        match worker.state {
            State::Ready { since, .. } => self.now.ms_since(since),
            State::Starting { .. }
            | State::Draining { .. }
            | State::Dumping { .. }
            | State::Aborting { .. }
            | State::Killed { .. } => 0,
        }
    }
}

/// Why a worker left that nobody had asked to. An exit code of 0 is a crash too: a server does not end by itself.
fn unasked(exit: Exit) -> ExitReason {
    match exit {
        Exit::Code(_) => ExitReason::Crash,
        Exit::Signal(_) => ExitReason::Signal,
        Exit::OutOfMemory => ExitReason::OutOfMemory,
    }
}
