//! Header fields as an application gives them: any iterable of pairs of `bytes`, checked once and then read without a copy.

#![expect(unsafe_code, reason = "C API on the request path")]

use pyo3::{
    exceptions::PyValueError,
    ffi::{self, PyObject},
};

use super::message::{Refused, wrong_type};
use crate::object::{Owned, bytes_of};

/// The headers of a reply: checked to be pairs of bytes, and held while the engine reads them.
pub(super) struct Fields {
    /// A list or tuple of lists or tuples of two `bytes`.
    pairs: Owned,
}

impl Fields {
    /// Reads any iterable of pairs.
    pub(super) unsafe fn read(headers: &Owned) -> Result<Self, Refused> {
        // SAFETY: the object is alive; sequences made by PySequence_Fast are lists or tuples.
        unsafe {
            let message = c"'headers' must be an iterable of pairs";
            let pairs = Owned::steal(ffi::PySequence_Fast(headers.as_ptr(), message.as_ptr()))
                .ok_or(Refused::AlreadySet)?;
            for index in 0..fast_size(pairs.as_ptr()) {
                let pair = fast_item(pairs.as_ptr(), index);
                if !is_list_or_tuple(pair) {
                    return Self::read_unusual(&pairs);
                }
                check_pair(pair)?;
            }
            Ok(Self { pairs })
        }
    }

    /// Pairs that are neither lists nor tuples become tuples first.
    unsafe fn read_unusual(pairs: &Owned) -> Result<Self, Refused> {
        // SAFETY: as above; the new list keeps the new tuples alive.
        unsafe {
            let tuples = Owned::steal(ffi::PyList_New(0)).ok_or(Refused::AlreadySet)?;
            for index in 0..fast_size(pairs.as_ptr()) {
                let pair = Owned::steal(ffi::PySequence_Tuple(fast_item(pairs.as_ptr(), index)))
                    .ok_or(Refused::AlreadySet)?;
                check_pair(pair.as_ptr())?;
                if ffi::PyList_Append(tuples.as_ptr(), pair.as_ptr()) != 0 {
                    return Err(Refused::AlreadySet);
                }
            }
            Ok(Self { pairs: tuples })
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        // SAFETY: `read` checked every pair, no Python code has run since, and none runs while the engine iterates.
        unsafe {
            let pairs = self.pairs.as_ptr();
            (0..fast_size(pairs)).filter_map(move |index| {
                let pair = fast_item(pairs, index);
                Some((bytes_of(fast_item(pair, 0))?, bytes_of(fast_item(pair, 1))?))
            })
        }
    }
}

/// The size of a list or tuple.
pub(super) unsafe fn fast_size(sequence: *mut PyObject) -> ffi::Py_ssize_t {
    // SAFETY: the caller passes a list or tuple, whose size stands in its head.
    unsafe { ffi::Py_SIZE(sequence) }
}

unsafe fn is_list_or_tuple(object: *mut PyObject) -> bool {
    // SAFETY: the caller's object is alive.
    unsafe { ffi::PyList_Check(object) != 0 || ffi::PyTuple_Check(object) != 0 }
}

/// A borrowed item of a list or tuple; the index is in range.
pub(super) unsafe fn fast_item(sequence: *mut PyObject, index: ffi::Py_ssize_t) -> *mut PyObject {
    // SAFETY: the caller passes a list or tuple and a valid index.
    unsafe {
        if ffi::PyTuple_Check(sequence) != 0 {
            ffi::PyTuple_GET_ITEM(sequence, index)
        } else {
            ffi::PyList_GET_ITEM(sequence, index)
        }
    }
}

unsafe fn check_pair(pair: *mut PyObject) -> Result<(), Refused> {
    // SAFETY: the caller passes a living list or tuple.
    unsafe {
        if fast_size(pair) != 2 {
            return Err(PyValueError::new_err("each header must be a pair of name and value").into());
        }
        for (index, what) in [(0, "a header's name"), (1, "a header's value")] {
            let part = fast_item(pair, index);
            if ffi::PyBytes_Check(part) == 0 {
                return Err(wrong_type(what, "bytes", part));
            }
        }
        Ok(())
    }
}
