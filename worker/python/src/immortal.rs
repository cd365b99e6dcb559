//! Python objects that are never freed, and the dicts that are made of them.

#![expect(unsafe_code, reason = "borrowed pointers to immortal objects")]

use pyo3::ffi::{self, PyObject};

use crate::object::Owned;

/// An object that is never freed.
#[derive(Clone, Copy)]
pub(crate) struct Immortal(*mut PyObject);

// SAFETY: only the pointer moves between threads; whoever follows it holds the interpreter.
unsafe impl Send for Immortal {}
// SAFETY: as above.
unsafe impl Sync for Immortal {}

impl Immortal {
    pub(crate) fn new(object: Owned) -> Self {
        Self(object.into_ptr())
    }

    pub(crate) fn as_ptr(self) -> *mut PyObject {
        self.0
    }

    /// A strong reference to it.
    pub(crate) fn owned(self) -> Owned {
        // SAFETY: it is alive for ever.
        unsafe { Owned::borrow(self.0) }
    }
}

/// Declares a struct of interned strings, `Texts`, with a function that makes them all.
macro_rules! known_texts {
    ($($(#[$attribute:meta])* $name:ident = $text:literal;)*) => {
        /// The interned strings.
        pub(super) struct Texts { $($(#[$attribute])* pub(super) $name: $crate::immortal::Immortal,)* }

        impl Texts {
            fn make() -> Option<Self> {
                Some(Self { $($(#[$attribute])* $name: $crate::immortal::Immortal::new($crate::object::interned($text)?),)* })
            }
        }
    };
}
pub(crate) use known_texts;

/// A new, empty dict.
pub(crate) fn new_dict() -> Option<Owned> {
    // SAFETY: the interpreter is held.
    unsafe { Owned::steal(ffi::PyDict_New()) }
}

/// A shallow copy of a dict.
pub(crate) fn copy_dict(dict: *mut PyObject) -> Option<Owned> {
    // SAFETY: the callers pass living dicts; the interpreter is held.
    unsafe { Owned::steal(ffi::PyDict_Copy(dict)) }
}

/// Sets one item of a dict.
pub(crate) fn set(dict: &Owned, key: Immortal, value: &Owned) -> Option<()> {
    // SAFETY: all three are alive; the dict takes its own references.
    let failed = unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) };
    (failed == 0).then_some(())
}
