//! The access log as the settings say it: where its lines go and how they look. Reads gunicorn's templates into pieces; what a
//! piece says about a request is the business of the worker.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

/// One line for each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessLogSettings {
    /// Where the lines go.
    pub destination: AccessLogDestination,
    /// How they look.
    pub format: AccessLogFormat,
}

/// Where the lines of the access log go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLogDestination {
    /// Standard output.
    Stdout,
    /// The end of this file, which is opened anew when the worker is told to reopen its logs.
    File(PathBuf),
    /// A logger of Python's `logging`.
    PythonLogger(String),
}

/// How a line of the access log looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLogFormat {
    /// As uvicorn writes it on its standard output.
    Uvicorn,
    /// One JSON object.
    Json,
    /// A template with gunicorn's atoms, which [`pieces`] reads.
    Template(String),
}

impl FromStr for AccessLogFormat {
    type Err = String;

    /// A name, or a template, which is checked.
    fn from_str(text: &str) -> Result<Self, String> {
        let template = match text {
            "uvicorn" => return Ok(Self::Uvicorn),
            "json" => return Ok(Self::Json),
            "common" => COMMON,
            "combined" => COMBINED,
            text if text.contains('%') => text,
            _ => {
                return Err(format!(
                    "`{text}` is no access log format: write uvicorn, common, combined, json or a template such as `%(h)s %(r)s %(s)s`"
                ));
            }
        };
        pieces(template).map_err(|error| error.to_string())?;
        Ok(Self::Template(template.to_owned()))
    }
}

/// NCSA's Common Log Format.
pub const COMMON: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s"#;
/// The same with referrer and user agent: what Apache, nginx and gunicorn write.
pub const COMBINED: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

/// Longest fixed text of a template, in bytes. A line is one write of at most PIPE_BUF (4096) bytes: half of it is for the request.
pub const LITERAL_BYTES: usize = 2048;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is.
    Literal(String),
    /// What one of the letters stands for.
    Atom(Atom),
    /// `%({name}i)s`: a field of the request's head, in lower case.
    RequestField(String),
    /// `%({name}o)s`: a field of the reply's head, in lower case.
    ReplyField(String),
    /// `%({name}e)s`: a variable of the request's CGI environment.
    Variable(Variable),
}

/// The one-letter atoms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Atom {
    /// `h`: address of the client.
    ClientAddress,
    /// `l`: always `-`.
    Dash,
    /// `u`: user name of Basic authentication.
    User,
    /// `t`: local time of the reply's end, `[25/Nov/2026:19:01:39 +0000]`.
    Time,
    /// `r`: the request line.
    RequestLine,
    /// `m`: method.
    Method,
    /// `U`: path without query.
    Path,
    /// `q`: query.
    Query,
    /// `H`: protocol and version.
    Protocol,
    /// `s`: status.
    Status,
    /// `B`: bytes of the reply's body.
    ReplyBytes,
    /// `b`: the same, `-` for none.
    ReplyBytesOrDash,
    /// `f`: Referer.
    Referer,
    /// `a`: User-Agent.
    UserAgent,
    /// `T`: duration in whole seconds.
    Seconds,
    /// `M`: duration in whole milliseconds.
    Milliseconds,
    /// `D`: duration in microseconds.
    Microseconds,
    /// `L`: duration in seconds with six decimals.
    DecimalSeconds,
    /// `p`: process id of the worker, in angle brackets as in gunicorn.
    ProcessId,
}

/// Every atom with its letter.
const ATOMS: [(&str, Atom); 19] = [
    ("h", Atom::ClientAddress),
    ("l", Atom::Dash),
    ("u", Atom::User),
    ("t", Atom::Time),
    ("r", Atom::RequestLine),
    ("m", Atom::Method),
    ("U", Atom::Path),
    ("q", Atom::Query),
    ("H", Atom::Protocol),
    ("s", Atom::Status),
    ("B", Atom::ReplyBytes),
    ("b", Atom::ReplyBytesOrDash),
    ("f", Atom::Referer),
    ("a", Atom::UserAgent),
    ("T", Atom::Seconds),
    ("M", Atom::Milliseconds),
    ("D", Atom::Microseconds),
    ("L", Atom::DecimalSeconds),
    ("p", Atom::ProcessId),
];

