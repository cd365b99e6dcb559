//! Whose turn it is between a connection and the app that changes what they share: the app's change wakes a connection that sleeps,
//! and makes one that runs look again before it sleeps.

use std::{
    cell::{Cell, RefCell},
    task::Waker,
};

/// Where the connection is in its own turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It sleeps: a change must wake it.
    Asleep,
    /// It sleeps and was woken.
    Woken,
    /// It runs and has seen every change.
    Running,
    /// It runs and must look again before it sleeps.
    Changed,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Turns {
    turn: Cell<Turn>,
    connection: RefCell<Option<Waker>>,
}

impl Turns {
    /// Before the connection's first turn, which sees every change.
    pub(crate) fn new() -> Self {
        Self { turn: Cell::new(Turn::Asleep), connection: RefCell::new(None) }
    }

    /// The connection's turn begins. Returns whether its waker is another than before.
    pub(crate) fn begin(&self, waker: &Waker) -> bool {
        self.turn.set(Turn::Running);
        let mut connection = self.connection.borrow_mut();
        if connection.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return false;
        }
        let replaced = connection.replace(waker.clone());
        drop(connection);
        drop(replaced);
        true
    }

    /// Whether the app changed something since this was last asked.
    pub(crate) fn take_changed(&self) -> bool {
        self.turn.replace(Turn::Running) == Turn::Changed
    }

    /// The connection's turn is over.
    pub(crate) fn end(&self) {
        self.turn.set(Turn::Asleep);
    }

    /// The app changed something.
    pub(crate) fn notify(&self) {
        match self.turn.get() {
            Turn::Asleep => {
                self.turn.set(Turn::Woken);
                let waker = self.connection.borrow().clone();
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Turn::Running => self.turn.set(Turn::Changed),
            Turn::Woken | Turn::Changed => {}
        }
    }
}
