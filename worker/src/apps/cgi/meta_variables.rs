//! The environment of a program: the meta-variables by the letter of RFC 3875 §4.1, and nothing of our own environment but a short
//! list. Pure: what it needs is passed in.

use std::{
    borrow::Cow,
    ffi::{OsStr, OsString},
    net::IpAddr,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

use worker_server::{Peer, Scheme, TlsInfo, Version};

use super::{
    request::Request,
    script::{Script, Site},
};

/// Of our own environment: what finds programs, and how they show text and time.
pub(super) const PASSED_ON: [&str; 6] = ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];
/// Where programs are when our own environment does not say.
pub(super) const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Whether a program sees the credentials of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Authorization {
    /// Removed, as RFC 3875 §4.1.18 advises.
    Withheld,
    /// Passed as HTTP_AUTHORIZATION, for programs that check them themselves.
    Passed,
}

/// Names and values, one each.
pub(super) type Variables = Vec<(OsString, OsString)>;

/// The meta-variables. `body_bytes` is the length of the body after all transfer codings are gone; nothing if there is none.
pub(super) fn meta_variables(
    request: &Request,
    script: &Script,
    site: &Site,
    body_bytes: Option<u64>,
    authorization: Authorization,
) -> Variables {
    let mut variables = Collected(Vec::with_capacity(32));
    let local = &request.connection.local;
    let host = header(request, b"host");
    variables.set("GATEWAY_INTERFACE", b"CGI/1.1");
    variables.set("SERVER_SOFTWARE", concat!("supervise/", env!("CARGO_PKG_VERSION")).as_bytes());
    variables.set("SERVER_PROTOCOL", protocol(request.version));
    variables.set("SERVER_NAME", &server_name(host, local));
    variables.set("SERVER_PORT", server_port(host, local, request.connection.scheme).to_string().as_bytes());
    variables.set("REQUEST_METHOD", &request.method);
    variables.set("QUERY_STRING", &request.query);
    variables.set("SCRIPT_NAME", &script.name);
    // Empty is as good as unset (§4.1), and Python's wsgiref wants it there.
    variables.set("PATH_INFO", &script.path_info);
    if let Some(translated) = script.path_translated(site.root()) {
        variables.set("PATH_TRANSLATED", translated.as_os_str().as_bytes());
    }
    // The name would cost a look-up; the address may stand for it (§4.1.9).
    let client = address(&request.connection.peer);
    variables.set("REMOTE_ADDR", client.as_bytes());
    variables.set("REMOTE_HOST", client.as_bytes());
    if let Some(bytes) = body_bytes {
        variables.set("CONTENT_LENGTH", bytes.to_string().as_bytes());
    }
    if let Some(kind) = header(request, b"content-type") {
        variables.set("CONTENT_TYPE", kind);
    }
    // Not in the RFC; every server sets them and programs rely on them.
    variables.set("REQUEST_URI", &request_uri(request));
    variables.set("SCRIPT_FILENAME", script.file.as_os_str().as_bytes());
    variables.set("DOCUMENT_ROOT", site.root().as_os_str().as_bytes());
    if request.connection.scheme == Scheme::Https {
        variables.set("HTTPS", b"on");
    }
    for (name, value) in request.connection.tls.iter().flat_map(TlsInfo::client_variables) {
        variables.set(name, value.as_bytes());
    }
    variables.0.extend(of_headers(request, authorization));
    variables.0
}

struct Collected(Variables);

impl Collected {
    fn set(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.into(), OsStr::from_bytes(value).to_owned()));
    }
}

fn header<'a>(request: &'a Request, name: &[u8]) -> Option<&'a [u8]> {
    request.headers.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_slice())
}

fn protocol(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"HTTP/1.0",
        Version::Http11 => b"HTTP/1.1",
        Version::Http2 => b"HTTP/2.0",
    }
}

