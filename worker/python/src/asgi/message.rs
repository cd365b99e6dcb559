//! Reads the messages that an application sends, checks them, and hands them to the exchange. Whatever is wrong with one
//! becomes an exception that says so, at the place where the application sent it.

#![expect(unsafe_code, reason = "C API on the request path")]

use std::{
    cell::{Cell, RefCell},
    slice,
};

use pyo3::{
    PyErr, Python,
    exceptions::{PyKeyError, PyRuntimeError, PyTypeError, PyValueError},
    ffi::{self, PyObject},
    prelude::PyAnyMethods,
};
use worker_server::{Exchange, Last, ReplyError, Room};

use super::{
    extensions,
    fields::Fields,
    items::{Items, Key},
    known::{Immortal, known},
};
use crate::object::{Bytes, Owned};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Taken; go on.
    Done,
    /// Taken; wait for room before the next.
    Full,
    /// Nobody is there to take it; go on.
    Nowhere,
}

impl From<Room> for Sent {
    fn from(room: Room) -> Self {
        match room {
            Room::Free => Self::Done,
            Room::Full => Self::Full,
        }
    }
}

/// The reply of one request, as messages make it.
pub(super) struct Reply {
    pub(super) exchange: Exchange<Bytes>,
    end: Cell<ReplyEnd>,
    /// Trailer fields that came before the last message of theirs.
    pub(super) trailers: RefCell<Vec<Fields>>,
}

/// What ends the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReplyEnd {
    /// The last part of the body.
    Body,
    /// Trailers, which the start announced; the body may go on.
    Trailers,
    /// Trailers, and nothing else may come before.
    TrailersAlone,
    /// It is over, and the application ended it.
    Over,
}

impl Reply {
    pub(super) fn new(exchange: Exchange<Bytes>) -> Self {
        Self { exchange, end: Cell::new(ReplyEnd::Body), trailers: RefCell::default() }
    }

    /// Sends a part of the body, of which the application says whether it is the last; `kind` is the message that it came in.
    pub(super) fn part(
        &self,
        last: Last,
        kind: &str,
        send: impl FnOnce(&Exchange<Bytes>, Last) -> Result<Room, ReplyError>,
    ) -> Result<Sent, Refused> {
        let (last, end) = match (self.end.get(), last) {
            (ReplyEnd::Over, _) => return Ok(Sent::Done),
            (ReplyEnd::Body, Last::No) => (Last::No, ReplyEnd::Body),
            (ReplyEnd::Body, Last::Yes) => (Last::Yes, ReplyEnd::Over),
            (ReplyEnd::Trailers, Last::No) => (Last::No, ReplyEnd::Trailers),
            (ReplyEnd::Trailers, Last::Yes) => (Last::No, ReplyEnd::TrailersAlone),
            (ReplyEnd::TrailersAlone, _) if self.exchange.is_over() => return self.without_client(),
            (ReplyEnd::TrailersAlone, _) => {
                let message = "the body is complete: 'http.response.trailers' comes next";
                return Err(PyRuntimeError::new_err(message).into());
            }
        };
        let wrong = match send(&self.exchange, last) {
            Ok(room) => {
                self.end.set(end);
                return Ok(Sent::from(room));
            }
            Err(ReplyError::Disconnected) => return self.without_client(),
            Err(ReplyError::TooLong) => "the body is longer than the reply's Content-Length".to_owned(),
            Err(ReplyError::TooShort) => {
                self.end.set(ReplyEnd::Over);
                "the body is shorter than the reply's Content-Length".to_owned()
            }
            Err(ReplyError::OutOfOrder | ReplyError::InvalidStatus | ReplyError::InvalidHeader) => {
                format!("'{kind}' was sent before 'http.response.start'")
            }
        };
        Err(PyRuntimeError::new_err(wrong).into())
    }

    /// Whether the application has sent all of it.
    pub(super) fn is_complete(&self) -> bool {
        self.end.get() == ReplyEnd::Over
    }

    /// The application sent the end of it.
    pub(super) fn completed(&self) {
        self.end.set(ReplyEnd::Over);
    }

    /// What sending comes to when there is nobody to send to: nothing, or the exception of ASGI 2.4. After the end of the reply it
    /// is always nothing.
    pub(super) fn without_client(&self) -> Result<Sent, Refused> {
        match known().client_disconnected {
            Some(class) if !self.is_complete() => {
                // SAFETY: the interpreter is held and the class is immortal.
                unsafe { ffi::PyErr_SetString(class.as_ptr(), c"the client has disconnected".as_ptr()) };
                Err(Refused::AlreadySet)
            }
            Some(_) => Ok(Sent::Done),
            None => Ok(Sent::Nowhere),
        }
    }

