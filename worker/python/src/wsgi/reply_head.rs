//! The head of a reply as the application gave it: checked (PEP 3333, RFC 9110 §5) and packed into one piece, so that it can go to
//! another thread. A mistake becomes a Python exception at the place where the application made it.

#![expect(unsafe_code, reason = "C API on the request path")]

use std::slice;

use pyo3::{
    PyErr, Python,
    exceptions::{PyTypeError, PyValueError},
    ffi::{self, PyObject},
    prelude::PyAnyMethods,
    types::PyTypeMethods,
};

use crate::object::{Owned, bytes_of};

/// A checked head.
pub(super) struct ReplyHead {
    pub(super) status: u16,
    /// The announced length of the body.
    pub(super) length: Option<u64>,
    /// For each field: length of name and of value, name, value.
    fields: Vec<u8>,
}

/// Bytes of the two lengths before each field.
const LENGTHS: usize = 8;
/// A head of the usual size fits.
const USUAL_BYTES: usize = 256;

impl ReplyHead {
    /// Reads the arguments of `start_response`.
    ///
    /// # Safety
    /// Both are alive and the interpreter is held.
    pub(super) unsafe fn read(status: *mut PyObject, headers: *mut PyObject) -> Result<Self, PyErr> {
        // SAFETY: the caller's promise; the list keeps its items alive while nothing of Python runs.
        unsafe {
            let mut head =
                Self { status: status_code(status)?, length: None, fields: Vec::with_capacity(USUAL_BYTES) };
            if ffi::PyList_Check(headers) == 0 {
                return Err(wrong_type("the headers", "a list", headers));
            }
            for index in 0..ffi::PyList_GET_SIZE(headers) {
                let pair = ffi::PyList_GET_ITEM(headers, index);
                if ffi::PyTuple_Check(pair) == 0 || ffi::PyTuple_GET_SIZE(pair) != 2 {
                    return Err(wrong_type("a header", "a tuple of two str", pair));
                }
                let name = latin_1("a header's name", ffi::PyTuple_GET_ITEM(pair, 0))?;
                let value = latin_1("a header's value", ffi::PyTuple_GET_ITEM(pair, 1))?;
                head.add(name.bytes(), value.bytes())?;
            }
            Ok(head)
        }
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), PyErr> {
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(PyValueError::new_err(format!(
                "{name:?} is no name of a header: it must be an HTTP token"
            )));
        }
        if value.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(PyValueError::new_err(format!(
                "the value of the header {name:?} has a control character"
            )));
        }
        if is_hop_by_hop(name) {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(PyValueError::new_err(format!(
                "the header {name:?} is the server's own: PEP 3333 forbids hop-by-hop headers to applications"
            )));
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            self.announce(value)?;
        }
        for part in [name.len(), value.len()] {
            let length =
                u32::try_from(part).map_err(|_too_long| PyValueError::new_err("a header is too long"))?;
            self.fields.extend_from_slice(&length.to_ne_bytes());
        }
        self.fields.extend_from_slice(name);
        self.fields.extend_from_slice(value);
        Ok(())
    }

    fn announce(&mut self, value: &[u8]) -> Result<(), PyErr> {
        let text = value.trim_ascii();
        let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let length = str::from_utf8(text).ok().filter(|_| digits).and_then(|text| text.parse().ok());
        match (length, self.length) {
            (Some(length), None) => self.length = Some(length),
            (Some(length), Some(other)) if length == other => {}
            (Some(_) | None, _) => {
                return Err(PyValueError::new_err("Content-Length must be one number of bytes"));
            }
        }
        Ok(())
    }

    /// The fields in order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.fields[..];
        std::iter::from_fn(move || {
            let (lengths, after) = rest.split_first_chunk::<LENGTHS>()?;
            let length = |at: usize| {
                let bytes = [lengths[at], lengths[at + 1], lengths[at + 2], lengths[at + 3]];
                u32::from_ne_bytes(bytes) as usize
            };
            let (name, after) = after.split_at_checked(length(0))?;
            let (value, after) = after.split_at_checked(length(4))?;
            rest = after;
            Some((name, value))
        })
    }
}

/// The number in a status like "200 OK": three digits, then a space and whatever the application likes, or nothing.
unsafe fn status_code(status: *mut PyObject) -> Result<u16, PyErr> {
    // SAFETY: the caller's promise.
    let text = unsafe { latin_1("the status", status)? };
    let bytes = text.bytes();
    if bytes.iter().any(|byte| *byte < b' ' || *byte == 0x7f) {
        return Err(PyValueError::new_err("the status has a control character"));
    }
    if let [a @ b'2'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = bytes
        && matches!(rest, [] | [b' ', ..])
    {
        let digit = |digit: u8| u16::from(digit - b'0');
        return Ok(100 * digit(*a) + 10 * digit(*b) + digit(*c));
    }
    let text = String::from_utf8_lossy(bytes);
    Err(PyValueError::new_err(format!("{text:?} is no status of a final reply: write it like \"200 OK\"")))
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The fields of RFC 9110 §7.6.1 and RFC 2616 §13.5.1, which PEP 3333 names.
fn is_hop_by_hop(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 8] = [
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
    ];
    matches!(name.len(), 2 | 7 | 8 | 10 | 17..=19) && NAMES.iter().any(|hop| name.eq_ignore_ascii_case(hop))
}

/// A `str` as bytes: PEP 3333's "native string".
enum Latin1<'a> {
    Ascii(&'a [u8]),
    Encoded(Owned),
}

impl Latin1<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Ascii(bytes) => bytes,
            // SAFETY: `encoded` is a living `bytes` object.
            Self::Encoded(encoded) => unsafe { bytes_of(encoded.as_ptr()).unwrap_or_default() },
        }
    }
}

unsafe fn latin_1<'a>(what: &str, object: *mut PyObject) -> Result<Latin1<'a>, PyErr> {
    // SAFETY: the caller keeps the object alive; the text of an ASCII string lies in it.
    unsafe {
        let py = Python::assume_attached();
        if ffi::PyUnicode_Check(object) == 0 {
            return Err(wrong_type(what, "a str", object));
        }
        if ffi::PyUnicode_IS_ASCII(object) != 0 {
            let mut length = 0;
            let text = ffi::PyUnicode_AsUTF8AndSize(object, &raw mut length);
            if text.is_null() {
                return Err(PyErr::fetch(py));
            }
            return Ok(Latin1::Ascii(slice::from_raw_parts(
                text.cast(),
                usize::try_from(length).unwrap_or(0),
            )));
        }
        match Owned::steal(ffi::PyUnicode_AsLatin1String(object)) {
            Some(encoded) => Ok(Latin1::Encoded(encoded)),
            None => {
                drop(PyErr::take(py));
                let text = Owned::borrow(object);
                let shown = text.bound(py).repr().map(|repr| repr.to_string()).unwrap_or_default();
                Err(PyValueError::new_err(format!("{what} has characters beyond Latin-1: {shown}")))
            }
        }
    }
}

/// `TypeError: the headers must be a list, not tuple`
pub(super) fn wrong_type(what: &str, wanted: &str, found: *mut PyObject) -> PyErr {
    // SAFETY: callers pass living objects and hold the interpreter.
    let (py, found) = unsafe { (Python::assume_attached(), Owned::borrow(found)) };
    let name = found.bound(py).get_type().name().map(|name| name.to_string()).unwrap_or_default();
    PyTypeError::new_err(format!("{what} must be {wanted}, not {name}"))
}
