//! The command line of the `worker` program as clap sees it: a worker that runs alone. Names are those of `supervise`. No logic.

use std::{path::PathBuf, str::FromStr};

use clap::{Parser, ValueEnum};
use protocol::settings::{
    CommaList, EventLoop, ForwardedHeader, ForwarderHeader, ProxyProtocol, SecureSchemeHeader, TrustedPeer,
    access_log::AccessLogFormat,
};

/// Runs one worker without a supervisor: for pods that are supervised from outside.
#[derive(Debug, Parser)]
#[command(
    name = "worker",
    version,
    about = "Runs one worker without a supervisor",
    after_help = "TERM and INT stop gracefully (exit 0); a second one stops at once."
)]
pub struct Cli {
    /// `module:attribute` (Python), a path to a program that links the worker library, or nothing: the welcome app
    pub app: Option<String>,
    /// Address to listen on: host:port, [v6]:port or unix:/path; repeatable [default: 127.0.0.1:8000, or HOST and PORT]
    #[arg(short, long, value_name = "ADDR")]
    pub bind: Vec<String>,
    /// How the application is run; `threads` and `sync` are for WSGI [default: async]
    #[arg(short = 'k', long, value_name = "CLASS")]
    pub worker_class: Option<WorkerClass>,
    /// Threads for a WSGI application [default: 4; 1 with `sync`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub threads: Option<u32>,
    /// Time to finish what is in flight when told to stop, as `30` (seconds) or `500ms` [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub graceful_timeout: Option<TimeSpan>,
    /// Working directory
    #[arg(long, value_name = "DIR")]
    pub chdir: Option<PathBuf>,
    /// Variable for the application's environment; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub env: Vec<(String, String)>,
    /// Access log: a file, which USR1 reopens, or `-` for standard output [default: none]
    #[arg(long, value_name = "FILE|-", allow_hyphen_values = true)]
    pub access_logfile: Option<String>,
    /// uvicorn, common, combined, json or a template with gunicorn's atoms [default: combined]
    #[arg(long, value_name = "FORMAT", requires = "access_logfile")]
    pub access_logformat: Option<AccessLogFormat>,
    /// error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<tracing::metadata::LevelFilter>,
    /// How log lines look [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Connections at once, within the descriptors; more wait in the kernel's queue [default: 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "HTTP limits")]
    pub worker_connections: Option<u32>,
    /// Requests that the application has at once; more wait in a queue [default: no bound]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "HTTP limits")]
    pub limit_concurrency: Option<u32>,
    /// Requests that wait in that queue; more are answered 503 [default: 100]
    #[arg(long, value_name = "N", requires = "limit_concurrency", help_heading = "HTTP limits")]
    pub limit_queue: Option<u32>,
    /// How long a request waits in that queue before it is answered 503 [default: 10s]
    #[arg(long, value_name = "TIME", requires = "limit_concurrency", value_parser = some_time, help_heading = "HTTP limits")]
    pub queue_timeout: Option<TimeSpan>,
    /// A request must be answered in full after this time, or `off`: 503, or its reply is broken off [default: off]
    #[arg(long, value_name = "TIME|off", value_parser = time_or_off, help_heading = "HTTP limits")]
    pub request_timeout: Option<TimeSpan>,
    /// A request's body must come this fast on average, after 5 s of waiting for it; 0 for no bound [default: 240]
    #[arg(long, value_name = "BYTES", help_heading = "HTTP limits")]
    pub min_body_rate: Option<u32>,
    /// A CGI program must end after this time [default: 5m]
    #[arg(long, value_name = "TIME", help_heading = "CGI")]
    pub cgi_timeout: Option<TimeSpan>,
    /// CGI programs that run at once; more wait in a bounded queue [default: 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "CGI")]
    pub cgi_processes: Option<u32>,
    /// CGI programs see the Authorization field of requests
    #[arg(long, help_heading = "CGI")]
    pub cgi_pass_authorization: bool,
    /// Header fields by which proxies tell the client [default: x-forwarded-for,x-forwarded-proto]
    #[arg(long, value_name = "NAMES", help_heading = "Proxies in front")]
    pub forwarded_headers: Option<CommaList<ForwardedHeader>>,
    /// Fields that say by a value of their own that the client came by https, as `X-Forwarded-Ssl=on` [default: none]
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Proxies in front")]
    pub secure_scheme_headers: Option<CommaList<SecureSchemeHeader>>,
    /// Fields with `_` in their names that your proxy sets and clients cannot, as SCRIPT_NAME [default: none]
    #[arg(long, value_name = "NAMES", help_heading = "Proxies in front")]
    pub forwarder_headers: Option<CommaList<ForwarderHeader>>,
    /// Proxies that are believed: addresses, networks, `unix:`, or `*` [default: 127.0.0.1,::1,unix:, or FORWARDED_ALLOW_IPS]
    #[arg(long, value_name = "PEERS", env = "FORWARDED_ALLOW_IPS", help_heading = "Proxies in front")]
    pub forwarded_allow_ips: Option<CommaList<TrustedPeer>>,
    /// Version of the PROXY header that connections begin with: off, v1, v2 or auto [default: off]
    #[arg(long, value_name = "VERSION", help_heading = "Proxies in front")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Balancers that send one [default: 127.0.0.1,::1,unix:]
    #[arg(long, value_name = "PEERS", help_heading = "Proxies in front")]
    pub proxy_allow_ips: Option<CommaList<TrustedPeer>>,
    /// Interpreter [default: $VIRTUAL_ENV, $CONDA_PREFIX, ./.venv, then python3 on PATH]
    #[arg(long, value_name = "PATH", help_heading = "Python")]
    pub python: Option<PathBuf>,
    /// Put first on sys.path [default: the working directory]
    #[arg(long, value_name = "DIR", help_heading = "Python")]
    pub app_dir: Option<PathBuf>,
    /// The attribute is a function that returns the application
    #[arg(long, help_heading = "Python")]
    pub factory: bool,
    /// What the application speaks [default: auto]
    #[arg(long, value_name = "CHOICE", help_heading = "Python")]
    pub interface: Option<InterfaceChoice>,
    /// ASGI lifespan [default: auto]
    #[arg(long, value_name = "CHOICE", help_heading = "Python")]
    pub lifespan: Option<LifespanChoice>,
    /// Event loop [default: auto]
    #[arg(long = "loop", value_name = "CHOICE", help_heading = "Python")]
    pub event_loop: Option<EventLoop>,
    /// KEY=VALUE lines put into the environment before the import
    #[arg(long, value_name = "FILE", help_heading = "Python")]
    pub env_file: Option<PathBuf>,
    /// File for Python's logging.config
    #[arg(long, value_name = "FILE", help_heading = "Python")]
    pub log_config: Option<PathBuf>,
    /// WebSockets: spoken, or handshakes served as plain requests [default: auto]
    #[arg(long, value_name = "CHOICE", help_heading = "WebSocket")]
    pub ws: Option<WebSocketChoice>,
    /// Largest message in bytes [default: 16777216]
    #[arg(long, value_name = "BYTES", help_heading = "WebSocket", value_parser = clap::value_parser!(u64).range(1..))]
    pub ws_max_size: Option<u64>,
    /// A ping is sent this often; 0 for never [default: 20s]
    #[arg(long, value_name = "TIME", help_heading = "WebSocket")]
    pub ws_ping_interval: Option<TimeSpan>,
    /// Something must be heard of the client this long after a ping; 0 for no bound [default: 20s]
    #[arg(long, value_name = "TIME", help_heading = "WebSocket")]
    pub ws_ping_timeout: Option<TimeSpan>,
    /// Whether messages may be deflated [default: true]
    #[arg(long, value_name = "true|false", help_heading = "WebSocket")]
    pub ws_per_message_deflate: Option<bool>,
}

