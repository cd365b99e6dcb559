//! What the supervisor itself counts: starts, exits, restarts, reloads, and what its processes used. Counters only grow.

use std::collections::BTreeMap;

use nix::{time::ClockId, unistd::Pid};
use supervisor_fleet::{ExitReason, Moment, Slot, WorkerId};

use crate::{
    certificates::Look,
    histogram::{BOOT_BOUNDS_MS, Histogram},
    obituary::{REASONS, label},
    proc_files::{self, ProcessStat},
    workers::{LiveWorker, Workers},
};

/// Numbers from `/proc` are not read more often than this, however often somebody scrapes.
const USAGE_LIVES_MS: u64 = 1_000;

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReloadResult {
    /// All workers are of the new generation.
    Ok,
    /// The configuration was refused; nothing was started.
    Rejected,
    /// The new generation could not serve.
    Failed,
    /// A newer reload took its place.
    Superseded,
}

impl ReloadResult {
    const ALL: [Self; 4] = [Self::Ok, Self::Rejected, Self::Failed, Self::Superseded];

    /// The `result` label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }
}

/// What one process uses.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    read_at: Moment,
    /// From `/proc/PID/stat`.
    pub stat: ProcessStat,
    /// Open descriptors.
    pub descriptors: u64,
}

/// All that is counted.
#[derive(Debug)]
pub struct Tally {
    /// Wall-clock time of the start, in seconds.
    pub started_s: f64,
    /// Wall-clock time since which the present configuration holds, in seconds.
    pub configured_s: f64,
    /// How the last reload ended.
    pub last_reload: ReloadResult,
    /// Reloads by result.
    pub reloads: BTreeMap<ReloadResult, u64>,
    /// Changed certificates that went into service.
    pub certificates_renewed: u64,
    /// Changed certificates that were refused.
    pub certificates_refused: u64,
    /// Processes started.
    pub starts: u64,
    /// Replacements started, by the reason of the exit that they replace.
    pub restarts: BTreeMap<&'static str, u64>,
    /// Processes that are over, by reason.
    pub exits: BTreeMap<&'static str, u64>,
    /// From the spawn to ready.
    pub boot: Histogram,
    /// CPU time of the dead: clock ticks in user mode and in the kernel.
    pub cpu_of_dead: BTreeMap<Slot, [u64; 2]>,
    /// What the living use.
    pub usage: BTreeMap<WorkerId, Usage>,
    /// What this process uses.
    pub own: Option<Usage>,
}

impl Tally {
    /// All zero, and all there.
    #[must_use]
    pub fn new() -> Self {
        let exits = REASONS.map(|reason| (label(reason), 0)).into();
        let replaced = REASONS.into_iter().filter(|&reason| is_replaced(reason));
        let now_s = wall_clock_s();
        Self {
            started_s: now_s,
            configured_s: now_s,
            last_reload: ReloadResult::Ok,
            reloads: ReloadResult::ALL.map(|result| (result, 0)).into(),
            certificates_renewed: 0,
            certificates_refused: 0,
            starts: 0,
            restarts: replaced.map(|reason| (label(reason), 0)).collect(),
            exits,
            boot: Histogram::new(&BOOT_BOUNDS_MS),
            cpu_of_dead: BTreeMap::new(),
            usage: BTreeMap::new(),
            own: None,
        }
    }

    /// A look at the files of certificates was taken.
    pub fn looked_at_certificates(&mut self, look: &Look) {
        match look {
            Look::Unchanged => {}
            Look::Renewed => self.certificates_renewed += 1,
            Look::Refused(_) => self.certificates_refused += 1,
        }
    }

    /// A reload ended.
    pub fn reloaded(&mut self, result: ReloadResult) {
        *self.reloads.entry(result).or_default() += 1;
        match result {
            ReloadResult::Ok => self.configured_s = wall_clock_s(),
            ReloadResult::Rejected | ReloadResult::Failed => {}
            // The newer one will have its own end.
            ReloadResult::Superseded => return,
        }
        self.last_reload = result;
    }

    /// A replacement was ordered.
    pub fn restarted(&mut self, reason: ExitReason) {
        *self.restarts.entry(label(reason)).or_default() += 1;
    }

    /// A worker is gone.
    pub fn exited(&mut self, id: WorkerId, worker: &LiveWorker, reason: ExitReason) {
        *self.exits.entry(label(reason)).or_default() += 1;
        let seen = self.usage.remove(&id).map(|usage| usage.stat);
        if let Some(stat) = worker.last_stat.or(seen) {
            let dead = self.cpu_of_dead.entry(worker.slot).or_default();
            dead[0] += stat.user_ticks;
            dead[1] += stat.system_ticks;
        }
    }

    /// Reads what the processes use, unless it was read a moment ago.
    pub fn refresh_usage(&mut self, workers: &Workers, now: Moment) {
        for (id, worker) in workers.iter() {
            refresh(self.usage.get(&id).copied(), worker.pid(), now)
                .map(|usage| self.usage.insert(id, usage));
        }
        self.own = refresh(self.own, Pid::this(), now).or(self.own);
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

fn refresh(known: Option<Usage>, pid: Pid, now: Moment) -> Option<Usage> {
    if known.is_some_and(|usage| now.0 < usage.read_at.0 + USAGE_LIVES_MS) {
        return None;
    }
    let stat = proc_files::stat(pid)?;
    Some(Usage { read_at: now, stat, descriptors: proc_files::open_descriptors(pid).unwrap_or(0) })
}

/// Whether the next worker of the slot is a replacement, and not the first of a new generation or nobody.
fn is_replaced(reason: ExitReason) -> bool {
    !matches!(reason, ExitReason::Reload | ExitReason::Scale | ExitReason::Stop)
}

/// For time stamps that people and Prometheus read; no deadline depends on it.
fn wall_clock_s() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit the 53 bits of a double for ever")]
    ClockId::CLOCK_REALTIME.now().map_or(0.0, |time| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}
