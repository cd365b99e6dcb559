//! hyper's tasks of one connection, one a stream, run in the connection's own turn: nothing is spawned. What is woken is noted on
//! a bell and run when hyper's connection has nothing more to read, so that the replies of many streams leave in one write.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Wake, Waker},
};

use hyper::rt::Executor;

use crate::stream::Stream;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks; a clone is the same set.
pub(super) struct Tasks<C> {
    shared: Rc<Shared<C>>,
}

struct Shared<C> {
    bell: Arc<Bell>,
    connection: Waker,
    slots: RefCell<Vec<Slot<C>>>,
    free: RefCell<Vec<usize>>,
    /// The slot whose task hyper is about to hand over.
    reserved: Cell<Option<usize>>,
    /// Room for the list of woken slots.
    woken: Cell<Vec<usize>>,
}

struct Slot<C> {
    waker: Arc<SlotWaker>,
    task: Option<Task>,
    stream: Option<Rc<Stream<C>>>,
}

/// What was woken. Shared with wakers, which may be kept anywhere.
#[derive(Debug)]
struct Bell {
    /// The connection's turn is over: a ring must wake its driver.
    is_asleep: AtomicBool,
    connection_rang: AtomicBool,
    slots: Mutex<Vec<usize>>,
    driver: Mutex<Option<Waker>>,
}

#[derive(Debug)]
struct SlotWaker {
    slot: usize,
    is_noted: AtomicBool,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct ConnectionWaker(Arc<Bell>);

impl Bell {
    fn ring(&self) {
        if self.is_asleep.swap(false, Relaxed) {
            let driver = lock(&self.driver).clone();
            if let Some(driver) = driver {
                driver.wake();
            }
        }
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_noted.swap(true, Relaxed) {
            lock(&self.bell.slots).push(self.slot);
            self.bell.ring();
        }
    }
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.connection_rang.store(true, Relaxed);
        self.0.ring();
    }
}

