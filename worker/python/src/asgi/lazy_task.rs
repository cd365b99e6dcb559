//! A task that becomes one only when somebody looks at it. Most requests are answered in their first step; making, registering
//! and ending an `asyncio.Task` would cost more than the step itself.
//!
//! The object is allocated as a Task from the start, and is the current task while the first step runs. It is initialised as
//! soon as anybody touches it (reads an attribute, awaits it, prints it), or when the step suspends: the very same object, so its
//! identity never changes, and from then on its type is exactly `asyncio.Task`. What nobody saw is used again.
//!
//! Only for the Pythons that `build.rs` names.

#![expect(unsafe_code, reason = "a Python type whose objects are initialised late")]

use std::cell::{Cell, RefCell};

use pyo3::{
    Bound, PyAny, PyResult,
    ffi::{self, PyObject},
    prelude::{PyAnyMethods, PyDictMethods},
    types::PyDict,
};

#[cfg(not(Py_3_12))]
use super::capture::Capture;
use super::{
    known::{Immortal, known, set},
    lazy_type,
    run::{Run, Stash},
};
use crate::{
    coroutine::{Coroutine, Stepped, none},
    object::{Owned, keeping_exception},
};

thread_local! {
    static LAZY: Cell<Option<&'static LazyTasks>> = const { Cell::new(None) };
}

/// Runs first steps with a lazy task as the current one.
pub(super) struct LazyTasks {
    lazy_type: *mut ffi::PyTypeObject,
    task_type: *mut ffi::PyTypeObject,
    event_loop: Immortal,
    /// `asyncio.tasks._current_tasks`, a dict of loops.
    current_tasks: Immortal,
    /// The set in which `asyncio.all_tasks()` looks: of tasks since 3.12, of weak references before.
    registry: Immortal,
    keywords: Owned,
    #[cfg(not(Py_3_12))]
    capture: Capture,
    spare: RefCell<Option<LazyTask>>,
    /// The first step that is running, until its task is real.
    active: RefCell<Option<Active>>,
}

/// An object that was not initialised yet.
struct LazyTask {
    object: Owned,
    /// The weak reference that stands for it in the registry.
    #[cfg(not(Py_3_12))]
    reference: Owned,
}

struct Active {
    run: Owned,
    context: Owned,
    /// What stands for the task in the registry; alive as long as the step runs.
    entry: *mut PyObject,
}

/// What became of a first step.
pub(super) enum FirstStep {
    /// The run is over.
    Over,
    /// It suspended; this is its task.
    Suspended(Owned),
}

/// When the task takes its next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextStep {
    /// In the loop's next round: the first step is still running.
    Later,
    /// At once: the first step is over, and the run tells its task what came of it.
    Now,
}

impl LazyTask {
    fn entry(&self) -> *mut PyObject {
        #[cfg(Py_3_12)]
        return self.object.as_ptr();
        #[cfg(not(Py_3_12))]
        return self.reference.as_ptr();
    }

    /// Whether anybody but us holds the object or a weak reference to it. Called when it is in no registry.
    fn is_seen(&self) -> bool {
        // SAFETY: the object is alive; a Task has a place for its weak references at this offset, which holds null or the first
        // of a list; a plain reference, which everybody shares, comes first.
        unsafe {
            let object = self.object.as_ptr();
            let offset = (*ffi::Py_TYPE(object)).tp_weaklistoffset;
            let first = object.cast::<u8>().offset(offset).cast::<*mut ffi::PyWeakReference>().read();
            #[cfg(Py_3_12)]
            let is_weakly_seen = !first.is_null();
            #[cfg(not(Py_3_12))]
            let is_weakly_seen =
                ffi::Py_REFCNT(self.reference.as_ptr()) > 1 || first.is_null() || !(*first).wr_next.is_null();
            is_weakly_seen || ffi::Py_REFCNT(object) > 1
        }
    }
}

