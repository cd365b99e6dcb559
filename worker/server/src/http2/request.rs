//! The head of a request in HTTP/2: what hyper has decoded, checked for what RFC 9113 §8 asks of a server and hyper does not look
//! at, and for the same bounds as in HTTP/1.

use hyper::{
    HeaderMap, Method,
    ext::Protocol,
    header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, HeaderValue, TE},
    http::request::Parts,
};

use crate::{
    BodyLength, Header, Limits, WebSocketLimits,
    http1::{
        head::{Trailers, decimal},
        refusal::Refusal,
        target::is_authority,
    },
};

/// Fields whose list is made on the stack. Browsers send about fifteen.
const FEW_FIELDS: usize = 24;

/// Why the app does not see a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// It is malformed by RFC 9113 §8.1.1: a stream error of type PROTOCOL_ERROR.
    Malformed,
    /// It is answered with a status, as in HTTP/1.
    Refused(Refusal),
}

/// Whether the stream ends with its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// It does: there is no body.
    WithHead,
    /// DATA will follow.
    Later,
}

/// Checks a request's head, and finds out what follows it.
pub(crate) fn check(parts: &Parts, end: StreamEnd, limits: &Limits) -> Result<BodyLength, Rejection> {
    if parts.method == Method::CONNECT && asks_for_websocket(parts, limits).is_none() {
        // RFC 9113 §8.5: the authority is what to connect to.
        let is_sound = parts.uri.authority().is_some();
        return Err(if is_sound { Rejection::Refused(Refusal::Connect) } else { Rejection::Malformed });
    }
    check_target(parts, limits)?;
    check_host(parts)?;
    if parts.headers.len() > limits.header_count {
        return Err(Rejection::Refused(Refusal::TooManyFields));
    }
    let mut list_bytes = pseudo_fields_bytes(parts);
    for (name, value) in &parts.headers {
        check_field(name, value)?;
        list_bytes += field_bytes(name.as_str().len(), value.len());
    }
    if limits.http2.is_some_and(|http2| list_bytes > http2.header_list_bytes as usize) {
        return Err(Rejection::Refused(Refusal::HeadTooLong));
    }
    let body = body_length(&parts.headers, end)?;
    match (body, limits.body_bytes) {
        (BodyLength::Known(length), Some(limit)) if length > limit => {
            Err(Rejection::Refused(Refusal::BodyTooLong))
        }
        (BodyLength::None | BodyLength::Known(_) | BodyLength::Chunked, _) => Ok(body),
    }
}

/// The bounds of the WebSocket that a request asks for (RFC 8441 §5), if the app speaks it.
pub(crate) fn asks_for_websocket<'l>(parts: &Parts, limits: &'l Limits) -> Option<&'l WebSocketLimits> {
    let protocol = parts.extensions.get::<Protocol>()?;
    limits.websocket.as_ref().filter(|_| protocol.as_str().eq_ignore_ascii_case("websocket"))
}

/// What a field counts in the size of a list (RFC 9113 §6.5.2).
fn field_bytes(name_bytes: usize, value_bytes: usize) -> usize {
    name_bytes + value_bytes + 32
}

fn pseudo_fields_bytes(parts: &Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let authority = parts.uri.authority().map_or(0, |authority| authority.as_str().len());
    let scheme = parts.uri.scheme_str().map_or(0, str::len);
    field_bytes(":method".len(), parts.method.as_str().len())
        + field_bytes(":path".len(), target)
        + field_bytes(":scheme".len(), scheme)
        + field_bytes(":authority".len(), authority)
}

/// The path begins with a slash, or is the asterisk of OPTIONS (RFC 9113 §8.3.1).
fn check_target(parts: &Parts, limits: &Limits) -> Result<(), Rejection> {
    let path = parts.uri.path();
    let is_asterisk = path == "*" && parts.method == Method::OPTIONS;
    if !path.starts_with('/') && !is_asterisk {
        return Err(Rejection::Malformed);
    }
    let query = parts.uri.query().map_or(0, |query| query.len() + 1);
    // As long as the request line would be in HTTP/1.
    if parts.method.as_str().len() + path.len() + query + " / HTTP/2.0".len() > limits.request_line_bytes {
        return Err(Rejection::Refused(Refusal::RequestLineTooLong));
    }
    Ok(())
}

