//! Reads the messages that an application sends, checks them, and hands them to the exchange. Whatever is wrong with one
//! becomes an exception that says so, at the place where the application sent it.

#![expect(unsafe_code, reason = "C API on the request path")]

use std::slice;

use pyo3::{
    PyErr, Python,
    exceptions::{PyKeyError, PyRuntimeError, PyTypeError, PyValueError},
    ffi::{self, PyObject},
    prelude::PyAnyMethods,
};
use worker_server::{Exchange, Last, ReplyError, Room};

use super::known::{Immortal, known};
use crate::object::{Bytes, Owned, bytes_of};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Taken; go on.
    Done,
    /// Taken; wait for room before the next.
    Full,
}

/// Why a message is refused: an exception is set, or this one is to be raised.
enum Refused {
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
pub(super) unsafe fn send(exchange: &Exchange<Bytes>, message: *mut PyObject) -> Option<Sent> {
    // SAFETY: the caller's promise.
    match unsafe { take(exchange, message) } {
        Ok(sent) => Some(sent),
        Err(Refused::AlreadySet) => None,
        Err(Refused::With(error)) => {
            // SAFETY: the interpreter is held.
            error.restore(unsafe { Python::assume_attached() });
            None
        }
    }
}

unsafe fn take(exchange: &Exchange<Bytes>, message: *mut PyObject) -> Result<Sent, Refused> {
    let text = &known().text;
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let kind = item(message, text.type_)?.ok_or_else(|| missing("type"))?;
        match text_of(kind.as_ptr()).unwrap_or_default() {
            b"http.response.body" => take_body(exchange, message),
            b"http.response.start" => take_start(exchange, message),
            _ => Err(unexpected(&kind)),
        }
    }
}

