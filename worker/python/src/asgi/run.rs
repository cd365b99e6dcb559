//! One run of the application: the coroutine that a request's task steps. It calls the application in its first step, passes
//! every further step on, and sees the end: a reply that is missing, an exception that nobody caught.

#![expect(unsafe_code, reason = "C API on the request path")]

use std::{
    cell::{Cell, RefCell},
    ffi::c_void,
    rc::Rc,
};

use pyo3::{
    PyErr, Python,
    exceptions::PyTypeError,
    ffi::{self, PyObject},
    prelude::PyAnyMethods,
};

use super::{app::Shared, channel::Channel, known::ClientDisconnected};
use crate::{
    coroutine::{Coroutine, Stepped, none, raise_from, slots, step, throw_into},
    native_type::{NativeType, slot},
    object::{Owned, at_edge},
};

static RUN: NativeType<Run> = NativeType::new();

/// Makes the type. False with an exception when Python refused.
pub(super) fn make_type() -> bool {
    let mut all = slots::<Run>();
    all.push(slot(ffi::Py_tp_getattro, get_attribute as *const c_void));
    all.push(slot(0, std::ptr::null()));
    // SAFETY: the interpreter is held; the slots are those of a coroutine-like type and end with a zero slot.
    unsafe { RUN.make(c"worker_python.Run", 0, all) }
}

/// See the module.
pub(super) struct Run {
    shared: Rc<Shared>,
    channel: Owned,
    stage: RefCell<Stage>,
    /// The task's place among those that are suspended.
    registration: Cell<Option<usize>>,
    /// What came of a first step that was taken before there was a task: what the task's own first step comes to.
    #[cfg(lazy_tasks)]
    stash: RefCell<Option<Stash>>,
}

/// See [`Run::stash`].
#[cfg(lazy_tasks)]
pub(super) enum Stash {
    /// It waits for this future.
    Yield(Owned),
    /// The run is over.
    Return,
    /// It ended with this exception.
    Raise(PyErr),
}

#[cfg(lazy_tasks)]
impl Stash {
    /// Keeps a step; takes the exception that is set when it raised.
    pub(super) fn of(stepped: Stepped) -> Self {
        match stepped {
            Stepped::Yield(future) => Self::Yield(future),
            Stepped::Return(_) => Self::Return,
            Stepped::Raise => Python::attach(|py| PyErr::take(py).map_or(Self::Return, Self::Raise)),
        }
    }

    fn deliver(self) -> Stepped {
        match self {
            Self::Yield(future) => Stepped::Yield(future),
            Self::Return => Stepped::Return(none()),
            Self::Raise(error) => {
                Python::attach(|py| error.restore(py));
                Stepped::Raise
            }
        }
    }
}

enum Stage {
    /// The application was not called yet.
    New { scope: Owned },
    /// It runs; this is its coroutine.
    Running { coroutine: Owned },
    /// It is over.
    Over,
}

impl Run {
    /// Makes the object; None with an exception when there is no memory.
    pub(super) fn object(shared: Rc<Shared>, scope: Owned, channel: Owned) -> Option<Owned> {
        let run = Self {
            shared,
            channel,
            stage: RefCell::new(Stage::New { scope }),
            registration: Cell::new(None),
            #[cfg(lazy_tasks)]
            stash: RefCell::new(None),
        };
        // SAFETY: the interpreter is held and the type was made.
        unsafe { Owned::steal(RUN.object(None, run)) }
    }

    /// The content of the object.
    pub(super) fn of(object: &Owned) -> &Self {
        // SAFETY: only called with what `object` made; the reference keeps it alive.
        unsafe { NativeType::content(object.as_ptr()) }
    }