/// Variables of the CGI environment (RFC 3875 §4.1) that a request determines. Header fields (`HTTP_…`) are
/// [`Piece::RequestField`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// `REMOTE_ADDR`
    RemoteAddress,
    /// `REMOTE_PORT`
    RemotePort,
    /// `REMOTE_USER`
    RemoteUser,
    /// `REQUEST_METHOD`
    RequestMethod,
    /// `PATH_INFO`, percent-encoded as it came.
    PathInfo,
    /// `QUERY_STRING`
    QueryString,
    /// `RAW_URI` and `REQUEST_URI`: path and query as they came.
    RawUri,
    /// `SERVER_PROTOCOL`
    ServerProtocol,
    /// `SERVER_ADDR`: the address of ours that the client reached.
    ServerAddress,
    /// `SERVER_PORT`
    ServerPort,
    /// `wsgi.url_scheme` and `REQUEST_SCHEME`
    UrlScheme,
}

const VARIABLES: [(&str, Variable); 13] = [
    ("REMOTE_ADDR", Variable::RemoteAddress),
    ("REMOTE_PORT", Variable::RemotePort),
    ("REMOTE_USER", Variable::RemoteUser),
    ("REQUEST_METHOD", Variable::RequestMethod),
    ("PATH_INFO", Variable::PathInfo),
    ("QUERY_STRING", Variable::QueryString),
    ("RAW_URI", Variable::RawUri),
    ("REQUEST_URI", Variable::RawUri),
    ("SERVER_PROTOCOL", Variable::ServerProtocol),
    ("SERVER_ADDR", Variable::ServerAddress),
    ("SERVER_PORT", Variable::ServerPort),
    ("WSGI.URL_SCHEME", Variable::UrlScheme),
    ("REQUEST_SCHEME", Variable::UrlScheme),
];

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Where, in characters from 1.
    pub position: usize,
    /// What, in plain words.
    pub message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "character {} of the access log format: {}", self.position, self.message)
    }
}

impl std::error::Error for TemplateError {}

