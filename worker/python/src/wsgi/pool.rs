//! Requests on their way to the threads, and messages on their way back. Each direction is one queue behind one mutex; a wake-up
//! is a system call, so nobody is woken who is known to look anyway.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release, SeqCst},
        },
    },
};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{desk::Outlet, port::Message, request::Request};

/// Messages to the reactor.
pub(super) struct Outbox {
    messages: Mutex<Vec<Message>>,
    /// The reactor waits for events: a message must ring.
    is_asleep: AtomicBool,
    bell: EventFd,
    /// Grows with each message.
    sent: AtomicU64,
    /// Threads that wait for a client: to send more of its request, or to take more of its reply.
    waiting_for_clients: AtomicUsize,
}

impl Outbox {
    pub(super) fn new() -> io::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self {
            messages: Mutex::default(),
            is_asleep: AtomicBool::new(false),
            bell,
            sent: AtomicU64::new(0),
            waiting_for_clients: AtomicUsize::new(0),
        })
    }

    /// What the reactor watches for reading, edge-triggered: the counter is never read.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Adds a message.
    pub(super) fn put(&self, message: Message) {
        self.lock().push(message);
        self.sent.fetch_add(1, Relaxed);
        self.ring();
    }

    /// Runs `wait`, in which a thread waits for its client.
    pub(super) fn waiting_for_client(&self, wait: impl FnOnce()) {
        self.waiting_for_clients.fetch_add(1, SeqCst);
        wait();
        self.waiting_for_clients.fetch_sub(1, SeqCst);
    }

    /// Wakes the reactor if it sleeps.
    pub(super) fn ring(&self) {
        if self.is_asleep.swap(false, SeqCst) {
            // Fails only when the counter is at its end: then the eventfd is readable anyway.
            let _ = self.bell.write(1);
        }
    }

    /// Takes all messages, in exchange for an empty vector to fill.
    pub(super) fn swap(&self, empty: &mut Vec<Message>) {
        std::mem::swap(&mut *self.lock(), empty);
    }

    /// The reactor is about to sleep. False when there are messages, so that it must not.
    pub(super) fn fall_asleep(&self) -> bool {
        self.is_asleep.store(true, SeqCst);
        let may_sleep = self.lock().is_empty();
        if !may_sleep {
            self.is_asleep.store(false, SeqCst);
        }
        may_sleep
    }

    /// The reactor is awake.
    pub(super) fn wake_up(&self) {
        self.is_asleep.store(false, SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Message>> {
        // A vector of whole messages is whole even when a thread died while it held the lock.
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests for the threads.
pub(super) struct Pool {
    queue: Mutex<Queue>,
    work: Condvar,
    /// Requests that were handed over and are not over.
    unfinished: AtomicUsize,
    /// Somebody waits until none is unfinished.
    is_ending: AtomicBool,
    /// Grows with each request that a thread begins or ends.
    progress: AtomicU64,
    threads: usize,
}

#[derive(Default)]
struct Queue {
    requests: VecDeque<Request>,
    /// Threads that sleep.
    idle: usize,
    is_closed: bool,
}

impl Pool {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            queue: Mutex::default(),
            work: Condvar::new(),
            unfinished: AtomicUsize::new(0),
            is_ending: AtomicBool::new(false),
            progress: AtomicU64::new(0),
            threads,
        }
    }

    /// Hands requests over.
    fn put(&self, requests: &mut Vec<Request>) {
        self.unfinished.fetch_add(requests.len(), SeqCst);
        let mut queue = self.lock();
        queue.requests.extend(requests.drain(..));
        let wakes = queue.idle > 0;
        drop(queue);
        if wakes {
            // One: it wakes the next when there is more than it can take.
            self.work.notify_one();
        }
    }

    /// A request, if one waits.
    pub(super) fn try_take(&self) -> Option<Request> {
        self.take_from(&mut self.lock())
    }

    /// Blocks until there is a request; none when the pool was closed. The interpreter is not held.
    pub(super) fn take(&self) -> Option<Request> {
        let mut queue = self.lock();
        loop {
            if let Some(request) = self.take_from(&mut queue) {
                return Some(request);
            }
            if queue.is_closed {
                return None;
            }
            queue.idle += 1;
            queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }

    fn take_from(&self, queue: &mut Queue) -> Option<Request> {
        let request = queue.requests.pop_front()?;
        if queue.idle > 0 && !queue.requests.is_empty() {
            self.work.notify_one();
        }
        self.progress.fetch_add(1, Relaxed);
        Some(request)
    }

    /// A request is over. True when somebody waits for that and it was the last.
    pub(super) fn finished(&self) -> bool {
        self.progress.fetch_add(1, Relaxed);
        self.unfinished.fetch_sub(1, SeqCst) == 1 && self.is_ending.load(SeqCst)
    }

    /// No thread will get a request any more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_all();
    }

    /// Where the pool stands, if requests wait while every thread is in the application: stuck, when it stands there for long. A
    /// thread that waits for its client is not; the client's time limits are the engine's business.
    pub(super) fn standstill(&self, outbox: &Outbox) -> Option<(u64, u64)> {
        let waiting = self.lock().requests.len();
        let is_full = self.unfinished.load(Acquire) >= self.threads + waiting;
        let waits_for_clients = outbox.waiting_for_clients.load(SeqCst) > 0;
        (waiting > 0 && is_full && !waits_for_clients)
            .then(|| (self.progress.load(Relaxed), outbox.sent.load(Relaxed)))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A queue of whole requests is whole even when a thread died while it held the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the pool on the reactor's thread: what one turn brings goes over at once.
pub(super) struct Hatch {
    pool: Arc<Pool>,
    ready: RefCell<Vec<Request>>,
}

impl Hatch {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self { pool, ready: RefCell::default() }
    }

    /// Hands over what has come together.
    pub(super) fn flush(&self) {
        let mut ready = self.ready.borrow_mut();
        if !ready.is_empty() {
            self.pool.put(&mut ready);
        }
    }
}

impl Outlet for std::rc::Rc<Hatch> {
    fn put(&self, request: Request) {
        self.ready.borrow_mut().push(request);
    }

    fn unfinished(&self) -> usize {
        self.pool.unfinished.load(SeqCst) + self.ready.borrow().len()
    }

    fn announce_end(&self) {
        self.pool.is_ending.store(true, Release);
    }
}
