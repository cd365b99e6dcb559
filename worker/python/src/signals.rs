//! What signals mean to a Python worker. Set through Python, so that the application can still change what is its own.

use std::time::Duration;

use pyo3::{
    Bound, PyAny, PyResult, Python,
    prelude::PyAnyMethods,
    types::{PyCFunction, PyDict, PyTuple},
};

use crate::departure::{Departure, Orders};

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
        let handler = PyCFunction::new_closure(event_loop.py(), None, None, order)?;
        event_loop.call_method1("add_signal_handler", (number, handler))?;
    }
    Ok(())
}
