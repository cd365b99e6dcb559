//! Python objects on threads that do not hold the interpreter: they may be kept and passed on there, and the last reference is
//! given back by whoever holds it next.

#![expect(unsafe_code, reason = "references that outlive the hold of the interpreter")]

use std::{
    cell::Cell,
    ptr::{self, NonNull},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicPtr, Ordering::AcqRel, Ordering::Acquire},
    },
};

use pyo3::ffi::{self, PyObject};

use crate::object::{Owned, bytes_of};

/// References that wait for somebody who holds the interpreter.
static DEAD: Mutex<Vec<Dead>> = Mutex::new(Vec::new());

thread_local! {
    /// Whether this thread holds the interpreter whenever a chunk may be dropped on it.
    static HOLDS_INTERPRETER: Cell<bool> = const { Cell::new(false) };
}

struct Dead(NonNull<PyObject>);

// SAFETY: only the pointer moves; whoever follows it holds the interpreter.
unsafe impl Send for Dead {}

/// The reactor of this thread runs with the interpreter held.
pub(super) fn interpreter_is_held_here() {
    HOLDS_INTERPRETER.set(true);
}

/// Gives back what died elsewhere. The interpreter is held.
pub(super) fn bury_the_dead() {
    let dead = {
        let mut dead = DEAD.lock().unwrap_or_else(PoisonError::into_inner);
        if dead.is_empty() {
            return;
        }
        std::mem::take(&mut *dead)
    };
    for Dead(object) in dead {
        // SAFETY: each is one reference that nobody else gives back; the caller holds the interpreter.
        unsafe { ffi::Py_DECREF(object.as_ptr()) }
    }
}

fn give_back(object: NonNull<PyObject>) {
    if HOLDS_INTERPRETER.get() {
        // SAFETY: one reference of the caller's; this thread holds the interpreter.
        unsafe { ffi::Py_DECREF(object.as_ptr()) }
    } else {
        DEAD.lock().unwrap_or_else(PoisonError::into_inner).push(Dead(object));
    }
}

/// A part of a reply's body, as the engine keeps it.
pub(crate) enum Chunk {
    /// Bytes of our own.
    Copied(Vec<u8>),
    /// The content of a `bytes` object of the application, from the beginning.
    Lent(Lent),
}

impl Chunk {
    /// No bytes.
    pub(super) const EMPTY: Self = Self::Copied(Vec::new());

    /// The first `length` bytes of a `bytes` object; None for any other object.
    ///
    /// # Safety
    /// `object` is alive and the interpreter is held.
    pub(super) unsafe fn lend(object: *mut PyObject, length: usize) -> Option<Self> {
        // SAFETY: the caller's promise; the new reference keeps the content alive.
        unsafe {
            let content = bytes_of(object)?;
            let content = NonNull::from(&content[..length.min(content.len())]);
            ffi::Py_INCREF(object);
            Some(Self::Lent(Lent { content, object: NonNull::new_unchecked(object) }))
        }
    }

    /// Number of bytes.
    pub(super) fn length(&self) -> usize {
        self.as_ref().len()
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            // SAFETY: the object is alive while the chunk is; the content of `bytes` neither moves nor changes.
            Self::Lent(lent) => unsafe { lent.content.as_ref() },
        }
    }
}

/// See [`Chunk::Lent`].
pub(crate) struct Lent {
    content: NonNull<[u8]>,
    object: NonNull<PyObject>,
}

// SAFETY: the content is immutable, and the reference goes back to somebody who holds the interpreter.
unsafe impl Send for Lent {}

impl Drop for Lent {
    fn drop(&mut self) {
        give_back(self.object);
    }
}

/// An object that is made once by whoever holds the interpreter first, and freed with its owner, wherever that is.
#[derive(Default)]
pub(super) struct SharedObject(AtomicPtr<PyObject>);

impl SharedObject {
    /// The object, made by `make` if there is none. None when that fails. The interpreter is held.
    pub(super) fn get(&self, make: impl FnOnce() -> Option<Owned>) -> Option<*mut PyObject> {
        let known = self.0.load(Acquire);
        if !known.is_null() {
            return Some(known);
        }
        let made = make()?.into_ptr();
        match self.0.compare_exchange(ptr::null_mut(), made, AcqRel, Acquire) {
            Ok(_nothing) => Some(made),
            Err(known) => {
                // SAFETY: the reference was just made, and nobody else has it.
                unsafe { ffi::Py_DECREF(made) };
                Some(known)
            }
        }
    }
}

impl Drop for SharedObject {
    fn drop(&mut self) {
        if let Some(object) = NonNull::new(*self.0.get_mut()) {
            give_back(object);
        }
    }
}
