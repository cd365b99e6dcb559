//! The guest reactor: network I/O and timers inside the user's event loop, on its thread.
//!
//! All its descriptors sit in one epoll instance; the host loop watches that one descriptor and calls [`Reactor::turn`] when
//! it is readable. Knows futures, sockets and time; no HTTP and no Python (see [`Host`] for the way back to the loop).
//!
//! Everything here has interior mutability and no borrow outlives one step: a task that is polled may wake, spawn and cancel
//! other tasks, and application code below it may do anything at all.

mod epoll;
mod foreign;
mod socket;
mod tasks;
mod timers;

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    future::Future,
    io,
    os::fd::{BorrowedFd, RawFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use hyper::rt::{Executor, Sleep, Timer};

pub(crate) use socket::{Socket, Watched};
pub(crate) use tasks::TaskKey;

use epoll::{Epoll, Events, Trigger};
use foreign::Foreign;
use socket::{Readiness, Sources};
use tasks::{Tasks, Work};
use timers::{TimerSleep, Timers};

/// Polls in one turn before the host loop gets its share again. A request costs one or two.
const POLLS_PER_TURN: usize = 512;

/// Timers that fire in one turn: connections that began together end together, and ending one costs about what a request costs.
const TIMERS_PER_TURN: usize = 16;

/// The event loop that the reactor is a guest of.
pub(crate) trait Host {
    /// Calls [`Reactor::turn`] once, soon: in the loop's next round.
    fn schedule_turn(&self);
    /// Calls [`Reactor::turn`] once after this time. Replaces an earlier order.
    fn schedule_timer(&self, after: Duration);
}

thread_local! {
    static CURRENT: Cell<Option<&'static Reactor>> = const { Cell::new(None) };
}

/// See the module. Lives as long as the process: there is one for each worker.
pub(crate) struct Reactor {
    epoll: Epoll,
    /// What the last look at the network brought.
    events: RefCell<Events>,
    tasks: RefCell<Tasks>,
    run_queue: RefCell<VecDeque<TaskKey>>,
    timers: RefCell<Timers>,
    sources: RefCell<Sources>,
    host: OnceCell<Box<dyn Host>>,
    foreign: &'static Foreign,
    foreign_readiness: Rc<Readiness>,
    clock: Cell<Instant>,
    phase: Cell<TurnPhase>,
    /// When the host's timer fires; none if none is set.
    host_timer: Cell<Option<Instant>>,
}

/// Where the thread is, seen from the reactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TurnPhase {
    /// In the host loop; a wake must schedule a turn.
    Outside,
    /// In the host loop, and a turn is scheduled already.
    Scheduled,
    /// In a turn; what is woken runs before it ends.
    Inside,
}

