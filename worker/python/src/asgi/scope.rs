//! Builds the scope of a request: a copy of the connection's template dict, in which the request's own keys are overwritten.

#![expect(unsafe_code, reason = "C API on the request path")]

use std::{borrow::Cow, cell::RefCell};

use protocol::settings::{AsgiSettings, RootPathMode};
use pyo3::ffi;
use worker_server::{ConnectionInfo, Header, Peer, RequestHead, Scheme, Version};

use super::{
    known::{Immortal, Known, copy_dict, known, new_dict, set},
    spare_copy::SpareCopy,
};
use crate::{
    object::{Owned, new_bytes, new_text},
    percent::decoded,
    value_cache::{ValueCache, is_private},
};

/// Makes scopes; remembers what comes again.
pub(super) struct ScopeBuilder {
    /// The dict that the lifespan filled; each request gets a shallow copy.
    state: Owned,
    fields: RefCell<ValueCache<Owned>>,
    names: RefCell<ValueCache<Owned>>,
    extensions: SpareCopy,
    /// The same with that of TLS among them.
    tls_extensions: SpareCopy,
    paths: RefCell<ValueCache<PathObjects>>,
    /// Where the application is mounted.
    root_path: Vec<u8>,
    root_path_mode: RootPathMode,
}

impl ScopeBuilder {
    pub(super) fn new(state: Owned, settings: &AsgiSettings) -> Self {
        Self {
            state,
            fields: RefCell::new(ValueCache::new()),
            names: RefCell::new(ValueCache::new()),
            extensions: SpareCopy::default(),
            tls_extensions: SpareCopy::default(),
            paths: RefCell::new(ValueCache::new()),
            root_path: settings.root_path.clone().into_bytes(),
            root_path_mode: settings.root_path_mode,
        }
    }

    /// What all requests of a connection share, every key of a scope included: a copy of it needs no growth.
    pub(super) fn template(&self, connection: &ConnectionInfo) -> Option<Owned> {
        let Known { text, empty_bytes, spec_version_value, .. } = known();
        let asgi = new_dict()?;
        set(&asgi, text.version, &text.version_value.owned())?;
        set(&asgi, text.spec_version, &spec_version_value.owned())?;
        let template = new_dict()?;
        set(&template, text.type_, &text.http.owned())?;
        set(&template, text.asgi, &asgi)?;
        set(&template, text.http_version, &text.http_1_1.owned())?;
        set(&template, text.server, &server(&connection.local)?)?;
        set(&template, text.client, &client(&connection.peer)?)?;
        set(&template, text.scheme, &scheme(connection.scheme).owned())?;
        set(&template, text.method, &text.get.owned())?;
        set(&template, text.root_path, &new_text(&decoded(&self.root_path))?)?;
        set(&template, text.path, &text.empty.owned())?;
        set(&template, text.raw_path, &empty_bytes.owned())?;
        set(&template, text.query_string, &empty_bytes.owned())?;
        for key in [text.headers, text.state, text.extensions] {
            set(&template, key, &none())?;
        }
        Some(template)
    }

    /// Puts a request's path into the template of its connection: the next request often has the same.
    pub(super) fn set_path(&self, template: &Owned, path: &[u8]) -> Option<()> {
        let text = &known().text;
        let path = self.path(&self.root_path, path)?;
        set(template, text.path, &path.text)?;
        set(template, text.raw_path, &path.raw)
    }

    /// The scope of one request, whose path stands in the template already; `tls` is the extension of its connection. None with a Python exception set when memory runs out.
    pub(super) fn scope(
        &self,
        template: &Owned,
        tls: Option<&Owned>,
        head: &RequestHead<'_>,
    ) -> Option<Owned> {
        let Known { text, extensions, .. } = known();
        let scope = copy_dict(template.as_ptr())?;
        match head.version {
            Version::Http11 => {}
            Version::Http10 => set(&scope, text.http_version, &text.http_1_0.owned())?,
            Version::Http2 => set(&scope, text.http_version, &text.http_2.owned())?,
        }
        if head.method != b"GET" {
            set(&scope, text.method, &method(head.method)?)?;
        }
        // A trusted proxy told of another client: the template has the connection's own.
        if !std::ptr::eq(head.client, &raw const head.connection.peer) {
            set(&scope, text.client, &client(head.client)?)?;
        }
        if head.scheme != head.connection.scheme {
            set(&scope, text.scheme, &scheme(head.scheme).owned())?;
        }
        if !head.prefix.is_empty() {
            // The path as it was received has it already.
            let missing = if head.prefix_in_path() == 0 { head.prefix } else { b"" };
            let path = self.path(missing, head.path)?;
            set(&scope, text.root_path, &new_text(&decoded(head.prefix))?)?;
            set(&scope, text.path, &path.text)?;
            set(&scope, text.raw_path, &path.raw)?;
        }
        if !head.query.is_empty() {
            set(&scope, text.query_string, &new_bytes(head.query)?)?;
        }
        set(&scope, text.headers, &self.headers(head.headers)?)?;
        set(&scope, text.state, &copy_dict(self.state.as_ptr())?)?;
        let offered = extensions.offered(head.offers);
        let extensions = match tls {
            None => self.extensions.of(offered)?,
            Some(tls) => self.tls_extensions.with(offered, text.tls, tls)?,
        };
        set(&scope, text.extensions, &extensions)?;
        Some(scope)
    }

