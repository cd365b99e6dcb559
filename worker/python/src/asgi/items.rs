//! The items of the two messages that every reply needs, found in one pass over the dict instead of a look-up for each: Python's compiler
//! interned the keys as ours are interned, so pointers tell them apart. Knows keys, and not what their values mean.

#![expect(unsafe_code, reason = "C API on the request path")]

use std::ptr;

use pyo3::ffi::{self, PyObject};

use super::{
    known::{Immortal, Texts, known},
    message::{Refused, item},
};
use crate::object::Owned;

/// A key of `http.response.start` or `http.response.body`; its number is its place in [`Key::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Type,
    Body,
    Status,
    Headers,
    MoreBody,
    Trailers,
}

impl Key {
    const ALL: [Self; 6] =
        [Self::Type, Self::Body, Self::Status, Self::Headers, Self::MoreBody, Self::Trailers];

    fn name(self, text: &Texts) -> Immortal {
        match self {
            Self::Type => text.type_,
            Self::Body => text.body,
            Self::Status => text.status,
            Self::Headers => text.headers,
            Self::MoreBody => text.more_body,
            Self::Trailers => text.trailers,
        }
    }
}

/// A message with what one pass over it found.
pub(super) struct Items {
    message: *mut PyObject,
    /// By key, null where there is none; nothing where the pass could not tell.
    found: Option<[*mut PyObject; Key::ALL.len()]>,
}

impl Items {
    /// Looks through a message, which must live and not change as long as items are taken from this.
    pub(super) unsafe fn of(message: *mut PyObject) -> Self {
        // SAFETY: the caller's promise.
        Self { message, found: unsafe { look_through(message) } }
    }

    /// An item; none when the key is missing.
    pub(super) unsafe fn get(&self, key: Key) -> Result<Option<Owned>, Refused> {
        // SAFETY: the caller's promise of [`Self::of`]; the dict keeps its values alive.
        unsafe {
            match &self.found {
                Some(found) => {
                    let value = found[key as usize];
                    Ok((!value.is_null()).then(|| Owned::borrow(value)))
                }
                None => item(self.message, key.name(&known().text)),
            }
        }
    }
}

/// None when a key may equal one of ours without being it, or when this is no dict.
unsafe fn look_through(message: *mut PyObject) -> Option<[*mut PyObject; Key::ALL.len()]> {
    // SAFETY: the caller's living object; a dict that no code changes meanwhile lends living keys and values.
    unsafe {
        if ffi::PyDict_CheckExact(message) == 0 {
            return None;
        }
        let text = &known().text;
        let names = Key::ALL.map(|key| key.name(text).as_ptr());
        let mut found = [ptr::null_mut(); Key::ALL.len()];
        let (mut position, mut name, mut value) = (0, ptr::null_mut(), ptr::null_mut());
        while ffi::PyDict_Next(message, &raw mut position, &raw mut name, &raw mut value) != 0 {
            match names.iter().position(|&known| known == name) {
                Some(key) => found[key] = value,
                None if is_interned(name) => {}
                None => return None,
            }
        }
        Some(found)
    }
}

/// Whether an object is an interned `str`: such a one equals no other interned `str`.
unsafe fn is_interned(object: *mut PyObject) -> bool {
    // SAFETY: a living object; what is exactly a `str` begins with this struct.
    unsafe {
        ffi::PyUnicode_CheckExact(object) != 0 && (*object.cast::<ffi::PyASCIIObject>()).interned() != 0
    }
}
