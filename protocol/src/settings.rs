//! What a worker must be told to do its work, as the supervisor (or the worker's own command line) settled it.
//! Passed as one JSON object in the environment variable [`crate::inherited::SETTINGS`]. Every field must be there: defaults
//! ([`crate::defaults`]) are filled in by whoever reads a command line.

pub mod access_log;
mod asgi;
mod cgi;
mod comma_list;
mod forwarding;
pub mod http1;
mod http2;
mod reply_fields;
mod tls;
mod websocket;
pub mod wsgi;

use std::{path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use self::access_log::AccessLogSettings;
use self::wsgi::WsgiSettings;
pub use self::{
    asgi::{AsgiSettings, ContextVariables, OnDisconnect, RootPath, RootPathMode, SpecVersion},
    cgi::{CgiAuthorization, CgiSettings},
    comma_list::CommaList,
    forwarding::{
        ForwardedHeader, ForwarderHeader, ForwardingSettings, ProxyProtocol, SecureSchemeHeader, TrustedPeer,
        check_forwarding,
    },
    http2::Http2Settings,
    reply_fields::{AutomaticField, ReplyField, ReplyFieldSettings},
    tls::{ClientCertificates, PlainListeners, TlsSettings, TlsVersion},
    websocket::{PerMessageDeflate, WebSocketMode, WebSocketSettings},
};

/// All that a worker is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// What to serve.
    pub application: Application,
    /// A heartbeat is sent this often.
    pub heartbeat_interval_ms: u64,
    /// Time for a drain that nobody gave a grace, as when a worker runs alone and is told to stop.
    pub graceful_timeout_ms: u64,
    /// HTTP bounds and time limits.
    pub http: HttpSettings,
    /// TLS; none where every listener is plain.
    pub tls: Option<TlsSettings>,
    /// What is believed of proxies in front.
    pub forwarding: ForwardingSettings,
    /// One line for each request; none for no log.
    pub access_log: Option<AccessLogSettings>,
    /// WebSockets.
    pub websocket: WebSocketSettings,
    /// Header fields that every reply has.
    pub reply_fields: ReplyFieldSettings,
    /// "error", "warn", "info", "debug" or "trace".
    pub log_level: String,
    /// "text" or "json".
    pub log_format: String,
}

/// What a worker serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Application {
    /// The built-in page.
    Welcome,
    /// An executable that links the `worker` library; the worker binary execs it.
    Native {
        /// Path of the executable.
        program: PathBuf,
    },
    /// An application in the user's Python; the worker binary execs the interpreter.
    Python(PythonSettings),
    /// Programs that the worker starts, one for each request.
    Cgi(CgiSettings),
}

/// A Python application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PythonSettings {
    /// `package.module:attribute` or `package.module:factory()`.
    pub target: String,
    /// Interpreter that the user named; otherwise the worker looks for one.
    pub python: Option<PathBuf>,
    /// Put first on `sys.path`.
    pub app_dir: PathBuf,
    /// The attribute is a function that returns the application.
    pub factory: Factory,
    /// What the application speaks.
    pub interface: Interface,
    /// How it is run, if it speaks WSGI.
    pub wsgi: WsgiSettings,
    /// Whether the application is told of start-up and shutdown.
    pub lifespan: Lifespan,
    /// The event loop.
    pub event_loop: EventLoop,
    /// How an ASGI application is called.
    pub asgi: AsgiSettings,
    /// A file of KEY=VALUE lines that is put into the environment before the import.
    pub env_file: Option<PathBuf>,
    /// A file (.json, .yaml, .ini) for Python's `logging.config`.
    pub log_config: Option<PathBuf>,
}

/// Whether the attribute is the application or makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factory {
    /// Found by looking: a function without arguments that is no ASGI callable is called.
    Auto,
    /// The attribute is called once, and what it returns is the application.
    Call,
}

/// What a Python application speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    /// Found by looking at it.
    Auto,
    /// ASGI 3, whatever it looks like.
    Asgi3,
    /// WSGI, whatever it looks like.
    Wsgi,
    /// ASGI 2, whatever it looks like: called with the scope, it returns a second callable.
    Asgi2,
}

/// ASGI lifespan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifespan {
    /// An application that raises on the lifespan scope is served without it.
    Auto,
    /// An application that raises on the lifespan scope does not start.
    On,
    /// The application is not asked.
    Off,
}

/// The asyncio event loop of a Python worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventLoop {
    /// uvloop where it can be imported, else asyncio's own.
    Auto,
    /// asyncio's own.
    Asyncio,
    /// uvloop; its absence is an error.
    Uvloop,
    /// What `module:attribute`, called without arguments, returns.
    Factory(String),
}

impl FromStr for EventLoop {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "asyncio" => Ok(Self::Asyncio),
            "uvloop" => Ok(Self::Uvloop),
            _ => match text.split_once(':') {
                Some((module, attribute)) if !module.is_empty() && !attribute.is_empty() => {
                    Ok(Self::Factory(text.to_owned()))
                }
                Some(_) | None => {
                    Err(format!("`{text}` is no event loop: write auto, asyncio, uvloop or `module:factory`"))
                }
            },
        }
    }
}

/// Bounds and time limits of HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// An idle keep-alive connection is closed after this time.
    pub keep_alive_timeout_ms: u64,
    /// A request's head must be complete this long after its first byte, and the first byte of a new connection
    /// this long after the accept (408).
    pub header_read_timeout_ms: u64,
    /// A body must make progress this often (408).
    pub body_read_timeout_ms: u64,
    /// Bytes of a body that must come a second on average, while they are waited for (408); 0 for no such bound.
    pub body_bytes_per_second: u32,
    /// A client must take some of a reply this often, else it is cut off.
    pub write_timeout_ms: u64,
    /// A request must be answered in full after this time (503, or broken off); 0 for no bound.
    pub request_timeout_ms: u64,
    /// Connections that a worker has open at once; more wait in the kernel's queue.
    pub connections: u32,
    /// Requests that are with the application of one worker at once; 0 for no bound.
    pub concurrent_requests: u32,
    /// Requests that may wait for their turn beyond those (503).
    pub queued_requests: u32,
    /// How long each may wait (503).
    pub queue_timeout_ms: u64,
    /// Longest request line (414).
    pub request_line_bytes: u32,
    /// Longest head in all (431).
    pub head_bytes: u32,
    /// Most header fields in one head (431).
    pub header_count: u32,
    /// Largest request body (413); 0 for no bound.
    pub body_bytes: u64,
    /// An idle connection that drains is kept this long for one last request.
    pub drain_linger_ms: u64,
    /// What can be chosen about HTTP/1.
    pub http1: http1::Http1Settings,
    /// What is HTTP/2's alone.
    pub http2: Http2Settings,
}
