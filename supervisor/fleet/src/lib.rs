//! The law of supervision, as a pure function: [`Fleet::step`] takes what happened and returns what to do;
//! [`Fleet::next_deadline`] says when to call again if nothing happens.
//!
//! What is *wanted* (how many workers, of which generation) is kept apart from what is *observed* (the workers and their
//! states). An event only records a fact; then [`reconcile`] orders what brings the observed nearer to the wanted. So no
//! command has a path of its own through the corner cases: a reload, a crash in a reload and a stop in a reload differ
//! in their facts alone.
//!
//! Absent on purpose: clock, processes, signals, files, environment, threads, randomness. Time comes in with each event,
//! the seed of the jitter with [`Fleet::new`]. Its `[dependencies]` is empty and stays so.

// The compiler shall name every place that a new state, event or action concerns.
#![deny(clippy::wildcard_enum_match_arm)]

mod action;
mod backoff;
mod boot;
mod drain;
mod event;
mod exit;
mod health;
mod invariants;
mod reconcile;
mod recycle;
mod reload;
mod scale;
pub mod transcript;
mod worker;

use std::collections::BTreeMap;

pub use action::{Action, BootFailure, ExitReason, Notice, Origin, Outcome, RecycleCause};
pub use event::{Event, EventKind, Exit, FailurePhase, Urgency};
pub use worker::{StateName, WorkerView};

use backoff::Jitter;
use boot::Milestone;
use reconcile::SlotRecord;
use reload::Reload;
use worker::Worker;

/// Milliseconds of a monotonic clock since an origin of the shell's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// So many milliseconds later.
    pub(crate) fn after(self, duration_ms: u64) -> Self {
        Self(self.0.saturating_add(duration_ms))
    }

    /// Milliseconds from `earlier` until now; 0 when it is not earlier.
    pub(crate) fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One process that is or was a worker. Minted by the fleet, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u64);

/// Worker number for people, from 1; stable over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// Version of code and settings, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GenerationId(pub u32);

/// One application and its workers. The command line describes a single one, number 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub u32);

/// What a pool is to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolSettings {
    /// Workers wanted, at least 1.
    pub workers: u32,
    /// Workers of the new generation that may exist beyond `workers` during a reload, at least 1.
    pub max_surge: u32,
    /// From the spawn order to ready.
    pub boot_timeout_ms: u64,
    /// Longest silence of a ready worker's loop.
    pub heartbeat_timeout_ms: u64,
    /// From the drain order to the kill.
    pub graceful_timeout_ms: u64,
    /// As `graceful_timeout_ms`, for a quick stop.
    pub quick_timeout_ms: u64,
    /// From the stack dump to SIGABRT, and from SIGABRT to SIGKILL, for a worker that does not answer.
    pub abort_grace_ms: u64,
    /// From the wish of a graceful stop to its begin: all go on serving, so that balancers can look elsewhere first. 0: at once.
    pub shutdown_delay_ms: u64,
    /// When workers that serve well are replaced.
    pub recycling: RecyclingSettings,
}

/// When workers that serve well are replaced. The default is: never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RecyclingSettings {
    /// After this many requests.
    pub max_requests: Option<u64>,
    /// And up to so many more, by chance: workers that began together do not end together.
    pub max_requests_jitter: u64,
    /// After this time of service, in milliseconds.
    pub max_lifetime_ms: Option<u64>,
    /// And up to so much later, by chance.
    pub max_lifetime_jitter_ms: u64,
    /// Once it holds this much memory, in bytes.
    pub max_memory_bytes: Option<u64>,
    /// Once it holds this much memory, in bytes, it is not waited for.
    pub max_memory_hard_bytes: Option<u64>,
}

/// A version of code and settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Generation {
    pub(crate) id: GenerationId,
    pub(crate) settings: PoolSettings,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Before [`EventKind::Start`].
    Idle,
    /// Workers are wanted.
    Running,
    /// As running, but a stop was asked for and begins soon: newcomers should go elsewhere.
    Leaving,
    /// Workers are on their way out; none is started any more.
    Stopping,
    /// [`Action::Finish`] was ordered.
    Finished,
}

/// What the run wants, with what only that needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Course {
    Idle,
    Running,
    /// All is as in `Running`, but for new reloads.
    Leaving {
        stop_at: Moment,
    },
    Stopping {
        urgency: Urgency,
        outcome: Outcome,
    },
    Finished,
}

/// All workers of the program and what is wanted of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fleet {
    now: Moment,
    course: Course,
    /// Workers wanted.
    wanted: u32,
    /// The generation that serves; the one to fall back on during a reload.
    serving: Generation,
    reload: Option<Reload>,
    newest_generation: GenerationId,
    newest_worker: WorkerId,
    /// The largest surge that any generation was allowed: bounds how many slots hold two workers.
    largest_surge: u32,
    milestone: Milestone,
    workers: BTreeMap<WorkerId, Worker>,
    slots: BTreeMap<Slot, SlotRecord>,
    jitter: Jitter,
    /// Orders of the step under way.
    actions: Vec<Action>,
    /// An illegal order of the step under way.
    breach: Option<&'static str>,
}

