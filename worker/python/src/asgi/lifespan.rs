//! Drives the lifespan of the application (`lifespan.py`) and judges how its start-up ended.

use protocol::settings::Lifespan as LifespanMode;
use pyo3::{
    Bound, Py, PyAny, PyErr, PyResult, Python,
    exceptions::PySystemExit,
    prelude::{PyAnyMethods, PyDictMethods},
    types::{PyDict, PyModule},
};

/// The lifespan of one application.
pub(crate) struct Lifespan {
    module: Py<PyModule>,
    /// None when the application is not asked, or did not want to be.
    object: Option<Py<PyAny>>,
    state: Py<PyAny>,
}

/// How the start-up ended.
pub(crate) enum StartUp {
    /// The application can serve.
    Complete,
    /// It says that it cannot: the message of `lifespan.startup.failed`.
    Refused(String),
    /// It raised.
    Raised(PyErr),
    /// It ended without completing its start-up.
    Unfinished,
}

impl Lifespan {
    /// Prepares the lifespan of `application` on `event_loop`.
    pub(crate) fn new(
        mode: LifespanMode,
        application: &Bound<'_, PyAny>,
        event_loop: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let py = application.py();
        let module = PyModule::from_code(
            py,
            crate::python_source!("lifespan.py"),
            c"<supervise>/lifespan.py",
            c"worker_python_lifespan",
        )?;
        let object = match mode {
            LifespanMode::Auto | LifespanMode::On => {
                Some(module.getattr("Lifespan")?.call1((application, event_loop))?)
            }
            LifespanMode::Off => None,
        };
        let state = match &object {
            Some(object) => object.getattr("state")?,
            None => PyDict::new(py).into_any(),
        };
        Ok(Self { module: module.unbind(), object: object.map(Bound::unbind), state: state.unbind() })
    }

    /// The dict that the application fills in its start-up.
    pub(crate) fn state<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.state.bind(py)
    }

    /// Runs the start-up to its end.
    ///
    /// # Errors
    /// What the loop itself raised.
    pub(crate) fn start(&mut self, mode: LifespanMode, event_loop: &Bound<'_, PyAny>) -> PyResult<StartUp> {
        let py = event_loop.py();
        let Some(object) = self.object.as_ref().map(|object| object.bind(py)) else {
            return Ok(StartUp::Complete);
        };
        let ended = event_loop.call_method1("run_until_complete", (object.call_method0("startup")?,))?;
        if ended.is_truthy()? && ended.extract::<bool>().unwrap_or(false) {
            return Ok(StartUp::Complete);
        }
        if !ended.is_none() {
            return Ok(StartUp::Refused(ended.str()?.to_string()));
        }
        let error = object.getattr("error")?;
        let outcome =
            if error.is_none() { StartUp::Unfinished } else { StartUp::Raised(PyErr::from_value(error)) };
        let asked =
            if object.getattr("startup_sent")?.is_truthy()? { Asked::ToStart } else { Asked::Nothing };
        Ok(match (mode, outcome) {
            (LifespanMode::On, outcome) => outcome,
            // It means the process, not the lifespan.
            (_, StartUp::Raised(error)) if error.is_instance_of::<PySystemExit>(py) => StartUp::Raised(error),
            (LifespanMode::Auto | LifespanMode::Off, outcome) => {
                self.object = None;
                explain_absence(py, outcome, asked);
                StartUp::Complete
            }
        })
    }

    /// Runs the shutdown to its end, for at most `timeout_s` seconds.
    ///
    /// # Errors
    /// What the loop raised, a timeout included.
    pub(crate) fn stop(&self, event_loop: &Bound<'_, PyAny>, timeout_s: f64) -> PyResult<()> {
        let py = event_loop.py();
        let Some(object) = &self.object else { return Ok(()) };
        let object = object.bind(py);
        let wait_for = py.import("asyncio")?.getattr("wait_for")?;
        let waiting = wait_for.call1((object.call_method0("shutdown")?, timeout_s))?;
        let ended = event_loop.call_method1("run_until_complete", (waiting,))?;
        let error = object.getattr("error")?;
        if !error.is_none() {
            return Err(PyErr::from_value(error));
        }
        if ended.extract::<bool>().unwrap_or(false) || ended.is_none() {
            return Ok(());
        }
        Err(pyo3::exceptions::PyRuntimeError::new_err(ended.str()?.to_string()))
    }

    /// Cancels every task that is left, and waits for their end for at most `timeout_s` seconds.
    pub(crate) fn cancel_all(&self, event_loop: &Bound<'_, PyAny>, timeout_s: f64) -> PyResult<()> {
        let py = event_loop.py();
        let tasks = py.import("asyncio")?.call_method1("all_tasks", (event_loop,))?;
        let cancelling = self.module.bind(py).call_method1("cancel_all", (event_loop, tasks, timeout_s))?;
        event_loop.call_method1("run_until_complete", (cancelling,))?;
        Ok(())
    }
}

/// What an application had been told when it raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Only that there is a lifespan.
    Nothing,
    /// To start.
    ToStart,
}

/// Says why an application is served without lifespan, as the contract wants it. One that had been told to start did not fail for want of
/// knowing a lifespan: that is shown in full, else only to who debugs.
fn explain_absence(py: Python<'_>, outcome: StartUp, asked: Asked) {
    let StartUp::Raised(error) = outcome else { return };
    let place = match asked {
        Asked::Nothing => "on the lifespan scope",
        Asked::ToStart => "in its start-up",
    };
    let message = format!(
        "The application raised {} {place} and is served without lifespan (--lifespan on makes this an error, --lifespan off \
         silences it)",
        crate::failure::summary(py, &error)
    );
    let log = || -> PyResult<()> {
        let logger = py.import("logging")?.call_method1("getLogger", ("supervise.error",))?;
        let keywords = PyDict::new(py);
        keywords.set_item("exc_info", error.into_value(py))?;
        match asked {
            Asked::Nothing => {
                logger.call_method1("info", (message,))?;
                logger.call_method("debug", ("The exception on the lifespan scope",), Some(&keywords))?;
            }
            Asked::ToStart => _ = logger.call_method("error", (message,), Some(&keywords))?,
        }
        Ok(())
    };
    if let Err(failure) = log() {
        failure.write_unraisable(py, None);
    }
}
