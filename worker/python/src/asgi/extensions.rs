//! What an application may send beyond the two messages that every reply needs: early hints, trailers, and files by path or by
//! descriptor. Each is told of in the scope where the request offers it.

#![expect(unsafe_code, reason = "C API on the request path")]

use std::{
    fs::File,
    os::fd::{BorrowedFd, RawFd},
    path::PathBuf,
};

use nix::unistd::{Whence, lseek};
use pyo3::{
    PyErr, Python,
    exceptions::{PyOSError, PyRuntimeError, PyValueError},
    ffi::{self, PyObject},
    prelude::PyAnyMethods,
};
use worker_server::{Last, Offers, ReplyError};

use super::{
    fields::{Fields, fast_item, fast_size},
    known::{Immortal, known, new_dict},
    message::{Refused, Reply, Sent, is_set, item, missing, wrong_type},
};
use crate::object::{Owned, bytes_of, interned};

/// What `scope["extensions"]` is copied from, one dict for each thing that a request can offer.
pub(super) struct ExtensionDicts {
    files: Immortal,
    files_and_hints: Immortal,
    files_and_trailers: Immortal,
    all: Immortal,
    none: Immortal,
}

impl ExtensionDicts {
    /// Makes them. None when Python has no memory; an exception is set then.
    pub(super) fn make() -> Option<Self> {
        let hint = c"http.response.early_hint";
        let path = c"http.response.pathsend";
        let file = c"http.response.zerocopysend";
        let trailers = c"http.response.trailers";
        Some(Self {
            files: dict_of(&[path, file])?,
            files_and_hints: dict_of(&[path, file, hint])?,
            files_and_trailers: dict_of(&[path, file, trailers])?,
            all: dict_of(&[path, file, hint, trailers])?,
            none: dict_of(&[])?,
        })
    }

    /// The dict of what a request offers.
    pub(super) fn offered(&self, offers: Offers) -> Immortal {
        match offers {
            Offers { files: true, early_hints: true, trailers: false } => self.files_and_hints,
            Offers { files: true, early_hints: true, trailers: true } => self.all,
            Offers { files: true, early_hints: false, trailers: true } => self.files_and_trailers,
            Offers { files: true, early_hints: false, trailers: false } => self.files,
            Offers { files: false, .. } => self.none,
        }
    }
}

/// A dict in which each of these names is there, with nothing more to say about it.
fn dict_of(names: &[&'static std::ffi::CStr]) -> Option<Immortal> {
    let dict = new_dict()?;
    for name in names {
        let (name, value) = (interned(name)?, new_dict()?);
        // SAFETY: all three are alive; the dict takes its own references.
        if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), name.as_ptr(), value.as_ptr()) } != 0 {
            return None;
        }
    }
    Some(Immortal::new(dict))
}

/// `http.response.early_hint`: the targets of Link fields, as often as the application likes and before the head has left.
///
/// # Safety
/// `message` is alive and the interpreter is held; so for all of this module.
pub(super) unsafe fn take_early_hint(reply: &Reply, message: *mut PyObject) -> Result<Sent, Refused> {
    // SAFETY: the caller's promise; `links` keeps every link alive while the engine reads them.
    unsafe {
        let links = item(message, known().text.links)?.ok_or_else(|| missing("links"))?;
        let links = Owned::steal(ffi::PySequence_Fast(
            links.as_ptr(),
            c"'links' must be an iterable of bytes".as_ptr(),
        ))
        .ok_or(Refused::AlreadySet)?;
        let count = fast_size(links.as_ptr());
        for index in 0..count {
            let link = fast_item(links.as_ptr(), index);
            if ffi::PyBytes_Check(link) == 0 {
                return Err(wrong_type("each of 'links'", "bytes", link));
            }
        }
        let fields = (0..count)
            .filter_map(|index| Some((b"link".as_slice(), bytes_of(fast_item(links.as_ptr(), index))?)));
        match reply.exchange.early_hint(fields) {
            Ok(room) => Ok(room.into()),
            Err(ReplyError::Disconnected) => reply.without_client(),
            Err(ReplyError::InvalidHeader) => {
                Err(PyValueError::new_err("a link has a control character").into())
            }
            Err(
                ReplyError::OutOfOrder
                | ReplyError::InvalidStatus
                | ReplyError::TooLong
                | ReplyError::TooShort,
            ) => {
                let message = "'http.response.early_hint' was sent when the response had left already";
                Err(PyRuntimeError::new_err(message).into())
            }
        }
    }
}

