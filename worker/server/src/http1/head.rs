//! Request heads: `httparse` finds the parts, the strict check refuses what two parsers could read in two ways. Names are
//! lower-cased in place. Knows only a buffer of bytes.

use std::mem::MaybeUninit;

use super::{
    refusal::Refusal,
    target::{self, Span},
};
use crate::{
    BodyLength, Limits, Version,
    forwarded::{ForwardedField, Provenance},
};

/// The most header fields that the stack of one decode has room for; a larger limit is cut down to it.
const HEADER_SLOTS: usize = 256;

/// Where a header field lies in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldSpan {
    pub(crate) name: Span,
    pub(crate) value: Span,
}

/// A request head that passed every check, by its places in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The request line without its line end.
    pub(crate) line: Span,
    pub(crate) method: Span,
    /// `None` for `/` where the target has no path of its own.
    pub(crate) path: Option<Span>,
    pub(crate) query: Span,
    pub(crate) version: Version,
    pub(crate) body: BodyLength,
    pub(crate) persistence: Persistence,
    pub(crate) expectation: Expectation,
    pub(crate) trailers: Trailers,
    pub(crate) upgrade: Upgrade,
    pub(crate) provenance: Provenance,
    /// The authority of an absolute target that came without a Host field to replace.
    pub(crate) added_host: Option<Span>,
    /// Bytes of the head, its last line end included.
    pub(crate) length: usize,
}

/// What the client wants to become of the connection after the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// Kept, as HTTP/1.1 does unasked.
    Keep,
    /// Kept, asked for in HTTP/1.0, where the reply must say so too.
    KeepByConsent,
    /// Closed.
    Close,
}

/// What the client wants to speak after the reply (RFC 9110 §7.8). Anything but a well-formed wish for WebSocket is ignored: the
/// request is served as what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// HTTP/1, or what is not spoken here.
    None,
    /// WebSocket: a GET without a body in HTTP/1.1 that names it in Upgrade, and Upgrade in Connection.
    WebSocket,
}

/// Whether the client waits before it sends the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// It does not.
    None,
    /// It waits for `100 Continue`.
    Continue,
}

/// Whether the client takes trailer fields (`TE: trailers`, RFC 9110 §10.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trailers {
    /// It does not say so: they are dropped.
    Unwanted,
    /// It does.
    Wanted,
}

/// What the bytes so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// More bytes are needed.
    Incomplete,
    /// A head; its fields are in the list that was passed in.
    Complete(Head),
    /// The request must be refused and the connection closed.
    Refused(Refusal),
}

/// Decodes the head at the start of `buffer`, which must not begin with an empty line (see [`empty_lines`]). The result depends
/// on the bytes alone, never on how they were cut into reads: only whole lines are looked at.
pub(crate) fn decode(buffer: &mut [u8], limits: &Limits, fields: &mut Vec<FieldSpan>) -> Decoded {
    fields.clear();
    if buffer.first().is_some_and(|&byte| !is_token_byte(byte)) {
        // No method begins like this: a TLS hello, say, in which a line end may never come.
        return Decoded::Refused(Refusal::RequestLine);
    }
    let window = &buffer[..buffer.len().min(limits.head_bytes)];
    let is_short = buffer.len() < limits.request_line_bytes.min(limits.head_bytes);
    let lines = if is_short && buffer.last() == Some(&b'\n') {
        // Most heads come alone, whole and far from any bound.
        window
    } else {
        let line_window = &buffer[..buffer.len().min(limits.request_line_bytes + 2)];
        if memchr::memchr(b'\n', line_window).is_none() {
            let overlong = line_window.len() == limits.request_line_bytes + 2;
            return if overlong {
                Decoded::Refused(Refusal::RequestLineTooLong)
            } else {
                Decoded::Incomplete
            };
        }
        let Some(last_line_end) = memchr::memrchr(b'\n', window) else {
            return Decoded::Refused(Refusal::HeadTooLong);
        };
        &window[..=last_line_end]
    };
    match split(lines, limits.header_count, fields) {
        Ok(Some(parts)) => match check(parts, lines, fields) {
            Ok(head) => {
                for field in fields.iter() {
                    field.name.slice_mut(buffer).make_ascii_lowercase();
                }
                Decoded::Complete(head)
            }
            Err(refusal) => Decoded::Refused(refusal),
        },
        Ok(None) if window.len() == limits.head_bytes => Decoded::Refused(Refusal::HeadTooLong),
        Ok(None) => Decoded::Incomplete,
        Err(refusal) => Decoded::Refused(refusal),
    }
}

/// Bytes of empty lines at the start of `buffer`, which RFC 9112 §2.2 wants ignored before a request.
pub(crate) fn empty_lines(buffer: &[u8]) -> usize {
    buffer.chunks_exact(2).take_while(|pair| *pair == b"\r\n").count() * 2
}

