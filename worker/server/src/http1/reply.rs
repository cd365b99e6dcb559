//! Reply heads: the status line, the app's fields checked and copied, and the framing that the engine decides. Knows bytes
//! only: what is kept, closed or chunked is decided by the caller.

use super::{
    chunked::is_value_byte,
    head::{decimal, is_token_byte},
};

/// What the app's fields said about framing and the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ReplyFacts {
    /// The app's Content-Length.
    pub(crate) length: Option<u64>,
    /// The app asked for the connection to be closed.
    pub(crate) asks_close: bool,
    /// The app has its own Date.
    pub(crate) has_date: bool,
    /// The app has its own Server.
    pub(crate) has_server: bool,
}

/// A field that the app must not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidField;

/// What a status says about the body of its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusBody {
    /// There may be one.
    Allowed,
    /// There is none, and no Content-Length either: 204 (RFC 9110 §8.6).
    Forbidden,
    /// There is none; a Content-Length tells of the body that a GET would have brought: 304.
    Withheld,
    /// There is none, and the reply says so: 205 (RFC 9110 §15.3.6).
    Empty,
}

/// What a status says about the body of its reply.
pub(crate) fn status_body(status: u16) -> StatusBody {
    match status {
        204 => StatusBody::Forbidden,
        205 => StatusBody::Empty,
        304 => StatusBody::Withheld,
        _ => StatusBody::Allowed,
    }
}

/// Appends the status line.
pub(crate) fn write_status_line(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends one field of the app, unless it is one that the engine decides.
pub(crate) fn write_field(
    out: &mut Vec<u8>,
    facts: &mut ReplyFacts,
    body: StatusBody,
    name: &[u8],
    value: &[u8],
) -> Result<(), InvalidField> {
    if name.is_empty() || !is_value(value) {
        return Err(InvalidField);
    }
    let start = out.len();
    out.extend(name.iter().map(|&byte| LOWER_CASE_TOKEN[byte as usize]));
    let name = &out[start..];
    // Without a branch for each byte: names are short.
    if name.iter().fold(false, |found, &byte| found | (byte == 0)) {
        out.truncate(start);
        return Err(InvalidField);
    }
    match note_field(facts, body, name, value) {
        Ok(FieldUse::Sent) => {
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
            Ok(())
        }
        Ok(FieldUse::Dropped) => {
            out.truncate(start);
            Ok(())
        }
        Err(invalid) => {
            out.truncate(start);
            Err(invalid)
        }
    }
}

/// Whether a field's value has no control character. Without a branch for each byte, so that many are looked at in one instruction.
fn is_value(value: &[u8]) -> bool {
    value.iter().fold(true, |valid, &byte| valid & is_value_byte(byte))
}

/// What becomes of a field of the app.
pub(crate) enum FieldUse {
    /// It is sent.
    Sent,
    /// The engine has its own, or none.
    Dropped,
}

/// Notes what a field says about framing and the connection. The name is in lower case.
pub(crate) fn note_field(
    facts: &mut ReplyFacts,
    body: StatusBody,
    name: &[u8],
    value: &[u8],
) -> Result<FieldUse, InvalidField> {
    match name {
        b"date" => facts.has_date = true,
        b"server" => facts.has_server = true,
        b"connection" => {
            facts.asks_close |=
                value.split(|&byte| byte == b',').any(|it| it.trim_ascii().eq_ignore_ascii_case(b"close"));
            return Ok(FieldUse::Dropped);
        }
        b"transfer-encoding" => return Ok(FieldUse::Dropped),
        b"content-length" => {
            let length = decimal(value).ok_or(InvalidField)?;
            if facts.length.is_some_and(|earlier| earlier != length) {
                return Err(InvalidField);
            }
            let is_repeated = facts.length.replace(length).is_some();
            if is_repeated || matches!(body, StatusBody::Forbidden | StatusBody::Empty) {
                return Ok(FieldUse::Dropped);
            }
        }
        _ => {}
    }
    Ok(FieldUse::Sent)
}

/// Appends `content-length`.
pub(crate) fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a chunk's size line.
pub(crate) fn write_chunk_size(out: &mut Vec<u8>, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    out.extend((0..digits).rev().map(|digit| DIGITS[size >> (4 * digit) & 0xf]));
    out.extend_from_slice(b"\r\n");
}

/// Each byte of a token in lower case; 0 for what is no tchar.
static LOWER_CASE_TOKEN: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        let character = byte as u8;
        if is_token_byte(character) {
            table[byte] = character.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// The reason phrase, empty for a status without a registered one.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400..=499 => client_error_reason(status),
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => "",
    }
}

fn client_error_reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a Teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_hexadecimal() {
        for (size, line) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0xabc_def0, "abcdef0\r\n")] {
            let mut out = Vec::new();
            write_chunk_size(&mut out, size);
            assert_eq!(out, line.as_bytes());
        }
    }

    #[test]
    fn fields_are_lower_cased_checked_and_filtered() {
        let mut out = Vec::new();
        let mut facts = ReplyFacts::default();
        let mut write =
            |name: &[u8], value: &[u8]| write_field(&mut out, &mut facts, StatusBody::Allowed, name, value);
        assert_eq!(write(b"X-One", b" a\tb "), Ok(()));
        assert_eq!(write(b"Transfer-Encoding", b"chunked"), Ok(()));
        assert_eq!(write(b"Connection", b"foo, Close"), Ok(()));
        assert_eq!(write(b"Content-Length", b"5"), Ok(()));
        assert_eq!(write(b"Content-Length", b"5"), Ok(()));
        for (name, value) in [
            (b"Content-Length".as_slice(), b"6".as_slice()),
            (b"Content-Length", b"+5"),
            (b"", b"x"),
            (b"a b", b"x"),
            (b"a:", b"x"),
            (b"a", b"x\r\ny: z"),
            (b"a", b"x\0"),
        ] {
            assert_eq!(write(name, value), Err(InvalidField), "{}", name.escape_ascii());
        }
        assert_eq!(out.escape_ascii().to_string(), "x-one:  a\\tb \\r\\ncontent-length: 5\\r\\n");
        assert!(facts.asks_close && facts.length == Some(5) && !facts.has_date);
    }
}
