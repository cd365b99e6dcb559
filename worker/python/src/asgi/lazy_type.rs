//! The type of a task that was not initialised yet: a subclass of `asyncio.Task` whose every slot first makes the object a real
//! Task and then does what the Task does.

#![expect(unsafe_code, reason = "slots of a Python type")]

use std::{ffi::c_void, ptr};

use pyo3::{
    Bound, PyAny, PyErr, PyResult,
    ffi::{self, PyObject},
    prelude::PyAnyMethods,
};

use super::lazy_task::materialise;
use crate::{
    native_type::{refuse_instantiation, slot},
    object::{Owned, at_edge},
};

/// Makes the type; `task` is `asyncio.Task`.
pub(super) fn make(task: &Bound<'_, PyAny>) -> PyResult<*mut ffi::PyTypeObject> {
    let py = task.py();
    let slots = Vec::leak(vec![
        slot(ffi::Py_tp_new, refuse_instantiation as *const c_void),
        slot(ffi::Py_tp_getattro, get_attribute as *const c_void),
        slot(ffi::Py_tp_setattro, set_attribute as *const c_void),
        slot(ffi::Py_tp_repr, represent as *const c_void),
        slot(ffi::Py_tp_iter, iterate as *const c_void),
        slot(ffi::Py_am_await, iterate as *const c_void),
        slot(0, ptr::null()),
    ]);
    let mut spec = ffi::PyType_Spec {
        name: c"worker_python.Task".as_ptr(),
        // That of the base.
        basicsize: 0,
        itemsize: 0,
        flags: u32::try_from(ffi::Py_TPFLAGS_DEFAULT).unwrap_or(0),
        slots: slots.as_mut_ptr(),
    };
    let bases = pyo3::types::PyTuple::new(py, [task])?;
    // SAFETY: the slots live for ever and fit any object; the base allows subclasses.
    let made = unsafe { ffi::PyType_FromSpecWithBases(&raw mut spec, bases.as_ptr()) };
    let made: *mut ffi::PyTypeObject = made.cast();
    if made.is_null() {
        return Err(PyErr::fetch(py));
    }
    // SAFETY: both are living types.
    let (own, base) =
        unsafe { ((*made).tp_basicsize, (*task.as_ptr().cast::<ffi::PyTypeObject>()).tp_basicsize) };
    if own != base || !task.hasattr("__await__")? {
        return Err(pyo3::exceptions::PySystemError::new_err("asyncio.Task has an unknown layout"));
    }
    Ok(made)
}

unsafe extern "C" fn get_attribute(this: *mut PyObject, name: *mut PyObject) -> *mut PyObject {
    // SAFETY: Python passes a living object and a str; the object is a Task when its attribute is read.
    at_edge(|| unsafe {
        match materialise(this) {
            Some(()) => ffi::PyObject_GenericGetAttr(this, name),
            None => ptr::null_mut(),
        }
    })
}

unsafe extern "C" fn set_attribute(this: *mut PyObject, name: *mut PyObject, value: *mut PyObject) -> i32 {
    let mut result = -1;
    let _ = at_edge(|| {
        if materialise(this).is_some() {
            // SAFETY: Python passes living objects.
            result = unsafe { ffi::PyObject_GenericSetAttr(this, name, value) };
        }
        ptr::null_mut()
    });
    result
}

unsafe extern "C" fn represent(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: Python passes a living object.
    at_edge(|| unsafe {
        match materialise(this) {
            Some(()) => ffi::PyObject_Repr(this),
            None => ptr::null_mut(),
        }
    })
}

unsafe extern "C" fn iterate(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: Python passes a living object.
    at_edge(|| unsafe {
        match materialise(this) {
            Some(()) => Owned::steal(ffi::PyObject_GetIter(this)).map_or(ptr::null_mut(), Owned::into_ptr),
            None => ptr::null_mut(),
        }
    })
}
