//! The head of a program's answer (RFC 3875 §6): bytes in, a verdict out. Knows no file, no process and no exchange.
//!
//! A program may end its lines with LF or CR LF. What its answer means (a document, a redirect for the client, a redirect for
//! ourselves) is decided here, and so is what never reaches a client: fields of CGI's own, and fields about the connection.

/// Longest head; as long as the longest request head that the engine takes by default.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most fields in a head: more than any real program sends, few enough to be looked through for each.
const MAX_FIELDS: usize = 256;

/// How the program speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// CGI fields that we turn into a response (RFC 3875 §6).
    Parsed,
    /// A whole HTTP response, status line first (RFC 3875 §5).
    NonParsed,
}

/// What the bytes so far come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parsed {
    /// No blank line yet.
    Incomplete,
    /// A head, and how many bytes it took.
    Whole(ResponseHead, usize),
    /// No head that we could pass on.
    Malformed(Malformed),
}

/// Why a head is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// Longer than [`MAX_HEAD_BYTES`], or more than [`MAX_FIELDS`] fields.
    TooLarge,
    /// A line that is no field.
    Line,
    /// A line that begins with white space: CGI has no continuation lines (§6.3).
    Continuation,
    /// A CGI field more than once (§6.3).
    Repeated,
    /// No CGI field at all, of which one is needed (§6.3).
    NoCgiField,
    /// A status that is no final one (§6.3.3).
    Status,
    /// A Location that is no URI (§6.3.2).
    Location,
    /// A Content-Length that is no number, or two that differ.
    Length,
    /// An NPH program that does not begin with a status line (§5.2), or frames its body itself.
    NonParsed,
}

impl Malformed {
    /// For the log.
    pub(super) fn explanation(self) -> &'static str {
        match self {
            Self::TooLarge => "its header is too large",
            Self::Line => "its header has a line that is no `name: value`",
            Self::Continuation => "its header has a continuation line",
            Self::Repeated => "it has two Content-Type, Location or Status fields",
            Self::NoCgiField => "its header has none of Content-Type, Location and Status",
            Self::Status => "its Status is no final status code (200 to 999)",
            Self::Location => "its Location is no URI",
            Self::Length => "its Content-Length is not one number",
            Self::NonParsed => {
                "an nph- program must begin with `HTTP/1.1 200 OK` and leave the framing to us"
            }
        }
    }
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResponseHead {
    /// What it asks for.
    pub(super) kind: Kind,
    /// Whether a body may follow: it may if its type is known (§6.3.1).
    pub(super) has_type: bool,
    /// What goes to the client, in the program's order; names as written.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an answer asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A response for the client (§6.2.1, §6.2.3, §6.2.4).
    Response {
        /// 200 to 999.
        status: u16,
        /// Whether it sends the client elsewhere.
        redirect: Redirect,
    },
    /// The response that a GET of this path and query would bring (§6.2.2).
    LocalRedirect(Vec<u8>),
}

/// Whether a response has a Location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redirect {
    /// It has none: a document.
    No,
    /// It has one; a body without a type is not worth a complaint then.
    Yes,
}

/// Reads the head at the start of `bytes`.
pub(super) fn parse(bytes: &[u8], dialect: Dialect) -> Parsed {
    let Some(length) = head_length(&bytes[..bytes.len().min(MAX_HEAD_BYTES)]) else {
        if bytes.len() >= MAX_HEAD_BYTES {
            return Parsed::Malformed(Malformed::TooLarge);
        }
        return Parsed::Incomplete;
    };
    match head(&bytes[..length], dialect) {
        Ok(head) => Parsed::Whole(head, length),
        Err(malformed) => Parsed::Malformed(malformed),
    }
}

/// Up to and with the blank line.
fn head_length(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    while let Some(end) = bytes[start..].iter().position(|&byte| byte == b'\n') {
        let line = &bytes[start..start + end];
        start += end + 1;
        if line.is_empty() || line == b"\r" {
            return Some(start);
        }
    }
    None
}

fn head(bytes: &[u8], dialect: Dialect) -> Result<ResponseHead, Malformed> {
    let mut lines = bytes.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first_status = match dialect {
        Dialect::Parsed => None,
        Dialect::NonParsed => Some(status_line(lines.next().unwrap_or_default())?),
    };
    let mut collected = Collected::default();
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = field(line)?;
        collected.add(name, value, dialect)?;
    }
    match first_status {
        Some(status) => collected.non_parsed(status),
        None => collected.parsed(),
    }
}

/// `HTTP/1.1 200 OK`; the version and the words are not passed on.
fn status_line(line: &[u8]) -> Result<u16, Malformed> {
    let mut words = line.splitn(3, |&byte| byte == b' ');
    match (words.next(), words.next()) {
        (Some(version), Some(code)) if version.starts_with(b"HTTP/") => status(code),
        (Some(_) | None, Some(_) | None) => Err(Malformed::NonParsed),
    }
}

/// Three digits of a final status.
fn status(code: &[u8]) -> Result<u16, Malformed> {
    match code {
        [a @ b'2'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            Ok(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
        }
        _ => Err(Malformed::Status),
    }
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Malformed::Continuation);
    }
    let colon = line.iter().position(|&byte| byte == b':').ok_or(Malformed::Line)?;
    let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
    let is_value = value.iter().all(|&byte| byte == b'\t' || !byte.is_ascii_control());
    if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) || !is_value {
        return Err(Malformed::Line);
    }
    Ok((name, value))
}

