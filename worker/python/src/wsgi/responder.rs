//! The object that an application gets as `start_response`, and that `start_response` returns as `write`: called with two
//! arguments or three it sets the head, with one it sends body bytes. Holds the rules of PEP 3333 on their order; the framing is
//! the engine's.

#![expect(unsafe_code, reason = "C API on the request path")]

use std::{
    cell::{Cell, RefCell},
    ffi::c_void,
    fs::File,
    ptr, slice,
    sync::Arc,
};

use pyo3::{
    PyErr, Python,
    exceptions::{PyAssertionError, PyConnectionResetError, PyTypeError},
    ffi::{self, PyObject},
};
use worker_server::Last;

use super::{
    chunk::Chunk,
    known::texts,
    port::{Content, Message, Part, Port},
    relay::{Relay, State},
    reply_head::{ReplyHead, wrong_type},
    request::{Method, RequestKey},
};
use crate::{
    native_type::{NativeType, refuse_instantiation, slot, vectorcall_member},
    object::{Owned, at_edge, bytes_of, keeping_exception},
};

static RESPONDER: NativeType<Responder> = NativeType::new();

/// A part up to this size is copied out of the application's object on the way to another thread, which costs less than giving
/// the object back. The engine copies as much again, behind the head.
const COPIED_BYTES: usize = 16 * 1024;

/// Makes the type. False with an exception when Python refused.
pub(super) fn make_type() -> bool {
    let slots = vec![
        slot(ffi::Py_tp_dealloc, deallocate as *const c_void),
        slot(ffi::Py_tp_new, refuse_instantiation as *const c_void),
        slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *const c_void),
        slot(ffi::Py_tp_members, vectorcall_member::<Responder>()),
        slot(0, ptr::null()),
    ];
    // SAFETY: the interpreter is held; the slots fit a type with a vectorcall entry and end with a zero slot.
    unsafe { RESPONDER.make(c"worker_python.StartResponse", ffi::Py_TPFLAGS_HAVE_VECTORCALL, slots) }
}

/// The content of the object.
pub(super) struct Responder {
    key: RequestKey,
    relay: Arc<Relay>,
    port: Port,
    method: Method,
    /// Reply bytes that may wait for the client before the application does.
    bound: usize,
    /// Set, and not yet on its way.
    head: RefCell<Option<ReplyHead>>,
    phase: Cell<Phase>,
    /// What the announced length leaves to send.
    remaining: Cell<Option<u64>>,
}

/// How far the reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// `start_response` was not called.
    Awaited,
    /// There is a head, held back until the first bytes of the body.
    Held,
    /// The head is on its way.
    Started,
    /// All of it is, or nobody is there to take it.
    Over,
}

/// Whether more of a reply is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Go on.
    More,
    /// The reply is complete, or the client gone.
    Nothing,
}

impl Responder {
    /// Makes the object; None with an exception when there is no memory.
    pub(super) fn object(
        key: RequestKey,
        relay: Arc<Relay>,
        port: Port,
        method: Method,
        bound: usize,
    ) -> Option<Owned> {
        let responder = Self {
            key,
            relay,
            port,
            method,
            bound,
            head: RefCell::new(None),
            phase: Cell::new(Phase::Awaited),
            remaining: Cell::new(None),
        };
        // SAFETY: the interpreter is held and the type was made.
        unsafe { Owned::steal(RESPONDER.object(Some(call), responder)) }
    }

    /// The content of the object.
    pub(super) fn of(object: &Owned) -> &Self {
        // SAFETY: only called with what `object` made; the reference keeps it alive.
        unsafe { NativeType::content(object.as_ptr()) }
    }

    /// `start_response(status, headers, exc_info=None)`
    unsafe fn start(
        &self,
        status: *mut PyObject,
        headers: *mut PyObject,
        exc_info: *mut PyObject,
    ) -> Result<(), PyErr> {
        let has_error = !exc_info.is_null() && // SAFETY: None is immortal.
            exc_info != unsafe { ffi::Py_None() };
        match (self.phase.get(), has_error) {
            (Phase::Awaited, _) | (Phase::Held, true) => {}
            // SAFETY: the caller's promise, passed on.
            (Phase::Started | Phase::Over, true) => return Err(unsafe { raised(exc_info)? }),
            (Phase::Held | Phase::Started | Phase::Over, false) => {
                return Err(PyAssertionError::new_err(
                    "start_response() was called a second time without exc_info",
                ));
            }
        }
        // SAFETY: the caller's promise, passed on.
        let head = unsafe { ReplyHead::read(status, headers)? };
        self.remaining.set(match (self.method, head.status) {
            // The length is that of a body which is not sent (RFC 9110 §8.6).
            (Method::Head, _) | (Method::Other, 204 | 304) => None,
            (Method::Other, _) => head.length,
        });
        self.head.replace(Some(head));
        self.phase.set(Phase::Held);
        Ok(())
    }

