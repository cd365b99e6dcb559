//! The application as every request calls it, and what of the environ is the same for all. Shared by all threads of a worker.

#![expect(unsafe_code, reason = "contexts by the C API")]

use protocol::settings::wsgi::{Concurrency, WsgiSettings};
use pyo3::{Bound, Py, PyAny, PyErr, PyResult, Python, ffi, prelude::PyAnyMethods, types::PyDictMethods};

use super::{
    file_wrapper, input,
    known::{self, texts},
    responder,
};
use crate::{immortal::Immortal, object::Owned};

/// See the module. Lives as long as the process.
pub(crate) struct Caller {
    pub(super) application: Immortal,
    /// The context of the moment when the worker became ready. Every request runs in a copy of its own.
    base_context: Immortal,
    /// Bound method `logging.getLogger("supervise.error").error`.
    log_error: Py<PyAny>,
    constants: Vec<(Immortal, Immortal)>,
    pub(super) reply_buffer_bytes: usize,
}

impl Caller {
    /// Prepares everything that a request needs. Called once, after the import, on the main thread.
    pub(crate) fn new(application: &Bound<'_, PyAny>, settings: &WsgiSettings) -> PyResult<Self> {
        let py = application.py();
        let fetched = || PyErr::fetch(py);
        known::prepare().ok_or_else(fetched)?;
        if !(responder::make_type() && input::make_type() && file_wrapper::make_type()) {
            return Err(fetched());
        }
        let text = texts();
        let logger = py.import("logging")?.call_method1("getLogger", ("supervise.error",))?;
        let immortal = |object: Bound<'_, PyAny>| Immortal::new(object.into());
        let truth = |is_so: bool| immortal(pyo3::types::PyBool::new(py, is_so).to_owned().into_any());
        let version = pyo3::types::PyTuple::new(py, [1, 0])?.into_any();
        let is_multithreaded = match settings.concurrency() {
            Concurrency::Inline | Concurrency::Threads(1) => false,
            Concurrency::Threads(_) => true,
        };
        let constants = vec![
            (text.wsgi_version, immortal(version)),
            (text.wsgi_errors, immortal(py.import("sys")?.getattr("stderr")?)),
            (text.wsgi_file_wrapper, Immortal::new(file_wrapper::type_object().ok_or_else(fetched)?)),
            (text.wsgi_multithread, truth(is_multithreaded)),
            (text.wsgi_multiprocess, truth(settings.workers > 1)),
            (text.wsgi_run_once, truth(false)),
            (text.wsgi_input_terminated, truth(true)),
        ];
        // SAFETY: the interpreter is held.
        let base_context = unsafe { Owned::steal(ffi::PyContext_CopyCurrent()) };
        Ok(Self {
            application: Immortal::new(application.clone().into()),
            base_context: Immortal::new(base_context.ok_or_else(fetched)?),
            log_error: logger.getattr("error")?.unbind(),
            constants,
            reply_buffer_bytes: usize::try_from(settings.reply_buffer_bytes).unwrap_or(usize::MAX),
        })
    }

    /// Keys and values that every environ has.
    pub(super) fn constants(&self) -> impl Iterator<Item = (Immortal, Immortal)> {
        self.constants.iter().copied()
    }

    /// Runs `work` in a context of its own: what a request sets there, the next one does not see. None with an exception set when
    /// Python has no memory.
    pub(super) fn in_new_context<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        // SAFETY: the base context is alive for ever; the copy is entered and left on this thread.
        unsafe {
            let context = Owned::steal(ffi::PyContext_Copy(self.base_context.as_ptr()))?;
            if ffi::PyContext_Enter(context.as_ptr()) != 0 {
                return None;
            }
            let result = work();
            if ffi::PyContext_Exit(context.as_ptr()) != 0 {
                ffi::PyErr_Clear();
            }
            Some(result)
        }
    }

    /// Tells the log of an exception that the application let through, or that it caused.
    pub(super) fn report(&self, py: Python<'_>, error: PyErr) {
        let keywords = pyo3::types::PyDict::new(py);
        let logged = keywords
            .set_item("exc_info", error.into_value(py))
            .and_then(|()| self.log_error.bind(py).call(("Exception in WSGI application",), Some(&keywords)));
        if let Err(failure) = logged {
            failure.write_unraisable(py, None);
        }
    }
}
