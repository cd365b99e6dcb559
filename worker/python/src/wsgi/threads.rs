//! The worker class `threads`: the reactor on a thread of its own that never holds the interpreter, the application on a pool of
//! Python's threads, and the main thread for signals.
//!
//! Health: the reactor's thread answers the heartbeat, unless the pool stands still: every thread in the application since the
//! last heartbeat, none waiting for its client, and requests waiting. A long request alone is no reason to replace a worker.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    os::fd::AsFd,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hyper::rt::Timer;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};
use pyo3::{
    Bound, PyResult, Python,
    prelude::PyAnyMethods,
    types::{PyCFunction, PyDict, PyDictMethods, PyTuple},
};
use worker::supervision::LoopPulse;

use super::{
    caller::Caller,
    environ::EnvironBuilder,
    ground::Ground,
    pool::{Hatch, Outbox, Pool},
    port::{Message, Port},
    run::run,
};
use crate::{
    failure::Failure,
    reactor::{Handle, Reactor, Watched},
    service_thread::block_signals,
    signals::Wakeup,
};

/// How often a pool that stands still is looked at again.
const STANDSTILL_CHECK: Duration = Duration::from_millis(50);

/// Serves until the drain is over. Gives the moment by which the rest must be over too.
pub(crate) fn serve(
    py: Python<'_>,
    ground: Ground,
    caller: Caller,
    threads: usize,
) -> Result<Instant, Failure> {
    let system = |error: io::Error| Failure::boot(format!("cannot start the threads: {error}"));
    let outbox = Arc::new(Outbox::new().map_err(system)?);
    let pool = Arc::new(Pool::new(threads));
    let failed = |error| Failure::boot_with_traceback(py, "cannot start the threads", error);
    let wakeup = Wakeup::new(py).map_err(failed)?;
    start_pool(py, threads, caller, &pool, &outbox).map_err(failed)?;
    let outcome = Arc::new(Outcome::new().map_err(system)?);
    let network = Network { ground, pool: Arc::clone(&pool), outbox };
    let (tell, hear) = (Arc::clone(&outcome), Arc::clone(&outcome));
    let work = move || {
        block_signals();
        let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| network.serve()));
        tell.put(
            served.unwrap_or_else(|_panic| Err(io::Error::other("a bug in supervise's worker: see its log"))),
        );
    };
    std::thread::Builder::new().name("supervise-network".into()).spawn(work).map_err(system)?;
    let served = wait_for(py, &hear, &wakeup)
        .map_err(|error| Failure::serving(py, "the worker was interrupted", error))?;
    pool.close();
    served.map_err(|error| Failure::boot(format!("cannot serve: {error}")))
}

/// What came of the network's thread.
struct Outcome {
    result: Mutex<Option<io::Result<Instant>>>,
    bell: EventFd,
}

impl Outcome {
    fn new() -> io::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { result: Mutex::new(None), bell })
    }

    fn put(&self, result: io::Result<Instant>) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        // Fails only when the counter is at its end: then it is readable anyway.
        let _ = self.bell.write(1);
    }

    fn take(&self) -> Option<io::Result<Instant>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The main thread's part: signals, until the network's thread is done.
fn wait_for(py: Python<'_>, outcome: &Outcome, wakeup: &Wakeup) -> PyResult<io::Result<Instant>> {
    loop {
        if let Some(result) = outcome.take() {
            return Ok(result);
        }
        py.detach(|| {
            let watched = |descriptor| PollFd::new(descriptor, PollFlags::POLLIN);
            let mut descriptors = [watched(outcome.bell.as_fd()), watched(wakeup.descriptor())];
            // Interrupted by a signal: that is what it waits for.
            let _ = poll(&mut descriptors, PollTimeout::NONE);
            wakeup.clear();
        });
        py.check_signals()?;
    }
}

/// Starts Python's threads, so that the application finds itself on threads of `threading` with names.
fn start_pool(
    py: Python<'_>,
    threads: usize,
    caller: Caller,
    pool: &Arc<Pool>,
    outbox: &Arc<Outbox>,
) -> PyResult<()> {
    let thread_type = py.import("threading")?.getattr("Thread")?;
    let caller = Arc::new(caller);
    for number in 1..=threads {
        let (caller, pool, outbox) = (Arc::clone(&caller), Arc::clone(pool), Arc::clone(outbox));
        let work = move |arguments: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
            work(arguments.py(), &caller, &pool, &outbox);
        };
        let keywords = PyDict::new(py);
        keywords.set_item("target", PyCFunction::new_closure(py, None, None, work)?)?;
        keywords.set_item("name", format!("wsgi-{number}"))?;
        // One that never returns must not keep the process: the interpreter's end waits for all others.
        keywords.set_item("daemon", true)?;
        thread_type.call((), Some(&keywords))?.call_method0("start")?;
    }
    Ok(())
}

/// The life of one thread. It keeps the interpreter as long as there are requests.
fn work(py: Python<'_>, caller: &Caller, pool: &Pool, outbox: &Arc<Outbox>) {
    let mut environs = EnvironBuilder::new();
    let port = Port::Pool(Arc::clone(outbox));
    while let Some(request) = pool.try_take().or_else(|| py.detach(|| pool.take())) {
        run(py, caller, &mut environs, request, &port);
        if pool.finished() {
            outbox.ring();
        }
    }
}

/// What the network's thread works with.
struct Network {
    ground: Ground,
    pool: Arc<Pool>,
    outbox: Arc<Outbox>,
}

impl Network {
    fn serve(self) -> io::Result<Instant> {
        let Self { mut ground, pool, outbox } = self;
        let reactor = Reactor::start()?;
        let _bell = Watched::new(reactor, outbox.bell().try_clone_to_owned()?)?;
        if let Some(pulse) = ground.pulse.take() {
            answer_pulse(reactor, pulse, &pool, &outbox)?;
        }
        let hatch = Rc::new(Hatch::new(pool));
        let (desk, site) = ground.site(reactor, Box::new(Rc::clone(&hatch)));
        let left = Rc::new(Cell::new(None));
        let leave = Rc::clone(&left);
        site.open(move |over_by| leave.set(Some(over_by)))?;
        let mut messages: Vec<Message> = Vec::new();
        loop {
            outbox.swap(&mut messages);
            if !messages.is_empty() {
                messages.drain(..).for_each(|message| desk.take(message));
                reactor.run_woken();
            }
            desk.check_idle();
            hatch.flush();
            if let Some(over_by) = left.get() {
                return Ok(over_by);
            }
            if outbox.fall_asleep() {
                reactor.blocking_turn(|wait| wait());
                outbox.wake_up();
            } else {
                reactor.turn();
            }
        }
    }
}

/// Answers the service thread's pokes, see the module.
fn answer_pulse(
    reactor: &'static Reactor,
    pulse: LoopPulse,
    pool: &Arc<Pool>,
    outbox: &Arc<Outbox>,
) -> io::Result<()> {
    let poked = Watched::new(reactor, pulse.descriptor().try_clone_to_owned()?)?;
    let (pool, outbox) = (Arc::clone(pool), Arc::clone(outbox));
    reactor.spawn(async move {
        let mut before = None;
        loop {
            poll_fn(|context| poked.poll_readable(context)).await;
            while before.is_some() && pool.standstill(&outbox) == before {
                Handle.sleep(STANDSTILL_CHECK).await;
            }
            before = pool.standstill(&outbox);
            pulse.answer_poke();
        }
    });
    Ok(())
}
