//! A copy of a small dict that is given out again when nobody has it any more and nobody has changed it: cheaper than a new one for each
//! request, and no application can tell. Knows dicts, and not what is in them.

#![cfg_attr(not(Py_3_12), expect(unsafe_code, reason = "C API on the request path"))]

#[cfg(not(Py_3_12))]
use {pyo3::ffi, std::cell::RefCell};

use super::known::{Immortal, copy_dict, set};
use crate::object::Owned;

/// Copies of dicts, of which the last is kept for the next request where Python counts changes (PEP 509; deprecated in 3.12). To compare
/// items instead costs what a copy does.
#[derive(Default)]
pub(super) struct SpareCopy {
    #[cfg(not(Py_3_12))]
    last: RefCell<Option<Copy>>,
}

#[cfg(Py_3_12)]
impl SpareCopy {
    /// A copy of `original` that nobody else has. None with an exception when Python has no memory.
    #[expect(clippy::unused_self, reason = "earlier versions of Python have a copy to spare")]
    pub(super) fn of(&self, original: Immortal) -> Option<Owned> {
        copy_dict(original.as_ptr())
    }

    /// [`SpareCopy::of`] with one more item.
    #[expect(clippy::unused_self, reason = "earlier versions of Python have a copy to spare")]
    pub(super) fn with(&self, original: Immortal, key: Immortal, value: &Owned) -> Option<Owned> {
        copy_with(original, key, value)
    }
}

#[cfg(not(Py_3_12))]
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
        let replaced = last.replace(Copy { original, version: version(&dict), dict: dict.clone() });
        drop(last);
        // After the borrow: the end of what an application put into it may run anything.
        drop(replaced);
        Some(dict)
    }

    /// [`SpareCopy::of`] with one more item. All that one of these is asked for must have the same `key`.
    pub(super) fn with(&self, original: Immortal, key: Immortal, value: &Owned) -> Option<Owned> {
        // Taken out meanwhile: the end of the value that is replaced may run anything.
        let last = self.last.take();
        let copy = match last {
            Some(mut copy) if copy.original.as_ptr() == original.as_ptr() && copy.is_untouched() => {
                set(&copy.dict, key, value)?;
                copy.version = version(&copy.dict);
                copy
            }
            Some(_) | None => {
                let dict = copy_with(original, key, value)?;
                Copy { original, version: version(&dict), dict }
            }
        };
        let dict = copy.dict.clone();
        let replaced = self.last.replace(Some(copy));
        drop(replaced);
        Some(dict)
    }
}

fn copy_with(original: Immortal, key: Immortal, value: &Owned) -> Option<Owned> {
    let dict = copy_dict(original.as_ptr())?;
    set(&dict, key, value)?;
    Some(dict)
}

#[cfg(not(Py_3_12))]
struct Copy {
    original: Immortal,
    dict: Owned,
    /// When it was made.
    version: u64,
}

#[cfg(not(Py_3_12))]
impl Copy {
    /// Whether only we have it, and it still is as it was made.
    fn is_untouched(&self) -> bool {
        // SAFETY: a living dict.
        let is_ours_alone = unsafe { ffi::Py_REFCNT(self.dict.as_ptr()) == 1 };
        is_ours_alone && version(&self.dict) == self.version
    }
}

/// The version of a dict, which every change of any dict makes another.
#[cfg(not(Py_3_12))]
fn version(dict: &Owned) -> u64 {
    // SAFETY: a living dict.
    unsafe { (*dict.as_ptr().cast::<ffi::PyDictObject>()).ma_version_tag }
}
