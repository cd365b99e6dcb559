//! Replacement of one generation by the next: how it begins, what proves it, how it ends.
//! The slot-by-slot exchange itself is [`crate::reconcile`]'s.

use crate::{
    BootFailure, Course, ExitReason, Fleet, Generation, GenerationId, Moment, Notice, PoolSettings, WorkerId,
};

/// A reload that takes another's place waits this long for one more, so that a burst of them costs one boot, not twenty.
const SETTLE_MS: u64 = 100;
/// A burst without end is not waited for longer than this.
const SETTLE_AT_MOST_MS: u64 = 1_000;

/// The first worker of a new generation serves this long beside the old ones before any of them is sent away: code
/// that crashes on arrival, at its first request say, then harms nothing.
const PROBATION_MS: u64 = 500;

/// A reload that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Reload {
    pub(crate) generation: Generation,
    asked_at: Moment,
    /// No worker of it is ordered before.
    begin_at: Moment,
    /// `begin_at` is not moved beyond this.
    begin_by: Moment,
    pub(crate) proof: Proof,
    /// Workers wanted before this reload changed the number; who gives the reload up goes back to it.
    scaled_from: Option<u32>,
}

/// Whether the new generation has shown that it can serve. Until then nobody is sent away for it, and the old generation
/// repairs its own losses; from then on they are repaired with the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Proof {
    /// No worker of it was ready yet.
    Awaited,
    /// The first one serves beside the old ones.
    OnProbation { until: Moment },
    /// It serves well.
    Shown,
}

impl Reload {
    pub(crate) fn may_begin(&self, now: Moment) -> bool {
        self.begin_at <= now
    }

    /// What it waits for, apart from its workers.
    pub(crate) fn deadline(&self, now: Moment) -> Option<Moment> {
        match self.proof {
            Proof::Awaited => (!self.may_begin(now)).then_some(self.begin_at),
            Proof::OnProbation { until } => Some(until),
            Proof::Shown => None,
        }
    }
}

impl Fleet {
    /// The generation that every slot is to have in the end.
    pub(crate) fn target(&self) -> &Generation {
        self.reload.as_ref().map_or(&self.serving, |reload| &reload.generation)
    }

    /// The newest reload wins: one that is under way is given up for it at once, because its workers may have read the
    /// code or settings of before, or may hang on an error that this one mends.
    pub(crate) fn begin_reload(&mut self, mut settings: PoolSettings) {
        // Who leaves takes no new code.
        if !matches!(self.course, Course::Running) {
            return;
        }
        settings.make_sound();
        let now = self.now;
        let (begin_at, begin_by, scaled_from) = match self.reload.take() {
            None => (now, now.after(SETTLE_AT_MOST_MS), None),
            Some(given_up) => {
                let id = given_up.generation.id;
                self.notice(Notice::ReloadSuperseded { generation: id });
                self.remove_starting(id);
                let by =
                    if given_up.may_begin(now) { now.after(SETTLE_AT_MOST_MS) } else { given_up.begin_by };
                (now.after(SETTLE_MS).min(by), by, given_up.scaled_from)
            }
        };
        self.newest_generation = GenerationId(self.newest_generation.0.saturating_add(1));
        self.largest_surge = self.largest_surge.max(settings.max_surge);
        let generation = Generation { id: self.newest_generation, settings };
        self.notice(Notice::ReloadStarted { generation: generation.id });
        let proof = Proof::Awaited;
        self.reload = Some(Reload { generation, asked_at: now, begin_at, begin_by, proof, scaled_from });
    }

    /// A worker became ready: if it is the first of the new generation, that is on probation now.
    pub(crate) fn begin_probation(&mut self, generation: GenerationId) {
        let until = self.now.after(PROBATION_MS);
        if let Some(reload) = &mut self.reload
            && reload.generation.id == generation
            && reload.proof == Proof::Awaited
        {
            reload.proof = Proof::OnProbation { until };
        }
    }

    pub(crate) fn end_probation(&mut self) {
        let now = self.now;
        if let Some(Reload { proof, .. }) = &mut self.reload
            && let Proof::OnProbation { until } = *proof
            && until <= now
        {
            *proof = Proof::Shown;
            self.adopt_number_of_workers();
        }
    }

    /// Hand-made scaling survives a reload, unless the new settings speak of the number themselves.
    fn adopt_number_of_workers(&mut self) {
        let (wanted, configured) = (self.wanted, self.serving.settings.workers);
        let Some(reload) = &mut self.reload else { return };
        let asked = reload.generation.settings.workers;
        let next = if asked == configured { reload.scaled_from } else { Some(asked) };
        if let Some(next) = next {
            reload.scaled_from.get_or_insert(wanted);
            self.scale_to(next);
        }
    }

    /// Whether the target generation may take the place of others.
    pub(crate) fn target_is_proven(&self) -> bool {
        self.reload.as_ref().is_none_or(|reload| reload.proof == Proof::Shown)
    }

    /// The new generation cannot serve: its workers are removed, the old ones stay. Slots that had been handed
    /// over already are handed back in the same careful way.
    pub(crate) fn abort_reload(&mut self, worker: WorkerId, cause: BootFailure) {
        let Some(reload) = self.reload.take() else { return };
        let generation = reload.generation.id;
        self.remove_starting(generation);
        self.notice(Notice::ReloadFailed { generation, worker, cause });
        if let Some(before) = reload.scaled_from {
            self.scale_to(before);
        }
    }

    /// All slots hold the new generation.
    pub(crate) fn complete_reload(&mut self) {
        let Some(reload) = self.reload.take() else { return };
        let generation = reload.generation.id;
        self.notice(Notice::ReloadDone { generation, took_ms: self.now.ms_since(reload.asked_at) });
        self.serving = reload.generation;
        for record in self.slots.values_mut() {
            record.forgive();
        }
    }

    /// Those that never served are asked to leave; they have nothing to finish.
    fn remove_starting(&mut self, generation: GenerationId) {
        let starting: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| {
                worker.generation == generation && worker.is_active() && !worker.is_serving()
            })
            .map(|(&id, _)| id)
            .collect();
        for id in starting {
            self.drain(id, ExitReason::Reload);
        }
    }
}
