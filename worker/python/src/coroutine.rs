//! What every coroutine-like native object shares: the slots and methods that make `await`, `asyncio.Task` and
//! `asyncio.create_task` take it for a coroutine, over one Rust trait.

#![expect(unsafe_code, reason = "slots of Python types")]

use std::ffi::c_void;

use pyo3::ffi::{self, PyObject};

use crate::{
    native_type::{
        NativeType, method_table, method_with_argument, method_with_tuple, method_without_arguments, slot,
    },
    object::{Owned, at_edge},
};

/// What a step of a coroutine came to.
pub(crate) enum Stepped {
    /// It waits for this future.
    Yield(Owned),
    /// It returned this.
    Return(Owned),
    /// It raised: the exception is set.
    Raise,
}

impl Stepped {
    /// A new reference, or the raise when there is none.
    pub(crate) fn returning(value: Option<Owned>) -> Self {
        value.map_or(Self::Raise, Self::Return)
    }
}

/// The behaviour of a coroutine-like object. The interpreter is held in every call.
pub(crate) trait Coroutine: Sized + 'static {
    /// Where its type is.
    const TYPE: &'static NativeType<Self>;

    /// Goes on with the result of what it waited for; the first time with None.
    fn send(&self, this: *mut PyObject, value: *mut PyObject) -> Stepped;

    /// Raises inside it; `arguments` is the tuple `(type_or_instance[, value[, traceback]])`.
    fn throw(&self, this: *mut PyObject, arguments: *mut PyObject) -> Stepped;

    /// Ends it without another step.
    fn close(&self);
}

/// None, as a new reference.
pub(crate) fn none() -> Owned {
    // SAFETY: None is immortal.
    unsafe { Owned::borrow(ffi::Py_None()) }
}

/// Steps any awaitable's iterator or coroutine.
///
/// # Safety
/// `iterator` and `value` are alive and the interpreter is held.
pub(crate) unsafe fn step(iterator: *mut PyObject, value: *mut PyObject) -> Stepped {
    #[cfg(Py_3_10)]
    // SAFETY: the caller's promise; PyIter_Send stores a strong reference unless it says error.
    unsafe {
        let mut result = std::ptr::null_mut();
        match ffi::PyIter_Send(iterator, value, &raw mut result) {
            ffi::PySendResult::PYGEN_NEXT => Owned::steal(result).map_or(Stepped::Raise, Stepped::Yield),
            ffi::PySendResult::PYGEN_RETURN => Stepped::returning(Owned::steal(result)),
            ffi::PySendResult::PYGEN_ERROR => Stepped::Raise,
        }
    }
    #[cfg(not(Py_3_10))]
    // SAFETY: the caller's promise; the slot is called only where the type has it.
    unsafe {
        let next = (*ffi::Py_TYPE(iterator)).tp_iternext;
        let yielded = match next {
            Some(next) if value == ffi::Py_None() => next(iterator),
            _ => {
                let Some(name) = crate::object::interned(c"send") else { return Stepped::Raise };
                ffi::PyObject_CallMethodObjArgs(
                    iterator,
                    name.as_ptr(),
                    value,
                    std::ptr::null_mut::<PyObject>(),
                )
            }
        };
        stepped(yielded)
    }
}

/// Throws into any awaitable's iterator or coroutine.
///
/// # Safety
/// `iterator` is alive, `arguments` a living tuple, and the interpreter is held.
pub(crate) unsafe fn throw_into(iterator: *mut PyObject, arguments: *mut PyObject) -> Stepped {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(throw) = Owned::steal(ffi::PyObject_GetAttrString(iterator, c"throw".as_ptr())) else {
            return Stepped::Raise;
        };
        stepped(ffi::PyObject_Call(throw.as_ptr(), arguments, std::ptr::null_mut()))
    }
}

/// Reads what a `send` or `throw` method returned: an object, or StopIteration with the result, or another exception.
unsafe fn stepped(yielded: *mut PyObject) -> Stepped {
    // SAFETY: `yielded` is null or a strong reference; the interpreter is held.
    unsafe {
        if let Some(yielded) = Owned::steal(yielded) {
            return Stepped::Yield(yielded);
        }
        if ffi::PyErr_Occurred().is_null() {
            return Stepped::Return(none());
        }
        if ffi::PyErr_ExceptionMatches(ffi::PyExc_StopIteration) == 0 {
            return Stepped::Raise;
        }
        let stop = pyo3::PyErr::fetch(pyo3::Python::assume_attached());
        let py = pyo3::Python::assume_attached();
        let value = pyo3::types::PyAnyMethods::getattr(stop.value(py).as_any(), "value");
        Stepped::Return(value.map_or_else(|_missing| none(), Owned::from))
    }
}