/// Worker classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WorkerClass {
    /// One event-loop thread; WSGI as by `threads`.
    Async,
    /// WSGI on threads.
    #[value(alias = "gthread")]
    Threads,
    /// WSGI, one request at a time.
    Sync,
}

/// Formats of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What the application speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InterfaceChoice {
    /// Found by looking.
    Auto,
    /// ASGI 3, whatever it looks like.
    Asgi3,
    /// A directory of CGI programs, or one of them.
    Cgi,
    /// WSGI, whatever it looks like.
    Wsgi,
    /// ASGI 2, whatever it looks like.
    Asgi2,
}

/// ASGI lifespan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LifespanChoice {
    /// Asked; an application without it is served all the same.
    Auto,
    /// Asked; an application without it does not start.
    On,
    /// Not asked.
    Off,
}

/// Whether WebSockets are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WebSocketChoice {
    /// They are.
    Auto,
    /// They are not.
    None,
}

/// A length of time: `30`, `30s`, `500ms`, `5m`. A bare number is seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan {
    /// In milliseconds.
    pub ms: u64,
}

/// A time that is more than nothing.
fn some_time(text: &str) -> Result<TimeSpan, String> {
    match text.parse()? {
        TimeSpan { ms: 0 } => Err("no time is no bound: write `500ms` or more".to_owned()),
        time => Ok(time),
    }
}

/// Such a time, or `off`, which is 0.
fn time_or_off(text: &str) -> Result<TimeSpan, String> {
    if text == "off" { Ok(TimeSpan { ms: 0 }) } else { some_time(text) }
}

impl FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor_ms = match &text[digits.len()..] {
            "ms" => Some(1),
            "" | "s" => Some(1_000),
            "m" => Some(60_000),
            _ => None,
        };
        factor_ms
            .and_then(|factor_ms| digits.parse::<u64>().ok()?.checked_mul(factor_ms))
            .map(|ms| Self { ms })
            .ok_or_else(|| "write `30`, `30s`, `500ms` or `5m`".to_owned())
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write KEY=VALUE".to_owned()),
    }
}
