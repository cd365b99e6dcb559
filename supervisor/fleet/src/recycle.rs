//! Replacement of a worker that serves well: it asked for it, or has answered enough requests, served long enough, or holds too
//! much memory. The successor is ready before it leaves, and [`crate::reconcile`] lets no more slots hold two workers than the
//! surge allows, so that workers which are due together are replaced one after the other.

use crate::{
    BootFailure, ExitReason, Fleet, Moment, Notice, RecycleCause, RecyclingSettings, WorkerId,
    backoff::Jitter,
    worker::{State, Term, Wish, Worker},
};

/// How long a worker may serve that is ready now.
pub(crate) fn term(settings: RecyclingSettings, now: Moment, jitter: &mut Jitter) -> Term {
    let RecyclingSettings {
        max_requests, max_requests_jitter, max_lifetime_ms, max_lifetime_jitter_ms, ..
    } = settings;
    Term {
        requests: max_requests.map(|most| most.saturating_add(jitter.up_to(max_requests_jitter))),
        until: max_lifetime_ms
            .map(|most_ms| now.after(most_ms.saturating_add(jitter.up_to(max_lifetime_jitter_ms)))),
    }
}

impl Fleet {
    /// Notes that a worker is due; [`crate::reconcile`] finds the successor.
    pub(crate) fn recycle(&mut self, id: WorkerId, cause: RecycleCause) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match &mut worker.state {
            State::Ready { wish: Wish::Leave(_), .. } => return,
            State::Ready { wish, .. } => *wish = Wish::Leave(cause),
            // Before ready it has nothing to hand over; later its successor is ordered already.
            State::Starting { .. }
            | State::Draining { .. }
            | State::Dumping { .. }
            | State::Aborting { .. }
            | State::Killed { .. } => return,
        }
        let worker = worker.clone();
        if let Some(record) = self.wanted_slot(worker.slot) {
            record.replaces = Some(cause.reason());
        }
        if !self.is_running() {
            return;
        }
        self.notice(Notice::Recycling { worker: id, cause });
        match cause {
            // A worker that wishes so again and again is counted like one that dies, or it would boot workers without end.
            RecycleCause::Requested => {
                self.count_death(worker.slot, worker.generation, Some(self.served_ms(&worker)));
            }
            // The operator wants it so, and looks are taken about once a second.
            RecycleCause::Requests(_) | RecycleCause::Lifetime(_) | RecycleCause::Memory(_) => {}
        }
    }

    pub(crate) fn requests_answered(&mut self, id: WorkerId, requests: u64) {
        if let Some(Worker { state: State::Ready { term, .. }, .. }) = self.workers.get(&id)
            && term.requests.is_some_and(|most| most <= requests)
        {
            self.recycle(id, RecycleCause::Requests(requests));
        }
    }

    /// Beyond the first bound a worker is replaced in good order, beyond the second it is not waited for.
    pub(crate) fn memory_measured(&mut self, id: WorkerId, bytes: u64) {
        let Some(worker) = self.workers.get(&id) else { return };
        let settings = worker.settings.recycling;
        match settings.max_memory_hard_bytes {
            Some(most_bytes) if most_bytes <= bytes => match worker.state {
                State::Ready { .. } => self.over_memory(id, bytes, most_bytes),
                // A reply that it still gives makes it grow, and its successor is ordered already.
                State::Draining { .. } => {
                    self.notice(Notice::OverMemory { worker: id, bytes, most_bytes });
                    self.abort(id, ExitReason::MaxMemoryHard);
                }
                // The boot has a deadline of its own; the others end at once anyhow.
                State::Starting { .. }
                | State::Dumping { .. }
                | State::Aborting { .. }
                | State::Killed { .. } => {}
            },
            Some(_) | None => {
                if settings.max_memory_bytes.is_some_and(|most| most <= bytes) {
                    self.recycle(id, RecycleCause::Memory(bytes));
                }
            }
        }
    }

    /// While another one is missing, its successor is waited for: workers grow together, and nobody would be left who serves.
    fn over_memory(&mut self, id: WorkerId, bytes: u64, most_bytes: u64) {
        let Some(worker) = self.workers.get(&id).cloned() else { return };
        if self.is_running() && self.ready() < self.wanted {
            return self.recycle(id, RecycleCause::Memory(bytes));
        }
        self.notice(Notice::OverMemory { worker: id, bytes, most_bytes });
        // SIGABRT makes it write its stacks at once; to ask for them first would give it time to grow.
        self.abort(id, ExitReason::MaxMemoryHard);
        self.lost_serving(id, &worker, ExitReason::MaxMemoryHard, BootFailure::OverMemory);
    }
}
