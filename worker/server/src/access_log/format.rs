//! How a line of the access log looks, as steps that were worked out once. Knows no request: what a step says of one is told by
//! `facts`.

use super::{
    escape::LEAST_BYTES,
    time::{COMMON_LOG_BYTES, RFC_3339_BYTES},
};

/// Longest line, its end included: a pipe takes as much in one piece (PIPE_BUF, pipe(7)), so that lines of several workers never
/// mix. Values that would make a line longer are cut.
pub const LINE_BYTES: usize = 4096;

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// As they are, with `\xHH` for what could be taken for something else; `-` for what is not there.
    Text,
    /// As JSON values; `null` for what is not there.
    Json,
}

/// One step of writing a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This text.
    Literal(Vec<u8>),
    /// What is known when the request begins.
    Request(RequestFact),
    /// A field of the reply's head, by its name in lower case.
    ReplyField(Vec<u8>),
    /// What is known when the reply has ended.
    Outcome(OutcomeFact),
}

/// What is known when the request begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestFact {
    /// Address of the client.
    ClientAddress,
    /// Its port.
    ClientPort,
    /// Both, as uvicorn writes them.
    ClientAndPort,
    /// The address of ours that it reached.
    ServerAddress,
    /// Its port.
    ServerPort,
    /// User name of Basic authentication (RFC 7617).
    User,
    /// The request line.
    Line,
    /// Method.
    Method,
    /// Target as it came.
    Target,
    /// Path without query.
    Path,
    /// Query without `?`.
    Query,
    /// `HTTP/1.1`
    Protocol,
    /// `1.1`
    Version,
    /// http or https.
    Scheme,
    /// The first field of this name, in lower case.
    Field(Vec<u8>),
}

/// What is known when the reply has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeFact {
    /// `[25/Nov/2026:19:01:39 +0000]`
    CommonLogTime,
    /// `2026-11-25T19:01:39.123+00:00`
    Rfc3339Time,
    /// Status; 499 (nginx's) if the client left before there was one.
    Status,
    /// `200 OK`
    StatusAndReason,
    /// Bytes of the reply's body.
    ReplyBytes,
    /// The same, `-` for none.
    ReplyBytesOrDash,
    /// Bytes of the request's body.
    RequestBytes,
    /// Whole seconds.
    Seconds,
    /// Whole milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Seconds with six decimals.
    DecimalSeconds,
    /// `true` if the reply was broken off.
    Aborted,
}

impl OutcomeFact {
    /// The most bytes that it takes.
    fn most_bytes(self) -> usize {
        /// Digits of the largest u64.
        const NUMBER: usize = 20;
        match self {
            Self::CommonLogTime => COMMON_LOG_BYTES,
            Self::Rfc3339Time => RFC_3339_BYTES,
            Self::Status => 3,
            // The longest reason phrase is that of 431.
            Self::StatusAndReason => 4 + 31,
            Self::ReplyBytes
            | Self::ReplyBytesOrDash
            | Self::RequestBytes
            | Self::Seconds
            | Self::Milliseconds
            | Self::Microseconds => NUMBER,
            Self::DecimalSeconds => NUMBER + 7,
            Self::Aborted => 5,
        }
    }
}

/// The compiled format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pub(super) notation: Notation,
    pub(super) steps: Vec<Step>,
    /// What values may take beyond [`LEAST_BYTES`] each, all together.
    pub(super) room: usize,
    pub(super) wants_reply_fields: bool,
}

impl Format {
    /// Compiles a format; the line end is added by the log.
    #[must_use]
    pub fn new(notation: Notation, steps: Vec<Step>) -> Self {
        let fixed = |step: &Step| match step {
            Step::Literal(text) => text.len(),
            Step::Request(_) | Step::ReplyField(_) => LEAST_BYTES,
            Step::Outcome(fact) => fact.most_bytes(),
        };
        let fixed_bytes: usize = steps.iter().map(fixed).sum();
        let wants_reply_fields = steps.iter().any(|step| matches!(step, Step::ReplyField(_)));
        Self { notation, steps, room: LINE_BYTES.saturating_sub(fixed_bytes + 1), wants_reply_fields }
    }

    /// The line of uvicorn, without its colours.
    #[must_use]
    pub fn uvicorn() -> Self {
        let literal = |text: &str| Step::Literal(text.as_bytes().to_vec());
        Self::new(
            Notation::Text,
            vec![
                literal("INFO:     "),
                Step::Request(RequestFact::ClientAndPort),
                literal(" - \""),
                Step::Request(RequestFact::Line),
                literal("\" "),
                Step::Outcome(OutcomeFact::StatusAndReason),
            ],
        )
    }

    /// What a logger of Python's `logging` needs, as uvicorn gives it (client, method, target, version, status), parted by tabs,
    /// which no value contains.
    #[must_use]
    pub fn uvicorn_record() -> Self {
        let facts =
            [RequestFact::ClientAndPort, RequestFact::Method, RequestFact::Target, RequestFact::Version];
        let mut steps: Vec<Step> =
            facts.into_iter().flat_map(|fact| [Step::Request(fact), Step::Literal(b"\t".to_vec())]).collect();
        steps.push(Step::Outcome(OutcomeFact::Status));
        Self::new(Notation::Text, steps)
    }

    /// One JSON object with OpenTelemetry's names of attributes where it has one.
    #[must_use]
    pub fn json(process_id: u32) -> Self {
        let field = |name: &str| Step::Request(RequestFact::Field(name.as_bytes().to_vec()));
        let members = [
            ("client.address", Step::Request(RequestFact::ClientAddress)),
            ("http.request.method", Step::Request(RequestFact::Method)),
            ("url.path", Step::Request(RequestFact::Path)),
            ("url.query", Step::Request(RequestFact::Query)),
            ("url.scheme", Step::Request(RequestFact::Scheme)),
            ("network.protocol.version", Step::Request(RequestFact::Version)),
            ("http.response.status_code", Step::Outcome(OutcomeFact::Status)),
            ("http.request.body.size", Step::Outcome(OutcomeFact::RequestBytes)),
            ("http.response.body.size", Step::Outcome(OutcomeFact::ReplyBytes)),
            ("duration_s", Step::Outcome(OutcomeFact::DecimalSeconds)),
            ("aborted", Step::Outcome(OutcomeFact::Aborted)),
            ("http.request.header.host", field("host")),
            ("user_agent.original", field("user-agent")),
            ("http.request.header.referer", field("referer")),
            ("request_id", field("x-request-id")),
            ("traceparent", field("traceparent")),
        ];
        let mut steps =
            vec![Step::Literal(b"{\"timestamp\":\"".to_vec()), Step::Outcome(OutcomeFact::Rfc3339Time)];
        let mut literal = format!("\",\"process.pid\":{process_id}");
        for (name, step) in members {
            literal.push_str(&format!(",\"{name}\":"));
            steps.push(Step::Literal(std::mem::take(&mut literal).into_bytes()));
            steps.push(step);
        }
        steps.push(Step::Literal(b"}".to_vec()));
        Self::new(Notation::Json, steps)
    }
}
