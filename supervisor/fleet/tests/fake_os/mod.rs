//! An operating system made of chance: processes that boot, serve, hang, crash, ask for a successor, drain or do not,
//! die of a signal or do not. It performs the fleet's orders and says what happens when.

pub(crate) mod dice;

use std::collections::BTreeMap;

use dice::Dice;
use supervisor_fleet::{Action, EventKind, Exit, FailurePhase, GenerationId, WorkerId};

/// How much goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Foul,
    /// New processes are faultless; those that live already keep their fate.
    Fair,
}

/// What the code of a generation is worth, in foul weather.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quality {
    Sound,
    Flaky,
    NeverBoots,
    HangsAtBoot,
    CrashesOnArrival,
}

/// Something that a process will do.
#[derive(Debug, Clone)]
enum Deed {
    /// A line in its pipe.
    Says(EventKind),
    /// Its loop answers, and again after the interval.
    Beats,
    /// Its loop is stuck from now on.
    Hangs,
    Dies(Exit),
}

#[derive(Debug, Clone)]
struct Process {
    /// It no longer reacts to the pipe, and its loop does not answer.
    hung: bool,
    /// It serves, so its loop is heard of.
    serving: bool,
    /// Requests answered in its life.
    requests: u64,
    drain: Obedience,
    abort: Obedience,
    /// SIGKILLs until its exit is seen (the others are lost, or it hangs in the kernel).
    kills_needed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obedience {
    After(u64),
    Never,
}

#[derive(Debug, Clone)]
pub(crate) struct FakeOs {
    pub(crate) weather: Weather,
    dice: Dice,
    processes: BTreeMap<WorkerId, Process>,
    /// By time and order.
    deeds: BTreeMap<(u64, u64), (WorkerId, Deed)>,
    ordered: u64,
    qualities: BTreeMap<GenerationId, Quality>,
}

/// More memory than a worker should hold.
pub(crate) const LARGE_BYTES: u64 = 1 << 30;
/// More memory than a worker ever may.
pub(crate) const HUGE_BYTES: u64 = 1 << 40;
/// Often enough for the shortest heartbeat timeout of the simulation.
const HEARTBEAT_INTERVAL_MS: u64 = 2_000;

impl FakeOs {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            weather: Weather::Foul,
            dice: Dice::new(seed ^ 0xF0),
            processes: BTreeMap::new(),
            deeds: BTreeMap::new(),
            ordered: 0,
            qualities: BTreeMap::new(),
        }
    }

    pub(crate) fn living(&self) -> usize {
        self.processes.len()
    }

    pub(crate) fn next_deed_at(&self) -> Option<u64> {
        self.deeds.keys().next().map(|&(at, _)| at)
    }

    fn plan(&mut self, at: u64, worker: WorkerId, deed: Deed) {
        self.ordered += 1;
        self.deeds.insert((at, self.ordered), (worker, deed));
    }

    /// The next thing that the shell sees of what was done until `now`; `None` when it has seen all.
    pub(crate) fn next_event(&mut self, now: u64) -> Option<EventKind> {
        while let Some(((at, _), (worker, deed))) = self
            .deeds
            .first_key_value()
            .filter(|((at, _), _)| *at <= now)
            .map(|(key, deed)| (*key, deed.clone()))
        {
            self.deeds.pop_first();
            if let Some(event) = self.perform(at, worker, deed) {
                return Some(event);
            }
        }
        None
    }

    fn perform(&mut self, at: u64, worker: WorkerId, deed: Deed) -> Option<EventKind> {
        let Some(process) = self.processes.get_mut(&worker) else {
            // Gone; what it said before may still lie in the pipe.
            return match deed {
                Deed::Says(event) if self.dice.happens(200) => Some(event),
                Deed::Says(_) | Deed::Beats | Deed::Hangs | Deed::Dies(_) => None,
            };
        };
        match deed {
            Deed::Says(_) if process.hung => None,
            Deed::Says(event) => {
                match event {
                    EventKind::Ready { .. } => {
                        process.serving = true;
                        self.plan(at + HEARTBEAT_INTERVAL_MS, worker, Deed::Beats);
                    }
                    EventKind::Draining { .. } => process.serving = false,
                    EventKind::SpawnFailed { .. } => {
                        self.processes.remove(&worker);
                    }
                    _ => {}
                }
                Some(event)
            }
            Deed::Beats if process.hung || !process.serving => None,
            Deed::Beats => {
                if self.weather == Weather::Foul {
                    process.requests += self.dice.between(0, 2_000);
                    if self.dice.happens(50) {
                        let bytes = self.dice.pick(&[0, LARGE_BYTES, HUGE_BYTES]);
                        self.ordered += 1;
                        let measured = Deed::Says(EventKind::MemoryMeasured { worker, bytes });
                        self.deeds.insert((at, self.ordered), (worker, measured));
                    }
                }
                let requests = process.requests;
                self.plan(at + HEARTBEAT_INTERVAL_MS, worker, Deed::Beats);
                Some(EventKind::Heartbeat { worker, requests })
            }
            Deed::Hangs => {
                process.hung = true;
                None
            }
            Deed::Dies(exit) => {
                self.processes.remove(&worker);
                Some(EventKind::Exited { worker, exit })
            }
        }
    }

    /// Performs an order of the fleet, as far as it is one to the system.
    pub(crate) fn obey(&mut self, now: u64, action: &Action) {
        match *action {
            Action::Spawn { worker, generation, .. } => self.spawn(now, worker, generation),
            Action::Drain { worker, grace_ms } => self.drain(now, worker, grace_ms),
            Action::DumpStack { .. } => {}
            Action::Abort { worker } => {
                if let Some(Obedience::After(delay_ms)) = self.processes.get(&worker).map(|it| it.abort) {
                    self.plan(now + delay_ms, worker, Deed::Dies(Exit::Signal(6)));
                }
            }
            Action::Kill { worker } => {
                let delay_ms = self.dice.between(0, 20);
                let Some(process) = self.processes.get_mut(&worker) else { return };
                process.kills_needed = process.kills_needed.saturating_sub(1);
                if process.kills_needed == 0 {
                    self.plan(now + delay_ms, worker, Deed::Dies(Exit::Signal(9)));
                }
            }
            Action::Retire { .. } | Action::Notice(_) | Action::Finish { .. } => {}
        }
    }

    fn drain(&mut self, now: u64, worker: WorkerId, grace_ms: u64) {
        let Some(process) = self.processes.get(&worker) else { return };
        match process.drain {
            Obedience::After(delay_ms) if !process.hung => {
                self.plan(now + delay_ms.min(10), worker, Deed::Says(EventKind::Draining { worker }));
                self.plan(now + delay_ms.min(grace_ms), worker, Deed::Dies(Exit::Code(0)));
            }
            Obedience::After(_) | Obedience::Never => {}
        }
    }

    /// Draws the fate of a new process.
    fn spawn(&mut self, now: u64, worker: WorkerId, generation: GenerationId) {
        let dice = &mut self.dice;
        let mut process = Process {
            hung: false,
            serving: false,
            requests: 0,
            drain: Obedience::After(dice.between(1, 3_000)),
            abort: Obedience::After(dice.between(1, 50)),
            kills_needed: 1,
        };
        let boot_ms = dice.between(1, 1_500);
        let ready = now + boot_ms;
        if self.weather == Weather::Fair {
            self.processes.insert(worker, process);
            self.boot(now, ready, worker);
            return;
        }
        if dice.happens(60) {
            process.drain = Obedience::Never;
        }
        if dice.happens(300) {
            process.abort = Obedience::Never;
        }
        if dice.happens(30) {
            process.kills_needed = dice.between(2, 6);
        }
        let first = generation == GenerationId(1);
        let new_quality = match dice.between(0, 9) {
            // A first generation that cannot boot ends the history at once: seldom.
            0..=4 => Quality::Sound,
            5 | 6 => Quality::Flaky,
            _ if first && dice.happens(950) => Quality::Sound,
            7 => Quality::NeverBoots,
            8 => Quality::HangsAtBoot,
            _ => Quality::CrashesOnArrival,
        };
        let quality = *self.qualities.entry(generation).or_insert(new_quality);
        self.processes.insert(worker, process);
        match quality {
            Quality::Sound => self.boot_and_live(now, ready, worker, 40),
            Quality::Flaky => self.boot_and_live(now, ready, worker, 300),
            Quality::NeverBoots => self.fail_boot(now, ready, worker),
            Quality::HangsAtBoot => self.plan(now + 5, worker, Deed::Says(EventKind::Hello { worker })),
            Quality::CrashesOnArrival => {
                self.boot(now, ready, worker);
                let served_ms = self.dice.between(1, 900);
                self.plan(ready + served_ms, worker, Deed::Dies(Exit::Signal(11)));
            }
        }
    }

    fn boot(&mut self, now: u64, ready: u64, worker: WorkerId) {
        self.plan(now + 1, worker, Deed::Says(EventKind::Hello { worker }));
        self.plan(ready, worker, Deed::Says(EventKind::Loaded { worker }));
        self.plan(ready, worker, Deed::Says(EventKind::Ready { worker }));
    }

    fn fail_boot(&mut self, now: u64, failed: u64, worker: WorkerId) {
        let exit = Exit::Code(i32::try_from(self.dice.between(0, 4)).unwrap_or(3));
        match self.dice.between(0, 5) {
            0 => self.plan(now + 1, worker, Deed::Says(EventKind::SpawnFailed { worker })),
            1 => self.plan(failed, worker, Deed::Says(EventKind::ChannelBroken { worker })),
            2 => self.plan(failed, worker, Deed::Dies(exit)),
            // Slower than any boot timeout.
            3 => self.boot(now, now + 30_000, worker),
            _ => {
                let phase = self.dice.pick(&[FailurePhase::Load, FailurePhase::Startup]);
                self.plan(failed, worker, Deed::Says(EventKind::Failed { worker, phase }));
                if self.dice.happens(900) {
                    let lingered_ms = self.dice.between(0, 100);
                    self.plan(failed + lingered_ms, worker, Deed::Dies(exit));
                }
            }
        }
    }

    fn boot_and_live(&mut self, now: u64, ready: u64, worker: WorkerId, faults_per_mille: u64) {
        if self.dice.happens(faults_per_mille) {
            self.fail_boot(now, ready, worker);
            return;
        }
        self.boot(now, ready, worker);
        let served_ms = match self.dice.between(0, 3) {
            0 => self.dice.between(0, 1_200),
            1 => self.dice.between(1_000, 10_000),
            _ => self.dice.between(5_000, 90_000),
        };
        let end = ready + served_ms;
        if !self.dice.happens(faults_per_mille + 500) {
            return;
        }
        match self.dice.between(0, 7) {
            0 => self.plan(end, worker, Deed::Hangs),
            1 => self.plan(end, worker, Deed::Says(EventKind::ChannelBroken { worker })),
            2 => self.plan(end, worker, Deed::Says(EventKind::ReplaceMe { worker })),
            3 => {
                self.plan(end, worker, Deed::Says(EventKind::Draining { worker }));
                self.plan(end + 300, worker, Deed::Dies(Exit::Code(0)));
            }
            4 => {
                let phase = FailurePhase::Serve;
                self.plan(end, worker, Deed::Says(EventKind::Failed { worker, phase }));
            }
            _ => {
                let exit =
                    self.dice.pick(&[Exit::Code(0), Exit::Code(1), Exit::Signal(9), Exit::OutOfMemory]);
                self.plan(end, worker, Deed::Dies(exit));
            }
        }
    }
}