/// One authority, in `:authority` or in Host; in both only if they agree (RFC 9113 §8.3.1).
fn check_host(parts: &Parts) -> Result<(), Rejection> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(Rejection::Malformed);
    }
    match (parts.uri.authority(), host) {
        (None, None) => Err(Rejection::Refused(Refusal::HostMissing)),
        (None, Some(host)) if is_authority(host.as_bytes()) => Ok(()),
        (None, Some(_)) => Err(Rejection::Refused(Refusal::HostInvalid)),
        // User info is forbidden (RFC 9113 §8.3.1).
        (Some(authority), _) if !is_authority(authority.as_str().as_bytes()) => Err(Rejection::Malformed),
        (Some(authority), Some(host))
            if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            Err(Rejection::Malformed)
        }
        (Some(_), _) => Ok(()),
    }
}

fn check_field(name: &HeaderName, value: &HeaderValue) -> Result<(), Rejection> {
    let bytes = value.as_bytes();
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if is_space(bytes.first()) || is_space(bytes.last()) {
        // RFC 9113 §8.2.1.
        return Err(Rejection::Malformed);
    }
    if name == EXPECT && !bytes.eq_ignore_ascii_case(b"100-continue") {
        return Err(Rejection::Refused(Refusal::Expectation));
    }
    Ok(())
}

fn body_length(headers: &HeaderMap, end: StreamEnd) -> Result<BodyLength, Rejection> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(length), None) => {
            Some(decimal(length.as_bytes()).ok_or(Rejection::Refused(Refusal::LengthInvalid))?)
        }
        (Some(_), Some(_)) => return Err(Rejection::Malformed),
    };
    match (length, end) {
        // The length must be that of the DATA (RFC 9113 §8.1.1).
        (Some(length), StreamEnd::WithHead) if length > 0 => Err(Rejection::Malformed),
        (Some(length), StreamEnd::WithHead | StreamEnd::Later) => Ok(BodyLength::Known(length)),
        (None, StreamEnd::WithHead) => Ok(BodyLength::None),
        (None, StreamEnd::Later) => Ok(BodyLength::Chunked),
    }
}

/// Whether the client takes trailers. `TE` has no other value in HTTP/2 (RFC 9113 §8.2.2).
pub(crate) fn trailers(headers: &HeaderMap) -> Trailers {
    if headers.contains_key(TE) { Trailers::Wanted } else { Trailers::Unwanted }
}

/// Appends what would be the request line in HTTP/1.
pub(crate) fn write_line(out: &mut Vec<u8>, parts: &Parts) {
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(parts.uri.path().as_bytes());
    if let Some(query) = parts.uri.query() {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/2.0");
}

/// Makes the list of fields, on the stack where there are few: `:authority` is the host, and crumbs of cookies are one field again
/// (RFC 9113 §8.2.3).
pub(crate) fn with_headers(parts: &Parts, call: impl FnOnce(&[Header<'_>])) {
    let cookie = joined_cookie(&parts.headers);
    let authority = parts.uri.authority().map(|it| it.as_str().as_bytes());
    let host = authority.map(|value| Header { name: b"host", value });
    let mut cookie_is_due = true;
    let sent = parts.headers.iter().filter_map(|(name, value)| {
        if authority.is_some() && name == HOST {
            return None;
        }
        let mut header = Header { name: name.as_str().as_bytes(), value: value.as_bytes() };
        if let Some(cookie) = &cookie
            && name == COOKIE
        {
            if !std::mem::take(&mut cookie_is_due) {
                return None;
            }
            header.value = cookie;
        }
        Some(header)
    });
    let headers = host.into_iter().chain(sent);
    if parts.headers.len() < FEW_FIELDS {
        let mut few = [Header { name: &[], value: &[] }; FEW_FIELDS];
        let mut count = 0;
        for (place, header) in few.iter_mut().zip(headers) {
            *place = header;
            count += 1;
        }
        call(&few[..count]);
    } else {
        call(&headers.collect::<Vec<_>>());
    }
}

/// The cookies of a request that has several Cookie fields.
fn joined_cookie(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut cookies = headers.get_all(COOKIE).iter();
    let (first, second) = (cookies.next()?, cookies.next()?);
    let mut joined = [first.as_bytes(), second.as_bytes()].join(b"; ".as_slice());
    for cookie in cookies {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    Some(joined)
}
