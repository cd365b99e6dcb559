//! The ASGI extension `tls`: what the handshake of a connection agreed on, as a dict that all requests of the connection share.

#![expect(unsafe_code, reason = "C API")]

use pyo3::ffi;
use worker_server::TlsInfo;

use super::known::{known, new_dict, set};
use crate::object::{Owned, new_text};

/// `{"server_cert": …, "client_cert_chain": […], …}`. None with a Python exception set when memory runs out.
pub(super) fn extension(info: &TlsInfo) -> Option<Owned> {
    let text = &known().text;
    let tls = new_dict()?;
    set(&tls, text.server_cert, &new_text(info.server_certificate_pem().as_bytes())?)?;
    set(&tls, text.client_cert_chain, &list(&info.client_chain_pem())?)?;
    let name = match info.client_name() {
        Some(name) => new_text(name.as_bytes())?,
        None => none(),
    };
    set(&tls, text.client_cert_name, &name)?;
    // Whoever shows a wrong certificate does not get past the handshake.
    set(&tls, text.client_cert_error, &none())?;
    set(&tls, text.tls_version, &number(info.version)?)?;
    set(&tls, text.cipher_suite, &number(info.cipher_suite)?)?;
    Some(tls)
}

fn list(texts: &[String]) -> Option<Owned> {
    // SAFETY: a new list of this length is filled below, each place once, before anybody sees it; on failure its end copes
    // with empty places.
    unsafe {
        let list = Owned::steal(ffi::PyList_New(texts.len().cast_signed()))?;
        for (index, text) in texts.iter().enumerate() {
            ffi::PyList_SET_ITEM(list.as_ptr(), index.cast_signed(), new_text(text.as_bytes())?.into_ptr());
        }
        Some(list)
    }
}

fn number(number: u16) -> Option<Owned> {
    // SAFETY: the interpreter is held.
    unsafe { Owned::steal(ffi::PyLong_FromLong(number.into())) }
}

fn none() -> Owned {
    // SAFETY: None is immortal.
    unsafe { Owned::borrow(ffi::Py_None()) }
}