/// `http.response.trailers`: kept until the last message of theirs ends the reply.
pub(super) unsafe fn take_trailers(reply: &Reply, message: *mut PyObject) -> Result<Sent, Refused> {
    let text = &known().text;
    // SAFETY: the caller's promise, passed on.
    unsafe {
        if reply.exchange.is_over() {
            return Ok(Sent::Done);
        }
        if !reply.awaits_trailers() {
            let message = "'http.response.trailers' was sent without 'trailers': True in 'http.response.start', or before the \
                           body's end";
            return Err(PyRuntimeError::new_err(message).into());
        }
        if let Some(headers) = item(message, text.headers)? {
            let fields = Fields::read(&headers)?;
            reply.trailers.borrow_mut().push(fields);
        }
        if is_set(message, text.more_trailers)? {
            return Ok(Sent::Done);
        }
        let all = reply.trailers.take();
        match reply.exchange.trailers(all.iter().flat_map(Fields::iter)) {
            Ok(()) => {
                reply.completed();
                Ok(Sent::Done)
            }
            Err(ReplyError::Disconnected) => reply.without_client(),
            Err(ReplyError::InvalidHeader) => {
                let message = "a trailer is invalid: malformed, or a field that must not come after the body";
                Err(PyValueError::new_err(message).into())
            }
            Err(ReplyError::TooShort) => {
                Err(PyRuntimeError::new_err("the body is shorter than the reply's Content-Length").into())
            }
            Err(ReplyError::OutOfOrder | ReplyError::InvalidStatus | ReplyError::TooLong) => {
                let message = "'http.response.trailers' was sent before 'http.response.start'";
                Err(PyRuntimeError::new_err(message).into())
            }
        }
    }
}

/// `http.response.pathsend`: a whole file, which is the whole body.
pub(super) unsafe fn take_path(reply: &Reply, message: *mut PyObject) -> Result<Sent, Refused> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let path = item(message, known().text.path)?.ok_or_else(|| missing("path"))?;
        if reply.exchange.is_over() {
            return Ok(Sent::Done);
        }
        let path: PathBuf = path.bound(Python::assume_attached()).extract()?;
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|error| {
            // OSError makes itself the subclass that fits, as open() does.
            PyOSError::new_err((error.raw_os_error(), error.to_string(), path.clone()))
        })?;
        if !metadata.is_file() {
            let message =
                format!("'path' of 'http.response.pathsend' is no regular file: {}", path.display());
            return Err(PyValueError::new_err(message).into());
        }
        reply.part(Last::Yes, "http.response.pathsend", |exchange, last| {
            exchange.send_file(file, 0, metadata.len(), last)
        })
    }
}

/// `http.response.zerocopysend`: a range of an open file. Like os.sendfile: without an offset it begins at the file's position and
/// moves that, without a count it goes to the file's end.
pub(super) unsafe fn take_file(reply: &Reply, message: *mut PyObject) -> Result<Sent, Refused> {
    let text = &known().text;
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let file = item(message, text.file)?.ok_or_else(|| missing("file"))?;
        let last = if is_set(message, text.more_body)? { Last::No } else { Last::Yes };
        let (offset, count) =
            (number(message, text.offset, "'offset'")?, number(message, text.count, "'count'")?);
        if reply.exchange.is_over() {
            return Ok(Sent::Done);
        }
        let file = own_descriptor(&file)?;
        let metadata = file.metadata().map_err(PyErr::from)?;
        if !metadata.is_file() {
            let message = "'file' of 'http.response.zerocopysend' is no regular file";
            return Err(PyValueError::new_err(message).into());
        }
        let start = match offset {
            Some(offset) => offset,
            None => u64::try_from(lseek(&file, 0, Whence::SeekCur).map_err(into_exception)?).unwrap_or(0),
        };
        let count = count.unwrap_or_else(|| metadata.len().saturating_sub(start));
        let position = file.try_clone().map_err(PyErr::from);
        let sent = reply.part(last, "http.response.zerocopysend", |exchange, last| {
            exchange.send_file(file, start, count, last)
        })?;
        if offset.is_none() {
            let end = i64::try_from(start + count).unwrap_or(i64::MAX);
            lseek(position?, end, Whence::SeekSet).map_err(into_exception)?;
        }
        Ok(sent)
    }
}

fn into_exception(error: nix::errno::Errno) -> PyErr {
    PyErr::from(std::io::Error::from(error))
}

/// The file of a file object or descriptor, by a descriptor of our own: the application may close its one at once.
unsafe fn own_descriptor(file: &Owned) -> Result<File, Refused> {
    // SAFETY: the object is alive; a descriptor that is not open is refused by the kernel when it is duplicated.
    unsafe {
        let descriptor = RawFd::from(ffi::PyObject_AsFileDescriptor(file.as_ptr()));
        if descriptor < 0 {
            return Err(Refused::AlreadySet);
        }
        let owned = BorrowedFd::borrow_raw(descriptor).try_clone_to_owned().map_err(PyErr::from)?;
        Ok(File::from(owned))
    }
}

/// A number of bytes; None when the key is missing or its value is None.
unsafe fn number(message: *mut PyObject, key: Immortal, what: &str) -> Result<Option<u64>, Refused> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let Some(value) = item(message, key)?.filter(|value| value.as_ptr() != ffi::Py_None()) else {
            return Ok(None);
        };
        if ffi::PyLong_Check(value.as_ptr()) == 0 {
            return Err(wrong_type(what, "an int", value.as_ptr()));
        }
        let number: i64 = value.bound(Python::assume_attached()).extract()?;
        let number = u64::try_from(number);
        number
            .map(Some)
            .map_err(|_negative| PyValueError::new_err(format!("{what} must not be negative")).into())
    }
}
