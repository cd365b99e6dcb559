//! Reads the messages that an application sends to a WebSocket, checks them, and hands them to the engine. Whatever is wrong with one
//! becomes an exception that says so, at the place where the application sent it.

#![expect(unsafe_code, reason = "C API on the message path")]

use pyo3::{
    PyErr,
    exceptions::{PyRuntimeError, PyValueError},
    ffi::{self, PyObject},
};
use worker_server::{AcceptError, Last, MessageKind, ReplyError, SendError};

use super::{
    fields::Fields,
    items::Items,
    known::{ClientDisconnected, Immortal, known},
    message::{Refused, Sent, item, missing, take_body, take_start, text_of, unexpected, wrong_type},
    websocket::Link,
};
use crate::object::{Bytes, Owned, text_bytes};

const NORMAL_CLOSE: u16 = 1000;

/// Takes one message.
pub(super) unsafe fn take(link: &Link, message: *mut PyObject) -> Result<Sent, Refused> {
    let text = &known().text;
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let kind = item(message, text.type_)?.ok_or_else(|| missing("type"))?;
        match text_of(kind.as_ptr()).unwrap_or_default() {
            b"websocket.send" => take_message(link, message),
            b"websocket.accept" => take_accept(link, message),
            b"websocket.close" => take_close(link, message),
            b"websocket.http.response.start" if !link.socket.is_accepted() => {
                take_start(&link.denial, &Items::of(message))
            }
            b"websocket.http.response.body" if !link.socket.is_accepted() => {
                take_body(&link.denial, &Items::of(message))
            }
            _ => Err(unexpected(
                &kind,
                "a WebSocket application sends 'websocket.accept', 'websocket.send' and 'websocket.close', or denies by \
                 'websocket.http.response.start' and 'websocket.http.response.body'",
            )),
        }
    }
}

unsafe fn take_message(link: &Link, message: *mut PyObject) -> Result<Sent, Refused> {
    let text = &known().text;
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let (kind, payload) = match present(message, text.text)? {
            Some(content) => {
                if present(message, text.bytes)?.is_some() {
                    return Err(exactly_one());
                }
                (MessageKind::Text, text_payload(content)?)
            }
            None => match present(message, text.bytes)? {
                Some(content) => (MessageKind::Binary, binary_payload(content)?),
                None => return Err(exactly_one()),
            },
        };
        link.socket
            .send(kind, payload)
            .map(Sent::from)
            .map_err(|error| refused(link, error, "websocket.send"))
    }
}

unsafe fn take_accept(link: &Link, message: *mut PyObject) -> Result<Sent, Refused> {
    let text = &known().text;
    // SAFETY: the caller's promise, passed on; all objects read here are kept alive by `subprotocol` and `headers`.
    unsafe {
        let subprotocol = present(message, text.subprotocol)?;
        let name = match &subprotocol {
            Some(subprotocol) => match text_of(subprotocol.as_ptr()) {
                Some(name) => Some(name),
                None => return Err(wrong_type("'subprotocol'", "a str", subprotocol.as_ptr())),
            },
            None => None,
        };
        let headers = match present(message, text.headers)? {
            Some(headers) => Some(Fields::read(&headers)?),
            None => None,
        };
        let fields = headers.as_ref().map(Fields::iter).into_iter().flatten();
        match link.socket.accept(name, fields) {
            // The application hears of a client that is gone by receive().
            Ok(()) | Err(AcceptError::Disconnected) => Ok(Sent::Done),
            Err(AcceptError::UnofferedSubprotocol) => {
                let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
                Err(PyValueError::new_err(format!(
                    "the client has not offered the subprotocol '{name}': choose one of scope[\"subprotocols\"], or none"
                ))
                .into())
            }
            Err(AcceptError::InvalidHeader) => Err(PyValueError::new_err(
                "a header of 'websocket.accept' is invalid: a name must be an HTTP token other than Sec-WebSocket-*, and a value \
                 must have no control character",
            )
            .into()),
            Err(AcceptError::OutOfOrder) => {
                Err(PyRuntimeError::new_err("'websocket.accept' was sent after the handshake was answered").into())
            }
        }
    }
}