    /// Whether the application has ended.
    pub(super) fn is_over(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Over)
    }

    /// Notes where the task is registered while it is suspended.
    pub(super) fn set_registration(&self, place: usize) {
        self.registration.set(Some(place));
    }

    /// Keeps what came of the first step until the task asks.
    #[cfg(lazy_tasks)]
    pub(super) fn stash(&self, stash: Stash) {
        self.stash.replace(Some(stash));
    }

    fn channel(&self) -> &Channel {
        // SAFETY: the reference is to a channel object, which `self` keeps alive.
        unsafe { NativeType::content(self.channel.as_ptr()) }
    }

    /// Calls the application and takes its first step.
    fn begin(&self, scope: &Owned) -> Stepped {
        // SAFETY: all are alive for the call; the application gets them as arguments.
        let coroutine = unsafe {
            let channel = self.channel.as_ptr();
            // Place for the callee's `self`, so that it need not copy the arguments.
            let mut arguments = [std::ptr::null_mut(), scope.as_ptr(), channel, channel];
            let count = 3 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
            let application = self.shared.application.as_ptr();
            let returned = ffi::PyObject_Vectorcall(
                application,
                arguments.as_mut_ptr().add(1),
                count,
                std::ptr::null_mut(),
            );
            Owned::steal(returned).and_then(|returned| awaited(returned))
        };
        let Some(coroutine) = coroutine else { return self.end(Stepped::Raise) };
        let pointer = coroutine.as_ptr();
        self.stage.replace(Stage::Running { coroutine: coroutine.clone() });
        // SAFETY: `coroutine` keeps it alive during the step.
        self.end(unsafe { step(pointer, ffi::Py_None()) })
    }

    /// Looks at a step: the end of the application is the end of the run.
    fn end(&self, stepped: Stepped) -> Stepped {
        match stepped {
            Stepped::Yield(future) => Stepped::Yield(future),
            Stepped::Return(_) => {
                if let Some(undone) = self.channel().returned() {
                    self.shared.report_undone(undone);
                }
                self.leave();
                Stepped::Return(none())
            }
            Stepped::Raise => self.end_with_exception(),
        }
    }

    fn end_with_exception(&self) -> Stepped {
        Python::attach(|py| {
            let error = PyErr::take(py);
            self.channel().fail();
            self.leave();
            match error {
                Some(error) if self.shared.is_cancellation(py, &error) => {
                    // The task must end as cancelled.
                    error.restore(py);
                    Stepped::Raise
                }
                // It let through what `send()` raised: that the client is gone is no failure of the application.
                Some(error) if error.is_instance_of::<ClientDisconnected>(py) => Stepped::Return(none()),
                Some(error) => {
                    self.shared.report_exception(py, error);
                    Stepped::Return(none())
                }
                None => Stepped::Return(none()),
            }
        })
    }

    fn leave(&self) {
        let stage = self.stage.replace(Stage::Over);
        if let Some(place) = self.registration.take() {
            self.shared.tasks.remove(place);
        }
        drop(stage);
    }

    fn running(&self) -> Option<Owned> {
        match &*self.stage.borrow() {
            Stage::Running { coroutine } => Some(coroutine.clone()),
            Stage::New { .. } | Stage::Over => None,
        }
    }

    /// The scope, for the first step alone.
    fn take_scope(&self) -> Option<Owned> {
        match &*self.stage.borrow() {
            Stage::New { scope } => Some(scope.clone()),
            Stage::Running { .. } | Stage::Over => None,
        }
    }
}

impl Coroutine for Run {
    const TYPE: &'static NativeType<Self> = &RUN;

    fn send(&self, _this: *mut PyObject, value: *mut PyObject) -> Stepped {
        #[cfg(lazy_tasks)]
        if let Some(stash) = self.stash.take() {
            return stash.deliver();
        }
        if let Some(coroutine) = self.running() {
            // SAFETY: the clone keeps the coroutine alive during the step.
            return self.end(unsafe { step(coroutine.as_ptr(), value) });
        }
        match self.take_scope() {
            Some(scope) => self.begin(&scope),
            None => {
                // SAFETY: the interpreter is held.
                unsafe {
                    ffi::PyErr_SetString(
                        ffi::PyExc_RuntimeError,
                        c"cannot reuse an already awaited coroutine".as_ptr(),
                    );
                }
                Stepped::Raise
            }
        }
    }

