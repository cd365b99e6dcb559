//! A copy of a small dict that is given out again when nobody has it any more and nobody has changed it: cheaper than a new one for each
//! request, and no application can tell. Knows dicts, and not what is in them.

#![expect(unsafe_code, reason = "C API on the request path")]

use std::cell::RefCell;

use pyo3::ffi;
#[cfg(Py_3_12)]
use pyo3::ffi::PyObject;

use super::known::{Immortal, copy_dict};
use crate::object::Owned;

/// Copies of dicts, of which the last is kept for the next request.
#[derive(Default)]
pub(super) struct SpareCopy {
    last: RefCell<Option<Copy>>,
}

struct Copy {
    original: Immortal,
    dict: Owned,
    state: State,
}

impl SpareCopy {
    /// A copy of `original` that nobody else has. None with an exception when Python has no memory.
    pub(super) fn of(&self, original: Immortal) -> Option<Owned> {
        let mut last = self.last.borrow_mut();
        if let Some(copy) = &*last
            && copy.original.as_ptr() == original.as_ptr()
            && copy.is_untouched()
        {
            return Some(copy.dict.clone());
        }
        let dict = copy_dict(original.as_ptr())?;
        let replaced = last.replace(Copy { original, state: State::of(&dict), dict: dict.clone() });
        drop(last);
        // After the borrow: the end of what an application put into it may run anything.
        drop(replaced);
        Some(dict)
    }
}

impl Copy {
    /// Whether only we have it, and it still is as it was made.
    fn is_untouched(&self) -> bool {
        // SAFETY: a living dict.
        let is_ours_alone = unsafe { ffi::Py_REFCNT(self.dict.as_ptr()) == 1 };
        is_ours_alone && self.state.is_that_of(&self.dict, self.original)
    }
}

/// The version of the dict (PEP 509), which every change of any dict makes another.
#[cfg(not(Py_3_12))]
struct State(u64);

#[cfg(not(Py_3_12))]
impl State {
    fn of(dict: &Owned) -> Self {
        // SAFETY: a living dict.
        Self(unsafe { (*dict.as_ptr().cast::<ffi::PyDictObject>()).ma_version_tag })
    }

    fn is_that_of(&self, dict: &Owned, _original: Immortal) -> bool {
        Self::of(dict).0 == self.0
    }
}

/// Nothing: later versions of Python may stop to count changes, so the items are compared.
#[cfg(Py_3_12)]
struct State;

#[cfg(Py_3_12)]
impl State {
    fn of(_dict: &Owned) -> Self {
        Self
    }

    /// Whether the dict has the items of `original` in their order.
    fn is_that_of(&self, dict: &Owned, original: Immortal) -> bool {
        let (dict, original) = (dict.as_ptr(), original.as_ptr());
        // SAFETY: two living dicts, which nobody changes meanwhile: no Python code runs.
        unsafe {
            if ffi::PyDict_Size(dict) != ffi::PyDict_Size(original) {
                return false;
            }
            let (mut place, mut original_place) = (0, 0);
            while let Some(wanted) = next_item(original, &mut original_place) {
                if next_item(dict, &mut place) != Some(wanted) {
                    return false;
                }
            }
            true
        }
    }
}

/// The next item of a living dict, and where the one after it is.
#[cfg(Py_3_12)]
unsafe fn next_item(
    dict: *mut PyObject,
    place: &mut ffi::Py_ssize_t,
) -> Option<(*mut PyObject, *mut PyObject)> {
    let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the caller's dict is alive.
    (unsafe { ffi::PyDict_Next(dict, place, &raw mut key, &raw mut value) } != 0).then_some((key, value))
}
