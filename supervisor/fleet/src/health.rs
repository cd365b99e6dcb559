//! Who answers and who does not: heartbeats, the ladder from the stack dump to SIGKILL, and the time that the supervisor
//! itself lost.

use crate::{
    Action, BootFailure, Course, ExitReason, Fleet, Moment, Notice, RecycleCause, WorkerId,
    worker::{Standing, State},
};

/// A tick that comes this much after its deadline shows that the supervisor stood still (stopped, suspended, starved), so
/// the silence of its workers proves nothing.
const STALL_MS: u64 = 1_000;
/// SIGKILL takes effect within milliseconds, unless the process hangs in the kernel.
const REAP_MS: u64 = 5_000;
/// After so many kills a stop no longer waits for the process.
pub(crate) const KILLS_TO_GIVE_UP: u32 = 3;

impl Fleet {
    /// Takes the time of an event. Deadlines that were missed by far are moved, whatever the event is.
    pub(crate) fn observe_time(&mut self, at: Moment) {
        let now = self.now.max(at);
        let late_ms = self.next_deadline().map_or(0, |due| now.ms_since(due));
        self.now = now;
        if late_ms <= STALL_MS {
            return;
        }
        for worker in self.workers.values_mut() {
            worker.postpone(now, late_ms);
        }
        // The delay of a stop is due now, and no longer late: the events that wait before its tick would all be stalls of their own.
        if let Course::Leaving { stop_at } = &mut self.course {
            *stop_at = now.max(*stop_at);
        }
        self.notice(Notice::Stalled { stalled_ms: late_ms });
    }

    /// `requests`: how many it has answered in its life.
    pub(crate) fn heard(&mut self, id: WorkerId, requests: u64) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match &mut worker.state {
            State::Ready { heartbeat_by, .. } => {
                *heartbeat_by = now.after(worker.settings.heartbeat_timeout_ms);
                self.requests_answered(id, requests);
            }
            // Not ready yet, or too late: its successor is ordered.
            State::Starting { .. }
            | State::Draining { .. }
            | State::Dumping { .. }
            | State::Aborting { .. }
            | State::Killed { .. } => {}
        }
    }

    /// Acts on every deadline that has passed. The shell has read all that there was to read before.
    pub(crate) fn fire_deadlines(&mut self) {
        self.end_leave();
        let due: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.deadline() <= self.now)
            .map(|(&id, worker)| (id, worker.state))
            .collect();
        for (id, state) in due {
            // An earlier one of this list may have ended the run or the reload, and this one with it.
            if self.workers.get(&id).is_none_or(|worker| worker.state != state) {
                continue;
            }
            match state {
                State::Starting { .. } => self.boot_timed_out(id),
                State::Ready { heartbeat_by, .. } if heartbeat_by <= self.now => {
                    self.fell_silent(id, heartbeat_by);
                }
                State::Ready { since, .. } => {
                    self.recycle(id, RecycleCause::Lifetime(self.now.ms_since(since)));
                }
                State::Draining { reason, .. } => {
                    self.notice(Notice::DrainTimedOut { worker: id });
                    self.kill(id, reason);
                }
                State::Dumping { reason, .. } => self.abort(id, reason),
                State::Aborting { reason, .. } => self.kill(id, reason),
                State::Killed { reason, kills, .. } => {
                    if kills + 1 == KILLS_TO_GIVE_UP {
                        self.notice(Notice::Unkillable { worker: id });
                    }
                    self.kill(id, reason);
                }
            }
        }
    }

    /// The loop of a ready worker is stuck: its replacement does not wait for its end.
    fn fell_silent(&mut self, id: WorkerId, heartbeat_by: Moment) {
        let Some(worker) = self.workers.get(&id).cloned() else { return };
        let late_ms = self.now.ms_since(heartbeat_by);
        let silent_ms = worker.settings.heartbeat_timeout_ms.saturating_add(late_ms);
        self.notice(Notice::Unresponsive { worker: id, silent_ms });
        self.demand_last_words(id, ExitReason::Heartbeat);
        self.lost_serving(id, &worker, ExitReason::Heartbeat, BootFailure::TimedOut);
    }

    /// Nothing can be asked of a worker that cannot be talked to, so it is aborted at once.
    pub(crate) fn channel_broke(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id).cloned() else { return };
        match worker.standing() {
            Standing::Coming => {
                self.abort(id, ExitReason::BootFailed);
                self.boot_failed(id, &worker, BootFailure::ChannelBroken);
            }
            Standing::Serving => {
                self.abort(id, ExitReason::ChannelBroken);
                self.lost_serving(id, &worker, ExitReason::ChannelBroken, BootFailure::ChannelBroken);
            }
            // It closes its pipe on its way out.
            Standing::Leaving => {}
        }
    }

    pub(crate) fn demand_last_words(&mut self, id: WorkerId, reason: ExitReason) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.state = State::Dumping { abort_at: now.after(worker.settings.abort_grace_ms), reason };
        self.actions.push(Action::DumpStack { worker: id });
    }

    pub(crate) fn abort(&mut self, id: WorkerId, reason: ExitReason) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.state = State::Aborting { kill_at: now.after(worker.settings.abort_grace_ms), reason };
        self.actions.push(Action::Abort { worker: id });
    }

    pub(crate) fn kill(&mut self, id: WorkerId, reason: ExitReason) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let kills = match worker.state {
            State::Killed { kills, .. } => kills.saturating_add(1),
            State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Dumping { .. }
            | State::Aborting { .. } => 1,
        };
        worker.state = State::Killed { reap_by: now.after(REAP_MS), kills, reason };
        self.actions.push(Action::Kill { worker: id });
    }

    /// Whether a stop still waits for this worker.
    pub(crate) fn may_still_be_reaped(state: State) -> bool {
        match state {
            State::Killed { kills, .. } => kills < KILLS_TO_GIVE_UP,
            State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Dumping { .. }
            | State::Aborting { .. } => true,
        }
    }
}
