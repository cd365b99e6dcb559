//! From the spawn order to ready, and what a boot that fails means.

use crate::{
    Action, BootFailure, Course, ExitReason, FailurePhase, Fleet, Generation, Notice, Origin, Outcome,
    PoolId, Slot, Urgency, WorkerId,
    recycle::term,
    worker::{Standing, State, Wish, Worker},
};

/// How far the run has come. A run that never served stops at its first failed boot, so that a typo does not loop for
/// ever; one that has served goes on trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Milestone {
    Unserved,
    Partial,
    Complete,
}

impl Fleet {
    pub(crate) fn start(&mut self) {
        match self.course {
            Course::Idle => self.course = Course::Running,
            Course::Running | Course::Leaving { .. } | Course::Stopping { .. } | Course::Finished => {}
        }
    }

    /// Orders a worker for a slot.
    pub(crate) fn spawn(&mut self, slot: Slot, generation: &Generation) {
        if !self.is_running() {
            self.breach = Some("a worker was ordered while the program is not running");
            return;
        }
        self.newest_worker = WorkerId(self.newest_worker.0 + 1);
        let worker = self.newest_worker;
        let state = State::Starting { ready_by: self.now.after(generation.settings.boot_timeout_ms) };
        self.workers.insert(
            worker,
            Worker { slot, generation: generation.id, settings: generation.settings.clone(), state },
        );
        let (pool, origin) = (PoolId(0), Origin::Exec);
        self.actions.push(Action::Spawn { worker, pool, slot, generation: generation.id, origin });
        let record = self.slots.entry(slot).or_default();
        record.wait = None;
        if let Some(reason) = record.replaces.take() {
            self.notice(Notice::Restarted { slot, reason, worker });
        }
    }

    pub(crate) fn became_ready(&mut self, id: WorkerId) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match worker.standing() {
            Standing::Coming => {}
            // Said twice, or too late: it is on its way out already.
            Standing::Serving | Standing::Leaving => return,
        }
        let heartbeat_by = now.after(worker.settings.heartbeat_timeout_ms);
        let term = term(worker.settings.recycling, now, &mut self.jitter);
        worker.state = State::Ready { since: now, heartbeat_by, term, wish: Wish::Stay };
        let (slot, generation) = (worker.slot, worker.generation);
        if let Some(record) = self.slots.get_mut(&slot) {
            record.replaces = None;
        }
        self.begin_probation(generation);
        if self.milestone == Milestone::Unserved {
            self.milestone = Milestone::Partial;
        }
    }

    /// Said once in a run, for whoever waits for the service.
    pub(crate) fn note_all_ready(&mut self) {
        if self.milestone == Milestone::Partial && self.ready() >= self.wanted {
            self.milestone = Milestone::Complete;
            self.notice(Notice::AllReady);
        }
    }

    /// The process could not be made, so none will be reaped.
    pub(crate) fn spawn_failed(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.remove(&id) else { return };
        match worker.standing() {
            Standing::Coming => self.boot_failed(id, &worker, BootFailure::NotSpawned),
            Standing::Serving => self.breach = Some("a worker is ready that was never spawned"),
            Standing::Leaving => {}
        }
    }

    /// The worker says that it cannot go on. Its exit follows; if not, it is killed.
    pub(crate) fn said_failed(&mut self, id: WorkerId, phase: FailurePhase) {
        let Some(worker) = self.workers.get(&id).cloned() else { return };
        match worker.standing() {
            Standing::Coming => {
                self.expect_exit(id, ExitReason::BootFailed, worker.settings.quick_timeout_ms);
                self.boot_failed(id, &worker, BootFailure::Failed(phase));
            }
            Standing::Serving => {
                self.expect_exit(id, ExitReason::Crash, worker.settings.quick_timeout_ms);
                self.lost_serving(id, &worker, ExitReason::Crash, BootFailure::Failed(phase));
            }
            Standing::Leaving => {}
        }
    }

    pub(crate) fn boot_timed_out(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id).cloned() else { return };
        self.notice(Notice::BootTimedOut { worker: id, timeout_ms: worker.settings.boot_timeout_ms });
        self.demand_last_words(id, ExitReason::BootFailed);
        self.boot_failed(id, &worker, BootFailure::TimedOut);
    }

    /// A worker that was wanted will never be ready: who is to blame decides what follows.
    pub(crate) fn boot_failed(&mut self, id: WorkerId, worker: &Worker, cause: BootFailure) {
        if !self.is_running() {
            return;
        }
        if self.reloading() == Some(worker.generation) {
            self.abort_reload(id, cause);
        } else if self.milestone == Milestone::Unserved && self.reload.is_none() {
            self.give_up_first_boot(id, cause);
        } else {
            self.slot_lost_worker(worker.slot, ExitReason::BootFailed);
            self.count_death(worker.slot, worker.generation, None);
        }
    }

    /// Nothing was ever served, so nothing is lost by killing those that still start; the one that failed leaves by
    /// itself, with its last words.
    fn give_up_first_boot(&mut self, id: WorkerId, cause: BootFailure) {
        let outcome = Outcome::FirstBootFailed { worker: id, cause };
        self.course = Course::Stopping { urgency: Urgency::Quick, outcome };
        let starting: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.standing() == Standing::Coming)
            .map(|(&starting, _)| starting)
            .collect();
        for starting in starting {
            self.kill(starting, ExitReason::Stop);
        }
    }
}
