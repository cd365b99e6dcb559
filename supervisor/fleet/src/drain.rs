//! How workers leave in good order, one of them or all.

use crate::{
    Action, BootFailure, Course, ExitReason, FailurePhase, Fleet, Notice, Outcome, Slot, Urgency, WorkerId,
    count,
    worker::{Standing, State},
};

impl Fleet {
    /// Asks a worker to finish and leave. One that never served has nothing to finish and gets little time.
    pub(crate) fn drain(&mut self, id: WorkerId, reason: ExitReason) {
        let now = self.now;
        let quick = matches!(self.course, Course::Stopping { urgency: Urgency::Quick | Urgency::Now, .. });
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let settings = &worker.settings;
        let grace_ms = match worker.standing() {
            Standing::Leaving => return,
            Standing::Serving if !quick => settings.graceful_timeout_ms,
            Standing::Serving | Standing::Coming => {
                settings.quick_timeout_ms.min(settings.graceful_timeout_ms)
            }
        };
        let (slot, served) = (worker.slot, worker.is_serving());
        worker.state = State::Draining { kill_at: now.after(grace_ms), reason };
        if served && self.is_running() && !self.is_covered(slot) {
            self.breach = Some("a worker that served was sent away before its successor was ready");
        }
        self.actions.push(Action::Drain { worker: id, grace_ms });
    }

    /// Whether somebody serves in this slot, or nobody has to.
    fn is_covered(&self, slot: Slot) -> bool {
        slot > Slot(self.wanted)
            || self.workers.values().any(|worker| worker.slot == slot && worker.is_serving())
    }

    /// The worker leaves without having been asked by the fleet; somebody else did, or it failed. Its exit has a deadline.
    pub(crate) fn expect_exit(&mut self, id: WorkerId, reason: ExitReason, grace_ms: u64) {
        let now = self.now;
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.state = State::Draining { kill_at: now.after(grace_ms), reason };
        }
    }

    /// The worker stopped accepting. If nobody asked it to (an operator signalled the process itself), it is replaced.
    pub(crate) fn drains_by_itself(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id).cloned() else { return };
        match worker.standing() {
            Standing::Serving => {
                self.expect_exit(id, ExitReason::Requested, worker.settings.graceful_timeout_ms);
                let cause = BootFailure::Failed(FailurePhase::Serve);
                self.lost_serving(id, &worker, ExitReason::Requested, cause);
            }
            // Before ready only its exit counts; later it was asked.
            Standing::Coming | Standing::Leaving => {}
        }
    }

    /// The operator wants the program to end. A graceful stop may have a delay, which a second wish cuts short; after that, one more
    /// means: now.
    pub(crate) fn stop(&mut self, urgency: Urgency) {
        match self.course {
            Course::Idle => {
                self.course = Course::Stopping { urgency, outcome: Outcome::Stopped };
            }
            Course::Running => match urgency {
                // Where nobody serves, nobody has to look elsewhere.
                Urgency::Graceful if self.serving.settings.shutdown_delay_ms > 0 && self.ready() > 0 => {
                    let delay_ms = self.serving.settings.shutdown_delay_ms;
                    self.course = Course::Leaving { stop_at: self.now.after(delay_ms) };
                    self.notice(Notice::Leaving { delay_ms });
                }
                Urgency::Graceful | Urgency::Quick | Urgency::Now => self.begin_stop(urgency),
            },
            Course::Leaving { .. } => self.begin_stop(urgency),
            Course::Stopping { outcome, .. } => {
                self.course = Course::Stopping { urgency: Urgency::Now, outcome };
            }
            Course::Finished => {}
        }
    }

    fn begin_stop(&mut self, urgency: Urgency) {
        self.course = Course::Stopping { urgency, outcome: Outcome::Stopped };
        self.reload = None;
        let workers = count(self.workers.values());
        self.notice(Notice::Stopping { workers });
    }

    /// The delay of a stop may be over.
    pub(crate) fn end_leave(&mut self) {
        match self.course {
            Course::Leaving { stop_at } if stop_at <= self.now => self.begin_stop(Urgency::Graceful),
            Course::Idle
            | Course::Running
            | Course::Leaving { .. }
            | Course::Stopping { .. }
            | Course::Finished => {}
        }
    }

    /// Everyone who is not leaving yet is sent away; the run ends with the last one.
    pub(crate) fn wind_down(&mut self, urgency: Urgency, outcome: Outcome) {
        let ids: Vec<_> = self.workers.iter().map(|(&id, worker)| (id, worker.state)).collect();
        for (id, state) in ids {
            match urgency {
                Urgency::Graceful => self.drain(id, ExitReason::Stop),
                Urgency::Quick => {
                    self.drain(id, ExitReason::Stop);
                    self.shorten_grace(id);
                }
                Urgency::Now => match state {
                    State::Killed { .. } => {}
                    State::Starting { .. } | State::Ready { .. } => self.kill(id, ExitReason::Stop),
                    State::Draining { reason, .. }
                    | State::Dumping { reason, .. }
                    | State::Aborting { reason, .. } => self.kill(id, reason),
                },
            }
        }
        if !self.workers.values().any(|worker| Self::may_still_be_reaped(worker.state)) {
            self.course = Course::Finished;
            self.actions.push(Action::Finish { outcome });
        }
    }

    /// A quick stop does not wait for the long grace of an earlier drain.
    fn shorten_grace(&mut self, id: WorkerId) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let soon = now.after(worker.settings.quick_timeout_ms);
        if let State::Draining { kill_at, .. } = &mut worker.state {
            *kill_at = soon.min(*kill_at);
        }
    }
}
