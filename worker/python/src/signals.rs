//! What signals mean to a Python worker. Set through Python, so that the application can still change what is its own.

use std::{
    future::poll_fn,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use nix::{
    fcntl::OFlag,
    unistd::{pipe2, read},
};
use pyo3::{
    Bound, Py, PyAny, PyResult, Python,
    prelude::PyAnyMethods,
    types::{PyCFunction, PyDict, PyDictMethods, PyTuple},
};
use worker::access_log_writer::AccessLogWriter;

use crate::{
    departure::{Departure, Orders},
    reactor::{Reactor, Watched},
};

/// Whether somebody watches over this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supervised {
    /// The signals of a terminal are the supervisor's business.
    Yes,
    /// They are ours.
    No,
}

/// From the start: what a terminal sends to everybody does not reach a supervised worker.
pub(crate) fn ignore_terminal(py: Python<'_>, supervised: Supervised) -> PyResult<()> {
    let signal = py.import("signal")?;
    match supervised {
        Supervised::Yes => {
            let ignore = signal.getattr("SIG_IGN")?;
            for number in [libc::SIGINT, libc::SIGHUP] {
                signal.call_method1("signal", (number, &ignore))?;
            }
        }
        Supervised::No => {}
    }
    Ok(())
}

/// Once the loop exists: TERM drains; INT too in a worker that runs alone, and the second of them means now.
pub(crate) fn leave_on_signals(
    event_loop: &Bound<'_, PyAny>,
    supervised: Supervised,
    orders: &Orders,
    grace: Duration,
) -> PyResult<()> {
    let py = event_loop.py();
    each_handler(py, supervised, orders, grace, |number, handler| {
        event_loop.call_method1("add_signal_handler", (number, handler)).map(drop)
    })
}

/// The same for a worker without a loop.
pub(crate) fn leave_on_plain_signals(
    py: Python<'_>,
    supervised: Supervised,
    orders: &Orders,
    grace: Duration,
) -> PyResult<()> {
    let signal = py.import("signal")?;
    each_handler(py, supervised, orders, grace, |number, handler| {
        signal.call_method1("signal", (number, handler)).map(drop)
    })
}

fn each_handler(
    py: Python<'_>,
    supervised: Supervised,
    orders: &Orders,
    grace: Duration,
    mut set: impl FnMut(i32, Py<PyAny>) -> PyResult<()>,
) -> PyResult<()> {
    let numbers: &[i32] = match supervised {
        Supervised::Yes => &[libc::SIGTERM],
        Supervised::No => &[libc::SIGTERM, libc::SIGINT],
    };
    for &number in numbers {
        let orders = orders.clone();
        let order = move |_: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| match supervised {
            Supervised::Yes => orders.put(Departure::Drain { grace }),
            Supervised::No => orders.put_signal(grace),
        };
        set(number, PyCFunction::new_closure(py, None, None, order)?.into_any().unbind())?;
    }
    Ok(())
}

/// Ends the main thread's wait when a signal comes, also one that came just before it: Python's handlers run on that thread, and
/// only when it looks.
pub(crate) struct Wakeup {
    reading: OwnedFd,
    /// Python writes a byte for each signal.
    _writing: OwnedFd,
}

impl Wakeup {
    /// Makes Python tell of signals here. On the main thread.
    pub(crate) fn new(py: Python<'_>) -> PyResult<Self> {
        let (reading, writing) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(io::Error::from)?;
        let keywords = PyDict::new(py);
        keywords.set_item("warn_on_full_buffer", false)?;
        py.import("signal")?.call_method("set_wakeup_fd", (writing.as_raw_fd(),), Some(&keywords))?;
        Ok(Self { reading, _writing: writing })
    }

    /// Readable when a signal came.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.reading.as_fd()
    }

    /// Forgets the signals that came.
    pub(crate) fn clear(&self) {
        while read(&self.reading, &mut [0; 64]).is_ok_and(|count| count > 0) {}
    }

    /// Lets `reactor` wake up for signals, for as long as it lives.
    pub(crate) fn watch(self, reactor: &'static Reactor) -> io::Result<()> {
        let watched = Watched::new(reactor, self.reading.try_clone()?)?;
        reactor.spawn(async move {
            loop {
                poll_fn(|context| watched.poll_readable(context)).await;
                self.clear();
            }
        });
        Ok(())
    }
}

/// A worker that runs alone is told by USR1 to open its log files anew.
pub(crate) fn reopen_on_signal(py: Python<'_>, writer: AccessLogWriter) -> PyResult<()> {
    let reopen = move |_: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| writer.reopen();
    let handler = PyCFunction::new_closure(py, None, None, reopen)?;
    py.import("signal")?.call_method1("signal", (libc::SIGUSR1, handler))?;
    Ok(())
}
