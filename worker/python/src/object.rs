//! Strong references without PyO3's bookkeeping, for the request path: one increment, one decrement, nothing else.
//!
//! Everything here needs the interpreter (the GIL). That holds on the request path by construction: the reactor runs only
//! inside callbacks of the event loop and inside calls from Python.

#![expect(unsafe_code, reason = "thin wrapper over reference counts")]

use std::{ptr::NonNull, slice};

use pyo3::{Bound, Py, PyAny, Python, ffi};

/// A strong reference to a Python object. Not `Send`; dropped with the interpreter held.
pub(crate) struct Owned(NonNull<ffi::PyObject>);

impl Owned {
    /// Takes over the reference that a C function returned; None when it failed and set an exception.
    ///
    /// # Safety
    /// `returned` is null or a strong reference that nobody else gives back.
    pub(crate) unsafe fn steal(returned: *mut ffi::PyObject) -> Option<Self> {
        NonNull::new(returned).map(Self)
    }

    /// Adds a reference to an object that somebody else keeps alive.
    ///
    /// # Safety
    /// `borrowed` is a living object.
    pub(crate) unsafe fn borrow(borrowed: *mut ffi::PyObject) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            ffi::Py_INCREF(borrowed);
            Self(NonNull::new_unchecked(borrowed))
        }
    }

    /// The object, for as long as this reference lives.
    pub(crate) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// Gives the reference to the caller.
    pub(crate) fn into_ptr(self) -> *mut ffi::PyObject {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        pointer
    }

    /// The same object in PyO3's terms.
    pub(crate) fn bound<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        // SAFETY: the pointer is a living object, and the token proves that the interpreter is held.
        unsafe { Bound::from_borrowed_ptr(py, self.as_ptr()) }
    }
}

impl From<Bound<'_, PyAny>> for Owned {
    fn from(bound: Bound<'_, PyAny>) -> Self {
        // SAFETY: `into_ptr` gives a strong, non-null reference.
        unsafe { Self(NonNull::new_unchecked(bound.into_ptr())) }
    }
}

impl From<Py<PyAny>> for Owned {
    fn from(object: Py<PyAny>) -> Self {
        // SAFETY: as above.
        unsafe { Self(NonNull::new_unchecked(object.into_ptr())) }
    }
}

impl Clone for Owned {
    fn clone(&self) -> Self {
        // SAFETY: `self` keeps the object alive.
        unsafe { Self::borrow(self.as_ptr()) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the reference is ours to give back.
        unsafe { ffi::Py_DECREF(self.as_ptr()) }
    }
}

/// A `bytes` or `str` object and where its content lies: what a part of a body or a message is to the engine. Never copied.
pub(crate) struct Bytes {
    content: NonNull<u8>,
    length: usize,
    _object: Owned,
}

impl Bytes {
    /// Wraps a `bytes` object; None for any other.
    pub(crate) fn new(object: Owned) -> Option<Self> {
        // SAFETY: the object is alive, and so is its content, which never moves.
        unsafe {
            let content = bytes_of(object.as_ptr())?;
            let (content, length) = (NonNull::from(content).cast(), content.len());
            Some(Self { content, length, _object: object })
        }
    }
}

/// A `str` as the bytes of its UTF-8, which it keeps beside it. None with an exception set for a lone surrogate, which has none, and for
/// what is no `str`.
pub(crate) fn text_bytes(object: Owned) -> Option<Bytes> {
    // SAFETY: the interpreter is held; the UTF-8 is the object's own and lives and stays as long as it.
    unsafe {
        let mut length = 0;
        let content = ffi::PyUnicode_AsUTF8AndSize(object.as_ptr(), &raw mut length);
        let content = NonNull::new(content.cast_mut().cast())?;
        Some(Bytes { content, length: usize::try_from(length).unwrap_or(0), _object: object })
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the object is alive and immutable, and `length` is its size.
        unsafe { slice::from_raw_parts(self.content.as_ptr(), self.length) }
    }
}

/// The content of a `bytes` object; None for any other.
///
/// # Safety
/// `object` is alive for `'a`.
pub(crate) unsafe fn bytes_of<'a>(object: *mut ffi::PyObject) -> Option<&'a [u8]> {
    // SAFETY: checked first; the content of `bytes` neither moves nor changes.
    unsafe {
        (ffi::PyBytes_Check(object) != 0).then(|| {
            let length = usize::try_from(ffi::Py_SIZE(object)).unwrap_or(0);
            slice::from_raw_parts(ffi::PyBytes_AS_STRING(object).cast::<u8>(), length)
        })
    }
}

/// A new `bytes` object.
pub(crate) fn new_bytes(content: &[u8]) -> Option<Owned> {
    // SAFETY: pointer and length come from a slice; the interpreter is held.
    unsafe {
        Owned::steal(ffi::PyBytes_FromStringAndSize(content.as_ptr().cast(), content.len().cast_signed()))
    }
}

/// A new `str` object; bytes that are no UTF-8 become U+FFFD.
pub(crate) fn new_text(content: &[u8]) -> Option<Owned> {
    // SAFETY: as above; the error handler's name is a C string.
    unsafe {
        Owned::steal(ffi::PyUnicode_DecodeUTF8(
            content.as_ptr().cast(),
            content.len().cast_signed(),
            c"replace".as_ptr(),
        ))
    }
}

/// A new, interned `str` object.
pub(crate) fn interned(text: &'static std::ffi::CStr) -> Option<Owned> {
    // SAFETY: the text is a C string of UTF-8.
    unsafe { Owned::steal(ffi::PyUnicode_InternFromString(text.as_ptr())) }
}

/// Runs `edge`, the body of a function that C calls, and turns a panic (a bug of ours) into Python's SystemError instead of
/// unwinding into C.
pub(crate) fn at_edge(edge: impl FnOnce() -> *mut ffi::PyObject) -> *mut ffi::PyObject {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(edge)).unwrap_or_else(|_panic| {
        // SAFETY: called from Python, so the interpreter is held.
        unsafe {
            ffi::PyErr_SetString(
                ffi::PyExc_SystemError,
                c"a bug in supervise's worker: see its log".as_ptr(),
            );
        }
        std::ptr::null_mut()
    })
}

/// Runs `step` with no exception set, and sets the one that was there again: for code that Python calls in the middle of
/// handling one.
///
/// # Safety
/// The interpreter is held.
pub(crate) unsafe fn keeping_exception(step: impl FnOnce()) {
    // SAFETY: the caller's promise; what is fetched is restored.
    unsafe {
        if ffi::PyErr_Occurred().is_null() {
            step();
            return;
        }
        let py = Python::assume_attached();
        let pending = pyo3::PyErr::take(py);
        step();
        if let Some(pending) = pending {
            pending.restore(py);
        }
    }
}