/// Whether these bytes may be the first half of an empty line.
pub(crate) fn is_half_empty_line(buffer: &[u8]) -> bool {
    buffer == b"\r"
}

/// What `httparse` found, before the strict check.
struct Parts {
    method: Span,
    target: Span,
    version: Version,
    length: usize,
}

fn split(lines: &[u8], header_count: usize, fields: &mut Vec<FieldSpan>) -> Result<Option<Parts>, Refusal> {
    let mut slots = [const { MaybeUninit::uninit() }; HEADER_SLOTS];
    let mut request = httparse::Request::new(&mut []);
    let slots = &mut slots[..header_count.min(HEADER_SLOTS)];
    let length = match request.parse_with_uninit_headers(lines, slots) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(refusal(error, lines)),
    };
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Refusal::RequestLine);
    };
    fields.extend(request.headers.iter().map(|field| FieldSpan {
        name: Span::of(field.name.as_bytes(), lines),
        value: Span::of(field.value, lines),
    }));
    Ok(Some(Parts {
        method: Span::of(method.as_bytes(), lines),
        target: Span::of(target.as_bytes(), lines),
        version: if version == 0 { Version::Http10 } else { Version::Http11 },
        length,
    }))
}

fn refusal(error: httparse::Error, lines: &[u8]) -> Refusal {
    match error {
        httparse::Error::HeaderName => Refusal::FieldName,
        httparse::Error::HeaderValue => Refusal::FieldValue,
        httparse::Error::TooManyHeaders => Refusal::TooManyFields,
        httparse::Error::Version if names_another_version(lines) => Refusal::Version,
        httparse::Error::Version
        | httparse::Error::NewLine
        | httparse::Error::Token
        | httparse::Error::Status => Refusal::RequestLine,
    }
}

/// Whether the request line ends in a well-formed HTTP version that is not ours.
fn names_another_version(lines: &[u8]) -> bool {
    let line = memchr::memchr(b'\n', lines).map_or(lines, |end| &lines[..end]);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let version = memchr::memrchr(b' ', line).map_or(line, |space| &line[space + 1..]);
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => false,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] => {
            major.is_ascii_digit() && minor.is_ascii_digit()
        }
        _ => false,
    }
}

/// The strict check, after which the head can be read in one way only.
fn check(parts: Parts, lines: &[u8], fields: &mut [FieldSpan]) -> Result<Head, Refusal> {
    let Parts { method, target, version, length } = parts;
    if !lines[..length].ends_with(b"\r\n\r\n") {
        return Err(Refusal::BareLineFeed);
    }
    let mut facts = Facts::default();
    for (index, field) in fields.iter().enumerate() {
        if lines[..field.name.start()].last_chunk() != Some(b"\r\n") {
            return Err(Refusal::BareLineFeed);
        }
        facts.note(index, field.name.slice(lines), field.value.slice(lines))?;
    }
    let line_end = fields.first().map_or(length - 2, |field| field.name.start()) - 2;
    let target = target::parse(method.slice(lines), target.slice(lines))?;
    let added_host = settle_host(target.authority, facts.host, version, lines, fields)?;
    let body = facts.body(version)?;
    let expectation = if version == Version::Http11 { facts.expectation } else { Expectation::None };
    let trailers = if version == Version::Http11 { facts.trailers } else { Trailers::Unwanted };
    Ok(Head {
        line: Span::new(0, line_end),
        method,
        path: target.path.map(|path| Span::of(path, lines)),
        query: Span::of(target.query, lines),
        version,
        body,
        persistence: facts.persistence(version),
        expectation,
        trailers,
        upgrade: facts.upgrade(method.slice(lines), version, body),
        provenance: facts.provenance,
        added_host,
        length,
    })
}

/// Host must be there once in HTTP/1.1 and be valid wherever it is; the authority of an absolute target replaces it.
fn settle_host(
    authority: Option<&[u8]>,
    host: Option<usize>,
    version: Version,
    lines: &[u8],
    fields: &mut [FieldSpan],
) -> Result<Option<Span>, Refusal> {
    let Some(host) = host else {
        let required = version != Version::Http10;
        return if required {
            Err(Refusal::HostMissing)
        } else {
            Ok(authority.map(|it| Span::of(it, lines)))
        };
    };
    if !target::is_authority(fields[host].value.slice(lines)) {
        return Err(Refusal::HostInvalid);
    }
    if let Some(authority) = authority {
        fields[host].value = Span::of(authority, lines);
    }
    Ok(None)
}

/// What the fields say about framing and the connection.
#[derive(Debug)]
struct Facts {
    host: Option<usize>,
    length: Option<u64>,
    is_chunked: bool,
    asks_close: bool,
    asks_keep: bool,
    asks_upgrade: bool,
    names_websocket: bool,
    expectation: Expectation,
    trailers: Trailers,
    provenance: Provenance,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            host: None,
            length: None,
            is_chunked: false,
            asks_close: false,
            asks_keep: false,
            asks_upgrade: false,
            names_websocket: false,
            expectation: Expectation::None,
            trailers: Trailers::Unwanted,
            provenance: Provenance::Direct,
        }
    }
}