    /// Sends one part, and waits when the client is slow. `is_only`: nothing will follow.
    ///
    /// # Safety
    /// `object` is alive and the interpreter is held.
    pub(super) unsafe fn send(&self, object: *mut PyObject, last: Last) -> Result<Wanted, PyErr> {
        // SAFETY: the caller's promise.
        let Some(bytes) = (unsafe { bytes_of(object) }) else {
            return Err(wrong_type("a part of the body", "bytes", object));
        };
        if bytes.is_empty() && last == Last::No {
            return Ok(self.wanted());
        }
        match self.phase.get() {
            Phase::Awaited => return Err(no_head()),
            Phase::Over => return Ok(Wanted::Nothing),
            Phase::Held | Phase::Started => {}
        }
        let mut length = bytes.len();
        let mut last = last;
        if let Some(remaining) = self.remaining.get() {
            // What is beyond the announced length is cut off; with its last byte the reply is complete.
            length = usize::try_from(remaining).map_or(length, |remaining| remaining.min(length));
            let left = remaining - length as u64;
            self.remaining.set(Some(left));
            if left > 0 && last == Last::Yes {
                return Err(too_short(left));
            }
            last = if left == 0 { Last::Yes } else { Last::No };
        }
        let chunk = match &self.port {
            // SAFETY: the caller's promise.
            Port::Inline => unsafe { Chunk::lend(object, length) },
            // SAFETY: as above.
            Port::Pool(_) if length > COPIED_BYTES => unsafe { Chunk::lend(object, length) },
            Port::Pool(_) => Some(Chunk::Copied(bytes[..length].to_vec())),
        };
        self.pass_on(Content::Chunk(chunk.unwrap_or(Chunk::EMPTY)), last)
    }

    /// Sends a file from `offset` to its end, `count` bytes, as the whole body.
    pub(super) fn send_file(&self, file: File, offset: u64, count: u64) -> Result<Wanted, PyErr> {
        match (self.phase.get(), self.remaining.get()) {
            (Phase::Awaited, _) => Err(no_head()),
            (Phase::Over, _) => Ok(Wanted::Nothing),
            (Phase::Held | Phase::Started, Some(announced)) if announced > count => {
                Err(too_short(announced - count))
            }
            (Phase::Held | Phase::Started, announced) => {
                let count = announced.unwrap_or(count);
                self.pass_on(Content::File { file, offset, count }, Last::Yes)
            }
        }
    }

    /// The application is done: what it has not sent is the end of the reply.
    pub(super) fn finish(&self) -> Result<(), PyErr> {
        match self.phase.get() {
            Phase::Awaited => {
                Err(PyAssertionError::new_err("the application returned without calling start_response()"))
            }
            Phase::Over => Ok(()),
            Phase::Held | Phase::Started => match self.remaining.get() {
                Some(left) if left > 0 => Err(too_short(left)),
                Some(_) | None => self.pass_on(Content::Chunk(Chunk::EMPTY), Last::Yes).map(|_nothing| ()),
            },
        }
    }

    /// The reply of a HEAD request whose length only the application could tell: its head alone.
    pub(super) fn finish_without_body(&self) -> Result<(), PyErr> {
        if self.phase.get() == Phase::Held {
            self.pass_on(Content::Chunk(Chunk::EMPTY), Last::No)?;
        }
        self.finish()
    }

    /// Whether the head was set.
    pub(super) fn is_begun(&self) -> bool {
        self.phase.get() != Phase::Awaited
    }

    /// The application failed.
    pub(super) fn fail(&self) -> Result<(), PyErr> {
        if self.phase.replace(Phase::Over) == Phase::Over {
            return Ok(());
        }
        self.port.send(Message::Failed(self.key))
    }

    fn wanted(&self) -> Wanted {
        if self.phase.get() == Phase::Over { Wanted::Nothing } else { Wanted::More }
    }

