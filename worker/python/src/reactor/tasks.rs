//! The reactor's tasks and their wakers. A waker is two numbers, index and generation, in one pointer: it is copied for
//! nothing, may outlive its task harmlessly, and works from any thread.

#![expect(unsafe_code, reason = "a raw waker that is a number costs neither allocation nor reference counts")]

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{RawWaker, RawWakerVTable, Waker},
};

use slab::Slab;

use super::{Reactor, foreign};

pub(super) type BoxedFuture = Pin<Box<dyn Future<Output = ()>>>;

/// What a task does when it is woken.
pub(super) enum Work {
    /// Is polled, until it is ready.
    Future(BoxedFuture),
    /// Is called once.
    Callback(Box<dyn FnOnce()>),
}

/// Names a task for ever: the generation tells it from a later task in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskKey {
    index: u32,
    generation: u32,
}

impl TaskKey {
    /// A waker of this task.
    pub(crate) fn waker(self) -> Waker {
        // SAFETY: the vtable's functions take the pointer for the number that it is and never follow it.
        unsafe { Waker::from_raw(self.raw_waker()) }
    }

    /// The task that a waker wakes, if it is one of this reactor's.
    pub(super) fn of(waker: &Waker) -> Option<Self> {
        (waker.vtable() == &VTABLE).then(|| Self::from_pointer(waker.data()))
    }

    fn raw_waker(self) -> RawWaker {
        let number = (u64::from(self.generation) << 32) | u64::from(self.index);
        RawWaker::new(std::ptr::without_provenance(number as usize), &VTABLE)
    }

    fn from_pointer(pointer: *const ()) -> Self {
        let number = pointer.addr() as u64;
        Self { index: (number & u64::from(u32::MAX)) as u32, generation: (number >> 32) as u32 }
    }
}

const _: () = assert!(usize::BITS == 64, "a task key needs a pointer of 64 bits");

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |pointer| TaskKey::from_pointer(pointer).raw_waker(),
    |pointer| wake(TaskKey::from_pointer(pointer)),
    |pointer| wake(TaskKey::from_pointer(pointer)),
    |_| {},
);

fn wake(key: TaskKey) {
    match Reactor::current() {
        Some(reactor) => reactor.wake(key),
        None => foreign::wake(key),
    }
}

struct Task {
    /// None while it runs.
    work: Option<Work>,
    generation: u32,
    queued: bool,
}

/// All living tasks.
#[derive(Default)]
pub(super) struct Tasks {
    slots: Slab<Task>,
    /// Grows with every task, so that a place is not named twice within four thousand million tasks.
    next_generation: u32,
}

impl Tasks {
    pub(super) fn insert(&mut self, work: Work) -> TaskKey {
        self.next_generation = self.next_generation.wrapping_add(1);
        let generation = self.next_generation;
        let index = self.slots.insert(Task { work: Some(work), generation, queued: false });
        #[expect(clippy::cast_possible_truncation, reason = "memory ends before 2^32 tasks")]
        let index = index as u32;
        TaskKey { index, generation }
    }

    fn get(&mut self, key: TaskKey) -> Option<&mut Task> {
        self.slots.get_mut(key.index as usize).filter(|task| task.generation == key.generation)
    }

    /// Whether the task must be put on the run queue: it lives and is not on it.
    pub(super) fn mark_queued(&mut self, key: TaskKey) -> bool {
        self.get(key).is_some_and(|task| !mem::replace(&mut task.queued, true))
    }

    /// Takes the work of a task that comes off the run queue.
    pub(super) fn take_queued(&mut self, key: TaskKey) -> Option<Work> {
        let task = self.get(key)?;
        task.queued = false;
        task.work.take()
    }

    /// Gives a future back after a poll. Returned when its task was cancelled meanwhile.
    pub(super) fn put_back(&mut self, key: TaskKey, future: BoxedFuture) -> Option<BoxedFuture> {
        match self.get(key) {
            Some(task) => {
                task.work = Some(Work::Future(future));
                None
            }
            None => Some(future),
        }
    }

    /// Removes a task; its work is returned so that it is dropped without a borrow.
    pub(super) fn remove(&mut self, key: TaskKey) -> Option<Work> {
        self.get(key)?;
        self.slots.remove(key.index as usize).work
    }
}