impl Facts {
    fn note(&mut self, index: usize, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match DecisiveField::named(name) {
            None => Ok(()),
            Some(DecisiveField::Forwarded) => {
                self.provenance = Provenance::Forwarded;
                Ok(())
            }
            Some(DecisiveField::Host) => once(&mut self.host, index, Refusal::HostDuplicate),
            Some(DecisiveField::Expect) => {
                self.expectation = Expectation::Continue;
                if value.eq_ignore_ascii_case(b"100-continue") { Ok(()) } else { Err(Refusal::Expectation) }
            }
            Some(DecisiveField::Te) => {
                if list_members(value).any(|member| member.eq_ignore_ascii_case(b"trailers")) {
                    self.trailers = Trailers::Wanted;
                }
                Ok(())
            }
            Some(DecisiveField::Upgrade) => {
                self.names_websocket |=
                    list_members(value).any(|member| member.eq_ignore_ascii_case(b"websocket"));
                Ok(())
            }
            Some(DecisiveField::Connection) => {
                for option in list_members(value) {
                    self.asks_close |= option.eq_ignore_ascii_case(b"close");
                    self.asks_keep |= option.eq_ignore_ascii_case(b"keep-alive");
                    self.asks_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                }
                Ok(())
            }
            Some(DecisiveField::ContentLength) => {
                let length = decimal(value).ok_or(Refusal::LengthInvalid)?;
                once(&mut self.length, length, Refusal::LengthDuplicate)
            }
            Some(DecisiveField::TransferEncoding) => {
                let is_repeated = std::mem::replace(&mut self.is_chunked, true);
                let is_chunked = value.eq_ignore_ascii_case(b"chunked");
                if is_chunked && !is_repeated { Ok(()) } else { Err(Refusal::EncodingInvalid) }
            }
        }
    }

    fn body(&self, version: Version) -> Result<BodyLength, Refusal> {
        match (self.length, self.is_chunked) {
            (Some(_), true) => Err(Refusal::LengthAndEncoding),
            (None, true) if version == Version::Http10 => Err(Refusal::EncodingInHttp10),
            (None, true) => Ok(BodyLength::Chunked),
            (Some(length), false) => Ok(BodyLength::Known(length)),
            (None, false) => Ok(BodyLength::None),
        }
    }

    fn upgrade(&self, method: &[u8], version: Version, body: BodyLength) -> Upgrade {
        let is_asked = self.asks_upgrade && self.names_websocket;
        match (version, body) {
            (Version::Http11, BodyLength::None | BodyLength::Known(0)) if is_asked && method == b"GET" => {
                Upgrade::WebSocket
            }
            (Version::Http10 | Version::Http11 | Version::Http2, _) => Upgrade::None,
        }
    }

    fn persistence(&self, version: Version) -> Persistence {
        match (self.asks_close, version, self.asks_keep) {
            (true, _, _) | (false, Version::Http10, false) => Persistence::Close,
            (false, Version::Http10, true) => Persistence::KeepByConsent,
            (false, Version::Http11 | Version::Http2, _) => Persistence::Keep,
        }
    }
}

/// The fields that decide about framing and the connection, or tell of a proxy.
enum DecisiveField {
    Te,
    Host,
    Expect,
    Upgrade,
    Connection,
    ContentLength,
    TransferEncoding,
    Forwarded,
}

impl DecisiveField {
    /// The length of the name tells most fields from the few that matter.
    fn named(name: &[u8]) -> Option<Self> {
        let (field, spelling): (_, &[u8]) = match name.len() {
            2 => (Self::Te, b"te"),
            4 => (Self::Host, b"host"),
            6 => (Self::Expect, b"expect"),
            7 => (Self::Upgrade, b"upgrade"),
            10 => (Self::Connection, b"connection"),
            14 => (Self::ContentLength, b"content-length"),
            17 if name[0].eq_ignore_ascii_case(&b't') => (Self::TransferEncoding, b"transfer-encoding"),
            9 | 15..=18 => return ForwardedField::named(name).map(|_| Self::Forwarded),
            _ => return None,
        };
        name.eq_ignore_ascii_case(spelling).then_some(field)
    }
}

/// Sets what may be set once only.
fn once<V>(place: &mut Option<V>, value: V, otherwise: Refusal) -> Result<(), Refusal> {
    if place.replace(value).is_some() { Err(otherwise) } else { Ok(()) }
}

pub(crate) fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(|member| member.trim_ascii())
}

/// A decimal number as RFC 9110 §8.6 writes it: digits only. A leading zero is refused, because some parsers read octal.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// tchar (RFC 9110 §5.6.2).
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
