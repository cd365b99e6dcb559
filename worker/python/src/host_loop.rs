//! The way from the reactor back into the user's event loop: `add_reader`, `call_soon`, `call_later`. The only file that
//! binds the two.

#![expect(unsafe_code, reason = "C functions that the loop calls")]

use std::{cell::RefCell, ptr, time::Duration};

use pyo3::{
    Bound, PyAny, PyErr, PyResult,
    ffi::{self, PyObject},
    prelude::PyAnyMethods,
};

use crate::{
    coroutine::none,
    object::{Owned, at_edge, keeping_exception},
    reactor::{Host, Reactor},
};

/// The loop, as the reactor sees it.
struct EventLoop {
    /// Bound method `loop.call_soon`.
    call_soon: Owned,
    /// Bound method `loop.call_later`.
    call_later: Owned,
    on_ready: Owned,
    on_timer: Owned,
    /// The handle of the one timer.
    timer: RefCell<Option<Owned>>,
}

/// Hangs the reactor into the loop: from now on the loop runs its turns.
pub(crate) fn attach(reactor: &'static Reactor, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = event_loop.py();
    let function = |definition: fn() -> ffi::PyMethodDef| {
        let definition = Box::leak(Box::new(definition()));
        // SAFETY: the definition lives for ever; the interpreter is held.
        unsafe { Owned::steal(ffi::PyCFunction_NewEx(definition, ptr::null_mut(), ptr::null_mut())) }
            .ok_or_else(|| PyErr::fetch(py))
    };
    let on_ready = function(|| crate::native_type::method_without_arguments(c"on_ready", on_ready))?;
    let on_timer = function(|| crate::native_type::method_without_arguments(c"on_timer", on_timer))?;
    event_loop.call_method1("add_reader", (reactor.descriptor(), on_ready.bound(py)))?;
    reactor.set_host(Box::new(EventLoop {
        call_soon: event_loop.getattr("call_soon")?.into(),
        call_later: event_loop.getattr("call_later")?.into(),
        on_ready,
        on_timer,
        timer: RefCell::new(None),
    }));
    Ok(())
}

impl Host for EventLoop {
    fn schedule_turn(&self) {
        // SAFETY: both are alive; a reactor asks only on the loop's thread, which holds the interpreter.
        unsafe {
            keeping_exception(|| {
                let handle = ffi::PyObject_CallFunctionObjArgs(
                    self.call_soon.as_ptr(),
                    self.on_ready.as_ptr(),
                    ptr::null_mut::<PyObject>(),
                );
                drop(Owned::steal(handle));
                // The loop is closed: there will be no turn.
                ffi::PyErr_Clear();
            });
        }
    }

    fn schedule_timer(&self, after: Duration) {
        // The loop may fire a little early, so the least is a millisecond: a shorter timer would turn in circles.
        let seconds = after.max(Duration::from_millis(1)).as_secs_f64();
        // SAFETY: as above.
        unsafe {
            keeping_exception(|| {
                if let Some(handle) = self.timer.take() {
                    drop(Owned::steal(ffi::PyObject_CallMethod(
                        handle.as_ptr(),
                        c"cancel".as_ptr(),
                        ptr::null(),
                    )));
                }
                let delay = Owned::steal(ffi::PyFloat_FromDouble(seconds));
                let handle = delay.and_then(|delay| {
                    Owned::steal(ffi::PyObject_CallFunctionObjArgs(
                        self.call_later.as_ptr(),
                        delay.as_ptr(),
                        self.on_timer.as_ptr(),
                        ptr::null_mut::<PyObject>(),
                    ))
                });
                self.timer.replace(handle);
                ffi::PyErr_Clear();
            });
        }
    }
}

unsafe extern "C" fn on_ready(_module: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    at_edge(|| {
        if let Some(reactor) = Reactor::current() {
            reactor.turn();
        }
        none().into_ptr()
    })
}

unsafe extern "C" fn on_timer(_module: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    at_edge(|| {
        if let Some(reactor) = Reactor::current() {
            reactor.timer_turn();
        }
        none().into_ptr()
    })
}
