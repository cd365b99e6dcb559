//! Python's stack dumps, written into the evidence memfd by `faulthandler`: it works in a signal handler, whatever the
//! interpreter is doing.

use std::{fs::File, os::fd::AsRawFd};

use pyo3::{
    PyResult, Python,
    prelude::PyAnyMethods,
    types::{PyDict, PyDictMethods},
};

/// Asks for the stacks of all threads without ending the process. Of the real-time signals, the first few belong to the C
/// library, and people count from the first.
fn stack_signal() -> i32 {
    libc::SIGRTMIN() + 8
}

/// Makes crashes (SIGSEGV, SIGABRT…) and the stack signal write to `evidence`. Gives the signal.
pub(crate) fn write_stacks_to(py: Python<'_>, evidence: &File) -> PyResult<i32> {
    let faulthandler = py.import("faulthandler")?;
    let keywords = PyDict::new(py);
    keywords.set_item("file", evidence.as_raw_fd())?;
    keywords.set_item("all_threads", true)?;
    faulthandler.call_method("enable", (), Some(&keywords))?;
    faulthandler.call_method("register", (stack_signal(),), Some(&keywords))?;
    Ok(stack_signal())
}
