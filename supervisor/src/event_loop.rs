//! The one loop of the supervisor: whatever happens becomes an event for the fleet, and what the fleet orders is done. One thread,
//! one select, one sleep. Decides no restart itself and waits for nobody.

mod answers;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use supervisor_fleet::{
    Action, Event, EventKind, Exit, ExitReason, Fleet, GenerationId, Moment, Notice, Outcome, Phase, WorkerId,
};
use tokio::sync::mpsc;

use crate::{
    certificates::Look,
    config::Sources,
    error::ExpectedError,
    generation::Generation,
    memory_watch::{Look as MemoryLook, MemoryWatch},
    obituary,
    recorder::Recorder,
    reload::{self, Decision},
    signals::{Signals, Wish},
    stack_dumps::StackDumps,
    status_server::Question,
    story,
    systemd::{self, Notifier, Standing},
    tally::{ReloadResult, Tally},
    workers::Workers,
};

/// Batches of worker events taken before deadlines and questions have their turn: a flood must not keep them off for ever.
const BATCHES_PER_TURN: usize = 64;
/// The files of certificates are looked at this often.
const CERTIFICATE_LOOK_INTERVAL_MS: u64 = 1_000;
/// What failed workers said last is kept for so many of them.
const LAST_WORDS_KEPT: usize = 16;

/// What a run starts with.
#[derive(Debug)]
pub struct Start {
    /// When the program began.
    pub began: Instant,
    /// Where settings come from at a reload.
    pub sources: Sources,
    /// The first generation.
    pub generation: Generation,
    /// None yet, but ready to spawn.
    pub workers: Workers,
    /// What came from the operator.
    pub signals: Signals,
    /// What came from scrapers and probes.
    pub questions: mpsc::Receiver<Question>,
    /// Whoever wants to know how things stand.
    pub notifier: Notifier,
    /// The black box, if there is one.
    pub recorder: Option<Recorder>,
    /// Feeds the jitter of the back-off.
    pub seed: u64,
}

/// What is remembered of a worker that failed.
#[derive(Debug)]
struct LastWords {
    worker: WorkerId,
    /// Its own sentence, or ours about it.
    said: Option<String>,
    /// How it left; nothing if it never was a process.
    exit: Option<Exit>,
}

/// A run.
#[derive(Debug)]
pub struct EventLoop {
    began: Instant,
    sources: Sources,
    fleet: Fleet,
    /// What the workers of each generation are told.
    generations: BTreeMap<GenerationId, Generation>,
    /// A generation on its way through the fleet, which gives it its number.
    proposed: Option<Generation>,
    workers: Workers,
    signals: Signals,
    questions: mpsc::Receiver<Question>,
    notifier: Notifier,
    tally: Tally,
    dumps: StackDumps,
    events: VecDeque<EventKind>,
    last_words: VecDeque<LastWords>,
    /// When the files of certificates are looked at next; never without TLS.
    certificates_due: Option<Moment>,
    /// Looks at the workers' memory; none where nobody bounds it.
    memory: Option<MemoryWatch>,
    recorder: Option<Recorder>,
    finished: Option<Outcome>,
}

impl EventLoop {
    /// Ready to run.
    #[must_use]
    pub fn new(start: Start) -> Self {
        let fleet = Fleet::new(start.generation.settings.pool.clone(), start.seed);
        let has_certificates = start.generation.certificates.is_some();
        Self {
            began: start.began,
            sources: start.sources,
            generations: BTreeMap::from([(fleet.generation(), start.generation)]),
            fleet,
            proposed: None,
            workers: start.workers,
            signals: start.signals,
            questions: start.questions,
            notifier: start.notifier,
            tally: Tally::new(),
            dumps: StackDumps::default(),
            events: VecDeque::new(),
            last_words: VecDeque::new(),
            certificates_due: has_certificates.then_some(Moment(0)),
            memory: None,
            recorder: start.recorder,
            finished: None,
        }
    }

