//! How many workers are wanted.

use std::collections::BTreeSet;

use crate::{ExitReason, Fleet, Notice, Slot};

/// Hand-made scaling ends here, unless the settings want more: a held key must not fork the machine to death, and the
/// scoreboard has 1024 records for old, new and leaving workers together.
const MOST_BY_HAND: u32 = 256;

impl Fleet {
    /// The operator wants more workers or fewer; never fewer than one.
    pub(crate) fn scale(&mut self, by: i32) {
        if !self.is_running() {
            return;
        }
        let most = MOST_BY_HAND.max(self.wanted);
        self.scale_to(self.wanted.saturating_add_signed(by).clamp(1, most));
    }

    pub(crate) fn scale_to(&mut self, workers: u32) {
        let from = self.wanted;
        if from != workers {
            self.wanted = workers;
            self.notice(Notice::Scaled { from, to: workers });
        }
    }

    /// Slots beyond the wanted number are given up, so that slot numbers stay without gaps. But as long as a wanted slot
    /// has nobody who serves, one of those beyond serves on in its place: fewer workers were asked for, not fewer than
    /// that.
    pub(crate) fn drain_surplus_slots(&mut self) {
        let last = Slot(self.wanted);
        self.slots.retain(|&slot, _| slot <= last);
        let serving = self.workers.values().filter(|worker| worker.is_serving()).map(|worker| worker.slot);
        let (beyond, staffed): (BTreeSet<_>, BTreeSet<_>) = serving.partition(|&slot| slot > last);
        let lacking = (self.wanted as usize).saturating_sub(staffed.len());
        let stand_ins: BTreeSet<_> = beyond.into_iter().take(lacking).collect();
        let surplus: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.slot > last && worker.is_active())
            .filter(|(_, worker)| !(worker.is_serving() && stand_ins.contains(&worker.slot)))
            .map(|(&id, _)| id)
            .collect();
        for id in surplus {
            self.drain(id, ExitReason::Scale);
        }
    }
}