fn request_uri(request: &Request) -> Vec<u8> {
    let mut uri = request.path.clone();
    if !request.query.is_empty() {
        uri.push(b'?');
        uri.extend_from_slice(&request.query);
    }
    uri
}

/// Host and port of a Host field; brackets stay, as §4.1.14 has them.
fn split_host(host: &[u8]) -> (&[u8], Option<u16>) {
    let end_of_literal = host.iter().rposition(|&byte| byte == b']').map_or(0, |at| at + 1);
    match host[end_of_literal..].iter().position(|&byte| byte == b':') {
        Some(at) => {
            let port = str::from_utf8(&host[end_of_literal + at + 1..]).ok();
            (&host[..end_of_literal + at], port.and_then(|port| port.parse().ok()))
        }
        None => (host, None),
    }
}

/// The host that the request is for; the address that it reached if it does not say.
fn server_name<'a>(host: Option<&'a [u8]>, local: &Peer) -> Cow<'a, [u8]> {
    match (host.map(split_host), local) {
        (Some((name, _)), _) if !name.is_empty() => Cow::Borrowed(name),
        (_, Peer::Tcp(address)) => match address.ip().to_canonical() {
            IpAddr::V4(ip) => Cow::Owned(ip.to_string().into_bytes()),
            IpAddr::V6(ip) => Cow::Owned(format!("[{ip}]").into_bytes()),
        },
        (_, Peer::Unix(_)) => Cow::Borrowed(b"localhost"),
    }
}

/// The port on which the request came (§4.1.15). A unix socket has none: then the one that the client believes in.
fn server_port(host: Option<&[u8]>, local: &Peer, scheme: Scheme) -> u16 {
    match local {
        Peer::Tcp(address) => address.port(),
        Peer::Unix(_) => host.and_then(|host| split_host(host).1).unwrap_or(match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }),
    }
}

/// Empty for a unix socket, whose other end has no address.
fn address(peer: &Peer) -> String {
    match peer {
        Peer::Tcp(address) => address.ip().to_canonical().to_string(),
        Peer::Unix(_) => String::new(),
    }
}

/// Fields that no program gets as HTTP_*: they are in other variables, concern the connection alone, or are not what they seem:
/// HTTP_PROXY would be taken for a setting of the program's own (CVE-2016-5385).
fn is_withheld(name: &[u8], authorization: Authorization) -> bool {
    match name {
        b"content-length"
        | b"content-type"
        | b"proxy"
        | b"proxy-authorization"
        | b"connection"
        | b"keep-alive"
        | b"proxy-connection"
        | b"te"
        | b"trailer"
        | b"transfer-encoding"
        | b"upgrade"
        | b"expect" => true,
        b"authorization" => authorization == Authorization::Withheld,
        // `a_b` would become what `a-b` becomes, and so be taken for a field that somebody in front of us checked.
        _ => !name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-'),
    }
}

/// HTTP_*: fields of one name become one value with the same meaning (§4.1.18).
fn of_headers(request: &Request, authorization: Authorization) -> Variables {
    let mut merged: Vec<(&[u8], Vec<u8>)> = Vec::with_capacity(request.headers.len());
    for (name, value) in &request.headers {
        if is_withheld(name, authorization) {
            continue;
        }
        match merged.iter_mut().find(|(held, _)| held == name) {
            Some((_, whole)) => {
                // RFC 6265 §5.4 has cookies in one field, RFC 9110 §5.3 lists by commas.
                whole.extend_from_slice(if name == b"cookie" { b"; " } else { b", " });
                whole.extend_from_slice(value);
            }
            None => merged.push((name, value.clone())),
        }
    }
    let variable = |name: &[u8]| {
        let upper = name.iter().map(|&byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() });
        OsString::from_vec(b"HTTP_".iter().copied().chain(upper).collect())
    };
    merged.into_iter().map(|(name, value)| (variable(name), OsString::from_vec(value))).collect()
}

#[cfg(test)]
mod tests;
