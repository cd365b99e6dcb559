//! The workers that live now, as the shell knows them: process, pipes, evidence and scoreboard record of each, and what it said.
//! Turns what comes from them into events; decides nothing.

mod inheritance;

use std::{collections::BTreeMap, ffi::OsString, io, os::fd::AsFd, path::PathBuf};

use nix::{sys::signal::Signal, unistd::Pid};
use protocol::{FromWorker, ToWorker, frame};
use supervisor_fleet::{EventKind, Exit, FailurePhase, GenerationId, Moment, Slot, WorkerId};

use self::inheritance::Inheritance;
use crate::{
    certificates::Certificates,
    control_pipes::{ChannelState, ControlPipes},
    evidence::Evidence,
    generation::Generation,
    histogram::{Histogram, LOOP_LAG_BOUNDS_MS},
    listeners::Listener,
    out_of_memory::OutOfMemory,
    proc_files::ProcessStat,
    processes::{Process, ProcessPlan, reap_strangers},
    scoreboard::{Lease, Scoreboard},
    watch::{Source, Watch},
};

/// A worker that exits closes its pipe a moment before it can be reaped; one that closes it and lives is broken.
const EXIT_AFTER_CLOSE_MS: u64 = 500;

/// One worker.
#[derive(Debug)]
pub struct LiveWorker {
    /// Its number for people.
    pub slot: Slot,
    /// Its code and settings.
    pub generation: GenerationId,
    /// Where its last words are.
    pub evidence: Evidence,
    /// Its record in the scoreboard.
    pub lease: Lease,
    /// When it was spawned.
    pub spawned_at: Moment,
    /// When it said that it is ready.
    pub ready_at: Option<Moment>,
    /// When its loop answered last.
    pub heard_at: Option<Moment>,
    /// The signal that makes it write its stacks.
    pub stack_signal: Option<i32>,
    /// What it said when it could not go on.
    pub failure: Option<String>,
    /// A stack of it is in the log already.
    pub stack_told: bool,
    /// Set once it is reaped.
    pub last_stat: Option<ProcessStat>,
    channel: Channel,
    /// It was told to leave, or said that it does: then a closed pipe is no surprise.
    leaves: bool,
    /// Since when its pipe is closed.
    closed_at: Option<Moment>,
    /// Whether we sent SIGKILL, so that it is no riddle who did.
    killed_by_us: bool,
    process: Process,
    pipes: ControlPipes,
}

impl LiveWorker {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// "worker 2 (pid 411)".
    #[must_use]
    pub fn name(&self) -> String {
        format!("worker {} (pid {})", self.slot.0, self.pid())
    }

    /// Sends a signal, by number, to the process alone.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        self.process.signal(number)
    }
}

/// Whether the worker is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Open,
    /// Closed or broken.
    Done,
}

/// What every worker shares.
#[derive(Debug)]
pub struct Workers {
    program: PathBuf,
    listeners: Vec<Listener>,
    scoreboard: Scoreboard,
    watch: Watch,
    live: BTreeMap<WorkerId, LiveWorker>,
    out_of_memory: OutOfMemory,
    /// How long the workers' loops took to answer.
    pub loop_lag: Histogram,
}

impl Workers {
    /// None yet. `program` is the `worker` binary. Must be made inside the runtime.
    ///
    /// # Errors
    /// No descriptors or no memory left.
    pub fn new(program: PathBuf, listeners: Vec<Listener>) -> io::Result<Self> {
        let (scoreboard, watch) = (Scoreboard::new()?, Watch::new()?);
        let loop_lag = Histogram::new(&LOOP_LAG_BOUNDS_MS);
        let (live, out_of_memory) = (BTreeMap::new(), OutOfMemory::new());
        Ok(Self { program, listeners, scoreboard, watch, live, out_of_memory, loop_lag })
    }

    /// Gives the listening sockets up: each worker closes its own once it has taken whoever waits in the queue, and from then on
    /// newcomers are refused instead of left waiting for the end. Nobody is spawned after this.
    pub fn close_listeners(&mut self) {
        self.listeners.clear();
    }

