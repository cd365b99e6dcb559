//! Builds the environ of a request (PEP 3333, RFC 3875 §4.1): a copy of the client's template dict, in which the request's own
//! keys are set. All texts are "native strings": one character a byte.

#![expect(unsafe_code, reason = "C API on the request path")]

use pyo3::ffi::{self, PyObject};
use worker_server::{Peer, Scheme, TlsInfo, Version};

use super::{
    caller::Caller,
    known::texts,
    request::{Client, Request},
};
use crate::{
    immortal::{Immortal, copy_dict, new_dict, set},
    object::Owned,
    percent,
    value_cache::{ValueCache, is_private},
};

/// Makes environs on one thread; remembers what comes again.
pub(super) struct EnvironBuilder {
    fields: ValueCache<Field>,
    names: ValueCache<Owned>,
    paths: ValueCache<Path>,
}

/// A header field as the environ has it.
#[derive(Clone)]
struct Field {
    key: Owned,
    value: Owned,
}

/// A path as the environ has it.
#[derive(Clone)]
struct Path {
    decoded: Owned,
    raw: Owned,
}

impl EnvironBuilder {
    pub(super) fn new() -> Self {
        Self { fields: ValueCache::new(), names: ValueCache::new(), paths: ValueCache::new() }
    }

    /// The environ of one request; `length` is that of its body, where it is known. None with a Python exception set when memory runs out.
    pub(super) fn environ(
        &mut self,
        caller: &Caller,
        request: &Request,
        length: Option<u64>,
        input: &Owned,
    ) -> Option<Owned> {
        let text = texts();
        let template = request.client.template.get(|| template(caller, request))?;
        let environ = copy_dict(template)?;
        let path = self.path(request.path())?;
        set(&environ, text.path_info, &path.decoded)?;
        if let Some(prefix) = request.prefix() {
            set(&environ, text.script_name, &latin_1(&percent::decoded(prefix))?)?;
            set(&environ, text.path_info, &latin_1(&percent::decoded(request.path_below_prefix()))?)?;
        }
        set(&environ, text.wsgi_input, input)?;
        if request.query().is_empty() {
            set(&environ, text.raw_uri, &path.raw)?;
            set(&environ, text.request_uri, &path.raw)?;
        } else {
            set(&environ, text.query_string, &latin_1(request.query())?)?;
            let target = latin_1(&[request.path(), b"?", request.query()].concat())?;
            set(&environ, text.raw_uri, &target)?;
            set(&environ, text.request_uri, &target)?;
        }
        match request.version {
            Version::Http11 => {}
            Version::Http10 => set(&environ, text.server_protocol, &text.http_1_0.owned())?,
            Version::Http2 => set(&environ, text.server_protocol, &text.http_2.owned())?,
        }
        if request.method() != b"GET" {
            set(&environ, text.request_method, &method(request.method())?)?;
        }
        self.set_fields(&environ, request)?;
        if let Some(length) = length {
            set(&environ, text.content_length, &latin_1(length.to_string().as_bytes())?)?;
        }
        Some(environ)
    }

    fn path(&mut self, path: &[u8]) -> Option<Path> {
        self.paths
            .get(path, b"", || Some(Path { decoded: latin_1(&percent::decoded(path))?, raw: latin_1(path)? }))
    }

    fn set_fields(&mut self, environ: &Owned, request: &Request) -> Option<()> {
        // Names that came twice and are joined already. Their number, and so the work, is bounded by the number of fields.
        let mut joined: Vec<&[u8]> = Vec::new();
        for (name, value) in request.fields() {
            if is_left_out(name) {
                continue;
            }
            let field = self.field(name, value)?;
            // SAFETY: all are alive; the dict takes its own references.
            unsafe {
                let before = ffi::PyDict_Size(environ.as_ptr());
                let kept = ffi::PyDict_SetDefault(environ.as_ptr(), field.key.as_ptr(), field.value.as_ptr());
                if kept.is_null() {
                    return None;
                }
                if ffi::PyDict_Size(environ.as_ptr()) == before && !joined.contains(&name) {
                    joined.push(name);
                    let all = joined_values(name, request);
                    set_object(environ, field.key.as_ptr(), &latin_1(&all)?)?;
                }
            }
        }
        Some(())
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> Option<Field> {
        if is_private(name) {
            return Some(Field { key: key_of(&mut self.names, name)?, value: latin_1(value)? });
        }
        let names = &mut self.names;
        self.fields.get(name, value, || Some(Field { key: key_of(names, name)?, value: latin_1(value)? }))
    }
}

/// Fields that the environ does not have. `X_Y` would be the same variable as `X-Y`, which somebody in front may have checked; the
/// framing is undone, and the length of the body is told apart.
fn is_left_out(name: &[u8]) -> bool {
    name.contains(&b'_') || name == b"content-length" || name == b"transfer-encoding"
}

/// All values of a field that came more than once, as RFC 9110 §5.3 and RFC 6265 §4.2.1 want them joined.
fn joined_values(name: &[u8], request: &Request) -> Vec<u8> {
    let separator: &[u8] = if name == b"cookie" { b"; " } else { b"," };
    let values = request.fields().filter(|field| field.0 == name).map(|field| field.1);
    let mut joined = Vec::new();
    for (index, value) in values.enumerate() {
        if index > 0 {
            joined.extend_from_slice(separator);
        }
        joined.extend_from_slice(value);
    }
    joined
}

fn key_of(names: &mut ValueCache<Owned>, name: &[u8]) -> Option<Owned> {
    if name == b"content-type" {
        return Some(texts().content_type.owned());
    }
    names.get(name, b"", || {
        let mut key = b"HTTP_".to_vec();
        key.extend(name.iter().map(|byte| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }));
        let mut key = latin_1(&key)?.into_ptr();
        // SAFETY: the reference is ours; interning may replace it by another of the same text.
        unsafe {
            ffi::PyUnicode_InternInPlace(&raw mut key);
            Owned::steal(key)
        }
    })
}

