//! The one place that compares what is wanted with what is there, slot by slot, and orders the difference.
//!
//! Each slot wants one *fitting* worker: of the target generation, and content with its life. Whoever else is active in the
//! slot goes on until the fitting one is ready. A reload changes the target, a recycle the contentment, scaling the
//! number of slots, a crash empties one: the same few lines serve them all.

use std::collections::BTreeMap;

use crate::{
    Course, ExitReason, Fleet, Generation, GenerationId, Slot, WorkerId,
    backoff::{Tally, Wait},
    count,
    worker::{Standing, Worker},
};

/// Old workers that finish long replies do not hold up the next reload, until there are this many for each worker
/// wanted: memory has an end.
const LEAVING_PER_WANTED: u32 = 3;

/// What a slot remembers between its workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct SlotRecord {
    pub(crate) tally: Tally,
    pub(crate) wait: Option<Wait>,
    /// Why the worker left that the next one replaces.
    pub(crate) replaces: Option<ExitReason>,
}

impl SlotRecord {
    /// New code has a clean record.
    pub(crate) fn forgive(&mut self) {
        self.tally = Tally::default();
        self.wait = None;
    }
}

/// The active workers of each slot.
type Crews = BTreeMap<Slot, Vec<WorkerId>>;

/// How many slots may hold two workers, and how many do.
struct Surge {
    doubled: u32,
    most: u32,
}

impl Fleet {
    pub(crate) fn reconcile(&mut self) {
        match self.course {
            Course::Idle | Course::Finished => {}
            Course::Running | Course::Leaving { .. } => self.pursue(),
            Course::Stopping { urgency, outcome } => self.wind_down(urgency, outcome),
        }
    }

    fn pursue(&mut self) {
        self.end_waits();
        self.end_probation();
        self.settle_slots();
        if self.reload_is_complete() {
            self.complete_reload();
        }
        self.note_all_ready();
    }

    /// What a slot remembers; nothing for one that is not wanted any more.
    pub(crate) fn wanted_slot(&mut self, slot: Slot) -> Option<&mut SlotRecord> {
        (slot <= Slot(self.wanted)).then(|| self.slots.entry(slot).or_default())
    }

    fn end_waits(&mut self) {
        for record in self.slots.values_mut() {
            if record.wait.is_some_and(|wait| wait.until <= self.now) {
                record.wait = None;
            }
        }
    }

    fn settle_slots(&mut self) {
        self.drain_surplus_slots();
        for crew in self.crews().values() {
            self.release(crew);
        }
        let crews = self.crews();
        let doubled = count(crews.values().filter(|crew| crew.len() > 1));
        let leaving = count(self.workers.values().filter(|worker| worker.standing() == Standing::Leaving));
        let most = self.target().settings.max_surge;
        let too_many = leaving >= LEAVING_PER_WANTED.saturating_mul(self.wanted.saturating_add(most));
        let mut surge = Surge { doubled, most: if too_many { 0 } else { most } };
        for number in 1..=self.wanted {
            let slot = Slot(number);
            let crew = crews.get(&slot).map(Vec::as_slice).unwrap_or_default();
            self.fill(slot, crew, &mut surge);
        }
    }

    fn crews(&self) -> Crews {
        let mut crews = Crews::new();
        for (&id, worker) in self.workers.iter().filter(|(_, worker)| worker.is_active()) {
            crews.entry(worker.slot).or_default().push(id);
        }
        crews
    }

    /// Sends away who is not needed beside the one that stays.
    fn release(&mut self, crew: &[WorkerId]) {
        let Some(stays) = self.who_stays(crew) else { return };
        let target = self.target().id;
        for &id in crew.iter().filter(|&&id| id != stays) {
            let Some(worker) = self.workers.get(&id) else { continue };
            let reason =
                if worker.generation == target { worker.reason_to_leave() } else { ExitReason::Reload };
            self.drain(id, reason);
        }
    }

    /// Who alone stays in a slot that two share: the fitting one once it serves, or, if nobody fits any more, one that
    /// serves. Nobody alone stays while a fitting one is on its way or on probation.
    fn who_stays(&self, crew: &[WorkerId]) -> Option<WorkerId> {
        if crew.len() < 2 {
            return None;
        }
        let target = self.target().id;
        let proven = self.target_is_proven();
        let find = |suits: &dyn Fn(&Worker) -> bool| {
            crew.iter().find(|id| self.workers.get(id).is_some_and(suits)).copied()
        };
        if find(&|worker| worker.fits(target)).is_some() {
            return find(&|worker| proven && worker.fits(target) && worker.is_serving());
        }
        find(&|worker| worker.is_serving() && (worker.generation == target) == proven)
            .or_else(|| find(&Worker::is_serving))
            .or(crew.first().copied())
    }

    /// Orders the workers that a slot lacks.
    fn fill(&mut self, slot: Slot, crew: &[WorkerId], surge: &mut Surge) {
        let target = self.target().id;
        let fits = |id: &WorkerId| self.workers.get(id).is_some_and(|worker| worker.fits(target));
        let (fitting, has_base) = (crew.iter().any(fits), crew.iter().any(|id| !fits(id)));
        let mut occupants = crew.len();
        let Some(reload) = &self.reload else {
            if !fitting {
                let generation = self.serving.clone();
                self.order(slot, &generation, &mut occupants, surge);
            }
            return;
        };
        let (generation, may_begin) = (reload.generation.clone(), reload.may_begin(self.now));
        if !self.target_is_proven() && !has_base {
            // Nobody knows yet whether the new generation can serve: the old one repairs its own losses.
            let serving = self.serving.clone();
            self.order(slot, &serving, &mut occupants, surge);
        }
        if may_begin && !fitting {
            self.order(slot, &generation, &mut occupants, surge);
        }
    }

    /// Orders a worker, unless its slot has to wait, or holds one already and no other slot may hold two.
    fn order(&mut self, slot: Slot, generation: &Generation, occupants: &mut usize, surge: &mut Surge) {
        if self.must_wait(slot, generation.id) {
            return;
        }
        match *occupants {
            0 => {}
            1 if surge.doubled < surge.most => surge.doubled += 1,
            _ => return,
        }
        *occupants += 1;
        self.spawn(slot, generation);
    }

    fn must_wait(&self, slot: Slot, generation: GenerationId) -> bool {
        self.slots
            .get(&slot)
            .and_then(|record| record.wait)
            .is_some_and(|wait| wait.generation == generation && wait.until > self.now)
    }

    fn reload_is_complete(&self) -> bool {
        let Some(reload) = &self.reload else { return false };
        let target = reload.generation.id;
        let fitting =
            count(self.workers.values().filter(|worker| worker.is_serving() && worker.fits(target)));
        let active = count(self.workers.values().filter(|worker| worker.is_active()));
        fitting == self.wanted && active == self.wanted
    }
}
