//! Timers: a heap of deadlines over stable slots. Moving a deadline further away, which every request does, touches only the
//! slot; the heap's entry finds out when it comes to the top.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use hyper::rt::Sleep;
use slab::Slab;

use super::Reactor;

/// Stale entries that may lie in the heap before it is rebuilt.
const STALE_ENTRIES: usize = 1024;

/// One living timer.
struct Slot {
    deadline: Instant,
    /// Deadline of the slot's earliest entry in the heap.
    queued: Instant,
    generation: u32,
    /// None once it fired.
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimerKey {
    index: usize,
    generation: u32,
}

/// All timers of the reactor.
#[derive(Default)]
pub(super) struct Timers {
    slots: Slab<Slot>,
    heap: BinaryHeap<Reverse<(Instant, usize, u32)>>,
    next_generation: u32,
}

impl Timers {
    fn insert(&mut self, deadline: Instant, waker: Waker) -> TimerKey {
        self.next_generation = self.next_generation.wrapping_add(1);
        let generation = self.next_generation;
        let index = self.slots.insert(Slot { deadline, queued: deadline, generation, waker: Some(waker) });
        self.heap.push(Reverse((deadline, index, generation)));
        if self.heap.len() > 2 * self.slots.len() + STALE_ENTRIES {
            self.rebuild();
        }
        TimerKey { index, generation }
    }

    fn get(&mut self, key: TimerKey) -> Option<&mut Slot> {
        self.slots.get_mut(key.index).filter(|slot| slot.generation == key.generation)
    }

    fn reset(&mut self, key: TimerKey, deadline: Instant) {
        let Some(slot) = self.get(key) else { return };
        slot.deadline = deadline;
        if deadline < slot.queued {
            slot.queued = deadline;
            self.heap.push(Reverse((deadline, key.index, key.generation)));
        }
    }

    fn remove(&mut self, key: TimerKey) -> Option<Waker> {
        self.get(key)?;
        self.slots.remove(key.index).waker
    }

    /// The waker of one timer that is due; it has fired then.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Waker> {
        while let Some(Reverse((at, index, generation))) = self.heap.peek().copied() {
            if at > now {
                return None;
            }
            self.heap.pop();
            let Some(slot) = self.get(TimerKey { index, generation }) else { continue };
            if slot.deadline > now {
                slot.queued = slot.deadline;
                let entry = Reverse((slot.deadline, index, generation));
                self.heap.push(entry);
                continue;
            }
            if let Some(waker) = slot.waker.take() {
                return Some(waker);
            }
        }
        None
    }

    /// When the host must call again at the latest. May be earlier than the earliest living timer.
    pub(super) fn earliest(&mut self) -> Option<Instant> {
        loop {
            let Reverse((at, index, generation)) = self.heap.peek().copied()?;
            if self.get(TimerKey { index, generation }).is_some_and(|slot| slot.waker.is_some()) {
                return Some(at);
            }
            self.heap.pop();
        }
    }

    fn rebuild(&mut self) {
        let living = self.slots.iter_mut().filter(|(_, slot)| slot.waker.is_some());
        self.heap = living
            .map(|(index, slot)| {
                slot.queued = slot.deadline;
                Reverse((slot.deadline, index, slot.generation))
            })
            .collect();
    }
}

/// A timer as the engine holds it. Only numbers, so that it is `Send` as hyper's trait demands; it works on the reactor's
/// thread alone and never fires elsewhere.
pub(super) struct TimerSleep {
    deadline: Instant,
    registered: Option<TimerKey>,
}

impl TimerSleep {
    pub(super) fn new(deadline: Instant) -> Self {
        Self { deadline, registered: None }
    }

    pub(super) fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if let (Some(key), Some(reactor)) = (self.registered, Reactor::current()) {
            let mut timers = reactor.timers.borrow_mut();
            if timers.get(key).is_some_and(|slot| slot.waker.is_some()) {
                timers.reset(key, deadline);
            } else {
                // It fired: the next poll registers it anew.
                timers.remove(key);
                self.registered = None;
            }
        }
    }
}

impl Future for TimerSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(reactor) = Reactor::current() else { return Poll::Pending };
        if self.deadline <= reactor.now() {
            return Poll::Ready(());
        }
        let waker = context.waker();
        let mut timers = reactor.timers.borrow_mut();
        match self.registered.and_then(|key| timers.get(key)) {
            Some(slot) => {
                let registered = slot.waker.get_or_insert_with(|| waker.clone());
                registered.clone_from(waker);
            }
            None => self.registered = Some(timers.insert(self.deadline, waker.clone())),
        }
        Poll::Pending
    }
}

impl Sleep for TimerSleep {}

impl Drop for TimerSleep {
    fn drop(&mut self) {
        if let (Some(key), Some(reactor)) = (self.registered, Reactor::current()) {
            let removed = reactor.timers.borrow_mut().remove(key);
            drop(removed);
        }
    }
}