/// Sets the exception that `throw`'s arguments name.
///
/// # Safety
/// `arguments` is a living tuple and the interpreter is held.
pub(crate) unsafe fn raise_from(arguments: *mut PyObject) -> Stepped {
    // SAFETY: the caller's promise; items of a tuple are borrowed and alive.
    unsafe {
        let count = ffi::PyTuple_Size(arguments);
        if count < 1 {
            ffi::PyErr_SetString(
                ffi::PyExc_TypeError,
                c"throw() expected at least 1 argument, got 0".as_ptr(),
            );
            return Stepped::Raise;
        }
        let exception = ffi::PyTuple_GetItem(arguments, 0);
        if ffi::PyExceptionInstance_Check(exception) != 0 {
            ffi::PyErr_SetObject(ffi::Py_TYPE(exception).cast(), exception);
        } else {
            let value = if count > 1 { ffi::PyTuple_GetItem(arguments, 1) } else { ffi::Py_None() };
            ffi::PyErr_SetObject(exception, value);
        }
        Stepped::Raise
    }
}

/// The slots of a coroutine-like type; the caller adds its own and the end.
pub(crate) fn slots<T: Coroutine>() -> Vec<ffi::PyType_Slot> {
    let methods = method_table(vec![
        method_with_argument(c"send", method_send::<T>),
        method_with_tuple(c"throw", method_throw::<T>),
        method_without_arguments(c"close", method_close::<T>),
    ]);
    vec![
        slot(ffi::Py_tp_dealloc, deallocate::<T> as *const c_void),
        slot(ffi::Py_tp_new, crate::native_type::refuse_instantiation as *const c_void),
        slot(ffi::Py_am_await, itself as *const c_void),
        slot(ffi::Py_tp_iter, itself as *const c_void),
        slot(ffi::Py_tp_iternext, next::<T> as *const c_void),
        #[cfg(Py_3_10)]
        slot(ffi::Py_am_send, am_send::<T> as *const c_void),
        slot(ffi::Py_tp_methods, methods),
    ]
}

unsafe extern "C" fn deallocate<T: Coroutine>(this: *mut PyObject) {
    // SAFETY: Python calls this once, when the last reference is gone. Dropping content may run Python code, which must not
    // see or disturb an exception that is being handled.
    unsafe {
        crate::object::keeping_exception(|| T::TYPE.free(this));
    }
}

unsafe extern "C" fn itself(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: Python passes a living object.
    unsafe { Owned::borrow(this).into_ptr() }
}

#[cfg(Py_3_10)]
unsafe extern "C" fn am_send<T: Coroutine>(
    this: *mut PyObject,
    value: *mut PyObject,
    result: *mut *mut PyObject,
) -> ffi::PySendResult {
    let mut kind = ffi::PySendResult::PYGEN_ERROR;
    // SAFETY: Python passes a living object of this type, and a place for the result.
    let object = at_edge(|| match unsafe { NativeType::<T>::content(this) }.send(this, value) {
        Stepped::Yield(future) => {
            kind = ffi::PySendResult::PYGEN_NEXT;
            future.into_ptr()
        }
        Stepped::Return(value) => {
            kind = ffi::PySendResult::PYGEN_RETURN;
            value.into_ptr()
        }
        Stepped::Raise => std::ptr::null_mut(),
    });
    // SAFETY: as above.
    unsafe { result.write(object) };
    kind
}

unsafe extern "C" fn next<T: Coroutine>(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: Python passes a living object of this type; None is immortal.
    at_edge(|| unsafe {
        match NativeType::<T>::content(this).send(this, ffi::Py_None()) {
            // An iterator that ends without a set exception returned None: no StopIteration need be made.
            Stepped::Return(value) if value.as_ptr() == ffi::Py_None() => std::ptr::null_mut(),
            stepped => yielded_or_stop(stepped),
        }
    })
}

unsafe extern "C" fn method_send<T: Coroutine>(this: *mut PyObject, value: *mut PyObject) -> *mut PyObject {
    // SAFETY: Python passes a living object of this type.
    at_edge(|| unsafe { yielded_or_stop(NativeType::<T>::content(this).send(this, value)) })
}

unsafe extern "C" fn method_throw<T: Coroutine>(
    this: *mut PyObject,
    arguments: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: Python passes a living object of this type and a tuple.
    at_edge(|| unsafe { yielded_or_stop(NativeType::<T>::content(this).throw(this, arguments)) })
}

unsafe extern "C" fn method_close<T: Coroutine>(this: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    at_edge(|| {
        // SAFETY: Python passes a living object of this type.
        unsafe { NativeType::<T>::content(this) }.close();
        none().into_ptr()
    })
}

unsafe fn yielded_or_stop(stepped: Stepped) -> *mut PyObject {
    match stepped {
        Stepped::Yield(future) => future.into_ptr(),
        Stepped::Return(value) => {
            // SAFETY: the interpreter is held. None of our results is a tuple or an exception, which SetObject would unpack.
            unsafe { ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value.as_ptr()) };
            std::ptr::null_mut()
        }
        Stepped::Raise => std::ptr::null_mut(),
    }
}
