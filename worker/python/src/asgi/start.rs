//! Makes a request's coroutine a task of the loop and takes its first step at once, inside the network turn.
//!
//! Where it can be, the task is lazy ([`super::lazy_task`]). Otherwise it starts eagerly, from Python 3.12 on; before, a new task
//! asks the loop to call its first step soon, and that one call is captured and made at once ([`super::capture`]).

#![expect(unsafe_code, reason = "C API on the request path")]

use protocol::settings::ContextVariables;
use pyo3::{
    Bound, PyAny, PyErr, PyResult, ffi,
    prelude::{PyAnyMethods, PyDictMethods},
    types::PyDict,
};

#[cfg(not(Py_3_12))]
use super::capture::Capture;
#[cfg(Py_3_11)]
use super::known::known;
#[cfg(lazy_tasks)]
pub(super) use super::lazy_task::FirstStep;
#[cfg(lazy_tasks)]
use super::lazy_task::LazyTasks;
use super::run::Run;
use crate::object::Owned;

/// What became of a first step.
#[cfg(not(lazy_tasks))]
pub(super) enum FirstStep {
    /// The run is over.
    Over,
    /// It suspended; this is its task.
    Suspended(Owned),
}

/// Starts tasks on one loop.
pub(super) struct TaskStarter {
    task_type: Owned,
    /// Keyword arguments of a task; `context` is set anew for each.
    keywords: Owned,
    /// The context of the moment when the worker became ready, or an empty one. Every request runs in a copy of its own.
    base_context: Owned,
    #[cfg(not(Py_3_12))]
    capture: Capture,
    #[cfg(lazy_tasks)]
    lazy: Option<&'static LazyTasks>,
}

impl TaskStarter {
    pub(super) fn new(event_loop: &Bound<'_, PyAny>, variables: ContextVariables) -> PyResult<Self> {
        let py = event_loop.py();
        let keywords = PyDict::new(py);
        keywords.set_item("loop", event_loop)?;
        #[cfg(Py_3_12)]
        keywords.set_item("eager_start", true)?;
        // SAFETY: the interpreter is held.
        let base_context = unsafe {
            Owned::steal(match variables {
                ContextVariables::Inherited => ffi::PyContext_CopyCurrent(),
                ContextVariables::Fresh => ffi::PyContext_New(),
            })
        };
        Ok(Self {
            task_type: py.import("asyncio")?.getattr("Task")?.into(),
            keywords: keywords.into_any().into(),
            base_context: base_context.ok_or_else(|| PyErr::fetch(py))?,
            #[cfg(not(Py_3_12))]
            capture: Capture::new(event_loop)?,
            #[cfg(lazy_tasks)]
            lazy: lazy_tasks(event_loop)?,
        })
    }

    /// Makes the task of a run and takes its first step. None with an exception set when Python has no memory.
    pub(super) fn start(&self, run: &Owned) -> Option<FirstStep> {
        #[cfg(lazy_tasks)]
        if let Some(lazy) = self.lazy {
            return lazy.first_step(run, self.new_context()?);
        }
        let task = self.start_task(run)?;
        Some(if Run::of(run).is_over() { FirstStep::Over } else { FirstStep::Suspended(task) })
    }

    #[cfg(Py_3_11)]
    fn start_task(&self, run: &Owned) -> Option<Owned> {
        let context = self.new_context()?;
        self.set_context(&context)?;
        #[cfg(Py_3_12)]
        let task = self.task(run);
        #[cfg(not(Py_3_12))]
        let task = self.capture.run_first_step(|| self.task(run));
        // The request's context must not outlive it here.
        self.set_context(&self.base_context)?;
        task
    }

    #[cfg(not(Py_3_11))]
    fn start_task(&self, run: &Owned) -> Option<Owned> {
        self.capture.run_first_step(|| {
            // SAFETY: nothing else ever enters the base context; a task copies the context in which it is made.
            unsafe {
                if ffi::PyContext_Enter(self.base_context.as_ptr()) != 0 {
                    return None;
                }
                let task = self.task(run);
                ffi::PyContext_Exit(self.base_context.as_ptr());
                task
            }
        })
    }

    #[cfg(Py_3_11)]
    fn new_context(&self) -> Option<Owned> {
        // SAFETY: the base context is alive; the copy is a new reference.
        unsafe { Owned::steal(ffi::PyContext_Copy(self.base_context.as_ptr())) }
    }

    #[cfg(Py_3_11)]
    fn set_context(&self, context: &Owned) -> Option<()> {
        super::known::set(&self.keywords, known().text.context, context)
    }

    fn task(&self, run: &Owned) -> Option<Owned> {
        // SAFETY: all are alive; the call returns a new reference.
        unsafe {
            let arguments = Owned::steal(ffi::PyTuple_Pack(1, run.as_ptr()))?;
            let task =
                ffi::PyObject_Call(self.task_type.as_ptr(), arguments.as_ptr(), self.keywords.as_ptr());
            Owned::steal(task)
        }
    }
}

/// Lazy tasks, unless somebody wants to look closely (debug mode) or replaced asyncio's own Task.
#[cfg(lazy_tasks)]
fn lazy_tasks(event_loop: &Bound<'_, PyAny>) -> PyResult<Option<&'static LazyTasks>> {
    let tasks = event_loop.py().import("asyncio.tasks")?;
    let is_usual = tasks.getattr("Task")?.is(&tasks.getattr("_CTask")?);
    let is_debug = event_loop.call_method0("get_debug")?.is_truthy()?;
    if is_usual && !is_debug { LazyTasks::new(event_loop).map(Some) } else { Ok(None) }
}