    /// One of them.
    pub fn get_mut(&mut self, id: WorkerId) -> Option<&mut LiveWorker> {
        self.live.get_mut(&id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (WorkerId, &LiveWorker)> {
        self.live.iter().map(|(&id, worker)| (id, worker))
    }

    /// The shared numbers.
    #[must_use]
    pub fn scoreboard(&self) -> &Scoreboard {
        &self.scoreboard
    }

    /// Sleeps until a worker has something to say or is over.
    pub async fn readable(&self) {
        self.watch.readable().await;
    }

    /// Makes a process for a spawn order.
    ///
    /// # Errors
    /// What the kernel says; nothing is left behind.
    pub fn spawn(
        &mut self,
        id: WorkerId,
        slot: Slot,
        generation: GenerationId,
        plan: &Generation,
        now: Moment,
    ) -> io::Result<()> {
        let full = || io::Error::other("all records of the scoreboard are in use");
        let lease = self.scoreboard.lease().ok_or_else(full)?;
        let made = self.make(id, lease, slot, generation, plan);
        let (process, pipes, evidence) = made.inspect_err(|_| self.scoreboard.fold(lease))?;
        let worker = LiveWorker {
            slot,
            generation,
            evidence,
            lease,
            spawned_at: now,
            ready_at: None,
            heard_at: None,
            stack_signal: None,
            failure: None,
            stack_told: false,
            last_stat: None,
            channel: Channel::Open,
            leaves: false,
            closed_at: None,
            killed_by_us: false,
            process,
            pipes,
        };
        self.live.insert(id, worker);
        Ok(())
    }

    fn make(
        &self,
        id: WorkerId,
        lease: Lease,
        slot: Slot,
        generation: GenerationId,
        plan: &Generation,
    ) -> io::Result<(Process, ControlPipes, Evidence)> {
        let (pipes, ends) = ControlPipes::open()?;
        let evidence = Evidence::new()?;
        let gift = Inheritance {
            control_in: ends.control_in.as_fd(),
            control_out: ends.control_out.as_fd(),
            scoreboard: self.scoreboard.as_fd(),
            evidence: evidence.as_fd(),
            credentials: plan.certificates.as_ref().map(Certificates::memory),
            listeners: self.listeners.iter().map(AsFd::as_fd).collect(),
        };
        let process = Process::spawn(ProcessPlan {
            program: &self.program,
            name: "worker",
            arguments: vec![OsString::from(&plan.settings.application_name)],
            environment: gift.environment(lease, slot, generation, plan)?,
            directory: plan.settings.directory.clone(),
            inherited: gift.descriptors(),
        })?;
        let watched = self.watch.add(id, Source::Pipe, &pipes.readable_end());
        match watched.and_then(|()| self.watch.add(id, Source::Process, &process)) {
            Ok(()) => Ok((process, pipes, evidence)),
            Err(error) => {
                // Nobody could watch it: it must go, and is reaped as a stranger.
                process.signal_group(Signal::SIGKILL);
                Err(error)
            }
        }
    }

    /// Tells a worker to drain. One that cannot be told gets SIGTERM, which means the same to it.
    pub fn drain(&mut self, id: WorkerId, grace_ms: u64) {
        let Some(worker) = self.live.get_mut(&id) else { return };
        worker.leaves = true;
        if worker.pipes.send(&ToWorker::Drain { grace_ms }).is_err() {
            // If it is gone, its exit will say so.
            let _gone = worker.process.signal(Signal::SIGTERM as i32);
        }
    }

    /// Tells the workers of a generation that their certificates have changed. One that cannot be told goes on with those that it
    /// has: they are as good as before.
    pub fn reload_certificates(&self, generation: GenerationId) {
        for worker in self.live.values().filter(|worker| worker.generation == generation) {
            if let Err(error) = worker.pipes.send(&ToWorker::ReloadCertificates) {
                tracing::warn!(
                    event = "certificates.untold",
                    "{} cannot be told of new certificates: {error}",
                    worker.name()
                );
            }
        }
    }

    /// Tells every worker to open its log files anew. One that does not read has its reasons to be replaced soon.
    pub fn reopen_logs(&self) {
        for (id, worker) in self.iter() {
            if let Err(error) = worker.pipes.send(&ToWorker::ReopenLogs) {
                tracing::warn!(event = "logs.not_reopened", worker = id.0, %error, "a worker cannot be told to reopen its logs");
            }
        }
    }

    /// SIGABRT to the group, and SIGCONT: a stopped process acts on nothing else.
    pub fn abort(&mut self, id: WorkerId) {
        if let Some(worker) = self.live.get_mut(&id) {
            worker.leaves = true;
            worker.process.signal_group(Signal::SIGABRT);
            worker.process.signal_group(Signal::SIGCONT);
        }
    }

    /// SIGKILL to the group.
    pub fn kill(&mut self, id: WorkerId) {
        if let Some(worker) = self.live.get_mut(&id) {
            worker.leaves = true;
            worker.killed_by_us = true;
            worker.process.signal_group(Signal::SIGKILL);
        }
    }

    /// The worker's story is over: its counts are folded, its descriptors closed.
    pub fn remove(&mut self, id: WorkerId) -> Option<LiveWorker> {
        let worker = self.live.remove(&id)?;
        self.watch.remove(&worker.pipes.readable_end());
        self.scoreboard.fold(worker.lease);
        Some(worker)
    }

    /// What came from workers since the last call, in order; empty when nothing is left to read.
    pub fn events(&mut self, now: Moment) -> Vec<EventKind> {
        let mut events = Vec::new();
        for (id, source) in self.watch.ready_now() {
            self.hear(id, now, &mut events);
            match source {
                Source::Pipe => {}
                Source::Process => self.reap(id, &mut events),
            }
        }
        events
    }

    /// Looks once more whether a worker can be reaped, for one that should long be gone.
    pub fn look_again(&mut self, id: WorkerId) -> Vec<EventKind> {
        let mut events = Vec::new();
        self.reap(id, &mut events);
        events
    }

    /// Reaps orphans that were given to us.
    pub fn reap_strangers(&self) {
        let reaped = reap_strangers(|pid| self.live.values().any(|worker| worker.pid() == pid));
        if reaped > 0 {
            tracing::debug!(
                event = "strangers.reaped",
                count = reaped,
                "{reaped} orphaned processes were reaped"
            );
        }
    }

    /// When a closed pipe becomes a broken channel, if there is one.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.live.values().filter_map(LiveWorker::broken_at).min()
    }

    /// Workers whose pipe has been closed for too long while they live.
    pub fn broken_channels(&mut self, now: Moment) -> Vec<EventKind> {
        let mut events = Vec::new();
        for (&id, worker) in &mut self.live {
            if worker.broken_at().is_some_and(|at| at <= now) {
                events.push(worker.channel_broken(id, "it closed its pipe and lives"));
                worker.closed_at = None;
            }
        }
        events
    }

    /// Reads the pipe of one worker.
    fn hear(&mut self, id: WorkerId, now: Moment, events: &mut Vec<EventKind>) {
        let Some(worker) = self.live.get_mut(&id).filter(|worker| worker.channel == Channel::Open) else {
            return;
        };
        let (messages, state) = worker.pipes.receive();
        for message in messages {
            match &message {
                FromWorker::Heartbeat { loop_lag_ms, .. } => self.loop_lag.observe_ms(*loop_lag_ms),
                // By now every death before has its explanation, so kills that were counted since belong to others.
                FromWorker::Ready => self.out_of_memory.forget(),
                FromWorker::Hello { .. }
                | FromWorker::Loaded { .. }
                | FromWorker::Draining
                | FromWorker::Failed { .. }
                | FromWorker::ReplaceMe { .. } => {}
            }
            let requests = self.scoreboard.requests_answered(worker.lease);
            events.extend(worker.note(id, message, requests, now));
            if worker.channel == Channel::Done {
                break;
            }
        }
        match state {
            ChannelState::Open => {}
            ChannelState::Closed => {
                worker.closed_at = Some(now);
                worker.channel = Channel::Done;
            }
            ChannelState::Garbage(what) if worker.channel == Channel::Open => {
                events.push(worker.channel_broken(id, &what));
            }
            ChannelState::Garbage(_) => {}
        }
        if worker.channel == Channel::Done {
            self.watch.remove(&worker.pipes.readable_end());
        }
    }

    fn reap(&mut self, id: WorkerId, events: &mut Vec<EventKind>) {
        let Some(worker) = self.live.get_mut(&id) else { return };
        let Some(death) = worker.process.try_reap() else { return };
        self.watch.remove(&worker.process);
        worker.last_stat = death.last;
        worker.closed_at = None;
        let unexplained = death.exit == Exit::Signal(Signal::SIGKILL as i32) && !worker.killed_by_us;
        let exit =
            if unexplained && self.out_of_memory.explains_a_kill() { Exit::OutOfMemory } else { death.exit };
        events.push(EventKind::Exited { worker: id, exit });
    }
}

impl LiveWorker {
    fn broken_at(&self) -> Option<Moment> {
        self.closed_at.filter(|_| !self.leaves).map(|at| Moment(at.0 + EXIT_AFTER_CLOSE_MS))
    }

