//! Python objects that every request needs: interned keys, common values, templates of messages. Made once, never freed.

#![expect(unsafe_code, reason = "borrows of immortal objects")]

use std::sync::OnceLock;

use protocol::settings::SpecVersion;
use pyo3::{PyTypeInfo, Python, create_exception, exceptions::PyConnectionError, ffi};

use super::extensions::ExtensionDicts;

pub(super) use crate::immortal::{Immortal, copy_dict, new_dict, set};
use crate::{
    immortal::known_texts,
    object::{Owned, new_bytes, new_text},
};

known_texts! {
    asgi = c"asgi";
    body = c"body";
    cipher_suite = c"cipher_suite";
    client = c"client";
    client_cert_chain = c"client_cert_chain";
    client_cert_error = c"client_cert_error";
    client_cert_name = c"client_cert_name";
    bytes = c"bytes";
    code = c"code";
    #[cfg(Py_3_11)]
    context = c"context";
    #[cfg(Py_3_12)]
    eager_start = c"eager_start";
    done = c"done";
    extensions = c"extensions";
    file = c"file";
    count = c"count";
    headers = c"headers";
    links = c"links";
    more_trailers = c"more_trailers";
    offset = c"offset";
    trailers = c"trailers";
    http = c"http";
    https = c"https";
    http_disconnect = c"http.disconnect";
    http_request = c"http.request";
    http_version = c"http_version";
    http_1_0 = c"1.0";
    http_1_1 = c"1.1";
    http_2 = c"2";
    method = c"method";
    more_body = c"more_body";
    path = c"path";
    query_string = c"query_string";
    reason = c"reason";
    raw_path = c"raw_path";
    root_path = c"root_path";
    empty = c"";
    scheme = c"scheme";
    server = c"server";
    server_cert = c"server_cert";
    set_result = c"set_result";
    spec_version = c"spec_version";
    state = c"state";
    subprotocol = c"subprotocol";
    subprotocols = c"subprotocols";
    text = c"text";
    status = c"status";
    tls = c"tls";
    tls_version = c"tls_version";
    type_ = c"type";
    version = c"version";
    websocket = c"websocket";
    websocket_connect = c"websocket.connect";
    websocket_disconnect = c"websocket.disconnect";
    websocket_http_response = c"websocket.http.response";
    websocket_receive = c"websocket.receive";
    ws = c"ws";
    wss = c"wss";
    version_value = c"3.0";
    get = c"GET";
    head = c"HEAD";
    post = c"POST";
    put = c"PUT";
    delete = c"DELETE";
    patch = c"PATCH";
    options = c"OPTIONS";
}

/// All of them.
pub(super) struct Known {
    pub(super) text: Texts,
    pub(super) empty_bytes: Immortal,
    /// The version of ASGI that scopes name.
    pub(super) spec_version_value: Immortal,
    /// What sending to a client that left raises; None where it does nothing.
    pub(super) client_disconnected: Option<Immortal>,
    /// `{"type": "http.request", "body": b"", "more_body": False}`
    pub(super) request_message: Immortal,
    /// `{"type": "http.disconnect"}`
    pub(super) disconnect_message: Immortal,
    pub(super) extensions: ExtensionDicts,
    pub(super) websocket: WebSocketDicts,
}

/// What every WebSocket needs.
pub(super) struct WebSocketDicts {
    /// `{"type": "websocket.connect"}`
    pub(super) connect_message: Immortal,
    /// `{"type": "websocket.receive"}`; the payload follows.
    pub(super) receive_message: Immortal,
    /// `{"websocket.http.response": {}}`
    pub(super) extensions: Immortal,
}

impl WebSocketDicts {
    fn make(text: &Texts) -> Option<Self> {
        let connect = new_dict()?;
        set(&connect, text.type_, &text.websocket_connect.owned())?;
        let receive = new_dict()?;
        set(&receive, text.type_, &text.websocket_receive.owned())?;
        let extensions = new_dict()?;
        set(&extensions, text.websocket_http_response, &new_dict()?)?;
        Some(Self {
            connect_message: Immortal::new(connect),
            receive_message: Immortal::new(receive),
            extensions: Immortal::new(extensions),
        })
    }
}

static KNOWN: OnceLock<Known> = OnceLock::new();

/// The known objects.
///
/// # Panics
/// Before [`prepare`].
pub(super) fn known() -> &'static Known {
    KNOWN.get().expect("prepare() ran before the first request")
}

/// Makes the known objects. None when Python has no memory; an exception is set then.
pub(super) fn prepare(version: SpecVersion) -> Option<()> {
    if KNOWN.get().is_none() {
        let made = make(version)?;
        let _ = KNOWN.set(made);
    }
    Some(())
}

fn make(version: SpecVersion) -> Option<Known> {
    let text = Texts::make()?;
    let empty_bytes = Immortal::new(new_bytes(b"")?);
    // SAFETY: the interpreter is held, and Py_False is immortal.
    let no = unsafe { Owned::borrow(ffi::Py_False()) };
    let request_message = new_dict()?;
    set(&request_message, text.type_, &text.http_request.owned())?;
    set(&request_message, text.body, &empty_bytes.owned())?;
    set(&request_message, text.more_body, &no)?;
    let disconnect_message = new_dict()?;
    set(&disconnect_message, text.type_, &text.http_disconnect.owned())?;
    Some(Known {
        websocket: WebSocketDicts::make(&text)?,
        text,
        empty_bytes,
        spec_version_value: Immortal::new(new_text(version.as_str().as_bytes())?),
        client_disconnected: match version {
            SpecVersion::V2_3 => None,
            SpecVersion::V2_5 => Some(client_disconnected()),
        },
        request_message: Immortal::new(request_message),
        disconnect_message: Immortal::new(disconnect_message),
        extensions: ExtensionDicts::make()?,
    })
}

create_exception!(
    worker_python,
    ClientDisconnected,
    PyConnectionError,
    "The client is gone: nothing can be sent to it."
);

/// A subclass of OSError (ASGI 2.4), by which ours is told from an application's own.
fn client_disconnected() -> Immortal {
    Python::attach(|py| Immortal::new(ClientDisconnected::type_object(py).into_any().into()))
}