/// What all requests of one client have in common.
fn template(caller: &Caller, request: &Request) -> Option<Owned> {
    let text = texts();
    let client: &Client = &request.client;
    let template = new_dict()?;
    set(&template, text.request_method, &text.get.owned())?;
    set(&template, text.script_name, &text.empty.owned())?;
    set(&template, text.path_info, &text.empty.owned())?;
    set(&template, text.query_string, &text.empty.owned())?;
    set(&template, text.request_uri, &text.empty.owned())?;
    set(&template, text.raw_uri, &text.empty.owned())?;
    set(&template, text.server_protocol, &text.http_1_1.owned())?;
    set(&template, text.server_software, &text.software.owned())?;
    let (name, port) = server(client, request);
    set(&template, text.server_name, &latin_1(&name)?)?;
    set(&template, text.server_port, &latin_1(&port)?)?;
    match &client.peer {
        Peer::Tcp(address) => {
            set(&template, text.remote_addr, &latin_1(address.ip().to_string().as_bytes())?)?;
            set(&template, text.remote_port, &latin_1(address.port().to_string().as_bytes())?)?;
        }
        // Who is on the other end of a unix socket has no address.
        Peer::Unix(_) => set(&template, text.remote_addr, &text.empty.owned())?,
    }
    let scheme = match client.scheme {
        Scheme::Http => text.http,
        Scheme::Https => {
            set(&template, text.https, &text.on.owned())?;
            text.https_scheme
        }
    };
    for (name, value) in client.tls.iter().flat_map(TlsInfo::client_variables) {
        set_object(&template, latin_1(name.as_bytes())?.as_ptr(), &latin_1(value.as_bytes())?)?;
    }
    set(&template, text.wsgi_url_scheme, &scheme.owned())?;
    set(&template, text.wsgi_input, &text.empty.owned())?;
    for (key, value) in caller.constants() {
        set(&template, key, &value.owned())?;
    }
    Some(template)
}

/// Name and port of the server, never empty: the address that was reached; on a unix socket what the client calls it.
fn server(client: &Client, request: &Request) -> (Vec<u8>, Vec<u8>) {
    if let Peer::Tcp(address) = &client.local {
        return (address.ip().to_string().into_bytes(), address.port().to_string().into_bytes());
    }
    let usual_port: &[u8] = match client.scheme {
        Scheme::Http => b"80",
        Scheme::Https => b"443",
    };
    let host = request.fields().find(|field| field.0 == b"host").map_or(&b""[..], |field| field.1);
    let (name, port) = match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if host[colon + 1..].iter().all(u8::is_ascii_digit) => {
            (&host[..colon], &host[colon + 1..])
        }
        Some(_) | None => (host, usual_port),
    };
    let name = if name.is_empty() { b"localhost" } else { name };
    let port = if port.is_empty() { usual_port } else { port };
    (name.to_vec(), port.to_vec())
}

/// The method as received.
fn method(method: &[u8]) -> Option<Owned> {
    let text = texts();
    let usual: Option<Immortal> = match method {
        b"HEAD" => Some(text.head),
        b"POST" => Some(text.post),
        b"PUT" => Some(text.put),
        b"DELETE" => Some(text.delete),
        b"PATCH" => Some(text.patch),
        b"OPTIONS" => Some(text.options),
        _ => None,
    };
    usual.map(Immortal::owned).or_else(|| latin_1(method))
}

/// A new `str`, one character a byte.
fn latin_1(bytes: &[u8]) -> Option<Owned> {
    // SAFETY: pointer and length come from a slice; the interpreter is held.
    unsafe {
        Owned::steal(ffi::PyUnicode_DecodeLatin1(
            bytes.as_ptr().cast(),
            bytes.len().cast_signed(),
            std::ptr::null(),
        ))
    }
}

fn set_object(dict: &Owned, key: *mut PyObject, value: &Owned) -> Option<()> {
    // SAFETY: all are alive; the dict takes its own references.
    let failed = unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key, value.as_ptr()) };
    (failed == 0).then_some(())
}
