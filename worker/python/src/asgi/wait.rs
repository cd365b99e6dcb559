//! The awaitables that `receive()` and `send()` return. All are coroutine-like; each completes without suspending when it can.
//!
//! A message is taken only when the awaitable is stepped, never when it is made or cancelled, so that none is lost.

#![expect(unsafe_code, reason = "C API on the request path")]

use std::{
    cell::{Cell, RefCell},
    mem,
};

use pyo3::ffi::{self, PyObject};

use super::channel::{Channel, Direction};
use crate::{
    coroutine::{Coroutine, Stepped, none, raise_from, slots, step, throw_into},
    native_type::{NativeType, slot},
    object::Owned,
};

static WAIT: NativeType<Wait> = NativeType::new();
static DONE: NativeType<Done> = NativeType::new();
static PAUSE: NativeType<Pause> = NativeType::new();

/// Makes the types. False with an exception when Python refused.
pub(super) fn make_types() -> bool {
    let end = || slot(0, std::ptr::null());
    let with_end = |mut slots: Vec<_>| {
        slots.push(end());
        slots
    };
    // SAFETY: the interpreter is held; the slots are those of coroutine-like types and end with a zero slot.
    unsafe {
        WAIT.make(c"worker_python.Wait", 0, with_end(slots::<Wait>()))
            && DONE.make(c"worker_python.Done", 0, with_end(slots::<Done>()))
            && PAUSE.make(c"worker_python.Pause", 0, with_end(slots::<Pause>()))
    }
}

/// Completes at once with None. One object serves all: it has no state.
pub(super) struct Done;

impl Done {
    /// Makes the object; null with an exception when there is no memory.
    pub(super) fn object() -> *mut PyObject {
        // SAFETY: the interpreter is held and the type was made.
        unsafe { DONE.object(None, Self) }
    }
}

impl Coroutine for Done {
    const TYPE: &'static NativeType<Self> = &DONE;

    fn send(&self, _this: *mut PyObject, _value: *mut PyObject) -> Stepped {
        Stepped::Return(none())
    }

    fn throw(&self, _this: *mut PyObject, arguments: *mut PyObject) -> Stepped {
        // SAFETY: Python passes a tuple.
        unsafe { raise_from(arguments) }
    }

    fn close(&self) {}
}

/// Completes when the loop has had a turn, as `asyncio.sleep(0)` does.
pub(super) struct Pause {
    is_over: Cell<bool>,
}

impl Pause {
    /// Makes the object; null with an exception when there is no memory.
    pub(super) fn object() -> *mut PyObject {
        // SAFETY: the interpreter is held and the type was made.
        unsafe { PAUSE.object(None, Self { is_over: Cell::new(false) }) }
    }
}

impl Coroutine for Pause {
    const TYPE: &'static NativeType<Self> = &PAUSE;

    fn send(&self, _this: *mut PyObject, _value: *mut PyObject) -> Stepped {
        // To a task, None is a step that waits for nothing but its next turn.
        if self.is_over.replace(true) { Stepped::Return(none()) } else { Stepped::Yield(none()) }
    }

    fn throw(&self, _this: *mut PyObject, arguments: *mut PyObject) -> Stepped {
        self.is_over.set(true);
        // SAFETY: Python passes a tuple.
        unsafe { raise_from(arguments) }
    }

    fn close(&self) {
        self.is_over.set(true);
    }
}

/// Waits on one direction of a channel.
pub(super) struct Wait {
    channel: Owned,
    direction: Direction,
    state: RefCell<State>,
}

enum State {
    /// Not stepped yet, or between two futures.
    Fresh,
    /// Suspended on a future of the loop; the iterator is what `await` makes of it.
    Suspended { future: Owned, iterator: Owned },
    /// Awaited to its end.
    Over,
}

impl Wait {
    /// Makes the object; null with an exception when there is no memory.
    pub(super) fn object(channel: Owned, direction: Direction) -> *mut PyObject {
        let wait = Self { channel, direction, state: RefCell::new(State::Fresh) };
        // SAFETY: the interpreter is held and the type was made.
        unsafe { WAIT.object(None, wait) }
    }

    fn channel(&self) -> &Channel {
        // SAFETY: the reference is to a channel object, which `self` keeps alive.
        unsafe { NativeType::<Channel>::content(self.channel.as_ptr()) }
    }

    /// Completes if the channel can, else suspends on a new future.
    fn attempt(&self) -> Stepped {
        match self.channel().attempt(self.direction) {
            Some(done) => {
                self.state.replace(State::Over);
                Stepped::returning(done)
            }
            None => self.suspend(),
        }
    }

    fn suspend(&self) -> Stepped {
        let Some(future) = Channel::wait(&self.channel, self.direction) else {
            self.state.replace(State::Over);
            return Stepped::Raise;
        };
        // SAFETY: a future is iterable: its iterator yields the future itself and marks it as awaited.
        unsafe {
            let Some(iterator) = Owned::steal(ffi::PyObject_GetIter(future.as_ptr())) else {
                return Stepped::Raise;
            };
            let stepped = step(iterator.as_ptr(), ffi::Py_None());
            if matches!(stepped, Stepped::Yield(_)) {
                self.state.replace(State::Suspended { future, iterator });
            }
            stepped
        }
    }

    fn forget(&self, future: &Owned) {
        self.channel().forget_waiter(self.direction, future);
    }
}

impl Coroutine for Wait {
    const TYPE: &'static NativeType<Self> = &WAIT;

    fn send(&self, _this: *mut PyObject, value: *mut PyObject) -> Stepped {
        let state = mem::replace(&mut *self.state.borrow_mut(), State::Fresh);
        match state {
            State::Fresh => self.attempt(),
            State::Suspended { future, iterator } => {
                // SAFETY: both are alive.
                match unsafe { step(iterator.as_ptr(), value) } {
                    Stepped::Return(_) => self.attempt(),
                    Stepped::Yield(again) => {
                        self.state.replace(State::Suspended { future, iterator });
                        Stepped::Yield(again)
                    }
                    Stepped::Raise => {
                        self.state.replace(State::Over);
                        self.forget(&future);
                        Stepped::Raise
                    }
                }
            }
            State::Over => {
                self.state.replace(State::Over);
                // SAFETY: the interpreter is held.
                unsafe {
                    ffi::PyErr_SetString(
                        ffi::PyExc_RuntimeError,
                        c"cannot reuse an already awaited receive() or send()".as_ptr(),
                    );
                }
                Stepped::Raise
            }
        }
    }

    fn throw(&self, _this: *mut PyObject, arguments: *mut PyObject) -> Stepped {
        let state = self.state.replace(State::Over);
        // SAFETY: Python passes a tuple; the iterator is alive.
        unsafe {
            match state {
                State::Fresh | State::Over => raise_from(arguments),
                State::Suspended { future, iterator } => {
                    let stepped = throw_into(iterator.as_ptr(), arguments);
                    self.forget(&future);
                    stepped
                }
            }
        }
    }

    fn close(&self) {
        if let State::Suspended { future, .. } = self.state.replace(State::Over) {
            self.forget(&future);
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.close();
    }
}