fn trim(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The fields of a head, sorted out.
#[derive(Debug, Default)]
struct Collected {
    status: Option<u16>,
    location: Option<Vec<u8>>,
    content_type: bool,
    length: Option<Vec<u8>>,
    /// Names of fields that a Connection field calls hop-by-hop, in lower case.
    connection: Vec<Vec<u8>>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    count: usize,
}

impl Collected {
    fn add(&mut self, name: &[u8], value: &[u8], dialect: Dialect) -> Result<(), Malformed> {
        self.count += 1;
        if self.count > MAX_FIELDS {
            return Err(Malformed::TooLarge);
        }
        let lower = name.to_ascii_lowercase();
        match (lower.as_slice(), dialect) {
            // A field without a value is a field that was not sent (§6.3).
            _ if value.is_empty() && dialect == Dialect::Parsed => return Ok(()),
            (b"status", Dialect::Parsed) => {
                let code = value.split(|&byte| byte == b' ').next().unwrap_or_default();
                return once(&mut self.status, status(code)?);
            }
            (b"location", _) => once(&mut self.location, value.to_vec())?,
            (b"content-type", _) if self.content_type => return Err(Malformed::Repeated),
            (b"content-type", _) => self.content_type = true,
            (b"content-length", _) => return self.length(value),
            (b"transfer-encoding", Dialect::NonParsed) => return Err(Malformed::NonParsed),
            (b"connection", _) => {
                let names = value.split(|&byte| byte == b',').map(|name| trim(name).to_ascii_lowercase());
                self.connection.extend(names);
                return Ok(());
            }
            (
                b"transfer-encoding"
                | b"keep-alive"
                | b"proxy-connection"
                | b"te"
                | b"trailer"
                | b"upgrade"
                | b"proxy-authenticate"
                | b"http2-settings",
                _,
            ) => return Ok(()),
            // Meant for the server, and none of them is known to us (§6.3.5).
            (extension, Dialect::Parsed) if extension.starts_with(b"x-cgi-") => return Ok(()),
            (_, Dialect::Parsed | Dialect::NonParsed) => {}
        }
        self.fields.push((name.to_vec(), value.to_vec()));
        Ok(())
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Malformed> {
        let is_number = !value.is_empty() && value.len() <= 19 && value.iter().all(u8::is_ascii_digit);
        match &self.length {
            _ if !is_number => Err(Malformed::Length),
            Some(earlier) if earlier != value => Err(Malformed::Length),
            Some(_) => Ok(()),
            None => {
                self.length = Some(value.to_vec());
                Ok(())
            }
        }
    }

    /// The fields for the client.
    fn into_head(mut self, kind: Kind) -> ResponseHead {
        let connection = &self.connection;
        self.fields.retain(|(name, _)| !connection.contains(&name.to_ascii_lowercase()));
        if let Some(length) = self.length {
            self.fields.push((b"Content-Length".to_vec(), length));
        }
        ResponseHead { kind, has_type: self.content_type, fields: self.fields }
    }

    fn non_parsed(self, status: u16) -> Result<ResponseHead, Malformed> {
        let mut head = self.into_head(Kind::Response { status, redirect: Redirect::No });
        // The program answers for its own response; nothing is asked of it.
        head.has_type = true;
        Ok(head)
    }

    fn parsed(self) -> Result<ResponseHead, Malformed> {
        let Some(location) = self.location.clone() else {
            if self.status.is_none() && !self.content_type {
                return Err(Malformed::NoCgiField);
            }
            let status = self.status.unwrap_or(200);
            return Ok(self.into_head(Kind::Response { status, redirect: Redirect::No }));
        };
        if !location.iter().all(u8::is_ascii_graphic) {
            return Err(Malformed::Location);
        }
        // A path alone is for us (§6.2.2). With other fields it is what HTTP calls a relative reference, for the client.
        let is_alone = self.status.is_none() && self.fields.len() == 1 && self.length.is_none();
        if is_alone && location.first() == Some(&b'/') && !location.contains(&b'#') {
            return Ok(self.into_head(Kind::LocalRedirect(location)));
        }
        let status = self.status.unwrap_or(302);
        Ok(self.into_head(Kind::Response { status, redirect: Redirect::Yes }))
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match place.replace(value) {
        None => Ok(()),
        Some(_earlier) => Err(Malformed::Repeated),
    }
}

/// Parses `bytes` from every beginning, for the fuzz target: once there is a verdict, more bytes must not change it, and what is
/// passed on must be fit for HTTP.
///
/// # Panics
/// If it is not.
#[cfg(any(test, fuzzing))]
pub(super) fn check_every_beginning(bytes: &[u8]) {
    for dialect in [Dialect::Parsed, Dialect::NonParsed] {
        let whole = parse(bytes, dialect);
        let mut earlier = Parsed::Incomplete;
        for length in 0..=bytes.len().min(512) {
            let now = parse(&bytes[..length], dialect);
            assert!(earlier == Parsed::Incomplete || earlier == now, "{earlier:?}, then {now:?}");
            earlier = now;
        }
        assert!(earlier == Parsed::Incomplete || earlier == whole, "{earlier:?}, in one {whole:?}");
        if let Parsed::Whole(head, length) = whole {
            assert!(length <= bytes.len().min(MAX_HEAD_BYTES));
            for (name, value) in &head.fields {
                assert!(!name.is_empty() && name.iter().all(|&byte| is_token(byte)));
                assert!(!value.iter().any(|&byte| byte == b'\r' || byte == b'\n' || byte == 0));
            }
        }
    }
}

#[cfg(test)]
mod tests;
