//! The promises, checked from outside: from what the fleet was told, what it ordered, and what it shows of itself.

use std::collections::{BTreeMap, BTreeSet};

use supervisor_fleet::{
    Action, EventKind, ExitReason, Fleet, GenerationId, Notice, Outcome, Phase, RecycleCause, Slot,
    StateName, WorkerId, WorkerView,
};

/// What was seen, so that a run that met nothing cannot pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) seen: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Judge {
    pub(crate) tally: Tally,
    /// Fewer workers are never ready while this is set.
    pub(crate) floor: u32,
    newest: Option<WorkerId>,
    unkillable: BTreeSet<WorkerId>,
    reloads_open: BTreeSet<GenerationId>,
    /// Ends that nobody asked for; no more replacements than these may be counted.
    losses: u64,
    restarts: u64,
}

type Views = BTreeMap<WorkerId, WorkerView>;

fn views(fleet: &Fleet) -> Views {
    fleet.workers().map(|view| (view.id, view)).collect()
}

/// Workers are wanted, be it for the time before a stop.
fn is_running(fleet: &Fleet) -> bool {
    matches!(fleet.phase(), Phase::Running | Phase::Leaving)
}

fn require(holds: bool, broken: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("broken promise: {broken}")) }
}

impl Judge {
    pub(crate) fn judge(
        &mut self,
        before: &Fleet,
        kind: &EventKind,
        actions: &[Action],
        after: &Fleet,
    ) -> Result<(), String> {
        self.tally.steps += 1;
        after.check_invariants()?;
        let (old, new) = (views(before), views(after));
        self.retires_what_exited(kind, actions, &old)?;
        self.count_losses(&old, &new, actions);
        for action in actions {
            self.judge_action(action, before, kind, after, (&old, &new))?;
        }
        require(self.restarts <= self.losses, "a restart was counted that replaces nobody")?;
        require(after.ready() >= self.floor, "a gap in a reload in fair weather")?;
        self.ready_only_falls_by_losses(before, kind, actions, after)?;
        if let EventKind::Reload { .. } = kind {
            let started = actions
                .iter()
                .filter(|action| matches!(action, Action::Notice(Notice::ReloadStarted { .. })));
            let expected = usize::from(before.phase() == Phase::Running);
            require(
                started.count() == expected,
                "each reload of a running program is answered with its generation",
            )?;
        }
        if !is_running(after) {
            self.reloads_open.clear();
        }
        let open = usize::from(after.reloading().is_some());
        require(self.reloads_open.len() == open, "a reload ended without a word, or twice")
    }

    fn judge_action(
        &mut self,
        action: &Action,
        before: &Fleet,
        kind: &EventKind,
        after: &Fleet,
        (old, new): (&Views, &Views),
    ) -> Result<(), String> {
        let known = |id: &WorkerId| require(old.contains_key(id), "an order to a worker that does not exist");
        match action {
            Action::Spawn { worker, slot, generation, .. } => {
                self.tally.note("spawn");
                require(is_running(after), "a spawn although the program does not run")?;
                require(!matches!(kind, EventKind::Stop { .. }), "a spawn in answer to a stop")?;
                require(self.newest < Some(*worker), "a worker id was used twice")?;
                self.newest = Some(*worker);
                require(
                    *slot >= Slot(1) && *slot <= Slot(after.wanted()),
                    "a spawn in a slot that is not wanted",
                )?;
                let current = *generation == after.generation() || Some(*generation) == after.reloading();
                require(current, "a spawn of a generation that was given up")
            }
            Action::Drain { worker, .. } => {
                self.tally.note("drain");
                known(worker)?;
                successor_is_ready(*worker, before, kind, after, old, new)
            }
            Action::DumpStack { worker } => {
                self.tally.note("dump stack");
                known(worker)
            }
            Action::Abort { worker } => {
                self.tally.note("abort");
                known(worker)
            }
            Action::Kill { worker } => {
                self.tally.note("kill");
                known(worker)
            }
            Action::Retire { .. } => {
                self.tally.note("retire");
                Ok(())
            }
            Action::Notice(notice) => self.judge_notice(notice, actions_spawned(old, new)),
            Action::Finish { outcome } => {
                self.tally.note(match outcome {
                    Outcome::Stopped => "stopped",
                    Outcome::FirstBootFailed { .. } => "first boot failed",
                });
                require(before.phase() != Phase::Finished, "the run ended twice")?;
                require(new.keys().all(|id| self.unkillable.contains(id)), "the run ended before its workers")
            }
        }
    }

