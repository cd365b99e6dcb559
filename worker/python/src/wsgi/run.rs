//! One run of the application: the call, the iteration over what it returned, and `close()` (PEP 3333). Blocks as long as the
//! application does.

#![expect(unsafe_code, reason = "C API on the request path")]

use std::ptr;

use pyo3::{
    PyErr, Python,
    exceptions::PyTypeError,
    ffi::{self, PyObject},
};
use worker_server::Last;

use super::{
    caller::Caller,
    chunk::bury_the_dead,
    environ::EnvironBuilder,
    file_wrapper,
    input::Input,
    known::texts,
    port::Port,
    request::{Body, Method, Request},
    responder::{Responder, Wanted},
};
use crate::object::Owned;

/// Serves one request from beginning to end. The interpreter is held.
pub(super) fn run(
    py: Python<'_>,
    caller: &Caller,
    environs: &mut EnvironBuilder,
    request: Request,
    port: &Port,
) {
    bury_the_dead();
    let (key, relay) = (request.key, std::sync::Arc::clone(&request.relay));
    let responder = Responder::object(key, relay, port.clone(), request.method, caller.reply_buffer_bytes);
    let Some(responder) = responder else {
        // Without memory for one object there is none for a reply: the desk answers 500 when it forgets the request.
        let _told = port.send(super::port::Message::Failed(key));
        return caller.report(py, PyErr::fetch(py));
    };
    let done = caller
        .in_new_context(|| serve(py, caller, environs, request, port, &responder))
        .unwrap_or_else(|| Err(PyErr::fetch(py)));
    if let Err(error) = done {
        let told = Responder::of(&responder).fail();
        caller.report(py, error);
        if let Err(error) = told {
            caller.report(py, error);
        }
    }
}

fn serve(
    py: Python<'_>,
    caller: &Caller,
    environs: &mut EnvironBuilder,
    mut request: Request,
    port: &Port,
    responder: &Owned,
) -> Result<(), PyErr> {
    let environ = {
        let body = std::mem::replace(&mut request.body, Body::NONE);
        let length = body.length();
        let input = Input::object(body, request.key, &request.relay, port);
        input.and_then(|input| environs.environ(caller, &request, length, &input))
    };
    let environ = environ.ok_or_else(|| PyErr::fetch(py))?;
    let result = call(caller, &environ, responder).ok_or_else(|| PyErr::fetch(py))?;
    let delivered = deliver(py, &result, Responder::of(responder), &request);
    let closed = close(py, &result);
    delivered.and(closed)
}

/// `application(environ, start_response)`
fn call(caller: &Caller, environ: &Owned, responder: &Owned) -> Option<Owned> {
    // Place for the callee's `self`, so that it need not copy the arguments.
    let mut arguments = [ptr::null_mut(), environ.as_ptr(), responder.as_ptr()];
    // SAFETY: all are alive for the call.
    unsafe {
        let result = ffi::PyObject_Vectorcall(
            caller.application.as_ptr(),
            arguments.as_mut_ptr().add(1),
            2 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
            ptr::null_mut(),
        );
        Owned::steal(result)
    }
}

/// Sends what the application returned, part by part: each is on its way before the next is asked for.
fn deliver(py: Python<'_>, result: &Owned, responder: &Responder, request: &Request) -> Result<(), PyErr> {
    // SAFETY: the object is alive and the interpreter is held; items of lists and tuples are made strong at once, and what an
    // iterator returns is a reference of ours.
    unsafe {
        let object = result.as_ptr();
        if let Some(only) = only_item(object) {
            if responder.is_begun() {
                responder.send(only.as_ptr(), Last::Yes)?;
            }
            return responder.finish();
        }
        if ffi::PyBytes_Check(object) != 0 || ffi::PyUnicode_Check(object) != 0 {
            return Err(PyTypeError::new_err(
                "the application returned a single string; it must return an iterable of bytes, like [body]",
            ));
        }
        if request.offers.files
            && responder.is_begun()
            && let Some(range) = file_wrapper::range_of(py, object)
        {
            return responder.send_file(range.file, range.offset, range.count).map(drop);
        }
        let parts = Owned::steal(ffi::PyObject_GetIter(object)).ok_or_else(|| PyErr::fetch(py))?;
        while let Some(part) = Owned::steal(ffi::PyIter_Next(parts.as_ptr())) {
            if request.method == Method::Head
                && ffi::PyBytes_Check(part.as_ptr()) != 0
                && responder.is_begun()
            {
                // Nobody will see the rest.
                return responder.finish_without_body();
            }
            if responder.send(part.as_ptr(), Last::No)? == Wanted::Nothing {
                return Ok(());
            }
        }
        if let Some(error) = PyErr::take(py) {
            return Err(error);
        }
    }
    responder.finish()
}

/// The item of a list or tuple that has exactly one: then the length of the body is known (PEP 3333, "Handling the Content-Length
/// header").
unsafe fn only_item(object: *mut PyObject) -> Option<Owned> {
    // SAFETY: the caller's promise.
    unsafe {
        let item = if ffi::PyList_CheckExact(object) != 0 && ffi::PyList_GET_SIZE(object) == 1 {
            ffi::PyList_GET_ITEM(object, 0)
        } else if ffi::PyTuple_CheckExact(object) != 0 && ffi::PyTuple_GET_SIZE(object) == 1 {
            ffi::PyTuple_GET_ITEM(object, 0)
        } else {
            return None;
        };
        Some(Owned::borrow(item))
    }
}

/// Calls the `close()` of what the application returned, if there is one.
fn close(py: Python<'_>, result: &Owned) -> Result<(), PyErr> {
    // SAFETY: the object is alive and the interpreter is held.
    unsafe {
        let object = result.as_ptr();
        if ffi::PyList_CheckExact(object) != 0 || ffi::PyTuple_CheckExact(object) != 0 {
            return Ok(());
        }
        if ffi::PyObject_HasAttr(object, texts().close.as_ptr()) == 0 {
            return Ok(());
        }
        let closed =
            ffi::PyObject_CallMethodObjArgs(object, texts().close.as_ptr(), ptr::null_mut::<PyObject>());
        Owned::steal(closed).map(drop).ok_or_else(|| PyErr::fetch(py))
    }
}