    fn pass_on(&self, content: Content, last: Last) -> Result<Wanted, PyErr> {
        let length = content.held_bytes();
        let head = self.head.take();
        let is_over = match last {
            Last::Yes => true,
            Last::No => {
                let mut state = self.relay.lock();
                state.unsent += length;
                state.is_gone
            }
        };
        self.phase.set(if is_over { Phase::Over } else { Phase::Started });
        self.port.send(Message::Part { key: self.key, part: Part { head, content, last } })?;
        if !is_over {
            self.wait_for_room()?;
        }
        Ok(self.wanted())
    }

    fn wait_for_room(&self) -> Result<(), PyErr> {
        fn has_room(state: &State, bound: usize) -> bool {
            state.unsent < bound.max(1) || state.is_gone
        }
        let has_room_now = {
            let state = self.relay.lock();
            if state.is_gone {
                self.phase.set(Phase::Over);
            }
            has_room(&state, self.bound)
        };
        if !has_room_now {
            self.port.wait(&self.relay, has_room, self.bound)?;
            if self.relay.lock().is_gone {
                self.phase.set(Phase::Over);
            }
        }
        Ok(())
    }

    /// `write(data)`
    unsafe fn write(&self, data: *mut PyObject) -> Result<(), PyErr> {
        // SAFETY: the caller's promise, passed on.
        if unsafe { self.send(data, Last::No)? } == Wanted::Nothing && self.relay.lock().is_gone {
            return Err(PyConnectionResetError::new_err("the client is gone"));
        }
        Ok(())
    }
}

fn no_head() -> PyErr {
    PyAssertionError::new_err("a part of the body came before start_response() was called")
}

fn too_short(left: u64) -> PyErr {
    PyAssertionError::new_err(format!("the body is {left} bytes shorter than its Content-Length"))
}

/// The exception of an `exc_info`, with its traceback.
unsafe fn raised(exc_info: *mut PyObject) -> Result<PyErr, PyErr> {
    // SAFETY: the caller's promise; what a tuple holds is alive while the tuple is.
    unsafe {
        let py = Python::assume_attached();
        if ffi::PyTuple_Check(exc_info) == 0 || ffi::PyTuple_GET_SIZE(exc_info) != 3 {
            return Err(wrong_type("exc_info", "a tuple as sys.exc_info() returns it", exc_info));
        }
        let value = Owned::borrow(ffi::PyTuple_GET_ITEM(exc_info, 1));
        Ok(PyErr::from_value(value.bound(py).clone()))
    }
}

unsafe extern "C" fn call(
    this: *mut PyObject,
    arguments: *const *mut PyObject,
    count: usize,
    keywords: *mut PyObject,
) -> *mut PyObject {
    at_edge(|| {
        // SAFETY: Python passes a living object of this type and as many arguments as it says, keyword values included.
        let called = unsafe {
            let positional = usize::try_from(ffi::PyVectorcall_NARGS(count)).unwrap_or(0);
            let named = if keywords.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(keywords) };
            let arguments = slice::from_raw_parts(
                if arguments.is_null() { ptr::NonNull::dangling().as_ptr() } else { arguments },
                positional + usize::try_from(named).unwrap_or(0),
            );
            let responder: &Responder = NativeType::content(this);
            match (arguments, named) {
                ([data], 0) => responder.write(*data).map(|()| ffi::Py_None()),
                ([status, headers], 0) => responder.start(*status, *headers, ptr::null_mut()).map(|()| this),
                ([status, headers, exc_info], 0) => {
                    responder.start(*status, *headers, *exc_info).map(|()| this)
                }
                ([status, headers, exc_info], 1)
                    if ffi::PyUnicode_Compare(
                        ffi::PyTuple_GET_ITEM(keywords, 0),
                        texts().exc_info.as_ptr(),
                    ) == 0 =>
                {
                    responder.start(*status, *headers, *exc_info).map(|()| this)
                }
                _ => Err(PyTypeError::new_err(
                    "start_response() takes a status, a list of headers and perhaps exc_info; write() takes bytes",
                )),
            }
        };
        // SAFETY: the interpreter is held; None and the object itself are alive.
        unsafe {
            match called {
                Ok(result) => {
                    ffi::Py_INCREF(result);
                    result
                }
                Err(error) => {
                    error.restore(Python::assume_attached());
                    ptr::null_mut()
                }
            }
        }
    })
}

unsafe extern "C" fn deallocate(this: *mut PyObject) {
    // SAFETY: Python calls this once, when the last reference is gone.
    unsafe {
        keeping_exception(|| RESPONDER.free(this));
    }
}
