//! The worker class `sync`: reactor and application by turns on the main thread, one request at a time. An application that waits
//! for its client runs the reactor meanwhile, so that bodies are read and replies written even then; further requests wait.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use pyo3::{PyResult, Python};

use super::{
    caller::Caller,
    chunk,
    desk::{Desk, Outlet},
    environ::EnvironBuilder,
    ground::Ground,
    port::Port,
    request::Request,
    run::run,
};
use crate::{failure::Failure, interpreter::answer_pulse, reactor::Reactor, signals::Wakeup};

/// After so long with requests the network has its turn again: new requests, time limits, the heartbeat.
const LONGEST_SPELL: Duration = Duration::from_millis(5);

thread_local! {
    static HERE: RefCell<Option<(Rc<Desk>, &'static Reactor)>> = const { RefCell::new(None) };
}

/// The desk of this thread, if it is the one that serves.
pub(super) fn with_desk<R>(work: impl FnOnce(&Rc<Desk>, &'static Reactor) -> R) -> Option<R> {
    let here = HERE.with_borrow(Clone::clone);
    here.map(|(desk, reactor)| work(&desk, reactor))
}

/// One turn of the reactor, which may wait; other threads of Python run meanwhile. Raises what a signal handler raised.
pub(super) fn turn(py: Python<'_>, reactor: &'static Reactor) -> PyResult<()> {
    reactor.blocking_turn(|wait| py.detach(wait));
    py.check_signals()
}

/// Requests that wait for their turn.
#[derive(Default)]
struct Line {
    requests: RefCell<VecDeque<Request>>,
    /// The application is at one.
    running: Cell<usize>,
}

impl Outlet for Rc<Line> {
    fn put(&self, request: Request) {
        self.requests.borrow_mut().push_back(request);
    }

    fn unfinished(&self) -> usize {
        self.requests.borrow().len() + self.running.get()
    }

    /// The loop looks after each request.
    fn announce_end(&self) {}
}

/// Serves until the drain is over. Gives the moment by which the rest must be over too.
pub(crate) fn serve(py: Python<'_>, mut ground: Ground, caller: &Caller) -> Result<Instant, Failure> {
    let refused = |error: std::io::Error| Failure::boot(format!("cannot watch the sockets: {error}"));
    let reactor = Reactor::start().map_err(|error| Failure::boot(format!("no reactor: {error}")))?;
    chunk::interpreter_is_held_here();
    answer_pulse(reactor, ground.pulse.take())?;
    Wakeup::new(py)
        .and_then(|wakeup| Ok(wakeup.watch(reactor)?))
        .map_err(|error| Failure::boot_with_traceback(py, "cannot handle signals", error))?;
    let line = Rc::new(Line::default());
    let (desk, site) = ground.site(reactor, Box::new(Rc::clone(&line)));
    HERE.set(Some((Rc::clone(&desk), reactor)));
    let left = Rc::new(Cell::new(None));
    let leave = Rc::clone(&left);
    site.open(move |over_by| leave.set(Some(over_by))).map_err(refused)?;
    let mut environs = EnvironBuilder::new();
    loop {
        let turned = if line.requests.borrow().is_empty() {
            turn(py, reactor)
        } else {
            reactor.turn();
            py.check_signals()
        };
        turned.map_err(|error| Failure::serving(py, "the worker was interrupted", error))?;
        serve_some(py, &line, caller, &mut environs, reactor);
        desk.check_idle();
        if let Some(over_by) = left.get() {
            return Ok(over_by);
        }
    }
}

/// Runs requests, each reply on its way before the next request begins.
fn serve_some(
    py: Python<'_>,
    line: &Line,
    caller: &Caller,
    environs: &mut EnvironBuilder,
    reactor: &'static Reactor,
) {
    let began = Instant::now();
    loop {
        let next = line.requests.borrow_mut().pop_front();
        let Some(request) = next else { return };
        line.running.set(1);
        run(py, caller, environs, request, &Port::Inline);
        line.running.set(0);
        reactor.run_woken();
        if began.elapsed() > LONGEST_SPELL {
            return;
        }
    }
}
