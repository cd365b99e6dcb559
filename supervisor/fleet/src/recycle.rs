//! Replacement of one worker by its own wish (max requests, memory): the successor is ready before it leaves.

use crate::{
    ExitReason, Fleet, WorkerId,
    worker::{State, Wish},
};

impl Fleet {
    /// Notes the wish; [`crate::reconcile`] finds the successor. A worker that wishes so again and again is counted like
    /// one that dies, or it would boot workers without end.
    pub(crate) fn asked_for_successor(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match &mut worker.state {
            State::Ready { wish: Wish::Leave, .. } => return,
            State::Ready { wish, .. } => *wish = Wish::Leave,
            // Before ready it has nothing to hand over; later its successor is ordered already.
            State::Starting { .. }
            | State::Draining { .. }
            | State::Dumping { .. }
            | State::Aborting { .. }
            | State::Killed { .. } => return,
        }
        let worker = worker.clone();
        if let Some(record) = self.wanted_slot(worker.slot) {
            record.replaces = Some(ExitReason::Requested);
        }
        if self.is_running() {
            self.count_death(worker.slot, worker.generation, Some(self.served_ms(&worker)));
        }
    }
}
