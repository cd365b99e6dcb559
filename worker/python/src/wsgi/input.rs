//! `wsgi.input`: the request's body as a stream. What is here already is read without waiting; the rest blocks the thread that
//! reads it, never the network.

#![expect(unsafe_code, reason = "C API on the request path")]

use std::{
    cell::{Cell, RefCell},
    ffi::c_void,
    ptr,
    sync::Arc,
};

use memchr::memchr;
use pyo3::{
    PyErr, Python,
    exceptions::PyConnectionResetError,
    ffi::{self, PyObject},
};

use super::{
    port::{Message, Port},
    relay::{BODY_BYTES, BodyEnd, Relay, State},
    request::{Body, RequestKey},
};
use crate::{
    native_type::{
        NativeType, method_table, method_with_tuple, method_without_arguments, refuse_instantiation, slot,
    },
    object::{Owned, at_edge, keeping_exception, new_bytes},
};

static INPUT: NativeType<Input> = NativeType::new();

/// Makes the type. False with an exception when Python refused.
pub(super) fn make_type() -> bool {
    let methods = vec![
        method_with_tuple(c"read", read),
        method_with_tuple(c"readline", read_line),
        method_with_tuple(c"readlines", read_lines),
        method_without_arguments(c"close", close),
    ];
    let slots = vec![
        slot(ffi::Py_tp_dealloc, deallocate as *const c_void),
        slot(ffi::Py_tp_new, refuse_instantiation as *const c_void),
        slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *const c_void),
        slot(ffi::Py_tp_iternext, next_line as *const c_void),
        slot(ffi::Py_tp_methods, method_table(methods)),
        slot(0, ptr::null()),
    ];
    // SAFETY: the interpreter is held; the slots fit an iterator and end with a zero slot.
    unsafe { INPUT.make(c"worker_python.Input", 0, slots) }
}

/// The content of the object.
pub(super) struct Input {
    /// What was taken over and not read.
    bytes: RefCell<Vec<u8>>,
    start: Cell<usize>,
    rest: Rest,
}

/// What is not here yet.
enum Rest {
    /// Nothing.
    None,
    /// It comes through the relay.
    Streamed { key: RequestKey, relay: Arc<Relay>, port: Port },
}

/// How much a read may return.
#[derive(Clone, Copy)]
enum Amount {
    All,
    AtMost(usize),
}

impl Input {
    /// Makes the object; None with an exception when there is no memory.
    pub(super) fn object(body: Body, key: RequestKey, relay: &Arc<Relay>, port: &Port) -> Option<Owned> {
        let (bytes, rest) = match body {
            Body::Whole { bytes, .. } => (bytes, Rest::None),
            Body::Streamed(_length) => {
                (Vec::new(), Rest::Streamed { key, relay: Arc::clone(relay), port: port.clone() })
            }
        };
        let input = Self { bytes: RefCell::new(bytes), start: Cell::new(0), rest };
        // SAFETY: the interpreter is held and the type was made.
        unsafe { Owned::steal(INPUT.object(None, input)) }
    }

    fn read(&self, amount: Amount) -> Result<Option<Owned>, PyErr> {
        loop {
            let here = self.bytes.borrow().len() - self.start.get();
            match amount {
                Amount::AtMost(wanted) if here >= wanted => return Ok(self.take(wanted)),
                Amount::All | Amount::AtMost(_) => {}
            }
            if self.fetch()? == Fetched::End {
                return Ok(self.take(here));
            }
        }
    }

    fn read_line(&self, amount: Amount) -> Result<Option<Owned>, PyErr> {
        let mut searched = 0;
        loop {
            let bytes = self.bytes.borrow();
            let here = &bytes[self.start.get()..];
            let end = memchr(b'\n', &here[searched..]).map(|place| searched + place + 1);
            searched = here.len();
            drop(bytes);
            let limit = match amount {
                Amount::All => usize::MAX,
                Amount::AtMost(limit) => limit,
            };
            match end {
                Some(end) => return Ok(self.take(end.min(limit))),
                None if searched >= limit => return Ok(self.take(limit)),
                None => {}
            }
            if self.fetch()? == Fetched::End {
                return Ok(self.take(searched));
            }
        }
    }

    /// Takes bytes that are here.
    fn take(&self, count: usize) -> Option<Owned> {
        let start = self.start.get();
        let bytes = self.bytes.borrow();
        let taken = new_bytes(&bytes[start..start + count])?;
        let is_empty = start + count == bytes.len();
        drop(bytes);
        if is_empty {
            self.start.set(0);
            self.bytes.replace(Vec::new());
        } else {
            self.start.set(start + count);
        }
        Some(taken)
    }