    /// Whether trailers may come now.
    pub(super) fn awaits_trailers(&self) -> bool {
        self.end.get() == ReplyEnd::TrailersAlone || self.exchange.is_over()
    }
}

/// Why a message is refused: an exception is set, or this one is to be raised.
pub(super) enum Refused {
    AlreadySet,
    With(PyErr),
}

impl From<PyErr> for Refused {
    fn from(error: PyErr) -> Self {
        Self::With(error)
    }
}

/// Takes one message. None with an exception set when it is refused; the exchange is unharmed then.
///
/// # Safety
/// `message` is alive and the interpreter is held.
pub(super) unsafe fn send(reply: &Reply, message: *mut PyObject) -> Option<Sent> {
    // SAFETY: the caller's promise.
    raising(unsafe { take(reply, message) })
}

/// Sets the exception of a message that is refused.
pub(super) fn raising(taken: Result<Sent, Refused>) -> Option<Sent> {
    match taken {
        Ok(sent) => Some(sent),
        Err(Refused::AlreadySet) => None,
        Err(Refused::With(error)) => {
            // SAFETY: the interpreter is held.
            error.restore(unsafe { Python::assume_attached() });
            None
        }
    }
}

const EXPECTED: &str = "an HTTP application sends 'http.response.start' and 'http.response.body'";

unsafe fn take(reply: &Reply, message: *mut PyObject) -> Result<Sent, Refused> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let items = Items::of(message);
        let kind = items.get(Key::Type)?.ok_or_else(|| missing("type"))?;
        match text_of(kind.as_ptr()).unwrap_or_default() {
            b"http.response.body" => take_body(reply, &items),
            b"http.response.start" => take_start(reply, &items),
            b"http.response.trailers" => extensions::take_trailers(reply, message),
            b"http.response.pathsend" => extensions::take_path(reply, message),
            b"http.response.zerocopysend" => extensions::take_file(reply, message),
            b"http.response.early_hint" => extensions::take_early_hint(reply, message),
            _ => Err(unexpected(&kind, EXPECTED)),
        }
    }
}

pub(super) unsafe fn take_start(reply: &Reply, message: &Items) -> Result<Sent, Refused> {
    // SAFETY: the caller's promise; all items are fetched before any code of the application can run.
    unsafe {
        let status = message.get(Key::Status)?.ok_or_else(|| missing("status"))?;
        let (headers, trailers) = (message.get(Key::Headers)?, message.get(Key::Trailers)?);
        let status = status_code(&status)?;
        let headers = headers.map(|headers| Fields::read(&headers)).transpose()?;
        let has_trailers = is_true(trailers)?;
        let fields = headers.as_ref().map(Fields::iter).into_iter().flatten();
        match reply.exchange.head(status, fields) {
            Ok(()) => {
                if has_trailers {
                    reply.end.set(ReplyEnd::Trailers);
                }
                Ok(Sent::Done)
            }
            Err(ReplyError::Disconnected) => reply.without_client(),
            Err(ReplyError::InvalidStatus) => {
                Err(PyValueError::new_err(format!("{status} is no final HTTP status (200 to 999)")).into())
            }
            Err(ReplyError::InvalidHeader) => Err(PyValueError::new_err(
                "a header of the reply is invalid: a name must be an HTTP token and a value must have no control character",
            )
            .into()),
            Err(ReplyError::OutOfOrder | ReplyError::TooLong | ReplyError::TooShort) => {
                Err(PyRuntimeError::new_err("'http.response.start' was sent already").into())
            }
        }
    }
}

pub(super) unsafe fn take_body(reply: &Reply, message: &Items) -> Result<Sent, Refused> {
    // SAFETY: the caller's promise; both items are fetched before any code of the application can run.
    unsafe {
        let (body, more_body) = (message.get(Key::Body)?, message.get(Key::MoreBody)?);
        let last = if is_true(more_body)? { Last::No } else { Last::Yes };
        let body = match body {
            Some(body) => body_bytes(body)?,
            None => Bytes::new(known().empty_bytes.owned()).ok_or(Refused::AlreadySet)?,
        };
        reply.part(last, "http.response.body", |exchange, last| exchange.body(body, last))
    }
}