    /// It cannot be supervised any more, and nothing it says counts.
    fn channel_broken(&mut self, worker: WorkerId, why: &str) -> EventKind {
        let sentence = format!("{} broke the control channel: {why}", self.name());
        tracing::error!(
            event = "worker.channel",
            slot = self.slot.0,
            pid = self.pid().as_raw(),
            "{sentence}"
        );
        self.failure.get_or_insert(sentence);
        self.channel = Channel::Done;
        EventKind::ChannelBroken { worker }
    }

    /// Takes a message: what it tells people is kept here, what it tells the fleet is the event.
    /// `requests`: how many it has answered by now.
    fn note(
        &mut self,
        worker: WorkerId,
        message: FromWorker,
        requests: u64,
        now: Moment,
    ) -> Option<EventKind> {
        let name = self.name();
        match message {
            FromWorker::Hello { version, pid: _, runtime, stack_signal } => {
                if let Err(error) = frame::check_version(version) {
                    return Some(self.channel_broken(worker, &error.to_string()));
                }
                // Once a generation is enough for people: all its workers run on the same.
                if self.slot == Slot(1) {
                    tracing::info!(event = "worker.hello", runtime, "{name}'s runtime: {runtime}");
                } else {
                    tracing::debug!(event = "worker.hello", runtime, "{name}'s runtime: {runtime}");
                }
                self.stack_signal = stack_signal;
                Some(EventKind::Hello { worker })
            }
            FromWorker::Loaded { application } => {
                tracing::debug!(event = "worker.loaded", application, "{name} loaded: {application}");
                Some(EventKind::Loaded { worker })
            }
            FromWorker::Ready => {
                self.ready_at.get_or_insert(now);
                self.heard_at = Some(now);
                Some(EventKind::Ready { worker })
            }
            FromWorker::Heartbeat { loop_lag_ms: _, in_flight: _, oldest_request_ms: _ } => {
                self.heard_at = Some(now);
                Some(EventKind::Heartbeat { worker, requests })
            }
            FromWorker::Draining => {
                self.leaves = true;
                Some(EventKind::Draining { worker })
            }
            FromWorker::Failed { phase, message } => {
                self.leaves = true;
                self.failure = Some(message);
                Some(EventKind::Failed { worker, phase: phase_of(phase) })
            }
            FromWorker::ReplaceMe { reason } => {
                tracing::info!(event = "worker.replace_me", "{name} asks to be replaced: {reason}");
                Some(EventKind::ReplaceMe { worker })
            }
        }
    }
}

fn phase_of(phase: protocol::Phase) -> FailurePhase {
    match phase {
        protocol::Phase::Load => FailurePhase::Load,
        protocol::Phase::Startup => FailurePhase::Startup,
        protocol::Phase::Serve => FailurePhase::Serve,
    }
}