    /// Waits for more.
    fn fetch(&self) -> Result<Fetched, PyErr> {
        fn has_news(state: &State, _bound: usize) -> bool {
            !state.waiting().is_empty() || state.body_end != BodyEnd::Open
        }
        let Rest::Streamed { key, relay, port } = &self.rest else { return Ok(Fetched::End) };
        if !has_news(&relay.lock(), 0) {
            port.wait(relay, has_news, 0)?;
        }
        let mut state = relay.lock();
        if state.waiting().is_empty() {
            return match state.body_end {
                BodyEnd::Reached => Ok(Fetched::End),
                BodyEnd::Open | BodyEnd::Broken => {
                    Err(PyConnectionResetError::new_err("the client is gone before its request was complete"))
                }
            };
        }
        let mut bytes = self.bytes.borrow_mut();
        let start = self.start.replace(0);
        bytes.drain(..start);
        bytes.extend_from_slice(state.waiting());
        let count = state.waiting().len();
        state.consume(count);
        let asks = std::mem::take(&mut state.is_paused);
        drop((state, bytes));
        if asks {
            port.send(Message::BodyWanted(*key))?;
        }
        Ok(Fetched::Bytes)
    }
}

/// What a wait for more came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fetched {
    Bytes,
    End,
}

const _: () = assert!(BODY_BYTES > 0, "an empty relay is never paused");

/// The optional size of the reading methods: None and negative numbers mean all.
unsafe fn amount(arguments: *mut PyObject) -> Result<Amount, PyErr> {
    // SAFETY: Python passes a tuple, whose items live as long as it.
    unsafe {
        let py = Python::assume_attached();
        match ffi::PyTuple_GET_SIZE(arguments) {
            0 => Ok(Amount::All),
            1 => {
                let size = ffi::PyTuple_GET_ITEM(arguments, 0);
                if size == ffi::Py_None() {
                    return Ok(Amount::All);
                }
                let size = ffi::PyNumber_AsSsize_t(size, ffi::PyExc_OverflowError);
                if size == -1 && !ffi::PyErr_Occurred().is_null() {
                    return Err(PyErr::fetch(py));
                }
                Ok(usize::try_from(size).map_or(Amount::All, Amount::AtMost))
            }
            _ => Err(pyo3::exceptions::PyTypeError::new_err("at most one argument is expected: a size")),
        }
    }
}

/// Runs one method; a null pointer with the exception set when it failed.
unsafe fn answer(
    this: *mut PyObject,
    arguments: *mut PyObject,
    method: fn(&Input, Amount) -> Result<Option<Owned>, PyErr>,
) -> *mut PyObject {
    at_edge(|| {
        // SAFETY: Python passes a living object of this type and a tuple, and holds the interpreter.
        let result = unsafe {
            amount(arguments).and_then(|amount| method(NativeType::<Input>::content(this), amount))
        };
        match result {
            Ok(object) => object.map_or(ptr::null_mut(), Owned::into_ptr),
            Err(error) => {
                // SAFETY: as above.
                error.restore(unsafe { Python::assume_attached() });
                ptr::null_mut()
            }
        }
    })
}

unsafe extern "C" fn read(this: *mut PyObject, arguments: *mut PyObject) -> *mut PyObject {
    // SAFETY: Python's promise, passed on.
    unsafe { answer(this, arguments, Input::read) }
}

unsafe extern "C" fn read_line(this: *mut PyObject, arguments: *mut PyObject) -> *mut PyObject {
    // SAFETY: Python's promise, passed on.
    unsafe { answer(this, arguments, Input::read_line) }
}

unsafe extern "C" fn read_lines(this: *mut PyObject, arguments: *mut PyObject) -> *mut PyObject {
    // SAFETY: Python's promise, passed on.
    unsafe { answer(this, arguments, lines) }
}

/// `readlines([hint])`: stops after the line that makes the sum reach the hint.
fn lines(input: &Input, hint: Amount) -> Result<Option<Owned>, PyErr> {
    // SAFETY: the interpreter is held; the list takes its own references.
    unsafe {
        let Some(list) = Owned::steal(ffi::PyList_New(0)) else { return Ok(None) };
        let mut total = 0;
        loop {
            let Some(line) = input.read_line(Amount::All)? else { return Ok(None) };
            let length = usize::try_from(ffi::PyBytes_Size(line.as_ptr())).unwrap_or(0);
            if length == 0 {
                return Ok(Some(list));
            }
            if ffi::PyList_Append(list.as_ptr(), line.as_ptr()) != 0 {
                return Ok(None);
            }
            total += length;
            match hint {
                Amount::AtMost(hint) if hint > 0 && total >= hint => return Ok(Some(list)),
                Amount::All | Amount::AtMost(_) => {}
            }
        }
    }
}

unsafe extern "C" fn next_line(this: *mut PyObject) -> *mut PyObject {
    at_edge(|| {
        // SAFETY: Python passes a living object of this type and holds the interpreter.
        unsafe {
            match NativeType::<Input>::content(this).read_line(Amount::All) {
                // The end of an iteration is a null pointer without an exception.
                Ok(Some(line)) if ffi::PyBytes_Size(line.as_ptr()) == 0 => ptr::null_mut(),
                Ok(line) => line.map_or(ptr::null_mut(), Owned::into_ptr),
                Err(error) => {
                    error.restore(Python::assume_attached());
                    ptr::null_mut()
                }
            }
        }
    })
}

/// Nothing to do: whoever wraps the stream may close it.
unsafe extern "C" fn close(_this: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    crate::coroutine::none().into_ptr()
}

unsafe extern "C" fn deallocate(this: *mut PyObject) {
    // SAFETY: Python calls this once, when the last reference is gone.
    unsafe {
        keeping_exception(|| INPUT.free(this));
    }
}