    /// Runs until the fleet says that all is over.
    ///
    /// # Errors
    /// The first boot failed: exit 3, 4 or 71.
    pub async fn run(mut self) -> Result<(), ExpectedError> {
        self.watch_memory();
        self.apply(EventKind::Start);
        loop {
            if let Some(outcome) = self.finished {
                if let Some(recorder) = self.recorder.take() {
                    recorder.finish();
                }
                return self.conclude(outcome);
            }
            let deadline = self.next_deadline();
            tokio::select! {
                wish = self.signals.next() => self.grant(wish),
                () = self.workers.readable() => {}
                Some(question) = self.questions.recv() => self.answer(question),
                look = next_look(&mut self.memory) => self.take_memory_look(&look),
                () = sleep_until(self.began, deadline) => {}
            }
            // Before any deadline fires, so that no worker is blamed for a message that lay unread.
            self.take_worker_events();
            self.fire_deadlines();
            self.notifier.turn(self.standing(), self.now());
        }
    }

    fn standing(&self) -> Standing {
        let (ready, wanted) = (self.fleet.ready(), self.fleet.wanted());
        Standing { ready, wanted, generation: self.fleet.generation().0 }
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Gives the fleet an event and does what it orders, and the same with what follows from that at once.
    fn apply(&mut self, kind: EventKind) {
        self.events.push_back(kind);
        while let Some(kind) = self.events.pop_front() {
            if let EventKind::Ready { worker } = kind {
                self.note_ready(worker);
            }
            let event = Event { at: self.now(), kind };
            let orders = self.fleet.step(event.clone());
            if let Some(recorder) = &mut self.recorder {
                recorder.note(&event, &orders);
            }
            for order in orders {
                self.perform(order);
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Spawn { worker, pool: _, slot, generation, origin: _ } => {
                let now = self.now();
                let Some(plan) = self.generations.get(&generation) else {
                    tracing::error!(
                        event = "bug",
                        "generation {} has no settings: please report this",
                        generation.0
                    );
                    self.events.push_back(EventKind::SpawnFailed { worker });
                    return;
                };
                match self.workers.spawn(worker, slot, generation, plan, now) {
                    Ok(()) => self.tally.starts += 1,
                    Err(error) => {
                        let sentence = format!("worker {} could not be started: {error}", slot.0);
                        tracing::error!(event = "worker.spawn_failed", slot = slot.0, "{sentence}");
                        self.keep_last_words(LastWords { worker, said: Some(sentence), exit: None });
                        self.events.push_back(EventKind::SpawnFailed { worker });
                    }
                }
            }
            Action::Drain { worker, grace_ms } => self.workers.drain(worker, grace_ms),
            Action::DumpStack { worker } => {
                let now = self.now();
                if let Some(live) = self.workers.get_mut(worker) {
                    self.dumps.ask(worker, live, now);
                }
            }
            Action::Abort { worker } => {
                if let Some(live) = self.workers.get_mut(worker) {
                    self.dumps.settle(worker, live);
                }
                self.workers.abort(worker);
            }
            Action::Kill { worker } => {
                self.workers.kill(worker);
                let events = self.workers.look_again(worker);
                self.events.extend(events);
            }
            Action::Retire { worker, reason, exit } => {
                let now = self.now();
                let Some(mut gone) = self.workers.remove(worker) else { return };
                self.dumps.settle(worker, &mut gone);
                self.tally.exited(worker, &gone, reason);
                // What ends the program is told once, at its end.
                let ends_the_run = reason == ExitReason::BootFailed && self.fleet.phase() == Phase::Stopping;
                let said = gone.failure.clone();
                gone.failure = gone.failure.filter(|_| !ends_the_run);
                story::tell_exit(&mut gone, reason, exit, now);
                self.keep_last_words(LastWords { worker, said, exit: Some(exit) });
                self.forget_old_generations();
            }
            Action::Notice(notice) => self.note(notice),
            Action::Finish { outcome } => self.finished = Some(outcome),
        }
    }

    /// Counts what a notice counts, and tells it.
    fn note(&mut self, notice: Notice) {
        match &notice {
            Notice::Restarted { reason, .. } => self.tally.restarted(*reason),
            Notice::ReloadStarted { generation } => {
                if let Some(proposed) = self.proposed.take() {
                    self.generations.insert(*generation, proposed);
                    self.watch_memory();
                }
            }
            Notice::ReloadDone { .. } => self.reloaded(ReloadResult::Ok, systemd::Reloaded::Done),
            Notice::ReloadFailed { worker, .. } => {
                let said = self.workers.get_mut(*worker).and_then(|live| live.failure.clone());
                let why = format!("reload failed: {}", said.as_deref().unwrap_or("the log says why"));
                self.reloaded(ReloadResult::Failed, systemd::Reloaded::Not(&why));
            }
            Notice::ReloadSuperseded { .. } => self.tally.reloaded(ReloadResult::Superseded),
            Notice::Leaving { delay_ms } => self.tell_of_stop(*delay_ms),
            Notice::Stopping { .. } => {
                self.workers.close_listeners();
                self.tell_of_stop(0);
            }
            Notice::AllReady => self.notifier.ready(self.standing(), self.now()),
            Notice::BackedOff { .. }
            | Notice::Unresponsive { .. }
            | Notice::Recycling { .. }
            | Notice::OverMemory { .. }
            | Notice::BootTimedOut { .. }
            | Notice::DrainTimedOut { .. }
            | Notice::Scaled { .. }
            | Notice::Unkillable { .. }
            | Notice::Stalled { .. }
            | Notice::InvariantBroken { .. } => {}
        }
        let now = self.now();
        story::tell_notice(&notice, &mut self.workers, self.fleet.ready(), now);
    }

    fn reloaded(&mut self, result: ReloadResult, how: systemd::Reloaded<'_>) {
        self.tally.reloaded(result);
        let (standing, now) = (self.standing(), self.now());
        self.notifier.reloaded(how, standing, now);
    }

    fn tell_of_stop(&mut self, delay_ms: u64) {
        let graceful =
            self.generations.values().map(|generation| generation.settings.pool.graceful_timeout_ms);
        self.notifier.stopping(delay_ms + graceful.max().unwrap_or(0), self.now());
    }

    fn note_ready(&mut self, worker: WorkerId) {
        if let Some(live) = self.workers.get_mut(worker) {
            let boot_ms = live.ready_at.map_or(0, |at| at.0.saturating_sub(live.spawned_at.0));
            self.tally.boot.observe_ms(boot_ms);
            tracing::info!(
                event = "worker.ready",
                slot = live.slot.0,
                pid = live.pid().as_raw(),
                generation = live.generation.0,
                boot_ms,
                "{} is ready after {}",
                live.name(),
                obituary::duration(boot_ms)
            );
        }
    }

    fn keep_last_words(&mut self, words: LastWords) {
        self.last_words.push_back(words);
        if self.last_words.len() > LAST_WORDS_KEPT {
            self.last_words.pop_front();
        }
    }

    /// Settings of generations that no worker has and none will get.
    fn forget_old_generations(&mut self) {
        let (serving, reloading) = (self.fleet.generation(), self.fleet.reloading());
        let workers = &self.workers;
        self.generations.retain(|generation, _| {
            *generation >= serving
                || Some(*generation) == reloading
                || workers.iter().any(|(_, worker)| worker.generation == *generation)
        });
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Reload => self.reload(),
            Wish::Stop(urgency) => self.apply(EventKind::Stop { urgency }),
            Wish::Scale(by) => self.apply(EventKind::Scale { by }),
            Wish::ReopenLogs => {
                tracing::info!(event = "logs.reopen", "the workers reopen their log files");
                self.workers.reopen_logs();
            }
            // Ours first: an orphan may hide behind one of them.
            Wish::ReapStrangers => {
                self.take_worker_events();
                self.workers.reap_strangers();
            }
            Wish::NotYet { signal, meaning } => {
                tracing::warn!(
                    event = "signal.not_yet",
                    "{signal} is not there yet ({meaning}): nothing was done"
                );
            }
        }
    }

    fn reload(&mut self) {
        if self.fleet.phase() != Phase::Running {
            tracing::warn!(event = "reload.ignored", "SIGHUP is ignored: the program stops");
            return;
        }
        self.notifier.reloading(self.now());
        let newest = self.generations.values().next_back();
        match newest.map(|running| reload::decide(&self.sources, running)) {
            Some(Decision::Go(generation)) => {
                let pool = generation.settings.pool.clone();
                self.proposed = Some(*generation);
                self.apply(EventKind::Reload { settings: pool });
            }
            Some(Decision::Refuse { why, detail }) => {
                let told = format!("reload rejected: {why}");
                self.reloaded(ReloadResult::Rejected, systemd::Reloaded::Not(&told));
                let message = format!("reload rejected, everything stays as it is: {why}");
                tracing::error!(event = "reload.rejected", detail, "{message}");
            }
            None => {}
        }
    }

    /// Certificates that were renewed go into service without a reload: workers use them for the connections to come.
    fn look_at_certificates(&mut self) {
        let (serving, reloading) = (self.fleet.generation(), self.fleet.reloading());
        for (&id, generation) in &mut self.generations {
            let Some(certificates) = &mut generation.certificates else { continue };
            let serves = id == serving || Some(id) == reloading;
            if !serves && !self.workers.iter().any(|(_, worker)| worker.generation == id) {
                continue;
            }
            let look = certificates.look();
            // Generations usually share their files: the story is told once.
            if id == serving {
                self.tally.looked_at_certificates(&look);
                story::tell_certificates(&look, certificates.facts());
            }
            match look {
                Look::Renewed => self.workers.reload_certificates(id),
                Look::Unchanged | Look::Refused(_) => {}
            }
        }
    }

    /// Has the workers' memory looked at from now on, if a generation bounds it.
    fn watch_memory(&mut self) {
        let bounds = self.generations.values().map(|generation| generation.settings.pool.recycling);
        if self.memory.is_some() || !bounds.into_iter().any(|bounds| bounds.bounds_memory()) {
            return;
        }
        match MemoryWatch::start() {
            Ok(memory) => self.memory = Some(memory),
            Err(error) => tracing::error!(
                event = "memory.unwatched",
                "nobody looks at the workers' memory, and --max-memory does nothing: {error}"
            ),
        }
    }

    fn take_memory_look(&mut self, look: &MemoryLook) {
        let now = self.now();
        if let Some(memory) = &mut self.memory {
            memory.note(look, now);
        }
        for &(worker, bytes) in &look.held {
            self.apply(EventKind::MemoryMeasured { worker, bytes });
        }
    }

    fn take_worker_events(&mut self) {
        for _ in 0..BATCHES_PER_TURN {
            let events = self.workers.events(self.now());
            if events.is_empty() {
                break;
            }
            for event in events {
                self.apply(event);
            }
        }
    }

    fn next_deadline(&self) -> Option<Moment> {
        let mine = [
            self.workers.next_deadline(),
            self.dumps.next_deadline(),
            self.certificates_due,
            self.notifier.next_deadline(),
            self.memory.as_ref().and_then(MemoryWatch::next_deadline),
        ];
        mine.into_iter().chain([self.fleet.next_deadline()]).flatten().min()
    }

    fn fire_deadlines(&mut self) {
        let now = self.now();
        for worker in self.dumps.due(now) {
            if let Some(live) = self.workers.get_mut(worker) {
                self.dumps.look(worker, live, now);
            }
        }
        if self.certificates_due.is_some_and(|due| due <= now) {
            self.certificates_due = Some(Moment(now.0 + CERTIFICATE_LOOK_INTERVAL_MS));
            self.look_at_certificates();
        }
        if let Some(memory) = &mut self.memory {
            memory.look_at(now, self.workers.iter().map(|(id, worker)| (id, worker.pid())));
        }
        for event in self.workers.broken_channels(now) {
            self.apply(event);
        }
        if self.fleet.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.apply(EventKind::Tick);
        }
    }

    fn conclude(&self, outcome: Outcome) -> Result<(), ExpectedError> {
        match outcome {
            Outcome::Stopped => {
                tracing::info!(event = "stopped", "stopped");
                Ok(())
            }
            Outcome::FirstBootFailed { worker, cause } => {
                let words = self.last_words.iter().find(|words| words.worker == worker);
                let said = words.and_then(|words| words.said.as_deref());
                Err(obituary::first_boot_error(cause, said, words.and_then(|words| words.exit)))
            }
        }
    }
}

/// Sleeps until a look at the workers' memory was taken; for ever where nobody looks.
async fn next_look(memory: &mut Option<MemoryWatch>) -> MemoryLook {
    match memory {
        Some(memory) => memory.next().await,
        None => std::future::pending().await,
    }
}

/// Sleeps until a moment of the run; for ever without one.
async fn sleep_until(began: Instant, deadline: Option<Moment>) {
    match deadline {
        Some(Moment(ms)) => tokio::time::sleep_until((began + Duration::from_millis(ms)).into()).await,
        None => std::future::pending().await,
    }
}
