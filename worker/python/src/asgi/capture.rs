//! Takes the place of `loop.call_soon` while a task is made, and then makes the one call that the task wanted to have made: its
//! first step.

#![expect(unsafe_code, reason = "a callable that C calls")]

use std::{cell::RefCell, ffi::c_void, ptr};

use pyo3::{
    Bound, PyAny, PyErr, PyResult,
    ffi::{self, PyObject},
    prelude::PyAnyMethods,
};

use super::known::Immortal;
use crate::{
    native_type::{NativeType, refuse_instantiation, slot, vectorcall_member},
    object::{Owned, at_edge, interned},
};

static CAPTURE: NativeType<Captured> = NativeType::new();

/// The call that a task wanted to have made soon.
#[derive(Default)]
struct Captured {
    call: RefCell<Option<Call>>,
}

struct Call {
    callback: Owned,
    context: Owned,
}

pub(super) struct Capture {
    /// The loop's instance attributes.
    attributes: Owned,
    call_soon: Immortal,
    object: Owned,
}

impl Capture {
    pub(super) fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = event_loop.py();
        let slots = vec![
            slot(ffi::Py_tp_dealloc, deallocate as *const c_void),
            slot(ffi::Py_tp_new, refuse_instantiation as *const c_void),
            slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *const c_void),
            slot(ffi::Py_tp_members, vectorcall_member::<Captured>()),
            slot(0, ptr::null()),
        ];
        let flags = ffi::Py_TPFLAGS_HAVE_VECTORCALL;
        // SAFETY: the interpreter is held; the slots fit a type with a vectorcall entry and end with a zero slot.
        let object = unsafe {
            if !CAPTURE.make(c"worker_python.Capture", flags, slots) {
                return Err(PyErr::fetch(py));
            }
            Owned::steal(CAPTURE.object(Some(call), Captured::default()))
        };
        let name = interned(c"call_soon").ok_or_else(|| PyErr::fetch(py))?;
        Ok(Self {
            attributes: event_loop.getattr("__dict__")?.into(),
            call_soon: Immortal::new(name),
            object: object.ok_or_else(|| PyErr::fetch(py))?,
        })
    }

    /// Runs `make_task` and then the first step that the task wanted to have called. A loop whose `call_soon` somebody
    /// replaced already is left alone: its tasks start in the loop's next round.
    pub(super) fn run_first_step<R>(&self, make_task: impl FnOnce() -> Option<R>) -> Option<R> {
        // SAFETY: the dict, the key and the object are alive.
        unsafe {
            let (attributes, key) = (self.attributes.as_ptr(), self.call_soon.as_ptr());
            if ffi::PyDict_Contains(attributes, key) != 0 {
                ffi::PyErr_Clear();
                return make_task();
            }
            if ffi::PyDict_SetItem(attributes, key, self.object.as_ptr()) != 0 {
                return None;
            }
            let task = make_task();
            crate::object::keeping_exception(|| {
                if ffi::PyDict_DelItem(attributes, key) != 0 {
                    ffi::PyErr_Clear();
                }
            });
            let captured: &Captured = NativeType::content(self.object.as_ptr());
            let call = captured.call.take();
            if let (Some(call), Some(_)) = (call, &task) {
                call.make();
            }
            task
        }
    }
}

impl Call {
    /// What the loop would have done in its next round.
    fn make(&self) {
        // SAFETY: both are alive. A step reports through its task; what it raises all the same is the interpreter's to end,
        // which is told as the loop would tell it.
        unsafe {
            if ffi::PyContext_Enter(self.context.as_ptr()) != 0 {
                ffi::PyErr_WriteUnraisable(self.callback.as_ptr());
                return;
            }
            let returned = Owned::steal(ffi::PyObject_CallNoArgs(self.callback.as_ptr()));
            crate::object::keeping_exception(|| {
                ffi::PyContext_Exit(self.context.as_ptr());
            });
            if returned.is_none() {
                ffi::PyErr_WriteUnraisable(self.callback.as_ptr());
            }
        }
    }
}

/// Called as `call_soon(callback, context=context)`.
unsafe extern "C" fn call(
    this: *mut PyObject,
    arguments: *const *mut PyObject,
    count: usize,
    keywords: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: Python passes a living object of this type and as many arguments as it says, keyword values included.
    at_edge(|| unsafe {
        let positional = ffi::PyVectorcall_NARGS(count);
        if positional != 1 || keywords.is_null() || ffi::PyTuple_Size(keywords) != 1 {
            ffi::PyErr_SetString(ffi::PyExc_TypeError, c"unexpected call_soon of a new task".as_ptr());
            return ptr::null_mut();
        }
        let call = Call { callback: Owned::borrow(*arguments), context: Owned::borrow(*arguments.add(1)) };
        NativeType::<Captured>::content(this).call.replace(Some(call));
        crate::coroutine::none().into_ptr()
    })
}

unsafe extern "C" fn deallocate(this: *mut PyObject) {
    // SAFETY: Python calls this once, when the last reference is gone.
    unsafe { CAPTURE.free(this) };
}