/// A list of numbers and a waker are sound whatever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C> Tasks<C> {
    pub(super) fn new() -> Self {
        let bell = Arc::new(Bell {
            is_asleep: AtomicBool::new(false),
            connection_rang: AtomicBool::new(true),
            slots: Mutex::default(),
            driver: Mutex::default(),
        });
        let connection = Waker::from(Arc::new(ConnectionWaker(Arc::clone(&bell))));
        let shared = Shared {
            bell,
            connection,
            slots: RefCell::default(),
            free: RefCell::default(),
            reserved: Cell::new(None),
            woken: Cell::default(),
        };
        Self { shared: Rc::new(shared) }
    }

    /// The connection's turn begins. Returns whether its driver's waker is another than before.
    pub(super) fn begin_turn(&self, waker: &Waker) -> bool {
        self.shared.bell.is_asleep.store(false, Relaxed);
        let mut driver = lock(&self.shared.bell.driver);
        if driver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return false;
        }
        let replaced = driver.replace(waker.clone());
        drop(driver);
        drop(replaced);
        true
    }

    /// The turn is over: what rings from now on wakes the driver.
    pub(super) fn end_turn(&self) {
        self.shared.bell.is_asleep.store(true, Relaxed);
    }

    /// The waker of hyper's connection.
    pub(super) fn connection_waker(&self) -> Waker {
        self.shared.connection.clone()
    }

    /// Whether hyper's connection was woken since this was last asked.
    pub(super) fn take_connection_rang(&self) -> bool {
        self.shared.bell.connection_rang.swap(false, Relaxed)
    }

    /// Whether nothing at all was woken.
    pub(super) fn is_quiet(&self) -> bool {
        !self.shared.bell.connection_rang.load(Relaxed) && lock(&self.shared.bell.slots).is_empty()
    }

    /// Reserves the place of the task that hyper hands over next, for its stream. Returns the place, and the waker that the task
    /// will have.
    pub(super) fn reserve(&self) -> (usize, Waker) {
        let slot = self.shared.reserved.get().unwrap_or_else(|| self.unused_slot());
        self.shared.reserved.set(Some(slot));
        (slot, Waker::from(Arc::clone(&self.shared.slots.borrow()[slot].waker)))
    }

    fn unused_slot(&self) -> usize {
        let shared = &self.shared;
        if let Some(slot) = shared.free.borrow_mut().pop() {
            return slot;
        }
        let mut slots = shared.slots.borrow_mut();
        let slot = slots.len();
        let waker = SlotWaker { slot, is_noted: AtomicBool::new(false), bell: Arc::clone(&shared.bell) };
        slots.push(Slot { waker: Arc::new(waker), task: None, stream: None });
        slot
    }

    /// Adds a task of ours to those of hyper.
    pub(super) fn add(&self, task: impl Future<Output = ()> + 'static) {
        self.begin(self.unused_slot(), Box::pin(task));
    }

    fn begin(&self, slot: usize, task: Task) {
        let waker = {
            let place = &mut self.shared.slots.borrow_mut()[slot];
            place.task = Some(task);
            Arc::clone(&place.waker)
        };
        waker.wake_by_ref();
    }

    /// The stream of a place, to be told when its task is woken.
    pub(super) fn set_stream(&self, slot: usize, stream: Rc<Stream<C>>) {
        if let Some(place) = self.shared.slots.borrow_mut().get_mut(slot) {
            place.stream = Some(stream);
        }
    }

    /// Wakes the tasks that have no stream yet: their requests wait for their turn.
    pub(super) fn wake_queued(&self) {
        let slots = self.shared.slots.borrow();
        let wakers = slots.iter().filter(|place| place.task.is_some() && place.stream.is_none());
        let wakers: Vec<_> = wakers.map(|place| Arc::clone(&place.waker)).collect();
        drop(slots);
        wakers.iter().for_each(Wake::wake_by_ref);
    }

    /// Runs the tasks that were woken. Returns whether there was one.
    pub(super) fn run(&self) -> bool {
        let mut woken = self.shared.woken.take();
        std::mem::swap(&mut woken, &mut *lock(&self.shared.bell.slots));
        let ran = !woken.is_empty();
        for slot in woken.drain(..) {
            self.run_one(slot);
        }
        self.shared.woken.set(woken);
        ran
    }

    fn run_one(&self, slot: usize) {
        let mut slots = self.shared.slots.borrow_mut();
        let Some(place) = slots.get_mut(slot) else { return };
        place.waker.is_noted.store(false, Relaxed);
        let Some(mut task) = place.task.take() else { return };
        let waker = Waker::from(Arc::clone(&place.waker));
        let stream = place.stream.clone();
        drop(slots);
        if let Some(stream) = stream {
            stream.attend();
        }
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            if let Some(place) = self.shared.slots.borrow_mut().get_mut(slot) {
                place.task = Some(task);
            }
            return;
        }
        drop(task);
        self.release(slot);
    }

    /// Drops a task, which resets its stream if that is not over.
    pub(super) fn abort(&self, slot: usize) {
        let task = self.shared.slots.borrow_mut().get_mut(slot).and_then(|place| place.task.take());
        if task.is_some() {
            drop(task);
            self.release(slot);
        }
    }

    fn release(&self, slot: usize) {
        let stream = self.shared.slots.borrow_mut().get_mut(slot).and_then(|place| place.stream.take());
        drop(stream);
        self.shared.free.borrow_mut().push(slot);
    }

    /// The streams that have a task, with their places.
    pub(super) fn streams(&self) -> Vec<(usize, Rc<Stream<C>>)> {
        let slots = self.shared.slots.borrow();
        let streams = slots.iter().enumerate();
        streams.filter_map(|(slot, place)| Some((slot, place.stream.clone()?))).collect()
    }

    /// Drops all tasks: their streams end here.
    pub(super) fn clear(&self) {
        let slots = std::mem::take(&mut *self.shared.slots.borrow_mut());
        self.shared.free.borrow_mut().clear();
        self.shared.reserved.set(None);
        drop(slots);
    }
}

impl<C> Clone for Tasks<C> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared) }
    }
}

impl<C, F: Future<Output = ()> + 'static> Executor<F> for Tasks<C> {
    fn execute(&self, future: F) {
        // A task without a reserved place writes for a stream that has left HTTP: it has no stream of ours.
        let slot = self.shared.reserved.take().unwrap_or_else(|| self.unused_slot());
        self.begin(slot, Box::pin(future));
    }
}