impl Reactor {
    /// Makes the reactor of this thread.
    ///
    /// # Errors
    /// The system's, when it has no more descriptors.
    pub(crate) fn start() -> io::Result<&'static Self> {
        let epoll = Epoll::new()?;
        let foreign = Foreign::install()?;
        let mut sources = Sources::default();
        let (token, foreign_readiness) = sources.insert();
        epoll.add(foreign.descriptor(), token, Trigger::Edge)?;
        let reactor: &'static Self = Box::leak(Box::new(Self {
            epoll,
            events: RefCell::default(),
            tasks: RefCell::default(),
            run_queue: RefCell::default(),
            timers: RefCell::default(),
            sources: RefCell::new(sources),
            host: OnceCell::new(),
            foreign,
            foreign_readiness,
            clock: Cell::new(Instant::now()),
            phase: Cell::new(TurnPhase::Outside),
            host_timer: Cell::new(None),
        }));
        CURRENT.with(|current| current.set(Some(reactor)));
        Ok(reactor)
    }

    /// The reactor of this thread, if it has one.
    pub(crate) fn current() -> Option<&'static Self> {
        CURRENT.with(Cell::get)
    }

    /// Says which loop calls [`Self::turn`]. Called once, before the first task.
    pub(crate) fn set_host(&self, host: Box<dyn Host>) {
        let _ = self.host.set(host);
        self.request_turn();
    }

    /// The descriptor that the host loop watches for reading.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    /// The time of the present turn: read once a turn, for it need not be exact.
    pub(crate) fn now(&self) -> Instant {
        if self.phase.get() == TurnPhase::Inside { self.clock.get() } else { Instant::now() }
    }

    /// Reads the clock: after application code, which may have taken its time.
    pub(crate) fn read_clock(&self) {
        self.clock.set(Instant::now());
    }

    /// Runs what is ready: tasks, then what the network brought, then the tasks that this woke. Never blocks.
    pub(crate) fn turn(&'static self) {
        if self.phase.replace(TurnPhase::Inside) == TurnPhase::Inside {
            // Application code ran the loop inside one of our polls (nest_asyncio): the outer turn goes on after it.
            return;
        }
        self.read_clock();
        let more_timers = self.fire_timers();
        let mut polls_left = POLLS_PER_TURN;
        self.run_tasks(&mut polls_left);
        self.epoll.poll(&mut self.events.borrow_mut());
        let more_events = self.mark_ready();
        self.run_tasks(&mut polls_left);
        self.phase.set(TurnPhase::Outside);
        if more_timers || more_events || !self.run_queue.borrow().is_empty() {
            self.request_turn();
        }
        self.arm_host_timer();
    }

    /// A turn of a reactor that is nobody's guest: waits until something is ready, a signal comes or a timer is due. `waiting` wraps
    /// the wait itself, which is left out when there is work already.
    pub(crate) fn blocking_turn(&'static self, waiting: impl FnOnce(&mut (dyn FnMut() + Send))) {
        if self.phase.replace(TurnPhase::Inside) == TurnPhase::Inside {
            return;
        }
        self.wait(waiting);
        self.read_clock();
        self.fire_timers();
        self.mark_ready();
        self.run_tasks(&mut { POLLS_PER_TURN });
        self.phase.set(TurnPhase::Outside);
    }

    /// Runs the tasks that were woken, without a look at the network or the timers: between two pieces of application code, so
    /// that a reply does not wait for the next piece.
    pub(crate) fn run_woken(&'static self) {
        if self.phase.replace(TurnPhase::Inside) == TurnPhase::Inside {
            return;
        }
        self.read_clock();
        self.run_tasks(&mut { POLLS_PER_TURN });
        self.phase.set(TurnPhase::Outside);
    }

    fn wait(&self, waiting: impl FnOnce(&mut (dyn FnMut() + Send))) {
        let (epoll, mut events) = (&self.epoll, self.events.borrow_mut());
        if !self.run_queue.borrow().is_empty() {
            return epoll.poll(&mut events);
        }
        let timer = self.timers.borrow_mut().earliest();
        let time = timer.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if time == Some(Duration::ZERO) {
            return epoll.poll(&mut events);
        }
        let events: &mut Events = &mut events;
        waiting(&mut || epoll.wait(time, events));
    }

    /// The host's timer fired, perhaps a little early: the turn sets the next one.
    pub(crate) fn timer_turn(&'static self) {
        self.host_timer.set(None);
        self.turn();
    }

    /// Starts a task; its first poll is in this turn or the next.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) -> TaskKey {
        let key = self.tasks.borrow_mut().insert(Work::Future(Box::pin(future)));
        self.wake(key);
        key
    }

    /// Keeps `callback` until its waker ([`TaskKey::waker`]) is woken; then it is called once, in a turn.
    pub(crate) fn park(&self, callback: impl FnOnce() + 'static) -> TaskKey {
        self.tasks.borrow_mut().insert(Work::Callback(Box::new(callback)))
    }

    /// Forgets a task. Harmless when it is over already.
    pub(crate) fn cancel(&self, key: TaskKey) {
        let removed = self.tasks.borrow_mut().remove(key);
        // Dropped here and not above: a future's drop may wake others.
        drop(removed);
    }

    /// Queues a task for its next poll, and makes sure that there is a turn to poll it in.
    fn wake(&self, key: TaskKey) {
        if self.tasks.borrow_mut().mark_queued(key) {
            self.run_queue.borrow_mut().push_back(key);
            if self.phase.get() == TurnPhase::Outside {
                self.request_turn();
            }
        }
    }

    fn request_turn(&self) {
        if let Some(host) = self.host.get() {
            self.phase.set(TurnPhase::Scheduled);
            host.schedule_turn();
        }
    }

    /// Runs the tasks that are queued now. One that asks to be polled again so that others come first waits until the network was looked
    /// at: otherwise a few busy connections would fill the turn among themselves.
    fn run_tasks(&'static self, polls_left: &mut usize) {
        let queued = self.run_queue.borrow().len().min(*polls_left);
        *polls_left -= queued;
        for _ in 0..queued {
            let Some(key) = self.run_queue.borrow_mut().pop_front() else { return };
            self.run_task(key);
        }
    }

    fn run_task(&'static self, key: TaskKey) {
        // Taken out while it runs: no borrow is held across a poll.
        let Some(work) = self.tasks.borrow_mut().take_queued(key) else { return };
        match work {
            Work::Callback(callback) => {
                drop(self.tasks.borrow_mut().remove(key));
                guard_against_panic(callback);
            }
            Work::Future(mut future) => {
                let waker = key.waker();
                let mut context = Context::from_waker(&waker);
                let mut outcome = Poll::Ready(());
                guard_against_panic(|| outcome = future.as_mut().poll(&mut context));
                if outcome.is_ready() {
                    drop(self.tasks.borrow_mut().remove(key));
                } else {
                    // Given back when the task was cancelled while it ran.
                    let cancelled = self.tasks.borrow_mut().put_back(key, future);
                    drop(cancelled);
                }
            }
        }
    }

    /// Marks what became ready. Says whether there may be more.
    fn mark_ready(&self) -> bool {
        let mut woken: Vec<Waker> = Vec::new();
        let full = self.events.borrow().report(|token, readiness| {
            if let Some(source) = self.sources.borrow().get(token) {
                source.mark(readiness, |waker| self.wake_marked(waker, &mut woken));
            }
        });
        if self.foreign_readiness.take_readable() {
            self.foreign.drain(|key| self.wake(key));
        }
        woken.into_iter().for_each(Waker::wake);
        full
    }

    /// A waker of this reactor only queues; any other one may do anything, so it is called after the borrows are gone.
    fn wake_marked(&self, waker: Waker, others: &mut Vec<Waker>) {
        match TaskKey::of(&waker) {
            Some(key) => self.wake(key),
            None => others.push(waker),
        }
    }

    /// Wakes what is due. Says whether there may be more.
    fn fire_timers(&self) -> bool {
        for _ in 0..TIMERS_PER_TURN {
            let due = self.timers.borrow_mut().pop_due(self.clock.get());
            let Some(waker) = due else { return false };
            waker.wake();
        }
        true
    }

    /// One timer of the host loop stands for all of ours. It may fire early, never late.
    fn arm_host_timer(&self) {
        let Some(deadline) = self.timers.borrow_mut().earliest() else { return };
        if self.host_timer.get().is_some_and(|at| at <= deadline && at > self.clock.get()) {
            return;
        }
        if let Some(host) = self.host.get() {
            self.host_timer.set(Some(deadline));
            host.schedule_timer(deadline.saturating_duration_since(self.clock.get()));
        }
    }

    fn watch(&self, descriptor: BorrowedFd<'_>) -> io::Result<(u64, Rc<Readiness>)> {
        let (token, readiness) = self.sources.borrow_mut().insert();
        match self.epoll.add(descriptor, token, Trigger::Edge) {
            Ok(()) => Ok((token, readiness)),
            Err(error) => {
                self.unwatch(token);
                Err(error)
            }
        }
    }

    /// The descriptor leaves the epoll set by being closed.
    fn unwatch(&self, token: u64) {
        let removed = self.sources.borrow_mut().remove(token);
        drop(removed);
    }
}

/// A panic in one task is a bug of ours that must not take the other connections along: the task is dropped, and the panic
/// hook has reported it.
fn guard_against_panic(step: impl FnOnce()) {
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(step));
}

/// The reactor of this thread, as hyper's traits want it: a value that may be sent about, though it works on this thread alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handle;

impl Timer for Handle {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(TimerSleep::new(deadline))
    }

    fn now(&self) -> Instant {
        Reactor::current().map_or_else(Instant::now, Reactor::now)
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<TimerSleep>() {
            Some(sleep) => sleep.get_mut().reset(new_deadline),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Handle {
    fn execute(&self, future: F) {
        if let Some(reactor) = Reactor::current() {
            reactor.spawn(future);
        }
    }
}