impl LazyTasks {
    /// Prepares lazy tasks on this thread's loop.
    pub(super) fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<&'static Self> {
        let py = event_loop.py();
        let tasks = py.import("asyncio.tasks")?;
        let task = tasks.getattr("Task")?;
        let registry = if cfg!(Py_3_12) {
            tasks.getattr("_eager_tasks")?
        } else {
            tasks.getattr("_all_tasks")?.getattr("data")?
        };
        let keywords = PyDict::new(py);
        keywords.set_item("loop", event_loop)?;
        let immortal = |object: Bound<'_, PyAny>| Immortal::new(object.into());
        let lazy: &'static Self = Box::leak(Box::new(Self {
            lazy_type: lazy_type::make(&task)?,
            task_type: immortal(task).as_ptr().cast(),
            event_loop: immortal(event_loop.clone()),
            current_tasks: immortal(tasks.getattr("_current_tasks")?),
            registry: immortal(registry),
            keywords: keywords.into_any().into(),
            #[cfg(not(Py_3_12))]
            capture: Capture::new(event_loop)?,
            spare: RefCell::new(None),
            active: RefCell::new(None),
        }));
        LAZY.with(|place| place.set(Some(lazy)));
        Ok(lazy)
    }

    /// Takes the first step of `run` in `context`. None with an exception set when Python has no memory.
    pub(super) fn first_step(&self, run: &Owned, context: Owned) -> Option<FirstStep> {
        let task = match self.spare.take() {
            Some(task) => task,
            None => self.allocate()?,
        };
        // SAFETY: all objects are alive; what is entered and registered here is left below.
        let stepped = unsafe {
            if ffi::PySet_Add(self.registry.as_ptr(), task.entry()) != 0 {
                return None;
            }
            if self.enter(&task).is_none() {
                keeping_exception(|| {
                    ffi::PySet_Discard(self.registry.as_ptr(), task.entry());
                });
                return None;
            }
            let entered = context.clone();
            self.active.replace(Some(Active { run: run.clone(), context, entry: task.entry() }));
            ffi::PyContext_Enter(entered.as_ptr());
            let stepped = Run::of(run).send(run.as_ptr(), ffi::Py_None());
            keeping_exception(|| {
                ffi::PyContext_Exit(entered.as_ptr());
                self.leave();
            });
            stepped
        };
        self.conclude(task, run, stepped)
    }

    /// After the first step: a task that nobody saw is put by, any other becomes real and learns what came of the step.
    fn conclude(&self, task: LazyTask, run: &Owned, stepped: Stepped) -> Option<FirstStep> {
        let is_suspended = matches!(stepped, Stepped::Yield(_));
        let is_lazy = self.active.borrow().is_some();
        if is_lazy {
            // SAFETY: both are alive; discarding what is there cannot fail.
            unsafe { ffi::PySet_Discard(self.registry.as_ptr(), task.entry()) };
        }
        if !is_suspended && is_lazy && !task.is_seen() {
            drop(self.active.take());
            // SAFETY: the interpreter is held. A step that ended as cancelled leaves its exception, which nobody waits for.
            unsafe { ffi::PyErr_Clear() };
            self.spare.replace(Some(task));
            return Some(FirstStep::Over);
        }
        Run::of(run).stash(Stash::of(stepped));
        if is_lazy {
            self.materialise(task.object.as_ptr(), NextStep::Now)?;
        }
        Some(if is_suspended { FirstStep::Suspended(task.object) } else { FirstStep::Over })
    }

    fn allocate(&self) -> Option<LazyTask> {
        // SAFETY: the type's own allocator gives zeroed memory, which a Task that was not initialised copes with.
        unsafe {
            let allocate = (*self.lazy_type).tp_alloc?;
            let object = Owned::steal(allocate(self.lazy_type, 0))?;
            #[cfg(not(Py_3_12))]
            let reference = Owned::steal(ffi::PyWeakref_NewRef(object.as_ptr(), std::ptr::null_mut()))?;
            Some(LazyTask {
                object,
                #[cfg(not(Py_3_12))]
                reference,
            })
        }
    }

    /// Makes it the current task, as `asyncio.tasks._enter_task` does. None with an exception set when there is one already.
    fn enter(&self, task: &LazyTask) -> Option<()> {
        let (tasks, event_loop) = (self.current_tasks.as_ptr(), self.event_loop.as_ptr());
        // SAFETY: all are alive; the dict takes its own references.
        unsafe {
            let entered =
                if ffi::PyDict_Size(tasks) == 0 { 0 } else { ffi::PyDict_Contains(tasks, event_loop) };
            match entered {
                0 => (ffi::PyDict_SetItem(tasks, event_loop, task.object.as_ptr()) == 0).then_some(()),
                1 => {
                    let message = c"a request cannot start inside another task".as_ptr();
                    ffi::PyErr_SetString(ffi::PyExc_RuntimeError, message);
                    None
                }
                _ => None,
            }
        }
    }

    fn leave(&self) {
        // SAFETY: all are alive. Fails only when the application took the entry out: there is nobody to tell.
        unsafe {
            if ffi::PyDict_DelItem(self.current_tasks.as_ptr(), self.event_loop.as_ptr()) != 0 {
                ffi::PyErr_Clear();
            }
        }
    }

    /// Initialises the object as the Task that it is. None with an exception set.
    fn materialise(&self, object: *mut PyObject, next: NextStep) -> Option<()> {
        let Some(active) = self.active.take() else { return Some(()) };
        // SAFETY: the object is alive and of the lazy type, whose layout is that of its base: it may change to it. The reference
        // to the type that each object holds moves along (static types ignore it).
        unsafe {
            ffi::PySet_Discard(self.registry.as_ptr(), active.entry);
            ffi::Py_INCREF(self.task_type.cast());
            (*object).ob_type = self.task_type;
            ffi::Py_DECREF(self.lazy_type.cast());
        }
        set(&self.keywords, known().text.context, &active.context)?;
        let made = self.initialise(object, &active.run, next);
        // SAFETY: the interpreter is held. The request's context must not outlive it here.
        unsafe {
            keeping_exception(|| {
                let _ = set(&self.keywords, known().text.context, &none());
            });
        }
        made
    }

    #[cfg(Py_3_12)]
    fn initialise(&self, object: *mut PyObject, run: &Owned, next: NextStep) -> Option<()> {
        // SAFETY: True and False are immortal.
        let eager = unsafe {
            Owned::borrow(match next {
                NextStep::Now => ffi::Py_True(),
                NextStep::Later => ffi::Py_False(),
            })
        };
        set(&self.keywords, known().text.eager_start, &eager)?;
        self.call_initialiser(object, run)
    }

    #[cfg(not(Py_3_12))]
    fn initialise(&self, object: *mut PyObject, run: &Owned, next: NextStep) -> Option<()> {
        match next {
            NextStep::Later => self.call_initialiser(object, run),
            NextStep::Now => self.capture.run_first_step(|| self.call_initialiser(object, run)),
        }
    }

    fn call_initialiser(&self, object: *mut PyObject, run: &Owned) -> Option<()> {
        // SAFETY: all are alive; asyncio.Task has an initialiser.
        unsafe {
            let arguments = Owned::steal(ffi::PyTuple_Pack(1, run.as_ptr()))?;
            let initialise = (*self.task_type).tp_init?;
            (initialise(object, arguments.as_ptr(), self.keywords.as_ptr()) == 0).then_some(())
        }
    }
}

/// Somebody touches a lazy task in its first step: from now on it is real. None with an exception set.
pub(super) fn materialise(object: *mut PyObject) -> Option<()> {
    LAZY.with(Cell::get).map_or(Some(()), |lazy| lazy.materialise(object, NextStep::Later))
}