    fn judge_notice(&mut self, notice: &Notice, spawned: BTreeSet<WorkerId>) -> Result<(), String> {
        let name = match notice {
            Notice::Restarted { worker, reason, .. } => {
                self.restarts += 1;
                require(spawned.contains(worker), "a restart without a spawn")?;
                let deed = !matches!(reason, ExitReason::Reload | ExitReason::Scale | ExitReason::Stop);
                require(deed, "a reload, a scaling or a stop was counted as a restart")?;
                "restarted"
            }
            Notice::BackedOff { delay_ms, .. } => {
                require(*delay_ms <= 37_500, "a wait longer than the longest")?;
                "backed off"
            }
            Notice::AllReady => "all ready",
            Notice::Unresponsive { .. } => "unresponsive",
            Notice::Recycling { cause: RecycleCause::Requested, .. } => "requested",
            Notice::Recycling { cause: RecycleCause::Requests(_), .. } => "max requests",
            Notice::Recycling { cause: RecycleCause::Lifetime(_), .. } => "max lifetime",
            Notice::Recycling { cause: RecycleCause::Memory(_), .. } => "max memory",
            Notice::OverMemory { .. } => "over memory",
            Notice::BootTimedOut { .. } => "boot timed out",
            Notice::DrainTimedOut { .. } => "drain timed out",
            Notice::ReloadStarted { generation } => {
                require(self.reloads_open.insert(*generation), "a generation began twice")?;
                "reload started"
            }
            Notice::ReloadDone { generation, .. } => {
                require(self.reloads_open.remove(generation), "the end of a reload that was not under way")?;
                "reload done"
            }
            Notice::ReloadFailed { generation, .. } => {
                require(
                    self.reloads_open.remove(generation),
                    "the failure of a reload that was not under way",
                )?;
                "reload failed"
            }
            Notice::ReloadSuperseded { generation } => {
                require(self.reloads_open.remove(generation), "a reload gave way that was not under way")?;
                "reload superseded"
            }
            Notice::Scaled { from, to } => {
                require(*to >= 1 && from != to, "scaled below one, or to what it was")?;
                "scaled"
            }
            Notice::Leaving { .. } => "leaving",
            Notice::Stopping { .. } => "stopping",
            Notice::Unkillable { worker } => {
                self.unkillable.insert(*worker);
                "unkillable"
            }
            Notice::Stalled { .. } => "stalled",
            Notice::InvariantBroken { what } => return Err(format!("invariant broken: {what}")),
        };
        self.tally.note(name);
        Ok(())
    }

    fn retires_what_exited(&self, kind: &EventKind, actions: &[Action], old: &Views) -> Result<(), String> {
        let retired: Vec<_> = actions
            .iter()
            .filter_map(
                |action| if let Action::Retire { worker, .. } = action { Some(*worker) } else { None },
            )
            .collect();
        let exited = match kind {
            EventKind::Exited { worker, .. } if old.contains_key(worker) => vec![*worker],
            _ => Vec::new(),
        };
        require(retired == exited, "each exit retires its worker, once, and nothing else does")
    }

    fn count_losses(&mut self, old: &Views, new: &Views, actions: &[Action]) {
        let due = actions.iter().filter(|action| matches!(action, Action::Notice(Notice::Recycling { .. })));
        let active = |view: &&WorkerView| matches!(view.state, StateName::Starting | StateName::Ready);
        let lost =
            old.values().filter(active).filter(|view| new.get(&view.id).is_none_or(|now| !active(&now)));
        self.losses += (lost.count() + due.count()) as u64;
    }

    /// Nothing but the end of a worker, a scaling or a stop makes the number of ready workers fall below what is wanted.
    fn ready_only_falls_by_losses(
        &self,
        before: &Fleet,
        kind: &EventKind,
        actions: &[Action],
        after: &Fleet,
    ) -> Result<(), String> {
        if !is_running(after) {
            return Ok(());
        }
        let floor = before.ready().min(after.wanted());
        let lost = match kind {
            EventKind::Tick => actions
                .iter()
                .filter(|action| matches!(action, Action::Notice(Notice::Unresponsive { .. })))
                .count(),
            EventKind::MemoryMeasured { .. } => actions
                .iter()
                .filter(|action| matches!(action, Action::Notice(Notice::OverMemory { .. })))
                .count(),
            EventKind::Exited { .. }
            | EventKind::Failed { .. }
            | EventKind::ChannelBroken { .. }
            | EventKind::Draining { .. } => 1,
            _ => 0,
        };
        // A slot may have held two ready workers, one of which was not needed: compare with what was wanted.
        let fallen = floor.saturating_sub(after.ready()) as usize;
        let doubled = doubled_ready(before);
        require(fallen <= lost + doubled, "fewer workers are ready, and none was lost")
    }
}

/// Ready workers beyond one in their slot, or in a slot beyond those wanted.
fn doubled_ready(fleet: &Fleet) -> usize {
    let ready: Vec<_> =
        fleet.workers().filter(|view| view.state == StateName::Ready).map(|view| view.slot).collect();
    ready.len() - ready.iter().collect::<BTreeSet<_>>().len()
}

fn actions_spawned(old: &Views, new: &Views) -> BTreeSet<WorkerId> {
    new.keys().filter(|id| !old.contains_key(id)).copied().collect()
}

/// Who serves is only sent away when somebody else serves in its slot, or its slot is not wanted, or all stops.
fn successor_is_ready(
    worker: WorkerId,
    before: &Fleet,
    kind: &EventKind,
    after: &Fleet,
    old: &Views,
    new: &Views,
) -> Result<(), String> {
    let Some(view) = old.get(&worker) else { return Ok(()) };
    let served = view.state == StateName::Ready || *kind == EventKind::Ready { worker };
    let wanted = view.slot <= Slot(after.wanted());
    if !served || !wanted || !is_running(after) || !is_running(before) {
        return Ok(());
    }
    let covered = new
        .values()
        .any(|other| other.slot == view.slot && other.id != worker && other.state == StateName::Ready);
    require(covered, "a worker that served was sent away before its successor was ready")
}