/// Reads a template: text, `%(atom)s` and `%%`.
///
/// # Errors
/// [`TemplateError`] for what is no atom, and for a line break: each request is one line.
pub fn pieces(template: &str) -> Result<Vec<Piece>, TemplateError> {
    let refuse = |at: usize, message: String| {
        Err(TemplateError { position: template[..at].chars().count() + 1, message })
    };
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut literal_bytes = 0;
    let mut at = 0;
    while let Some(next) = template[at..].chars().next() {
        literal_bytes += next.len_utf8();
        if literal_bytes > LITERAL_BYTES {
            return refuse(at, format!("more than {LITERAL_BYTES} bytes of fixed text"));
        }
        if next.is_control() && next != '\t' {
            return refuse(at, "a line break or control character; each request is one line".to_owned());
        }
        if next != '%' {
            literal.push(next);
            at += next.len_utf8();
        } else if template[at..].starts_with("%%") {
            literal.push('%');
            at += 2;
        } else {
            let (piece, length) = match directive(&template[at..]) {
                Ok(read) => read,
                Err(message) => return refuse(at, message),
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
            at += length;
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// Reads the `%(name)s` at the start of `text`; gives its length too.
fn directive(text: &str) -> Result<(Piece, usize), String> {
    let form = || "a `%` that begins no `%(atom)s`; write `%%` for a percent sign".to_owned();
    let inside = text.strip_prefix("%(").ok_or_else(form)?;
    let (name, rest) = inside.split_once(')').ok_or_else(form)?;
    let length = text.len() - rest.len() + 1;
    match rest.chars().next() {
        Some('s' | 'd') => Ok((piece(name)?, length)),
        Some(other) => Err(format!("`%({name}){other}`: only `s` (and `d` for numbers) may follow an atom")),
        None => Err(format!("`%({name})` lacks its `s`: write `%({name})s`")),
    }
}

fn piece(name: &str) -> Result<Piece, String> {
    if let Some((_, atom)) = ATOMS.iter().find(|(letter, _)| *letter == name) {
        return Ok(Piece::Atom(*atom));
    }
    let unknown = || {
        let letters: Vec<&str> = ATOMS.iter().map(|(letter, _)| *letter).collect();
        format!(
            "`%({name})s` is no atom: there are {}, and {{name}}i, {{name}}o and {{name}}e",
            letters.join(" ")
        )
    };
    let (field, kind) = name.strip_prefix('{').and_then(|rest| rest.rsplit_once('}')).ok_or_else(unknown)?;
    let is_name =
        !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}:\"\\".contains(&byte));
    if !is_name {
        return Err(format!("`{field}` is no name of a field or variable"));
    }
    match kind {
        "i" => Ok(Piece::RequestField(field.to_ascii_lowercase())),
        "o" => Ok(Piece::ReplyField(field.to_ascii_lowercase())),
        "e" => variable(field),
        _ => Err(unknown()),
    }
}

fn variable(name: &str) -> Result<Piece, String> {
    let name = name.to_ascii_uppercase();
    if let Some((_, variable)) = VARIABLES.iter().find(|(known, _)| *known == name) {
        return Ok(Piece::Variable(*variable));
    }
    match name
        .strip_prefix("HTTP_")
        .or(Some(&*name).filter(|it| matches!(*it, "CONTENT_TYPE" | "CONTENT_LENGTH")))
    {
        Some(field) if !field.is_empty() => {
            Ok(Piece::RequestField(field.to_ascii_lowercase().replace('_', "-")))
        }
        Some(_) | None => {
            let known: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
            Err(format!(
                "`{name}` is no variable that a request determines: there are {}, CONTENT_TYPE, CONTENT_LENGTH and HTTP_*",
                known.join(", ").replace("WSGI.URL_SCHEME", "wsgi.url_scheme")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ATOMS, AccessLogFormat, Atom, COMBINED, COMMON, Piece, Variable, pieces};

    #[test]
    fn every_letter_is_an_atom() {
        for (letter, atom) in ATOMS {
            assert_eq!(pieces(&format!("%({letter})s")), Ok(vec![Piece::Atom(atom)]));
        }
        let letters: String = ATOMS.iter().map(|(letter, _)| *letter).collect();
        assert_eq!(letters, "hlutrmUqHsBbfaTMDLp", "gunicorn's letters");
    }

    #[test]
    fn names_stand_in_braces() {
        let read =
            pieces("a%({X-Request-ID}i)s %({Content-Type}o)s%%%({HTTP_X_Y}e)s%({remote_addr}e)s|%(D)d");
        let literal = |text: &str| Piece::Literal(text.to_owned());
        assert_eq!(
            read,
            Ok(vec![
                literal("a"),
                Piece::RequestField("x-request-id".to_owned()),
                literal(" "),
                Piece::ReplyField("content-type".to_owned()),
                literal("%"),
                Piece::RequestField("x-y".to_owned()),
                Piece::Variable(Variable::RemoteAddress),
                literal("|"),
                Piece::Atom(Atom::Microseconds),
            ])
        );
    }

    #[test]
    fn the_named_formats_are_templates() {
        let last = |template: &str| pieces(template).unwrap().pop();
        assert_eq!(last(COMMON), Some(Piece::Atom(Atom::ReplyBytesOrDash)));
        assert_eq!(last(COMBINED), Some(Piece::Literal("\"".to_owned())));
    }

    #[test]
    fn formats_have_names_and_templates_are_checked() {
        for text in ["uvicorn", "common", "combined", "json", "%(h)s %(D)s"] {
            assert!(text.parse::<AccessLogFormat>().is_ok(), "{text}");
        }
        let error = "apache".parse::<AccessLogFormat>().expect_err("no name");
        assert!(error.contains("write uvicorn, common"), "{error}");
        let error = "%(h)s %(x)s".parse::<AccessLogFormat>().expect_err("no atom");
        assert!(error.starts_with("character 7 of the access log format: `%(x)s` is no atom"), "{error}");
    }

    #[test]
    fn mistakes_are_refused_at_their_place() {
        for (template, position, part) in [
            ("%(h)s %(z)s", 7, "`%(z)s` is no atom"),
            ("é %(h", 3, "begins no `%(atom)s`"),
            ("100%", 4, "write `%%`"),
            ("%(h)", 1, "lacks its `s`"),
            ("%(h)-10s", 1, "may follow an atom"),
            ("%({}i)s", 1, "no name"),
            ("%({x}z)s", 1, "is no atom"),
            ("%({PATH}e)s", 1, "no variable that a request determines"),
            ("%(h)s\n%(h)s", 6, "one line"),
        ] {
            let error = pieces(template).expect_err(template);
            assert_eq!(error.position, position, "{template}: {error}");
            assert!(error.to_string().contains(part), "{template}: {error}");
        }
        assert!(pieces(&"x".repeat(5000)).is_err());
    }
}
