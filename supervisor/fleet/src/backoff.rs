//! How long a slot waits before its next worker, so that a crash loop costs little and a single crash costs nothing.

use std::collections::VecDeque;

use crate::{Fleet, GenerationId, Moment, Notice, Slot};

/// A worker that served this long before it died is replaced at once (as s6 does it).
pub(crate) const SOUND_MS: u64 = 1_000;
/// A worker that served this long ends the crash loop that came before it.
const SETTLED_MS: u64 = 10_000;
/// First wait of a crash loop. Doubled for each further death, the first minute sees at most 10 starts.
const FIRST_WAIT_MS: u64 = 200;
/// Longest wait: a mended application is back after this time at the latest, without anybody's help.
const LONGEST_WAIT_MS: u64 = 30_000;
/// Deaths of sound workers are counted over this time.
const WINDOW_MS: u64 = 60_000;
/// So many of them are replaced at once. A worker that dies every two seconds is more useful than none; one that does so
/// for a minute is a loop.
const FREE_SOUND_DEATHS: usize = 24;

/// The deaths that count against a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tally {
    /// Deaths before ready or soon after it, since the last settled worker.
    early: u32,
    /// Deaths of sound workers within the window.
    sound: VecDeque<Moment>,
}

/// A wait before the next worker of one generation. Another generation has done nothing to deserve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Wait {
    pub(crate) until: Moment,
    pub(crate) generation: GenerationId,
}

impl Tally {
    /// Counts one more death of a worker that was ready for `served_ms`, or never.
    fn note_death(&mut self, now: Moment, served_ms: Option<u64>) -> u32 {
        let served_ms = served_ms.unwrap_or(0);
        if served_ms >= SETTLED_MS {
            self.early = 0;
        }
        if served_ms < SOUND_MS {
            self.early = self.early.saturating_add(1);
            return self.early;
        }
        self.sound.retain(|&death| now.ms_since(death) < WINDOW_MS);
        self.sound.push_back(now);
        u32::try_from(self.sound.len().saturating_sub(FREE_SOUND_DEATHS)).unwrap_or(u32::MAX)
    }
}

/// The wait before jitter: nothing for no death, then doubling.
fn wait_ms(deaths: u32) -> u64 {
    match deaths.checked_sub(1) {
        None => 0,
        // 2^16 times the first wait is far beyond the longest.
        Some(doublings) => (FIRST_WAIT_MS << doublings.min(16)).min(LONGEST_WAIT_MS),
    }
}

impl Fleet {
    /// Counts a death against a slot and makes it wait if it has to.
    pub(crate) fn count_death(&mut self, slot: Slot, generation: GenerationId, served_ms: Option<u64>) {
        let now = self.now;
        let Some(record) = self.wanted_slot(slot) else { return };
        let deaths = record.tally.note_death(now, served_ms);
        let delay_ms = self.jitter.spread(wait_ms(deaths));
        if delay_ms > 0 {
            let wait = Wait { until: now.after(delay_ms), generation };
            if let Some(record) = self.wanted_slot(slot) {
                record.wait = Some(wait);
            }
            self.notice(Notice::BackedOff { slot, delay_ms, deaths });
        }
    }
}

/// Spreads waits by a quarter either way, so that workers which died together do not start together.
/// A generator of our own (SplitMix64): reproducible from the seed, and good enough to part a crowd.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn spread(&mut self, duration_ms: u64) -> u64 {
        let quarter = duration_ms / 4;
        duration_ms - quarter + self.up_to(2 * quarter)
    }

    /// From 0 to `most`.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        // No draw where there is no choice: settings without jitter leave the sequence as it was.
        if most == 0 { 0 } else { self.next() % most.saturating_add(1) }
    }
}
