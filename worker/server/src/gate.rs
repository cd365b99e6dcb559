//! How many requests are with the app at once: a gate with a bounded queue, first come first served. Pure: knows no request, no
//! clock and no protocol; who waits is woken when its turn has come, and how long it waits is the waiter's own business.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, task::Waker};

/// The gate; one for all connections of a worker.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Requests that may be with the app at once.
    places: usize,
    /// Requests that may wait for a place.
    queue_length: usize,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Places taken, and given to waiters that have not come for them yet.
    taken: usize,
    next_ticket: u64,
    /// Who waits, by ticket: the lowest has waited longest.
    queue: BTreeMap<u64, Option<Waker>>,
}

/// What came of asking for a place.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It is there.
    Admitted(Permit),
    /// It will be there when those in front have had theirs.
    Queued(Ticket),
    /// Too many wait already.
    Full,
}

/// A place with the app; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Rc<Gate>,
}

/// A place in the queue; given up when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    gate: Rc<Gate>,
    number: u64,
    /// Whether the place that it stood for was taken.
    used: Used,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Used {
    No,
    Yes,
}

impl Gate {
    pub(crate) fn new(places: usize, queue_length: usize) -> Rc<Self> {
        Rc::new(Self { places, queue_length, state: RefCell::default() })
    }

    /// Asks for a place. Nobody overtakes: as long as somebody waits, all do.
    pub(crate) fn enter(self: &Rc<Self>) -> Entry {
        let mut state = self.state.borrow_mut();
        if state.taken < self.places {
            state.taken += 1;
            return Entry::Admitted(Permit { gate: Rc::clone(self) });
        }
        if state.queue.len() >= self.queue_length {
            return Entry::Full;
        }
        let number = state.next_ticket;
        state.next_ticket += 1;
        state.queue.insert(number, None);
        Entry::Queued(Ticket { gate: Rc::clone(self), number, used: Used::No })
    }

    /// A place came free: it goes to whoever has waited longest.
    fn release(&self) {
        let mut state = self.state.borrow_mut();
        let Some((_number, waker)) = state.queue.pop_first() else {
            state.taken -= 1;
            return;
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Ticket {
    /// The place, if its turn has come.
    pub(crate) fn take(&mut self) -> Option<Permit> {
        if self.used == Used::Yes || self.gate.state.borrow().queue.contains_key(&self.number) {
            return None;
        }
        self.used = Used::Yes;
        Some(Permit { gate: Rc::clone(&self.gate) })
    }

    /// Wakes once when the turn has come. Replaces an earlier waker.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let mut state = self.gate.state.borrow_mut();
        let Some(place) = state.queue.get_mut(&self.number) else { return };
        let replaced = place.replace(waker.clone());
        drop(state);
        drop(replaced);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.release();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.used == Used::Yes {
            return;
        }
        let left = self.gate.state.borrow_mut().queue.remove(&self.number);
        match left {
            Some(waker) => drop(waker),
            // Its turn had come.
            None => self.gate.release(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Gate, Permit, Ticket};

    fn admitted(entry: Entry) -> Permit {
        match entry {
            Entry::Admitted(permit) => permit,
            Entry::Queued(_) | Entry::Full => panic!("{entry:?}"),
        }
    }

    fn queued(entry: Entry) -> Ticket {
        match entry {
            Entry::Queued(ticket) => ticket,
            Entry::Admitted(_) | Entry::Full => panic!("{entry:?}"),
        }
    }

    #[test]
    fn places_go_to_those_who_have_waited_longest() {
        let gate = Gate::new(1, 2);
        let first = admitted(gate.enter());
        let (mut second, mut third) = (queued(gate.enter()), queued(gate.enter()));
        assert!(matches!(gate.enter(), Entry::Full));
        assert!(second.take().is_none() && third.take().is_none());
        drop(first);
        assert!(third.take().is_none());
        // The place that came free is the second's, whether it has come for it or not.
        let mut fourth = queued(gate.enter());
        let second = second.take().expect("its turn");
        drop(second);
        drop(third.take().expect("its turn"));
        drop(fourth.take().expect("its turn"));
        drop(admitted(gate.enter()));
    }

    #[test]
    fn whoever_leaves_the_queue_gives_its_turn_to_the_next() {
        let gate = Gate::new(1, 3);
        let first = admitted(gate.enter());
        let (second, third, mut fourth) = (queued(gate.enter()), queued(gate.enter()), queued(gate.enter()));
        drop(second);
        drop(first);
        assert!(fourth.take().is_none(), "it is the third's turn");
        drop(third);
        let fourth = fourth.take().expect("its turn");
        assert!(matches!(gate.enter(), Entry::Queued(_)), "the only place is taken");
        drop(fourth);
        drop(admitted(gate.enter()));
    }

    #[test]
    fn without_a_queue_the_rest_is_turned_away() {
        let gate = Gate::new(2, 0);
        let (one, two) = (admitted(gate.enter()), admitted(gate.enter()));
        assert!(matches!(gate.enter(), Entry::Full));
        drop(one);
        drop(admitted(gate.enter()));
        drop(two);
    }
}
