//! How many requests are with the app at once: a gate with a bounded queue, first come first served. Pure: knows no request, no
//! clock and no protocol; who waits is woken when its turn has come, and how long it waits is the waiter's own business.

use std::{cell::RefCell, collections::BTreeMap, fmt, rc::Rc, task::Waker};

/// The gate; one for all connections of a worker.
pub(crate) struct Gate {
    /// Requests that may be with the app at once.
    places: usize,
    /// Requests that may wait for a place.
    queue_length: usize,
    /// Told of the number of those that wait, each time that it changes.
    on_change: Box<dyn Fn(usize)>,
    state: RefCell<State>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gate").field("state", &self.state).finish_non_exhaustive()
    }
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
    pub(crate) fn new(places: usize, queue_length: usize, on_change: impl Fn(usize) + 'static) -> Rc<Self> {
        let on_change = Box::new(on_change);
        Rc::new(Self { places, queue_length, on_change, state: RefCell::default() })
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
        (self.on_change)(state.queue.len());
        Entry::Queued(Ticket { gate: Rc::clone(self), number, used: Used::No })
    }

    /// A place came free: it goes to whoever has waited longest.
    fn release(&self) {
        let mut state = self.state.borrow_mut();
        let Some((_number, waker)) = state.queue.pop_first() else {
            state.taken -= 1;
            return;
        };
        (self.on_change)(state.queue.len());
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
        let mut state = self.gate.state.borrow_mut();
        let left = state.queue.remove(&self.number);
        let waiting = state.queue.len();
        drop(state);
        match left {
            Some(waker) => {
                (self.gate.on_change)(waiting);
                drop(waker);
            }
            // Its turn had come.
            None => self.gate.release(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

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
        let gate = Gate::new(1, 2, |_| {});
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
        let gate = Gate::new(1, 3, |_| {});
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
        let gate = Gate::new(2, 0, |_| {});
        let (one, two) = (admitted(gate.enter()), admitted(gate.enter()));
        assert!(matches!(gate.enter(), Entry::Full));
        drop(one);
        drop(admitted(gate.enter()));
        drop(two);
    }

    #[test]
    fn the_length_of_the_queue_is_told_whenever_it_changes() {
        let told = Rc::new(RefCell::new(Vec::new()));
        let gate = {
            let told = Rc::clone(&told);
            Gate::new(1, 2, move |waiting| told.borrow_mut().push(waiting))
        };
        let first = gate.enter();
        let (second, third) = (queued(gate.enter()), queued(gate.enter()));
        assert!(matches!(gate.enter(), Entry::Full));
        assert_eq!(*told.borrow(), [1, 2]);
        drop(third);
        drop(first);
        assert_eq!(*told.borrow(), [1, 2, 1, 0]);
        drop(second);
        assert_eq!(*told.borrow(), [1, 2, 1, 0], "its turn had come");
    }
}
