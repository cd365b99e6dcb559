//! Why the engine refuses a request, each cause by name: its status and the words that the client reads.

/// A request that no app will see, or whose body turned out broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request line is not `method SP target SP HTTP/1.x`.
    RequestLine,
    /// HTTP, but neither 1.0 nor 1.1.
    Version,
    /// A line that ends in LF alone (RFC 9112 §2.2 lets a server be lenient; two servers of unlike leniency disagree about where
    /// a request ends).
    BareLineFeed,
    /// A field name that is no token; white space before the colon and folded lines (RFC 9112 §5) are found here too.
    FieldName,
    /// A field value with a control character (RFC 9110 §5.5).
    FieldValue,
    /// A byte in the request target that is neither visible ASCII nor allowed there, such as `#`.
    TargetBytes,
    /// A target that is none of the four forms, or not the one for this method (RFC 9112 §3.2).
    TargetForm,
    /// `CONNECT`: this is no proxy.
    Connect,
    /// HTTP/1.1 without Host (RFC 9112 §3.2).
    HostMissing,
    /// More than one Host.
    HostDuplicate,
    /// A Host, or the authority of an absolute target, that is no `host[:port]`.
    HostInvalid,
    /// Content-Length together with Transfer-Encoding (RFC 9112 §6.1).
    LengthAndEncoding,
    /// A Content-Length that is not a plain decimal number, or a list of them.
    LengthInvalid,
    /// More than one Content-Length.
    LengthDuplicate,
    /// A Transfer-Encoding other than exactly one `chunked`.
    EncodingInvalid,
    /// Transfer-Encoding in HTTP/1.0, which knows none (RFC 9112 §6.1).
    EncodingInHttp10,
    /// An expectation other than `100-continue` (RFC 9110 §10.1.1).
    Expectation,
    /// A WebSocket handshake without a key of 16 bytes in base64 (RFC 6455 §4.2.1).
    WebSocketKey,
    /// A WebSocket handshake of a version other than 13 (RFC 6455 §4.4).
    WebSocketVersion,
    /// The request line is longer than the limit.
    RequestLineTooLong,
    /// The head is longer than the limit.
    HeadTooLong,
    /// More header fields than the limit.
    TooManyFields,
    /// The body is longer than the limit.
    BodyTooLong,
    /// A chunk-size line, chunk extension or chunk end that RFC 9112 §7.1 does not allow.
    Chunk,
    /// A trailer field that is malformed or forbidden (RFC 9110 §6.5.1), or too many of them.
    Trailer,
    /// The head or the body did not come in time.
    Timeout,
    /// Too many requests wait for their turn.
    QueueFull,
    /// No turn came in time.
    QueueTimeout,
    /// The app did not answer in time.
    RequestTimeout,
}

impl Refusal {
    /// The status of the reply.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::RequestLine
            | Self::BareLineFeed
            | Self::FieldName
            | Self::FieldValue
            | Self::TargetBytes
            | Self::TargetForm
            | Self::HostMissing
            | Self::HostDuplicate
            | Self::HostInvalid
            | Self::LengthAndEncoding
            | Self::LengthInvalid
            | Self::LengthDuplicate
            | Self::EncodingInvalid
            | Self::EncodingInHttp10
            | Self::Chunk
            | Self::Trailer
            | Self::WebSocketKey => 400,
            Self::Timeout => 408,
            Self::BodyTooLong => 413,
            Self::RequestLineTooLong => 414,
            Self::Expectation => 417,
            Self::WebSocketVersion => 426,
            Self::HeadTooLong | Self::TooManyFields => 431,
            Self::Connect => 501,
            Self::QueueFull | Self::QueueTimeout | Self::RequestTimeout => 503,
            Self::Version => 505,
        }
    }

    /// Fields that the reply must have beside the usual ones, in any version of HTTP.
    pub(crate) fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::WebSocketVersion => &[("sec-websocket-version", "13")],
            // When to try again, in seconds: a queue of requests moves fast.
            Self::QueueFull | Self::QueueTimeout => &[("retry-after", "1")],
            _ => &[],
        }
    }

    /// The same as lines of HTTP/1, with those that it alone has.
    pub(crate) fn lines(self) -> Vec<u8> {
        let upgrade = match self {
            Self::WebSocketVersion => "upgrade: websocket\r\nconnection: Upgrade\r\n",
            _ => "",
        };
        let fields = self.fields().iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        std::iter::once(upgrade.to_owned()).chain(fields).collect::<String>().into_bytes()
    }

    /// What is wrong, in words for the one who wrote the client.
    pub(crate) fn explanation(self) -> &'static str {
        match self {
            Self::RequestLine => "malformed request line",
            Self::Version => "only HTTP/1.0 and HTTP/1.1 are spoken here",
            Self::BareLineFeed => "line ends in LF without CR",
            Self::FieldName => "malformed header field name",
            Self::FieldValue => "control character in a header field value",
            Self::TargetBytes => "character not allowed in the request target",
            Self::TargetForm => "malformed request target",
            Self::Connect => "CONNECT is not supported",
            Self::HostMissing => "Host header field missing",
            Self::HostDuplicate => "more than one Host header field",
            Self::HostInvalid => "invalid Host",
            Self::LengthAndEncoding => "Content-Length together with Transfer-Encoding",
            Self::LengthInvalid => "invalid Content-Length",
            Self::LengthDuplicate => "more than one Content-Length header field",
            Self::EncodingInvalid => "Transfer-Encoding other than chunked",
            Self::EncodingInHttp10 => "Transfer-Encoding in HTTP/1.0",
            Self::Expectation => "unknown expectation",
            Self::WebSocketKey => "invalid Sec-WebSocket-Key",
            Self::WebSocketVersion => "only version 13 of WebSocket is spoken here",
            Self::RequestLineTooLong => "request line too long",
            Self::HeadTooLong => "header fields too large",
            Self::TooManyFields => "too many header fields",
            Self::BodyTooLong => "request body too large",
            Self::Chunk => "malformed chunk",
            Self::Trailer => "malformed or forbidden trailer field",
            Self::Timeout => "the request did not arrive in time",
            Self::QueueFull => "too many requests wait already",
            Self::QueueTimeout => "the request has waited too long for its turn",
            Self::RequestTimeout => "the request took too long",
        }
    }
}
