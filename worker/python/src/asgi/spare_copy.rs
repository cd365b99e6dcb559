//! A copy of a small dict that is given out again when nobody has it any more and nobody has changed it: cheaper than a new one for each
//! request, and no application can tell. Knows dicts, and not what is in them.

#![expect(unsafe_code, reason = "C API on the request path")]

use std::{cell::RefCell, ptr};

use pyo3::ffi::{self, PyObject};

use super::known::{Immortal, copy_dict};
use crate::object::Owned;

/// Copies of dicts, of which the last is kept for the next request.
#[derive(Default)]
pub(super) struct SpareCopy {
    last: RefCell<Option<(Immortal, Owned)>>,
}

impl SpareCopy {
    /// A copy of `master` that nobody else has. None with an exception when Python has no memory.
    pub(super) fn of(&self, master: Immortal) -> Option<Owned> {
        let mut last = self.last.borrow_mut();
        if let Some((origin, copy)) = &*last
            && origin.as_ptr() == master.as_ptr()
            && is_untouched(copy, master.as_ptr())
        {
            return Some(copy.clone());
        }
        let copy = copy_dict(master.as_ptr())?;
        let replaced = last.replace((master, copy.clone()));
        drop(last);
        // After the borrow: the end of what an application put into it may run anything.
        drop(replaced);
        Some(copy)
    }
}

/// Whether only we have `copy`, and it still has the items of `master` in their order.
fn is_untouched(copy: &Owned, master: *mut PyObject) -> bool {
    let copy = copy.as_ptr();
    // SAFETY: two living dicts, which nobody changes meanwhile: no Python code runs.
    unsafe {
        if ffi::Py_REFCNT(copy) != 1 || ffi::PyDict_Size(copy) != ffi::PyDict_Size(master) {
            return false;
        }
        let (mut position, mut master_position) = (0, 0);
        let mut item = (ptr::null_mut(), ptr::null_mut());
        let mut master_item = item;
        while ffi::PyDict_Next(
            master,
            &raw mut master_position,
            &raw mut master_item.0,
            &raw mut master_item.1,
        ) != 0
        {
            if ffi::PyDict_Next(copy, &raw mut position, &raw mut item.0, &raw mut item.1) == 0
                || item != master_item
            {
                return false;
            }
        }
        true
    }
}
