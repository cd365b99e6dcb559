//! Wakes from other threads: a queue behind a mutex and an eventfd that the reactor watches.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::TaskKey;

static FOREIGN: OnceLock<Foreign> = OnceLock::new();

/// The way into the reactor for threads that are not its own.
pub(super) struct Foreign {
    event: EventFd,
    queue: Mutex<Vec<TaskKey>>,
    /// Set from the first wake to the drain, so that many wakes cost one system call.
    signalled: AtomicBool,
}

/// Wakes a task from a thread that is not the reactor's.
pub(super) fn wake(key: TaskKey) {
    let Some(foreign) = FOREIGN.get() else { return };
    foreign.lock().push(key);
    if !foreign.signalled.swap(true, Ordering::AcqRel) {
        // Fails only when the counter is at its end: then the eventfd is readable anyway.
        let _ = foreign.event.write(1);
    }
}

impl Foreign {
    /// Made once in a process.
    pub(super) fn install() -> io::Result<&'static Self> {
        if let Some(foreign) = FOREIGN.get() {
            return Ok(foreign);
        }
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(FOREIGN.get_or_init(|| Self { event, queue: Mutex::default(), signalled: AtomicBool::new(false) }))
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Hands over all that was woken. Edge-triggered: the counter need not be read.
    pub(super) fn drain(&self, mut woken: impl FnMut(TaskKey)) {
        self.signalled.store(false, Ordering::Release);
        let keys = std::mem::take(&mut *self.lock());
        keys.into_iter().for_each(&mut woken);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<TaskKey>> {
        // A vector of numbers is whole even when a thread died while it held the lock.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