unsafe fn take_start(exchange: &Exchange<Bytes>, message: *mut PyObject) -> Result<Sent, Refused> {
    let text = &known().text;
    // SAFETY: the caller's promise; all objects read here are kept alive by `headers` and `status`.
    unsafe {
        let status = item(message, text.status)?.ok_or_else(|| missing("status"))?;
        let status = status_code(&status)?;
        let headers = match item(message, text.headers)? {
            Some(headers) => Some(Fields::read(&headers)?),
            None => None,
        };
        let fields = headers.as_ref().map(Fields::iter).into_iter().flatten();
        match exchange.head(status, fields) {
            Ok(()) | Err(ReplyError::Disconnected) => Ok(Sent::Done),
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

unsafe fn take_body(exchange: &Exchange<Bytes>, message: *mut PyObject) -> Result<Sent, Refused> {
    let known = known();
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let last = match item(message, known.text.more_body)? {
            Some(more) => match ffi::PyObject_IsTrue(more.as_ptr()) {
                0 => Last::Yes,
                1 => Last::No,
                _ => return Err(Refused::AlreadySet),
            },
            None => Last::Yes,
        };
        let body = match item(message, known.text.body)? {
            Some(body) => body_bytes(body)?,
            None => Bytes::new(known.empty_bytes.owned()).ok_or(Refused::AlreadySet)?,
        };
        match exchange.body(body, last) {
            Ok(Room::Free) | Err(ReplyError::Disconnected) => Ok(Sent::Done),
            Ok(Room::Full) => Ok(Sent::Full),
            Err(ReplyError::TooLong) => {
                Err(PyRuntimeError::new_err("the body is longer than the reply's Content-Length").into())
            }
            Err(ReplyError::TooShort) => {
                Err(PyRuntimeError::new_err("the body is shorter than the reply's Content-Length").into())
            }
            Err(ReplyError::OutOfOrder | ReplyError::InvalidStatus | ReplyError::InvalidHeader) => {
                Err(PyRuntimeError::new_err("'http.response.body' was sent before 'http.response.start'")
                    .into())
            }
        }
    }
}

fn missing(key: &str) -> Refused {
    PyKeyError::new_err(key.to_owned()).into()
}

fn unexpected(kind: &Owned) -> Refused {
    // SAFETY: the interpreter is held.
    let py = unsafe { Python::assume_attached() };
    let kind = kind.bound(py).repr().map(|repr| repr.to_string()).unwrap_or_default();
    PyRuntimeError::new_err(format!(
        "unexpected ASGI message type {kind}: an HTTP application sends 'http.response.start' and 'http.response.body'"
    ))
    .into()
}

fn wrong_type(what: &str, wanted: &str, found: *mut PyObject) -> Refused {
    // SAFETY: callers pass living objects; the interpreter is held.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: as above.
    let found = unsafe { Owned::borrow(found) };
    let name = found.bound(py).get_type().to_string();
    PyTypeError::new_err(format!("{what} must be {wanted}, not {name}")).into()
}

/// An item of the message; None when the key is missing.
unsafe fn item(message: *mut PyObject, key: Immortal) -> Result<Option<Owned>, Refused> {
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
unsafe fn text_of<'a>(object: *mut PyObject) -> Option<&'a [u8]> {
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

/// The headers of a reply: checked to be pairs of bytes, and held while the engine reads them.
struct Fields {
    /// A list or tuple of lists or tuples of two `bytes`.
    pairs: Owned,
}

impl Fields {
    /// Reads any iterable of pairs.
    unsafe fn read(headers: &Owned) -> Result<Self, Refused> {
        // SAFETY: the object is alive; sequences made by PySequence_Fast are lists or tuples.
        unsafe {
            let message = c"'headers' must be an iterable of pairs";
            let pairs = Owned::steal(ffi::PySequence_Fast(headers.as_ptr(), message.as_ptr()))
                .ok_or(Refused::AlreadySet)?;
            for index in 0..fast_size(pairs.as_ptr()) {
                let pair = fast_item(pairs.as_ptr(), index);
                if !is_list_or_tuple(pair) {
                    return Self::read_unusual(&pairs);
                }
                check_pair(pair)?;
            }
            Ok(Self { pairs })
        }
    }

    /// Pairs that are neither lists nor tuples become tuples first.
    unsafe fn read_unusual(pairs: &Owned) -> Result<Self, Refused> {
        // SAFETY: as above; the new list keeps the new tuples alive.
        unsafe {
            let tuples = Owned::steal(ffi::PyList_New(0)).ok_or(Refused::AlreadySet)?;
            for index in 0..fast_size(pairs.as_ptr()) {
                let pair = Owned::steal(ffi::PySequence_Tuple(fast_item(pairs.as_ptr(), index)))
                    .ok_or(Refused::AlreadySet)?;
                check_pair(pair.as_ptr())?;
                if ffi::PyList_Append(tuples.as_ptr(), pair.as_ptr()) != 0 {
                    return Err(Refused::AlreadySet);
                }
            }
            Ok(Self { pairs: tuples })
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        // SAFETY: `read` checked every pair, no Python code has run since, and none runs while the engine iterates.
        unsafe {
            let pairs = self.pairs.as_ptr();
            (0..fast_size(pairs)).filter_map(move |index| {
                let pair = fast_item(pairs, index);
                Some((bytes_of(fast_item(pair, 0))?, bytes_of(fast_item(pair, 1))?))
            })
        }
    }
}

/// The size of a list or tuple.
unsafe fn fast_size(sequence: *mut PyObject) -> ffi::Py_ssize_t {
    // SAFETY: the caller passes a list or tuple, whose size stands in its head.
    unsafe { ffi::Py_SIZE(sequence) }
}

unsafe fn is_list_or_tuple(object: *mut PyObject) -> bool {
    // SAFETY: the caller's object is alive.
    unsafe { ffi::PyList_Check(object) != 0 || ffi::PyTuple_Check(object) != 0 }
}

/// A borrowed item of a list or tuple; the index is in range.
unsafe fn fast_item(sequence: *mut PyObject, index: ffi::Py_ssize_t) -> *mut PyObject {
    // SAFETY: the caller passes a list or tuple and a valid index.
    unsafe {
        if ffi::PyTuple_Check(sequence) != 0 {
            ffi::PyTuple_GET_ITEM(sequence, index)
        } else {
            ffi::PyList_GET_ITEM(sequence, index)
        }
    }
}

unsafe fn check_pair(pair: *mut PyObject) -> Result<(), Refused> {
    // SAFETY: the caller passes a living list or tuple.
    unsafe {
        if fast_size(pair) != 2 {
            return Err(PyValueError::new_err("each header must be a pair of name and value").into());
        }
        for (index, what) in [(0, "a header's name"), (1, "a header's value")] {
            let part = fast_item(pair, index);
            if ffi::PyBytes_Check(part) == 0 {
                return Err(wrong_type(what, "bytes", part));
            }
        }
        Ok(())
    }
}