    fn throw(&self, _this: *mut PyObject, arguments: *mut PyObject) -> Stepped {
        // A task that was cancelled in its first step cancels what that step waits for, and is told by it.
        #[cfg(lazy_tasks)]
        if let Some(Stash::Yield(future)) = self.stash.take()
            && cancel(&future)
        {
            return Stepped::Yield(future);
        }
        // SAFETY: Python passes a tuple; the clone keeps the coroutine alive during the step.
        unsafe {
            match self.running() {
                Some(coroutine) => self.end(throw_into(coroutine.as_ptr(), arguments)),
                None if self.is_over() => raise_from(arguments),
                None => self.end(raise_from(arguments)),
            }
        }
    }

    fn close(&self) {
        if let Some(coroutine) = self.running() {
            // SAFETY: the coroutine is alive; what its close raises is told as Python tells it of any coroutine.
            unsafe {
                let closed =
                    ffi::PyObject_CallMethod(coroutine.as_ptr(), c"close".as_ptr(), std::ptr::null());
                if Owned::steal(closed).is_none() {
                    ffi::PyErr_WriteUnraisable(coroutine.as_ptr());
                }
            }
        }
        self.abandon();
    }
}

impl Run {
    fn abandon(&self) {
        if !self.is_over() {
            self.channel().fail();
            self.leave();
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // A task that was destroyed while it was pending.
        self.abandon();
    }
}

#[cfg(lazy_tasks)]
/// Cancels a future; false when it cannot be cancelled any more.
fn cancel(future: &Owned) -> bool {
    Python::attach(|py| {
        let cancelled = future.bound(py).call_method0("cancel").and_then(|cancelled| cancelled.is_truthy());
        cancelled.unwrap_or_else(|error| {
            error.write_unraisable(py, None);
            false
        })
    })
}

/// What `await` would step: a coroutine itself, or the iterator that another awaitable gives. None with an exception set.
unsafe fn awaited(returned: Owned) -> Option<Owned> {
    // SAFETY: the object is alive; the slots are called as Python calls them.
    unsafe {
        let pointer = returned.as_ptr();
        if ffi::PyCoro_CheckExact(pointer) != 0 {
            return Some(returned);
        }
        let kind = ffi::Py_TYPE(pointer);
        let methods = (*kind).tp_as_async;
        if let Some(function) = methods.as_ref().and_then(|methods| methods.am_await) {
            return Owned::steal(function(pointer));
        }
        if ffi::PyGen_CheckExact(pointer) != 0 {
            // Made by types.coroutine, or the await fails where Python says so.
            return Some(returned);
        }
        let py = Python::assume_attached();
        let name = returned.bound(py);
        let name = name.get_type().to_string();
        PyTypeError::new_err(format!(
            "the application returned {name}, which cannot be awaited: an ASGI application is `async def app(scope, receive, send)`"
        ))
        .restore(py);
        None
    }
}

/// Attributes that the run does not have are those of the application's coroutine: `cr_frame`, `cr_code`, `__qualname__` let
/// asyncio's debugging see into it.
unsafe extern "C" fn get_attribute(this: *mut PyObject, name: *mut PyObject) -> *mut PyObject {
    // SAFETY: Python passes a living object of this type and a str.
    at_edge(|| unsafe {
        let own = ffi::PyObject_GenericGetAttr(this, name);
        if !own.is_null() || ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) == 0 {
            return own;
        }
        let Some(coroutine) = NativeType::<Run>::content(this).running() else { return own };
        ffi::PyErr_Clear();
        ffi::PyObject_GetAttr(coroutine.as_ptr(), name)
    })
}