impl Fleet {
    /// A fleet that has not started. `seed` feeds the jitter of the back-off.
    #[must_use]
    pub fn new(mut settings: PoolSettings, seed: u64) -> Self {
        settings.make_sound();
        Self {
            now: Moment(0),
            course: Course::Idle,
            wanted: settings.workers,
            largest_surge: settings.max_surge,
            serving: Generation { id: GenerationId(1), settings },
            reload: None,
            newest_generation: GenerationId(1),
            newest_worker: WorkerId(0),
            milestone: Milestone::Unserved,
            workers: BTreeMap::new(),
            slots: BTreeMap::new(),
            jitter: Jitter::new(seed),
            actions: Vec::new(),
            breach: None,
        }
    }

    /// Takes what happened; returns what to do, in order.
    #[must_use]
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        self.breach = None;
        self.observe_time(event.at);
        self.record(event.kind);
        self.reconcile();
        if let Err(what) = self.check_invariants() {
            self.notice(Notice::InvariantBroken { what });
        }
        std::mem::take(&mut self.actions)
    }

    /// Notes the fact. Whoever is named in it may be gone by now: messages come late.
    fn record(&mut self, kind: EventKind) {
        match kind {
            EventKind::Start => self.start(),
            EventKind::Tick => self.fire_deadlines(),
            EventKind::SpawnFailed { worker } => self.spawn_failed(worker),
            // How far a boot came is for the log; only ready, failure, exit and time decide.
            EventKind::Hello { worker: _ } | EventKind::Loaded { worker: _ } => {}
            EventKind::Ready { worker } => self.became_ready(worker),
            EventKind::Heartbeat { worker, requests } => self.heard(worker, requests),
            EventKind::MemoryMeasured { worker, bytes } => self.memory_measured(worker, bytes),
            EventKind::Draining { worker } => self.drains_by_itself(worker),
            EventKind::Failed { worker, phase } => self.said_failed(worker, phase),
            EventKind::ReplaceMe { worker } => self.recycle(worker, RecycleCause::Requested),
            EventKind::ChannelBroken { worker } => self.channel_broke(worker),
            EventKind::Exited { worker, exit } => self.exited(worker, exit),
            EventKind::Reload { settings } => self.begin_reload(settings),
            EventKind::Scale { by } => self.scale(by),
            EventKind::Stop { urgency } => self.stop(urgency),
        }
    }

    /// When a [`EventKind::Tick`] is due if nothing else happens; a moment that has passed means at once. Deadlines fire
    /// on ticks alone: the shell applies all that it can read without waiting before it sends one, so that no
    /// worker is blamed for a message that lay unread.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        match self.course {
            Course::Idle | Course::Finished => None,
            Course::Running | Course::Leaving { .. } => {
                let stop = match self.course {
                    Course::Leaving { stop_at } => Some(stop_at),
                    Course::Idle | Course::Running | Course::Stopping { .. } | Course::Finished => None,
                };
                let waits = self.slots.values().filter_map(|slot| slot.wait.map(|wait| wait.until));
                let reload = self.reload.as_ref().and_then(|reload| reload.deadline(self.now));
                self.workers.values().map(Worker::deadline).chain(waits).chain(reload).chain(stop).min()
            }
            Course::Stopping { .. } => self.workers.values().map(Worker::deadline).min(),
        }
    }

    /// Whether the fleet is what it must be; [`Fleet::step`] asks itself after each event and reports a breach as
    /// [`Notice::InvariantBroken`].
    ///
    /// # Errors
    /// The promise that does not hold, in words.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        invariants::check(self)
    }

    /// Every worker whose process may be alive, by id.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> + '_ {
        self.workers.iter().map(|(&id, worker)| worker.view(id))
    }

    /// Workers wanted now: the setting and all hand-made scaling.
    #[must_use]
    pub fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Workers that are ready, of whatever generation.
    #[must_use]
    pub fn ready(&self) -> u32 {
        count(self.workers.values().filter(|worker| worker.is_serving()))
    }

    /// The generation that serves, or the one to fall back on while a reload is under way.
    #[must_use]
    pub fn generation(&self) -> GenerationId {
        self.serving.id
    }

    /// The generation of the reload that is under way.
    #[must_use]
    pub fn reloading(&self) -> Option<GenerationId> {
        self.reload.as_ref().map(|reload| reload.generation.id)
    }

    /// Where the run is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.course {
            Course::Idle => Phase::Idle,
            Course::Running => Phase::Running,
            Course::Leaving { .. } => Phase::Leaving,
            Course::Stopping { .. } => Phase::Stopping,
            Course::Finished => Phase::Finished,
        }
    }

    /// Slots whose replacement waits for its back-off to end.
    #[must_use]
    pub fn slots_in_backoff(&self) -> u32 {
        count(self.slots.values().filter(|slot| slot.wait.is_some()))
    }

    /// Whether workers are wanted at all.
    fn is_running(&self) -> bool {
        matches!(self.course, Course::Running | Course::Leaving { .. })
    }

    fn notice(&mut self, notice: Notice) {
        self.actions.push(Action::Notice(notice));
    }
}

impl RecyclingSettings {
    /// Whether somebody has to measure the workers' memory.
    #[must_use]
    pub fn bounds_memory(&self) -> bool {
        self.max_memory_bytes.is_some() || self.max_memory_hard_bytes.is_some()
    }
}

impl PoolSettings {
    /// The shell proves settings before they come here; a fleet of no workers would never be ready and never end.
    fn make_sound(&mut self) {
        self.workers = self.workers.max(1);
        self.max_surge = self.max_surge.max(1);
    }
}

/// The length of an iterator, for numbers that people read.
fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