/// Whether an item is there and true.
pub(super) unsafe fn is_set(message: *mut PyObject, key: Immortal) -> Result<bool, Refused> {
    // SAFETY: the caller's promise, passed on.
    unsafe { is_true(item(message, key)?) }
}

/// Whether there is a value that is true.
unsafe fn is_true(value: Option<Owned>) -> Result<bool, Refused> {
    let Some(value) = value else { return Ok(false) };
    // SAFETY: the caller holds the interpreter.
    match unsafe { ffi::PyObject_IsTrue(value.as_ptr()) } {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Refused::AlreadySet),
    }
}

pub(super) fn missing(key: &str) -> Refused {
    PyKeyError::new_err(key.to_owned()).into()
}

pub(super) fn unexpected(kind: &Owned, expected: &str) -> Refused {
    // SAFETY: the interpreter is held.
    let py = unsafe { Python::assume_attached() };
    let kind = kind.bound(py).repr().map(|repr| repr.to_string()).unwrap_or_default();
    PyRuntimeError::new_err(format!("unexpected ASGI message type {kind}: {expected}")).into()
}

pub(super) fn wrong_type(what: &str, wanted: &str, found: *mut PyObject) -> Refused {
    // SAFETY: callers pass living objects; the interpreter is held.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: as above.
    let found = unsafe { Owned::borrow(found) };
    let name = found.bound(py).get_type().to_string();
    PyTypeError::new_err(format!("{what} must be {wanted}, not {name}")).into()
}

/// An item of the message; None when the key is missing.
pub(super) unsafe fn item(message: *mut PyObject, key: Immortal) -> Result<Option<Owned>, Refused> {
    // SAFETY: the caller's promise; a dict's item is borrowed and made strong at once.
    unsafe {
        if ffi::PyDict_Check(message) != 0 {
            let found = ffi::PyDict_GetItemWithError(message, key.as_ptr());
            if !found.is_null() {
                return Ok(Some(Owned::borrow(found)));
            }
            return if ffi::PyErr_Occurred().is_null() { Ok(None) } else { Err(Refused::AlreadySet) };
        }
        if ffi::PyMapping_Check(message) == 0 {
            return Err(wrong_type("an ASGI message", "a dict", message));
        }
        match Owned::steal(ffi::PyObject_GetItem(message, key.as_ptr())) {
            Some(found) => Ok(Some(found)),
            None if ffi::PyErr_ExceptionMatches(ffi::PyExc_KeyError) != 0 => {
                ffi::PyErr_Clear();
                Ok(None)
            }
            None => Err(Refused::AlreadySet),
        }
    }
}

/// The bytes of a `str`; None for anything else.
pub(super) unsafe fn text_of<'a>(object: *mut PyObject) -> Option<&'a [u8]> {
    // SAFETY: the caller keeps the object alive; the text is cached in it.
    unsafe {
        if ffi::PyUnicode_Check(object) == 0 {
            return None;
        }
        let mut length = 0;
        let text = ffi::PyUnicode_AsUTF8AndSize(object, &raw mut length);
        if text.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(slice::from_raw_parts(text.cast(), usize::try_from(length).unwrap_or(0)))
    }
}

unsafe fn status_code(status: &Owned) -> Result<u16, Refused> {
    // SAFETY: the object is alive.
    unsafe {
        if ffi::PyLong_Check(status.as_ptr()) == 0 {
            return Err(wrong_type("'status'", "an int", status.as_ptr()));
        }
        let code = ffi::PyLong_AsLong(status.as_ptr());
        if code == -1 && !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
        }
        // What does not fit is as invalid as 0.
        Ok(u16::try_from(code).unwrap_or(0))
    }
}

unsafe fn body_bytes(body: Owned) -> Result<Bytes, Refused> {
    let pointer = body.as_ptr();
    // SAFETY: the object is alive; PyBytes_FromObject copies any buffer.
    unsafe {
        if ffi::PyBytes_Check(pointer) != 0 {
            return Bytes::new(body).ok_or(Refused::AlreadySet);
        }
        if ffi::PyObject_CheckBuffer(pointer) == 0 {
            return Err(wrong_type("'body'", "bytes", pointer));
        }
        Owned::steal(ffi::PyBytes_FromObject(pointer)).and_then(Bytes::new).ok_or(Refused::AlreadySet)
    }
}
