//! What the two sides of one request share: body bytes on their way to the application, and how much of the reply is still on
//! its way to the client. Bounded in both directions; waited for by the side that may block.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Body bytes that wait in a relay before the desk stops taking more from the engine.
pub(super) const BODY_BYTES: usize = 256 * 1024;

/// See the module.
#[derive(Default)]
pub(super) struct Relay {
    state: Mutex<State>,
    changed: Condvar,
}

/// What the sides share.
#[derive(Default)]
pub(super) struct State {
    /// Body bytes that the application has not read; those before `body_start` it has.
    pub(super) body: Vec<u8>,
    pub(super) body_start: usize,
    pub(super) body_end: BodyEnd,
    /// The desk takes no more of the body until it is asked.
    pub(super) is_paused: bool,
    /// Reply bytes that the engine has not taken.
    pub(super) unsent: usize,
    /// Nobody is there to be answered.
    pub(super) is_gone: bool,
    /// A thread sleeps until something changes.
    is_waited_for: bool,
}

/// How the body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum BodyEnd {
    /// More will come.
    #[default]
    Open,
    /// All of it came.
    Reached,
    /// The rest will never come.
    Broken,
}

impl State {
    /// Body bytes that wait.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.body[self.body_start..]
    }

    /// Drops body bytes that were read.
    pub(super) fn consume(&mut self, count: usize) {
        self.body_start += count;
        if self.body_start == self.body.len() {
            self.body.clear();
            self.body_start = 0;
        }
    }

    /// Adds body bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.body_start > 0 {
            self.body.drain(..self.body_start);
            self.body_start = 0;
        }
        self.body.extend_from_slice(bytes);
    }
}

impl Relay {
    /// Looks at or changes the state; wakes nobody.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Plain values are whole even when a thread died while it held the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes the application's side.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        // A wake-up that nobody waits for would be a system call.
        if std::mem::take(&mut state.is_waited_for) {
            self.changed.notify_all();
        }
    }

    /// Blocks this thread until `is_met`. The interpreter is not held.
    pub(super) fn wait_until(&self, is_met: impl Fn(&State) -> bool) {
        let mut state = self.lock();
        while !is_met(&state) {
            state.is_waited_for = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