unsafe fn take_close(link: &Link, message: *mut PyObject) -> Result<Sent, Refused> {
    let text = &known().text;
    if !link.socket.is_accepted() {
        return reject(link);
    }
    // SAFETY: the caller's promise, passed on; the text read here is kept alive by `reason`.
    unsafe {
        let code = match present(message, text.code)? {
            Some(code) => close_code(&code)?,
            None => NORMAL_CLOSE,
        };
        let reason = present(message, text.reason)?;
        let reason = match &reason {
            Some(reason) => match text_of(reason.as_ptr()) {
                Some(reason) => std::str::from_utf8(reason).unwrap_or_default(),
                None => return Err(wrong_type("'reason'", "a str", reason.as_ptr())),
            },
            None => "",
        };
        match link.socket.close(code, reason) {
            Ok(()) => Ok(Sent::Done),
            Err(error) => Err(refused(link, error, "websocket.close")),
        }
    }
}

/// A close before the accept denies the handshake.
fn reject(link: &Link) -> Result<Sent, Refused> {
    const FORBIDDEN: u16 = 403;
    let fields: [(&[u8], &[u8]); 1] = [(b"content-type", b"text/plain; charset=utf-8")];
    let exchange = link.socket.exchange();
    let empty = Bytes::new(known().empty_bytes.owned()).ok_or(Refused::AlreadySet)?;
    match exchange.head(FORBIDDEN, fields.into_iter()).and_then(|()| exchange.body(empty, Last::Yes)) {
        Ok(_) => {
            link.is_rejected.set(true);
            Ok(Sent::Done)
        }
        Err(ReplyError::Disconnected) if !link.is_rejected.get() => Ok(Sent::Done),
        Err(
            ReplyError::Disconnected
            | ReplyError::OutOfOrder
            | ReplyError::InvalidStatus
            | ReplyError::InvalidHeader
            | ReplyError::TooLong
            | ReplyError::TooShort,
        ) => Err(after_close("websocket.close")),
    }
}

/// An item that is there and not None.
unsafe fn present(message: *mut PyObject, key: Immortal) -> Result<Option<Owned>, Refused> {
    // SAFETY: the caller's promise, passed on; None is immortal.
    unsafe { Ok(item(message, key)?.filter(|found| found.as_ptr() != ffi::Py_None())) }
}

unsafe fn text_payload(content: Owned) -> Result<Bytes, Refused> {
    // SAFETY: the object is alive.
    unsafe {
        if ffi::PyUnicode_Check(content.as_ptr()) == 0 {
            return Err(wrong_type("'text'", "a str", content.as_ptr()));
        }
    }
    // A lone surrogate has no UTF-8: Python's exception says so.
    text_bytes(content).ok_or(Refused::AlreadySet)
}

unsafe fn binary_payload(content: Owned) -> Result<Bytes, Refused> {
    let pointer = content.as_ptr();
    // SAFETY: the object is alive; PyBytes_FromObject copies any buffer.
    unsafe {
        if ffi::PyBytes_Check(pointer) != 0 {
            return Bytes::new(content).ok_or(Refused::AlreadySet);
        }
        if ffi::PyObject_CheckBuffer(pointer) == 0 {
            return Err(wrong_type("'bytes'", "bytes", pointer));
        }
        Owned::steal(ffi::PyBytes_FromObject(pointer)).and_then(Bytes::new).ok_or(Refused::AlreadySet)
    }
}

unsafe fn close_code(code: &Owned) -> Result<u16, Refused> {
    // SAFETY: the object is alive.
    unsafe {
        if ffi::PyLong_Check(code.as_ptr()) == 0 {
            return Err(wrong_type("'code'", "an int", code.as_ptr()));
        }
        let code = ffi::PyLong_AsLong(code.as_ptr());
        if code == -1 && !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
        }
        // What does not fit is as invalid as 0.
        Ok(u16::try_from(code).unwrap_or(0))
    }
}

fn exactly_one() -> Refused {
    PyValueError::new_err("'websocket.send' needs exactly one of 'text' and 'bytes'").into()
}

fn after_close(kind: &str) -> Refused {
    PyRuntimeError::new_err(format!("'{kind}' was sent after 'websocket.close'")).into()
}

fn refused(link: &Link, error: SendError, kind: &str) -> Refused {
    let error: PyErr = match error {
        SendError::NotOpen if link.is_rejected.get() => return after_close(kind),
        SendError::NotOpen => PyRuntimeError::new_err(format!("'{kind}' was sent before 'websocket.accept'")),
        SendError::Closed => return after_close(kind),
        SendError::Disconnected => ClientDisconnected::new_err("the WebSocket client is gone"),
        SendError::InvalidClose => PyValueError::new_err(
            "invalid close: the code must be 1000 to 1003, 1007 to 1014 or 3000 to 4999, and the reason at most 123 bytes of UTF-8",
        ),
    };
    error.into()
}