    /// The scope of one WebSocket, whose path stands in the template already.
    pub(super) fn websocket_scope<'s>(
        &self,
        template: &Owned,
        tls: Option<&Owned>,
        head: &RequestHead<'_>,
        subprotocols: impl ExactSizeIterator<Item = &'s [u8]>,
    ) -> Option<Owned> {
        let Known { text, websocket, .. } = known();
        let scope = self.scope(template, None, head)?;
        let scheme = match head.scheme {
            Scheme::Http => text.ws,
            Scheme::Https => text.wss,
        };
        set(&scope, text.type_, &text.websocket.owned())?;
        set(&scope, text.scheme, &scheme.owned())?;
        let extensions = copy_dict(websocket.extensions.as_ptr())?;
        if let Some(tls) = tls {
            set(&extensions, text.tls, tls)?;
        }
        set(&scope, text.extensions, &extensions)?;
        // SAFETY: the interpreter is held. The new list is filled below, each place once, before anybody sees it.
        unsafe {
            if ffi::PyDict_DelItem(scope.as_ptr(), text.method.as_ptr()) != 0 {
                return None;
            }
            let list = Owned::steal(ffi::PyList_New(subprotocols.len().cast_signed()))?;
            for (index, subprotocol) in subprotocols.enumerate() {
                let subprotocol = new_text(subprotocol)?;
                ffi::PyList_SET_ITEM(list.as_ptr(), index.cast_signed(), subprotocol.into_ptr());
            }
            set(&scope, text.subprotocols, &list)?;
        }
        Some(scope)
    }

    /// The path of an application that is mounted at `root`.
    fn path(&self, root: &[u8], path: &[u8]) -> Option<PathObjects> {
        let root = match self.root_path_mode {
            // `OPTIONS *` is about the server, wherever the application is.
            RootPathMode::Prepend if path != b"*" => root,
            RootPathMode::Prepend | RootPathMode::Verbatim => b"",
        };
        self.paths.borrow_mut().get(root, path, || {
            let whole = if root.is_empty() { Cow::Borrowed(path) } else { Cow::Owned([root, path].concat()) };
            Some(PathObjects { text: new_text(&decoded(&whole))?, raw: new_bytes(&whole)? })
        })
    }

    /// A fresh list, since middlewares change it, of tuples that may be shared, since nobody can.
    fn headers(&self, headers: &[Header<'_>]) -> Option<Owned> {
        // SAFETY: a new list of this length is filled below, each place once, before anybody sees it; on failure its end
        // copes with empty places.
        unsafe {
            let list = Owned::steal(ffi::PyList_New(headers.len().cast_signed()))?;
            for (index, header) in headers.iter().enumerate() {
                let field = self.field(header)?;
                ffi::PyList_SET_ITEM(list.as_ptr(), index.cast_signed(), field.into_ptr());
            }
            Some(list)
        }
    }

    fn field(&self, header: &Header<'_>) -> Option<Owned> {
        if is_private(header.name) {
            return self.new_field(header);
        }
        self.fields.borrow_mut().get(header.name, header.value, || self.new_field(header))
    }

    fn new_field(&self, header: &Header<'_>) -> Option<Owned> {
        let name = self.names.borrow_mut().get(header.name, b"", || new_bytes(header.name))?;
        pair(name, new_bytes(header.value)?)
    }
}

/// A path as the scope shows it: decoded text and raw bytes.
#[derive(Clone)]
struct PathObjects {
    text: Owned,
    raw: Owned,
}

fn none() -> Owned {
    // SAFETY: None is immortal.
    unsafe { Owned::borrow(ffi::Py_None()) }
}

fn pair(first: Owned, second: Owned) -> Option<Owned> {
    // SAFETY: a new tuple of two places, both filled before anybody sees it; the places take the references over.
    unsafe {
        let tuple = Owned::steal(ffi::PyTuple_New(2))?;
        ffi::PyTuple_SET_ITEM(tuple.as_ptr(), 0, first.into_ptr());
        ffi::PyTuple_SET_ITEM(tuple.as_ptr(), 1, second.into_ptr());
        Some(tuple)
    }
}

fn scheme(scheme: Scheme) -> Immortal {
    let text = &known().text;
    match scheme {
        Scheme::Http => text.http,
        Scheme::Https => text.https,
    }
}

/// `(host, port)`, or None on a unix socket: its client has no name.
fn client(peer: &Peer) -> Option<Owned> {
    match peer {
        Peer::Tcp(address) => host_and_port(*address),
        Peer::Unix(_) => Some(none()),
    }
}

/// `(host, port)`, or `(path, None)` on a unix socket.
fn server(local: &Peer) -> Option<Owned> {
    match local {
        Peer::Tcp(address) => host_and_port(*address),
        Peer::Unix(Some(path)) => pair(new_text(path.as_os_str().as_encoded_bytes())?, none()),
        Peer::Unix(None) => Some(none()),
    }
}

fn host_and_port(address: std::net::SocketAddr) -> Option<Owned> {
    let host = new_text(address.ip().to_string().as_bytes())?;
    // SAFETY: the interpreter is held.
    let port = unsafe { Owned::steal(ffi::PyLong_FromLong(address.port().into()))? };
    pair(host, port)
}

/// The method in upper case, as the contract wants it.
fn method(method: &[u8]) -> Option<Owned> {
    let text = &known().text;
    let usual: Option<Immortal> = match method {
        b"HEAD" => Some(text.head),
        b"POST" => Some(text.post),
        b"PUT" => Some(text.put),
        b"DELETE" => Some(text.delete),
        b"PATCH" => Some(text.patch),
        b"OPTIONS" => Some(text.options),
        _ => None,
    };
    usual.map(Immortal::owned).or_else(|| new_text(&method.to_ascii_uppercase()))
}
